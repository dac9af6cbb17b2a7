"""The tables of the command line: their content, and characters that they escape."""

import io
import json
import sys
from dataclasses import replace

import pytest
import yaml
from msgspec import structs

from anchore_admission.cli.exit_codes import exit_code
from anchore_admission.cli.options import OutputFormat
from anchore_admission.cli.output import ImageOutcome, outcome_of, summary_line, write
from anchore_admission.cli.progress import MANY, progress_on_terminal
from anchore_admission.core.decision import Decision, Effect, Reason
from anchore_admission.core.images import Uncheckable
from anchore_admission.core.rules.exemptions import Use, UseKind
from anchore_admission.core.scope import OutOfScope
from anchore_admission.core.verdict import ImageVerdict, ReviewVerdict, Verdict
from anchore_admission.services.reviews.summary import ManualReview, Summary
from support.builders import DIGEST, image_verdict, vulnerability

ADMITTED = Verdict(Decision.ADMIT, Reason.POLICY_PASSED, "passed")
DENIED = Verdict(Decision.DENY, Reason.POLICY_FAILED, "failed")
UNTOLD = Verdict(Decision.NO_VERDICT, Reason.ERROR, "no idea", error="unavailable")


def of(verdict: Verdict, effect: Effect = Effect.ALLOW, image: str = "ubuntu") -> ImageVerdict:
    return image_verdict(verdict, effect=effect, image=image)


def uncheckable(verdict: Verdict, text: str) -> ImageVerdict:
    image = of(verdict)
    judged = structs.replace(image.judged, text=text, meaning=Uncheckable(Reason.MALFORMED_REFERENCE))
    return structs.replace(image, judged=judged)


def holding(*images: ImageVerdict) -> ManualReview:
    decisions = [image.verdict.decision for image in images]
    decision = next((d for d in (Decision.DENY, Decision.NO_VERDICT) if d in decisions), Decision.ADMIT)
    allowed = all(image.effect is not Effect.DENY for image in images)
    return ManualReview("Pod", "shop", "web", ReviewVerdict(allowed, decision, images))


def out_of_scope(reason: OutOfScope) -> ManualReview:
    return ManualReview("ReplicaSet", "shop", "web-1", ReviewVerdict(True, Decision.ADMIT, out_of_scope=reason))


UNREAD = ManualReview("", "shop", "", error="line 3: is odd", source="app.yaml, document 2")
WITHOUT_IMAGES = ManualReview("Service", "shop", "web")
LATE = ManualReview("Pod", "shop", "web", unreviewed="not reviewed: too late", source="app.yaml, document 3")
UNCHECKED = ManualReview(
    "Rollout", "shop", "web", ReviewVerdict(True, Decision.NO_VERDICT, reason=Reason.UNKNOWN_KIND), unchecked="odd kind"
)
REFUSED = ManualReview(
    "Rollout", "shop", "web", ReviewVerdict(False, Decision.NO_VERDICT, reason=Reason.UNKNOWN_KIND, message="no")
)
BROKEN = ManualReview("Pod", "shop", "web", ReviewVerdict(False, Decision.NO_VERDICT, message="it broke"))


def printed(
    capsys: pytest.CaptureFixture[str], *reviews: ManualReview, max_findings: int = 5, objects: bool = True
) -> str:
    write(Summary(reviews), OutputFormat.TABLE, max_findings=max_findings, objects=objects)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("verdict", "effect", "outcome"),
    [
        (ADMITTED, Effect.ALLOW, ImageOutcome.ADMITTED),
        (ADMITTED, Effect.WARN, ImageOutcome.ADMITTED),
        (DENIED, Effect.DENY, ImageOutcome.DENIED),
        (DENIED, Effect.WARN, ImageOutcome.WARNED),
        (DENIED, Effect.ALLOW, ImageOutcome.RECORDED),
        (UNTOLD, Effect.DENY, ImageOutcome.UNDECIDED),
        (UNTOLD, Effect.WARN, ImageOutcome.UNDECIDED),
        (UNTOLD, Effect.ALLOW, ImageOutcome.UNDECIDED),
    ],
)
def test_the_outcome_names_the_verdict_and_its_effect(verdict: Verdict, effect: Effect, outcome: ImageOutcome) -> None:
    assert outcome_of(of(verdict, effect)) is outcome


