"""Exemptions: what they excuse, and when they apply."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchore_admission.core.facts import Finding, ImageFacts, PolicyEvaluation, PolicyReason
from anchore_admission.core.rules.exemptions import (
    Exemption,
    ExemptionBook,
    cleaned_reason,
    compile_exemptions,
    excused,
    latest_expiry,
    use_of,
)
from anchore_admission.core.rules.match import Circumstances
from anchore_admission.models.configuration import Configuration
from anchore_admission.models.moments import written_time
from support.builders import failed, vulnerability

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC).timestamp()
APP = ("docker.io/team/app", "docker.io/team/app:1")
LOG4J = vulnerability("CVE-2021-44228", "log4j-core")


def _book(*exemptions: dict[str, Any], days: int = 90) -> ExemptionBook:
    given = {"match": {"images": ["team/*"]}, "reason": "r", "owner": "o", "expires": "2026-12-31"}
    sections = [{**given, "name": f"e{n}", **changes} for n, changes in enumerate(exemptions)]
    return compile_exemptions(Configuration.model_validate({"exemptions": sections}).exemptions, days)


def _names(book: ExemptionBook, now: float = NOON, names: tuple[str, ...] = APP, **circumstances: Any) -> list[str]:
    return [exemption.name for exemption in book.narrowed(Circumstances(**circumstances), now).holding(names)]


def _exemption(name: str = "it", *, cves: tuple[str, ...] = (), findings: tuple[str, ...] = ()) -> Exemption:
    return Exemption(name, "r", "o", "", NOON + 1, frozenset(cves), frozenset(findings))


@pytest.mark.parametrize(
    ("finding", "cves", "findings", "excuses"),
    [
        (LOG4J, ["CVE-2021-44228"], [], True),
        (LOG4J, ["CVE-2021-4422"], [], False),
        (LOG4J, ["CVE-2021-442280"], [], False),
        (LOG4J, ["CVE-2021-1", "CVE-2021-44228"], [], True),
        (LOG4J, [], ["vulnerabilities:package"], True),
        (LOG4J, [], ["vulnerabilities:stale_feed_data"], False),
        (LOG4J, [], ["dockerfile:package"], False),
        # The rest of the id is the name of a package, which the author of an image chooses.
        (vulnerability("CVE-2021-1", "x+CVE-2021-44228"), ["CVE-2021-44228"], [], False),
        (vulnerability("CVE-2021-1", "CVE-2021-44228"), ["CVE-2021-44228"], [], False),
        (vulnerability("CVE-2021-44228", "libstdc++6"), ["CVE-2021-44228"], [], True),
        (vulnerability("GHSA-jfh8-c2jp-5v3q", "log4j"), ["GHSA-jfh8-c2jp-5v3q"], [], True),
        (vulnerability("CVE-2021-44228 ", "log4j"), ["CVE-2021-44228"], [], False),
        (vulnerability("cve-2021-44228", "log4j"), ["CVE-2021-44228"], [], False),
        # Only the vulnerabilities gate gives ids of this kind; elsewhere an author may choose them.
        (Finding("packages", "denylist", "CVE-2021-44228+app", "m"), ["CVE-2021-44228"], [], False),
        (Finding("files", "name_match", "CVE-2021-44228", "m"), ["CVE-2021-44228"], [], False),
        (Finding("vulnerabilities", "package", "CVE-2021-44228", "m"), ["CVE-2021-44228"], [], False),
        (Finding("vulnerabilities", "package", "1d0c", "CVE-2021-44228+x"), ["CVE-2021-44228"], [], False),
    ],
)
def test_an_id_is_compared_exactly(finding: Finding, cves: list[str], findings: list[str], *, excuses: bool) -> None:
    assert _exemption(cves=tuple(cves), findings=tuple(findings)).excuses(finding) is excuses


OTHER = vulnerability("CVE-2021-3711", "openssl")
BY_CVE = _exemption("by-cve", cves=("CVE-2021-44228",))
BY_OTHER = _exemption("by-other", cves=("CVE-2021-3711",))
BY_GATE = _exemption("by-gate", findings=("vulnerabilities:package",))


@pytest.mark.parametrize(
    ("evaluations", "exemptions", "used"),
    [
        ([failed(LOG4J)], [BY_CVE], ["by-cve"]),
        ([failed(LOG4J)], [BY_OTHER, BY_CVE, BY_GATE], ["by-cve"]),
        ([failed(LOG4J, OTHER)], [BY_CVE], []),
        ([failed(LOG4J, OTHER)], [BY_CVE, BY_OTHER], ["by-cve", "by-other"]),
        ([failed(LOG4J, OTHER)], [BY_CVE, BY_GATE], ["by-cve", "by-gate"]),
        ([failed(LOG4J, Finding("dockerfile", "instruction", "x", "m"))], [BY_CVE, BY_GATE], []),
        ([failed()], [BY_CVE, BY_GATE], []),
        ([replace(failed(LOG4J), truncated=True)], [BY_GATE], []),
        ([replace(failed(LOG4J), problems=("broken",))], [BY_GATE], []),
        ([replace(failed(LOG4J), reason=PolicyReason.DENYLISTED)], [BY_GATE], []),
        ([PolicyEvaluation(True, "p")], [BY_GATE], []),
        ([PolicyEvaluation(True, "p"), failed(LOG4J)], [BY_CVE], ["by-cve"]),
        ([failed(LOG4J), failed(OTHER)], [BY_CVE, BY_OTHER], ["by-cve", "by-other"]),
        ([], [BY_GATE], []),
    ],
)
def test_the_exemptions_that_excuse_all_findings_of_an_evaluation(
    evaluations: list[PolicyEvaluation], exemptions: list[Exemption], used: list[str]
) -> None:
    facts, found = excused(ImageFacts(evaluations=tuple(evaluations)), exemptions)
    assert [exemption.name for exemption in found] == used
    passing = [before for before, after in zip(evaluations, facts.evaluations, strict=True) if before != after]
    assert all(evaluation.findings for evaluation in passing)
    assert bool(passing) is bool(used)


@given(
    findings=st.lists(st.sampled_from([LOG4J, OTHER, Finding("dockerfile", "x", "y", "m")])), truncated=st.booleans()
)
def test_a_finding_that_nothing_excuses_stays_a_denial(findings: list[Finding], *, truncated: bool) -> None:
    evaluation = replace(failed(*findings), truncated=truncated)
    facts, _ = excused(ImageFacts(evaluations=(evaluation,)), [BY_CVE])
    assert facts.evaluations[0].passed is (not truncated and set(findings) == {LOG4J})


@pytest.mark.parametrize(
    ("expires", "now", "applies"),
    [
        ("2026-11-27", "2026-11-27T23:59:59.999999+00:00", True),
        ("2026-11-27", "2026-11-28T00:00:00+00:00", False),
        ("2026-11-27T12:00:00Z", "2026-11-27T11:59:59.999999+00:00", True),
        ("2026-11-27T12:00:00Z", "2026-11-27T12:00:00+00:00", False),
        ("2026-11-27T12:00:00+02:00", "2026-11-27T09:59:59+00:00", True),
        ("2026-11-27T12:00:00+02:00", "2026-11-27T10:00:00+00:00", False),
        ("2020-01-01", "2026-11-27T12:00:00+00:00", False),
        # A clock that is far behind, and an end that is too far ahead.
        ("2026-11-27", "2026-08-28T12:00:00+00:00", False),
        ("2026-11-27", "2026-08-29T00:00:00+00:00", True),
        ("2026-11-27", "1970-01-01T00:00:00+00:00", False),
    ],
)
def test_an_exemption_ends_at_its_moment(expires: str, now: str, *, applies: bool) -> None:
    book = _book({"expires": expires})
    assert _names(book, datetime.fromisoformat(now).timestamp()) == (["e0"] if applies else [])


@pytest.mark.parametrize(
    ("match", "circumstances", "applies"),
    [
        ({"images": ["team/app:1"]}, {}, True),
        ({"images": ["team/app:2"]}, {}, False),
        ({"images": ["other/*"]}, {}, False),
        ({"namespaces": ["shop"]}, {"namespace": "shop"}, True),
        ({"namespaces": ["shop"]}, {"namespace": "shop2"}, False),
        ({"images": ["team/*"], "except": {"images": ["team/app"]}}, {}, False),
        ({"namespaceSelector": {"matchLabels": {"env": "dev"}}}, {"namespace_labels": {"env": "dev"}}, True),
        ({"namespaceSelector": {"matchLabels": {"env": "dev"}}}, {"namespace_labels": {"env": "prod"}}, False),
        ({"namespaceSelector": {"matchLabels": {"env": "dev"}}}, {"namespace_labels": None}, False),
        (
            {"images": ["team/*"], "except": {"namespaceSelector": {"matchLabels": {"env": "prod"}}}},
            {"namespace_labels": None},
            False,
        ),
        ({"images": ["team/*"]}, {"namespace_labels": None}, True),
    ],
)
def test_an_exemption_applies_where_its_match_certainly_holds(
    match: dict[str, Any], circumstances: dict[str, Any], *, applies: bool
) -> None:
    assert _names(_book({"match": match}), **circumstances) == (["e0"] if applies else [])


def test_exemptions_apply_in_their_order() -> None:
    book = _book({"match": {"images": ["other"]}}, {}, {"expires": "2026-11-26"}, {"match": {"images": ["*"]}})
    assert _names(book) == ["e1", "e3"]


@pytest.mark.parametrize(
    ("now", "days", "latest"),
    [
        ("2026-11-27T00:00:00+00:00", 1, "2026-11-29T00:00:00Z"),
        ("2026-11-27T23:59:59+00:00", 1, "2026-11-29T00:00:00Z"),
        ("2028-02-28T12:00:00+00:00", 1, "2028-03-01T00:00:00Z"),
        ("2026-11-27T12:00:00+00:00", 90, "2027-02-26T00:00:00Z"),
    ],
)
def test_the_latest_end_is_that_of_the_last_day_allowed(now: str, days: int, latest: str) -> None:
    assert written_time(latest_expiry(datetime.fromisoformat(now).timestamp(), days)) == latest


@pytest.mark.parametrize(
    ("written", "cleaned"),
    [
        ("the shop is down", "the shop is down"),
        ("  a\r\nb\tc \x1b[31m ", "a b c [31m"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\u200b\n\x00", ""),
        (" " * 5000 + "hidden", ""),
        ("", ""),
        (".", ""),
        ("- ? !", ""),
        ("\u3164\uffa0 \u115f", ""),
        ("INC-42", "INC-42"),
        ("修复", "修复"),
        ("x" * 300_000, "x" * 199 + "…"),
    ],
)
def test_a_reason_becomes_one_short_line(written: str, cleaned: str) -> None:
    assert cleaned_reason(written) == cleaned


def test_the_texts_of_a_use_are_printable_and_short() -> None:
    book = _book({"reason": "a\nb" + "c" * 900, "owner": "o\x1b", "ticket": "t\u202e"})
    use = use_of(book.all[0])
    assert (use.owner, use.ticket, use.expires) == ("o?", "t?", "2027-01-01T00:00:00Z")
    assert use.reason.startswith("a bccc")
    assert len(use.reason) == 200
