"""Exemptions as they are written, and the findings that they may excuse."""

from typing import Any

import pytest
from pydantic import ValidationError

from anchore_admission.models.configuration import ExemptionSection


def _section(**changes: Any) -> dict[str, Any]:
    section = {"name": "it", "match": {"images": ["a"]}, "reason": "r", "owner": "o", "expires": "2026-12-31"}
    return {**section, **changes}


@pytest.mark.parametrize(
    "excuses",
    [
        {"cves": ["CVE-2021-44228"]},
        {"cves": ["CVE-2021-1234567"]},
        {"cves": ["GHSA-jfh8-c2jp-5v3q", "RHSA-2021:1234", "ALAS2-2021-1", "VULNDB-1", "ELSA-2020-1"]},
        {"findings": ["vulnerabilities:package", "dockerfile:effective_user"]},
        {"cves": ["CVE-2021-44228"], "findings": ["vulnerabilities:package"]},
    ],
)
def test_findings_that_can_be_excused(excuses: dict[str, Any]) -> None:
    assert ExemptionSection.model_validate(_section(excuses=excuses)).excuses is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"excuses": {}},
        {"excuses": {"cves": []}},
        {"excuses": {"cves": ["CVE-2021-*"]}},
        {"excuses": {"cves": ["*"]}},
        {"excuses": {"cves": [""]}},
        {"excuses": {"cves": ["CVE-2021"]}},
        {"excuses": {"cves": ["CVE-2021-44228+log4j"]}},
        {"excuses": {"cves": ["cve-2021-44228"]}},
        {"excuses": {"cves": [" CVE-2021-44228"]}},
        {"excuses": {"findings": ["vulnerabilities"]}},
        {"excuses": {"findings": ["vulnerabilities:*"]}},
        {"excuses": {"findings": [":"]}},
        {"match": {}},
        {"match": {"except": {"images": ["a"]}}},
        {"reason": " "},
        {"owner": ""},
        {"ticket": 7},
        {"reason": "r" * 1025},
    ],
)
def test_an_exemption_that_would_mean_nothing_or_too_much_is_rejected(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ExemptionSection.model_validate(_section(**changes))