@pytest.mark.parametrize(
    ("reviews", "code"),
    [
        ([], 0),
        ([holding(of(ADMITTED)), WITHOUT_IMAGES, out_of_scope(OutOfScope.OWNED)], 0),
        ([holding(of(DENIED, Effect.WARN))], 0),
        ([holding(of(DENIED, Effect.DENY))], 1),
        ([holding(of(UNTOLD, Effect.ALLOW))], 2),
        ([holding(of(UNTOLD, Effect.DENY))], 2),
        ([holding(of(UNTOLD, Effect.ALLOW), of(DENIED, Effect.WARN))], 2),
        ([holding(of(UNTOLD, Effect.DENY), of(DENIED, Effect.DENY))], 1),
        ([holding(of(ADMITTED)), UNREAD], 2),
        ([holding(of(DENIED, Effect.DENY)), UNREAD], 1),
        ([holding(of(ADMITTED)), LATE], 2),
        ([holding(of(DENIED, Effect.DENY)), LATE], 1),
        ([UNCHECKED, LATE], 2),
        ([BROKEN], 2),
        ([UNCHECKED, holding(of(ADMITTED))], 3),
        ([UNCHECKED, UNREAD], 2),
        ([UNCHECKED, REFUSED], 1),
    ],
)
def test_exit_code(reviews: list[ManualReview], code: int) -> None:
    assert exit_code(Summary(tuple(reviews))) == code


@pytest.mark.parametrize(
    ("reviews", "objects", "line"),
    [
        ([], True, "0 images in 0 objects"),
        ([holding(of(ADMITTED))], False, "1 image: 1 admitted"),
        (
            [holding(of(ADMITTED), of(DENIED, Effect.DENY)), holding(of(UNTOLD)), WITHOUT_IMAGES],
            True,
            "3 images in 2 objects: 1 admitted, 1 denied, 1 undecided; 1 object holds no images",
        ),
        ([WITHOUT_IMAGES, holding()], True, "0 images in 0 objects; 2 objects hold no images"),
        ([UNCHECKED, REFUSED], True, "0 images in 0 objects; 1 object denied as a whole; 1 object not checked"),
        (
            [out_of_scope(OutOfScope.OWNED), UNREAD, BROKEN],
            True,
            "0 images in 0 objects; 1 object out of scope; 2 could not be read",
        ),
        ([holding(of(ADMITTED)), LATE], True, "1 image in 1 object: 1 admitted; 1 not reviewed in time"),
    ],
)
def test_last_line_adds_up(reviews: list[ManualReview], objects: bool, line: str) -> None:
    assert summary_line(Summary(tuple(reviews)), objects=objects) == line


@pytest.mark.parametrize("reason", OutOfScope)
def test_why_an_object_is_out_of_scope_is_shown(capsys: pytest.CaptureFixture[str], reason: OutOfScope) -> None:
    row = printed(capsys, out_of_scope(reason)).splitlines()[1]

    assert row.startswith("ReplicaSet shop/web-1  -      out of scope  ")
    assert " " in row.partition("out of scope  ")[2]


def test_unreadable_documents_are_reported_with_their_place(capsys: pytest.CaptureFixture[str]) -> None:
    rows = printed(capsys, UNREAD, BROKEN, LATE).splitlines()

    assert rows[1].split(maxsplit=3) == ["-", "-", "unread", "app.yaml, document 2: line 3: is odd"]
    assert rows[2].split(maxsplit=4) == ["Pod", "shop/web", "-", "unread", "it broke"]
    assert rows[3].split(maxsplit=5) == ["Pod", "shop/web", "-", "not", "reviewed", "app.yaml, document 3: too late"]


@pytest.mark.parametrize(
    ("most", "lines"),
    [
        (0, ["and 3 more"]),
        (2, ["CRITICAL CVE-1 in a, fixed in 2", "HIGH CVE-2 in b, fixed in 2", "and 1 more"]),
        (3, ["CRITICAL CVE-1 in a, fixed in 2", "HIGH CVE-2 in b, fixed in 2", "LOW CVE-3 in c, fixed in 2"]),
    ],
)
def test_findings_stand_below_worst_first(capsys: pytest.CaptureFixture[str], most: int, lines: list[str]) -> None:
    found = [
        vulnerability(identifier, package, severity=severity, fix="2")
        for identifier, package, severity in (("CVE-3", "c", "LOW"), ("CVE-1", "a", "CRITICAL"), ("CVE-2", "b", "HIGH"))
    ]
    refused = of(structs.replace(DENIED, findings=tuple(found)), Effect.DENY)

    rows = printed(capsys, holding(refused), max_findings=most).splitlines()

    column = rows[0].index("WHY")
    assert [row[column:] for row in rows[2 : 2 + len(lines)]] == [f"  {line}" for line in lines]


def test_text_from_outside_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    odd = uncheckable(structs.replace(DENIED, message="no [red]way[/red]\x1b[2J\nadmitted"), "[bold]x\x07\u202e\n")
    review = replace(holding(odd), name="a\x1b]0;b", kind="[/]")

    text = printed(capsys, review)

    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    row = text.splitlines()[1]
    assert "[/] shop/a?]0;b" in row
    assert "[bold]x???" in row
    assert "no [red]way[/red]?[2J?admitted" in row


