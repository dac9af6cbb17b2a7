"""The policy gates that Anchore knows, and those that the sandbox evaluates."""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from anchore_admission.sandbox.registry import Content
from anchore_admission.sandbox.seed import Finding

# the names an engine lists when it rejects a gate, then those that Enterprise adds
ENGINE_GATES = (
    *("always", "dockerfile", "suiddiff", "imagecheck", "pkgdiff", "anchoresec", "pkgcheck", "dockerfilecheck"),
    *("filecheck", "fileparse_passwd", "gemcheck", "metadatacheck", "licblacklist", "npmcheck", "pkgblacklist"),
    *("secretcheck", "files", "ruby_gems", "metadata", "licenses", "malware", "npms", "packages", "passwd_file"),
    *("retrieved_files", "secret_scans", "vulnerabilities"),
)
KNOWN_GATES = frozenset({*ENGINE_GATES, "ancestry", "distro", "image_source_drift", "tag_drift", "image"})

SEVERITIES = ("unknown", "negligible", "low", "medium", "high", "critical")
COMPARISONS: Mapping[str, Callable[[int, int], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_SCORES = tuple(
    f"{owner}cvss_v3_{score}{kind}"
    for owner in ("", "vendor_")
    for score in ("base_score", "exploitability_score", "impact_score")
    for kind in ("", "_comparison")
)
_BOOLEANS = ("true", "false")
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "package_type": ("all", "os", "non-os"),
    "severity": SEVERITIES,
    "severity_comparison": tuple(COMPARISONS),
    "fix_available": _BOOLEANS,
    "vendor_only": _BOOLEANS,
}
UNSUPPORTED_PARAMETERS = frozenset({*_SCORES, "max_days_since_creation", "max_days_since_fix", "package_path_exclude"})
_OS_PACKAGES = frozenset({"os", "apkg", "dpkg", "rpm", "deb", "apk"})


class NotImplementedGateError(Exception):
    """A gate, trigger or parameter of Anchore's that the sandbox does not evaluate: no verdict must depend on it."""


@dataclass(frozen=True, slots=True)
class Match:
    """A trigger that fired."""

    trigger_id: str
    message: str


Trigger = Callable[[Content, Mapping[str, str]], Iterator[Match]]


def _always(_content: Content, _parameters: Mapping[str, str]) -> Iterator[Match]:
    yield Match("always", "Unconditional trigger match")


def _never(_content: Content, _parameters: Mapping[str, str]) -> Iterator[Match]:
    """Never fire: the sandbox's vulnerability data is neither old nor missing."""
    yield from ()


def _package(content: Content, parameters: Mapping[str, str]) -> Iterator[Match]:
    if unsupported := sorted(UNSUPPORTED_PARAMETERS & parameters.keys()):
        raise NotImplementedGateError(f"the sandbox does not implement the parameters {', '.join(unsupported)}")
    for finding in content.findings:
        if _selected(finding, parameters):
            yield Match(f"{finding.id}+{_file_or_package(finding)}", _message(finding))


def _selected(finding: Finding, parameters: Mapping[str, str]) -> bool:
    compare = COMPARISONS[parameters.get("severity_comparison", ">")]
    if parameters.get("package_type", "all") not in ("all", package_class(finding)):
        return False
    if not compare(SEVERITIES.index(finding.severity), SEVERITIES.index(parameters.get("severity", "unknown"))):
        return False
    if parameters.get("vendor_only", "true") == "true" and finding.will_not_fix:
        return False
    wanted = parameters.get("fix_available")
    return wanted is None or (wanted == "true") == (finding.fix is not None)


def package_class(finding: Finding) -> str:
    return "os" if finding.package_type.lower() in _OS_PACKAGES else "non-os"


def _file_or_package(finding: Finding) -> str:
    return finding.package if package_class(finding) == "os" else f"{finding.package}-{finding.version}"


def _message(finding: Finding) -> str:
    where = finding.package if package_class(finding) == "os" else finding.path or finding.package
    fixed = f"(fixed in: {finding.fix})" if finding.fix else ""
    url = finding.url or f"https://nvd.nist.gov/vuln/detail/{finding.id}"
    return (
        f"{finding.severity.upper()} Vulnerability found in {package_class(finding)} package type "
        f"({finding.package_type}) - {where} {fixed}({finding.id} - {url})"
    )


def _denylist(content: Content, parameters: Mapping[str, str]) -> Iterator[Match]:
    listed = {name.strip().lower() for name in parameters.get("vulnerability_ids", "").split(",")}
    for finding in content.findings:
        if finding.id.lower() in listed:
            yield Match(
                f"{finding.id}+{_file_or_package(finding)}",
                f"Vulnerability {finding.id} is listed: {_message(finding)}",
            )


TRIGGERS: Mapping[tuple[str, str], Trigger] = {
    ("always", "always"): _always,
    ("vulnerabilities", "package"): _package,
    ("vulnerabilities", "stale_feed_data"): _never,
    ("vulnerabilities", "vulnerability_data_unavailable"): _never,
    ("vulnerabilities", "blacklist"): _denylist,
    ("vulnerabilities", "denylist"): _denylist,
}
# all triggers of the gates that are evaluated; other gates' triggers are not validated
KNOWN_TRIGGERS: Mapping[str, frozenset[str]] = {
    "always": frozenset({"always"}),
    "vulnerabilities": frozenset({trigger for gate, trigger in TRIGGERS if gate == "vulnerabilities"})
    | {"kev_list", "stale_feeds"},
}


def fire(gate: str, trigger: str, content: Content, parameters: Mapping[str, str]) -> Iterator[Match]:
    """Return every match of one rule. Raises NotImplementedGateError if the sandbox does not evaluate its gate."""
    implementation = TRIGGERS.get((gate, trigger))
    if implementation is None:
        raise NotImplementedGateError(f"the sandbox does not implement gate {gate}, trigger {trigger}")
    return implementation(content, parameters)
