"""Exemptions: denials that the operator lifts for some images, for a reason and until a date."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from anchore_admission.models.configuration.base import Name, Section, Text
from anchore_admission.models.configuration.rules import Match
from anchore_admission.models.moments import End

MAX_EXEMPTIONS = 1000
_VULNERABILITY = re.compile(r"[A-Z][A-Z0-9]{1,15}[-:][A-Za-z0-9][A-Za-z0-9.:_-]{0,62}")
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,}")
_FINDING = re.compile(r"[a-z0-9_]{1,63}:[a-z0-9_]{1,63}")


def _vulnerability(value: str) -> str:
    if not _VULNERABILITY.fullmatch(value) or (value.startswith("CVE-") and not _CVE.fullmatch(value)):
        raise ValueError("expected the exact id of a vulnerability, such as CVE-2021-44228 or GHSA-jfh8-c2jp-5v3q")
    return value


def _finding(value: str) -> str:
    if not _FINDING.fullmatch(value):
        raise ValueError("expected a gate and a trigger of the policy, such as vulnerabilities:package")
    return value


def _written(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def _selective(match: Match) -> Match:
    if not match.model_fields_set - {"except_"}:
        raise ValueError("expected at least one key besides except: an exemption names its images")
    return match


_Statement = Annotated[Text, AfterValidator(_written)]
_Label = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_written)]


class ExcusesSection(Section):
    """The findings that an exemption excuses; a denial is lifted if it rests on no other finding."""

    cves: Annotated[list[Annotated[str, AfterValidator(_vulnerability)]], Field(min_length=1)] | None = None
    """Ids of vulnerabilities, compared exactly."""
    findings: Annotated[list[Annotated[str, AfterValidator(_finding)]], Field(min_length=1)] | None = None
    """Every finding of a gate and trigger, such as vulnerabilities:package."""

    @model_validator(mode="after")
    def _excuses_something(self) -> "ExcusesSection":
        if not self.cves and not self.findings:
            raise ValueError("give cves or findings; leave the key out to excuse everything")
        return self


class ExemptionSection(Section):
    """One entry of ``exemptions``: images that are admitted although they are denied, until a date."""

    name: Name
    """The exemption's name in warnings, metrics and the audit trail."""
    match: Annotated[Match, AfterValidator(_selective)]
    """The images and requests to which it applies, by the same keys as in rules."""
    reason: _Statement
    """Why the images are admitted; it is shown to users."""
    owner: _Label
    """The person or team that answers for it."""
    ticket: _Label | None = None
    """Where it was decided, such as the key of an issue."""
    expires: End
    """The last day on which it applies (UTC), or the exact moment of its end; at most limits.exemptionDays ahead."""
    excuses: ExcusesSection | None = None
    """The findings that it excuses; without this key, every reason for a denial."""