ODD = "x\x7f\x85\x9b\u200b\u202e\u2028\u2066\ufeff\U000e0001 ünï 😀"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "iso-8859-1"])
@pytest.mark.parametrize("output", [OutputFormat.JSON, OutputFormat.YAML])
def test_machines_get_text_from_outside_escaped(
    monkeypatch: pytest.MonkeyPatch, output: OutputFormat, encoding: str
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    odd = uncheckable(structs.replace(DENIED, message=f"no\n{ODD}"), ODD)

    write(Summary((replace(holding(odd), name=ODD, kind="plain"),)), output, max_findings=5, objects=True)
    sys.stdout.flush()

    text = raw.getvalue().decode(encoding)
    assert all(character.isprintable() or character == "\n" for character in text)
    assert ("ünï" in text) == (encoding != "ascii")
    (image,) = (json.loads if output is OutputFormat.JSON else yaml.safe_load)(text)["images"]
    assert (image["image"], image["message"], image["object"]["name"]) == (ODD, f"no\n{ODD}", ODD)


def test_an_admitted_image_shows_its_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert "look out" in printed(capsys, holding(of(structs.replace(ADMITTED, warning="look out"), Effect.WARN)))


def test_terminal_gets_colours_and_no_repetition(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    refused = of(
        structs.replace(DENIED, message=f"Image ubuntu with digest {DIGEST} failed {'all ' * 30}"), Effect.DENY
    )

    text = printed(capsys, holding(refused), objects=False)

    assert "\x1b[1;31mdenied" in text
    assert "sha256" not in text
    assert text.count("ubuntu") == 1
    assert len(text.splitlines()) > 5


@pytest.mark.parametrize(
    ("terminal", "reviews", "drawn"), [(True, MANY, True), (True, MANY - 1, False), (False, MANY, False)]
)
def test_bar_is_drawn_for_many_reviews_where_a_person_looks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool, reviews: int, drawn: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)

    with progress_on_terminal() as progress:
        for ended in range(1, reviews + 1):
            progress(ended, reviews)

    shown = capsys.readouterr()
    assert (f"{reviews}/{reviews}" in shown.err) == drawn
    assert (shown.err == "") != drawn
    assert shown.out == ""


@pytest.mark.parametrize("output", [OutputFormat.JSON, OutputFormat.YAML])
def test_machines_get_everything(capsys: pytest.CaptureFixture[str], output: OutputFormat) -> None:
    write(Summary((holding(of(DENIED, Effect.DENY)), UNREAD, BROKEN)), output, max_findings=0, objects=True)

    text = capsys.readouterr().out
    assert "app.yaml, document 2" in text
    assert "it broke" in text
    if output is OutputFormat.JSON:
        assert [error["message"] for error in json.loads(text)["errors"]] == ["line 3: is odd", "it broke"]


@pytest.mark.parametrize("verdict", [DENIED, UNTOLD])
def test_an_exempt_image_counts_as_admitted_and_shows_its_grounds(
    verdict: Verdict, capsys: pytest.CaptureFixture[str]
) -> None:
    use = Use(UseKind.EXEMPTION, "hotfix", "not loaded", "team", "", "2027-01-01T00:00:00Z")
    review = holding(image_verdict(verdict, effect=Effect.WARN, exemptions=(use,)))
    out = printed(capsys, review)
    assert exit_code(Summary((review,))) == 0
    assert "ubuntu  exempt" in out
    assert "Exemption hotfix admits image ubuntu: not loaded (owner team, until 2027-01-01T00:00:00Z)" in out
    assert "1 image in 1 object: 1 exempt" in out

    write(Summary((review,)), OutputFormat.JSON, max_findings=5, objects=True)
    document = json.loads(capsys.readouterr().out)
    assert document["allowed"] is True
    assert document["images"][0]["exemptions"] == [
        {
            "kind": "exemption",
            "name": "hotfix",
            "reason": "not loaded",
            "owner": "team",
            "expires": "2027-01-01T00:00:00Z",
        }
    ]


def test_an_exemption_decides_nothing_about_other_images() -> None:
    use = Use(UseKind.BREAK_GLASS, "on-call", "why")
    exempt = image_verdict(UNTOLD, effect=Effect.WARN, exemptions=(use,))
    assert exit_code(Summary((holding(exempt, of(UNTOLD)),))) == 2
    assert exit_code(Summary((holding(exempt, of(DENIED, Effect.DENY)),))) == 1
