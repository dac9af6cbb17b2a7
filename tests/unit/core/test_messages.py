"""Messages for people: their format, order and length."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchore_admission.core import messages
from anchore_admission.core.decision import Decision, Effect, Reason
from anchore_admission.core.facts import Finding, Submission, SubmissionState
from anchore_admission.core.findings import worst_first
from anchore_admission.core.verdict import ImageVerdict, Verdict
from support.builders import DIGEST, image_verdict, vulnerability


def _refused(text: str, *findings: Finding) -> ImageVerdict:
    return image_verdict(Verdict(Decision.DENY, Reason.POLICY_FAILED, text, findings=findings))


def _warned(text: str, warning: str = "") -> ImageVerdict:
    return image_verdict(Verdict(Decision.ADMIT, Reason.UNMAPPED, text, warning=warning), effect=Effect.WARN)


@pytest.mark.parametrize(
    ("submission", "step"),
    [
        (Submission(), "It has to be added to Anchore first"),
        (Submission(SubmissionState.REQUESTED), "Analysis was requested: try again in a few minutes"),
        (Submission(SubmissionState.ANSWERED, DIGEST), "Analysis was requested: try again in a few minutes"),
        (
            Submission(SubmissionState.DRY_RUN),
            "Analysis was not requested: a dry run or a review by hand submits nothing",
        ),
        (
            Submission(SubmissionState.DROPPED),
            "Too many images are waiting to be submitted: try again in a few minutes",
        ),
        (Submission(SubmissionState.REFUSED, reason="no such\nregistry"), "no such?registry"),
    ],
)
def test_the_next_step(submission: Submission, step: str) -> None:
    assert messages.next_step(submission) == step


_FIXED = "CRITICAL Vulnerability found in os package type (dpkg) - libssl (fixed in: 1.1.1n)(CVE-1 - https://x)"


@pytest.mark.parametrize(
    ("finding", "line"),
    [
        (vulnerability(), "HIGH CVE-2021-3711 in openssl, fixed in 1.1.1k-r0"),
        (vulnerability(fix="None"), "HIGH CVE-2021-3711 in openssl, no fix yet"),
        (vulnerability(fix=""), "HIGH CVE-2021-3711 in openssl, no fix yet"),
        (vulnerability(package="libstdc++6"), "HIGH CVE-2021-3711 in libstdc++6, fixed in 1.1.1k-r0"),
        (vulnerability(severity="odd"), "CVE-2021-3711 in openssl, fixed in 1.1.1k-r0"),
        (Finding("vulnerabilities", "package", "CVE-1+libssl", _FIXED), "CRITICAL CVE-1 in libssl, fixed in 1.1.1n"),
        (Finding("vulnerabilities", "package", "CVE-1+libssl", ""), "CVE-1 in libssl, no fix yet"),
        (
            Finding("vulnerabilities", "stale_feed_data", "0f3e", "Feed data is older than 2 days"),
            "vulnerabilities/stale_feed_data: Feed data is older than 2 days",
        ),
        (
            Finding("dockerfile", "instruction", "41cb", "Dockerfile directive 'HEALTHCHECK' not found"),
            "dockerfile/instruction: Dockerfile directive 'HEALTHCHECK' not found",
        ),
        (
            Finding("dockerfile", "effective_user", "b2b1", "User root found", "Set USER"),
            "dockerfile/effective_user: User root found (Set USER)",
        ),
        (
            Finding("secret_scans", "content_regex_checks", "a+b", "Secret found\nin file"),
            "secret_scans/content_regex_checks: Secret found?in file",
        ),
        (Finding("g", "t", "i", "x" * 500), "g/t: " + "x" * 154 + "…"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_a_finding_in_one_line(finding: Finding, line: str) -> None:
    assert messages.finding_line(finding) == line


def test_findings_stand_worst_first() -> None:
    severities = ["UNKNOWN", "NEGLIGIBLE", "LOW", "MEDIUM", "HIGH", "CRITICAL"]
    found = [vulnerability(f"CVE-{name}", severity=name) for name in severities]
    dockerfile = Finding("dockerfile", "instruction", "41cb", "no HEALTHCHECK")
    twin = vulnerability("CVE-A", severity="CRITICAL")
    ordered = worst_first([dockerfile, *found, twin])
    assert [finding.trigger_id.partition("+")[0] for finding in ordered] == [
        "CVE-A",
        "CVE-CRITICAL",
        "CVE-HIGH",
        "41cb",
        "CVE-MEDIUM",
        "CVE-LOW",
        "CVE-NEGLIGIBLE",
        "CVE-UNKNOWN",
    ]


def test_a_denial_names_every_image_and_its_worst_findings() -> None:
    many = [vulnerability(f"CVE-{number}", severity="LOW") for number in range(7)]
    refused = [
        _refused(f"Image ubuntu with digest {DIGEST} failed policy checks for policy bundle p", *many, vulnerability()),
        _refused("Image redis is not analyzed. Cannot evaluate policy. It has to be added to Anchore first"),
    ]
    assert messages.denial(refused, 3).splitlines() == [
        f"Image ubuntu with digest {DIGEST} failed policy checks for policy bundle p",
        "  HIGH CVE-2021-3711 in openssl, fixed in 1.1.1k-r0",
        "  LOW CVE-0 in openssl, fixed in 1.1.1k-r0",
        "  LOW CVE-1 in openssl, fixed in 1.1.1k-r0",
        "  and 5 more",
        "Image redis is not analyzed. Cannot evaluate policy. It has to be added to Anchore first",
    ]


@pytest.mark.parametrize(
    ("most", "lines"), [(0, ["m", "  2 findings"]), (1, ["m", "  HIGH CVE-1 in a, fixed in 2", "  and 1 more"])]
)
def test_findings_that_are_not_shown_are_counted(most: int, lines: list[str]) -> None:
    found = [vulnerability(f"CVE-{number}", "a", fix="2") for number in (1, 2)]
    assert messages.denial([_refused("m", *found)], most).splitlines() == lines


def test_all_findings_leave_nothing_to_count() -> None:
    assert messages.denial([_refused("m", vulnerability("CVE-1", "a", fix="2"))], 5) == (
        "m\n  HIGH CVE-1 in a, fixed in 2"
    )


def test_a_single_finding_without_room_is_counted_as_one() -> None:
    assert messages.denial([_refused("m", vulnerability())], 0) == "m\n  1 finding"


def test_a_denial_of_many_images_gives_details_only_of_images_it_shows() -> None:
    found = [vulnerability(f"CVE-{number}", "x" * 90) for number in range(40)]
    text = messages.denial([_refused(f"Image team/app-{number} {'x' * 150}", *found) for number in range(4)], 5)
    lines = text.splitlines()
    assert len(text) <= messages.MESSAGE_LIMIT
    assert all("CVE-" in before for before, line in pairwise(lines) if line.startswith("  and "))
    assert "  40 findings" in lines


def test_the_worst_of_very_many_findings() -> None:
    many = [vulnerability(f"CVE-{number:05}", severity="LOW") for number in range(40_000)]
    worst = vulnerability("CVE-X", severity="CRITICAL")
    assert worst_first([*many, worst], 2) == [worst, many[0]]
    assert messages.denial([_refused("m", *many, worst)], 1).splitlines() == [
        "m",
        "  CRITICAL CVE-X in openssl, fixed in 1.1.1k-r0",
        "  and 40000 more",
    ]


def test_room_is_shared_between_images() -> None:
    found = [vulnerability(f"CVE-{number}", "package-" + "x" * 60) for number in range(9)]
    text = messages.denial([_refused("first", *found), _refused("second", *found)], 9)
    first, second = text.split("second")
    assert abs(first.count("CVE-") - second.count("CVE-")) <= 1
    assert second.count("CVE-") >= 1
    assert len(text) <= messages.MESSAGE_LIMIT


def test_images_past_the_limit_are_counted() -> None:
    text = messages.denial([_refused(f"Image team/app-{number} " + "x" * 80) for number in range(100)], 5)
    *named, last = text.splitlines()
    assert len(text) <= messages.MESSAGE_LIMIT
    assert len(named) > 5
    assert last == f"and {100 - len(named)} more images"


_FINDINGS = st.lists(
    st.builds(
        Finding,
        gate=st.sampled_from(["vulnerabilities", "dockerfile"]),
        trigger=st.just("package"),
        trigger_id=st.text(max_size=200).map("CVE-1+{}".format),
        message=st.text(max_size=300).map("HIGH {}".format),
        recommendation=st.text(max_size=100),
    ),
    max_size=12,
)


@given(
    st.lists(st.builds(lambda text, found: _refused(text, *found), st.text(max_size=2000), _FINDINGS), min_size=1),
    st.integers(0, 100),
)
def test_a_denial_is_never_too_long_nor_unprintable(refused: list[ImageVerdict], most: int) -> None:
    text = messages.denial(refused, most)
    assert len(text) <= messages.MESSAGE_LIMIT
    assert text.replace("\n", "").isprintable()


def test_the_longest_names_still_leave_a_denial_in_bounds() -> None:
    long = [_refused("x" * 1200, *[vulnerability(package="y" * 200)] * 200) for _ in range(5)]
    lines = messages.denial(long, 100).splitlines()
    assert [line[:30] for line in lines] == ["x" * 30, "  200 findings", "and 4 more images"]
    assert sum(len(line) + 1 for line in lines) <= messages.MESSAGE_LIMIT + 1


def test_warnings_are_those_of_images_that_are_admitted_with_one() -> None:
    quiet = image_verdict(Verdict(Decision.ADMIT, Reason.ANALYZED, "quiet"), effect=Effect.ALLOW)
    refused = _refused("refused")
    assert messages.warnings([quiet, refused, _warned("message", "warning"), _warned("message only")]) == [
        "warning",
        "message only",
    ]


def test_warnings_are_one_line_and_short() -> None:
    [text] = messages.capped(messages.warnings([_warned("a\nb\x00" + "c" * 1000)]))
    assert text.startswith("a?b?ccc")
    assert len(text) == messages.WARNING_LIMIT


@pytest.mark.parametrize(
    ("count", "shown", "last"),
    [(9, 9, "w8"), (10, 10, "w9"), (11, 10, "and 2 more warnings"), (50, 10, "and 41 more warnings")],
)
def test_at_most_ten_warnings(count: int, shown: int, last: str) -> None:
    texts = messages.capped(messages.warnings([_warned(f"w{number}") for number in range(count)]))
    assert len(texts) == shown
    assert texts[-1] == last


def test_equal_warnings_are_said_once() -> None:
    assert messages.capped(["a", "b", "a"] * 10) == ("a", "b")


@pytest.mark.parametrize(
    ("lines", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a\nb"), (["x" * 500] * 2, "x" * 500 + "\n" + "x" * 298 + "…")],
)
def test_lines_that_are_no_denial_are_cut_where_the_room_ends(lines: list[str], text: str) -> None:
    assert messages.joined(lines) == text


@pytest.mark.parametrize(
    ("submission", "text"),
    [
        (
            Submission(SubmissionState.ANSWERED, DIGEST),
            f"Image analysis for image ubuntu requested and found mapped to digest {DIGEST}",
        ),
        (
            Submission(SubmissionState.REQUESTED),
            "Image analysis for image ubuntu is being requested: Anchore has not responded yet",
        ),
    ],
)
def test_passive_mode_uses_the_message_of_the_original(submission: Submission, text: str) -> None:
    assert messages.requested("ubuntu", submission) == text
