"""Mistakes in exemptions and break-glass, beyond the shape of their keys."""

from datetime import UTC, datetime

import pytest

from anchore_admission.errors import ConfigurationError
from anchore_admission.services.config.load import parse_configuration

NOW = datetime(2026, 11, 27, 23, 59, tzinfo=UTC).timestamp()
_END = "expected an end by"
_SHAPE = "expected a date such as 2026-12-31 (UTC), or a time with its offset such as 2026-12-31T18:00:00Z"
_REGEX = "is a regular expression; write regex: in front of it, or a glob (* matches any text, ? one character)"


def _problems(text: str) -> list[str]:
    try:
        parse_configuration(f"anchore: {{endpoint: 'http://anchore'}}\n{text}", "c", wall_clock=lambda: NOW)
    except ConfigurationError as error:
        return [str(problem) for problem in error.problems]
    return []


def _exemption(**changes: str) -> str:
    given = {"name": "it", "match": "{images: [a]}", "reason": "r", "owner": "o", "expires": "2026-12-31", **changes}
    return f"{{{', '.join(f'{key}: {value}' for key, value in given.items())}}}"


@pytest.mark.parametrize(
    ("expires", "limits", "problem"),
    [
        ("2026-12-31", "", ""),
        ('"2026-12-31"', "", ""),
        ("2027-02-25", "", ""),
        ("2027-02-26", "", f"{_END} 2027-02-26T00:00:00Z, at most 90 days ahead (limits.exemptionDays)"),
        ("2027-02-25T23:59:59Z", "", ""),
        ("2027-02-26T00:00:00Z", "", ""),
        ("2027-02-26T00:00:01Z", "", f"{_END} 2027-02-26T00:00:00Z, at most 90 days ahead (limits.exemptionDays)"),
        ("2027-02-26T01:00:00+02:00", "", ""),
        ("2026-11-28", "{exemptionDays: 1}", ""),
        (
            "2026-11-29",
            "{exemptionDays: 1}",
            f"{_END} 2026-11-29T00:00:00Z, at most 1 days ahead (limits.exemptionDays)",
        ),
        ("2036-01-01", "{exemptionDays: 3650}", ""),
        # Expired ones are valid: they must not keep a replica from starting.
        ("2026-11-27", "", ""),
        ("2026-11-26", "", ""),
        ("1970-01-01", "", ""),
    ],
)
def test_an_exemption_may_not_last_too_long(expires: str, limits: str, problem: str) -> None:
    text = f"exemptions: [{_exemption(expires=expires)}]\n" + (f"limits: {limits}" if limits else "")
    assert _problems(text) == ([f"exemptions[0].expires: {problem}"] if problem else [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            f"exemptions: [{_exemption()}, {_exemption()}]",
            "exemptions[1].name: is already the name of exemptions[0]",
        ),
        (
            f"exemptions: [{_exemption(match='{images: [^x$]}')}]",
            f"exemptions[0].match.images[0]: {_REGEX}: write x",
        ),
        (
            f"exemptions: [{_exemption(match='{kinds: [Pod], except: {images: [a b]}}')}]",
            "exemptions[0].match.except.images[0]: an image has no spaces",
        ),
        (
            f"exemptions: [{_exemption(match='{}')}]",
            "exemptions[0].match: expected at least one key besides except: an exemption names its images",
        ),
        (
            f"exemptions: [{_exemption(expires='2026-02-29')}]",
            f"exemptions[0].expires: {_SHAPE}",
        ),
        ("exemptions: [" + _exemption(reason='" "') + "]", "exemptions[0].reason: must not be blank"),
        (
            f"exemptions: [{', '.join(_exemption(name=f'e{n}') for n in range(1001))}]",
            "exemptions: expected at most 1000 entries",
        ),
        (
            f"exemptions: [{_exemption(excuses='{cve: [CVE-2021-1]}')}]",
            "exemptions[0].excuses.cve: unknown key; did you mean cves?",
        ),
        (
            f"exemptions: [{_exemption(expire='2026-12-31')}]",
            "exemptions[0].expire: unknown key; did you mean expires?",
        ),
    ],
)
def test_a_mistake_in_an_exemption(text: str, problem: str) -> None:
    assert _problems(text) == [problem]


def test_every_missing_key_of_an_exemption_at_once() -> None:
    keys = ("name", "match", "reason", "owner", "expires")
    assert _problems("exemptions: [{}]") == [f"exemptions[0].{key}: is required" for key in keys]


_TAIL = "; a rule with breakGlass must name the people who may use it"


@pytest.mark.parametrize(
    ("rule", "problems"),
    [
        ("match: {groups: [on-call]}, mode: strict", []),
        ("match: {users: [jane, 'oidc:*@example.com']}, mode: analysis", []),
        ("match: {groups: ['regex:sre-(eu|us)']}, mode: strict", []),
        ("match: {users: ['system:serviceaccount:ops:break-glass']}, mode: strict", []),
        ("match: {groups: ['oidc:*']}, mode: strict", []),
        (
            "match: {groups: [on-call], namespaces: ['*']}, modeFrom: {namespaceLabel: a, allowed: {b: strict}}",
            [],
        ),
        ("mode: strict", ["breakGlass: match must name the users or groups that may use it"]),
        (
            "match: {except: {groups: [on-call]}}, mode: strict",
            ["breakGlass: match must name the users or groups that may use it"],
        ),
        (
            "match: {objectSelector: {matchLabels: {a: b}}}, mode: strict",
            ["breakGlass: match must name the users or groups that may use it"],
        ),
        ("match: {groups: ['*']}, mode: strict", [f"match.groups[0]: matches all groups{_TAIL}"]),
        ("match: {groups: [on-call, '?*']}, mode: strict", [f"match.groups[1]: matches all groups{_TAIL}"]),
        ("match: {users: ['regex:.*']}, mode: strict", [f"match.users[0]: matches all users{_TAIL}"]),
        ("match: {users: ['regex:[^:]+(:.*)?']}, mode: strict", [f"match.users[0]: matches all users{_TAIL}"]),
        ("match: {users: ['*'], groups: [sre]}, mode: strict", [f"match.users[0]: matches all users{_TAIL}"]),
        *(
            (f"match: {{groups: ['{group}']}}, mode: strict", [f"match.groups[0]: matches {found}{_TAIL}"])
            for group, found in [
                ("system:authenticated", "system:authenticated"),
                ("system:unauthenticated", "system:unauthenticated"),
                ("system:serviceaccounts", "system:serviceaccounts"),
                ("system:*", "system:authenticated"),
                ("*ted", "system:authenticated"),
                ("system:nodes", "system:nodes"),
                ("regex:system:auth.*", "system:authenticated"),
            ]
        ),
        *(
            (f"match: {{users: ['{user}']}}, mode: strict", [f"match.users[0]: matches {found}{_TAIL}"])
            for user, found in [
                ("system:*", "system:anonymous"),
                *(
                    [
                        (f"system:serviceaccount:kube-system:{name}-controller",) * 2
                        for name in ("replicaset", "statefulset", "daemon-set", "replication", "job")
                    ]
                ),
                ("system:anonymous", "system:anonymous"),
                ("*-controller", "system:serviceaccount:kube-system:replicaset-controller"),
            ]
        ),
        *(
            (f"match: {{users: ['{user}']}}, mode: strict", [f"match.users[0]: {found}{_TAIL}"])
            for user, found in [
                ("system:node:*", "is a node"),
                ("system:node:worker-7", "is a node"),
                *(
                    (user, "is a pattern for service accounts; write their exact names")
                    for user in (
                        "system:serviceaccount:*",
                        "system:serviceaccount:shop:*",
                        "system:serviceaccount:*:on-call",
                        "system:serviceaccount:shop:on-cal?",
                        "regex:system:serviceaccount:shop:.*",
                    )
                ),
            ]
        ),
        *(
            (
                f"match: {{groups: ['{group}']}}, mode: strict",
                [f"match.groups[0]: is a group of service accounts{_TAIL}"],
            )
            for group in ("system:serviceaccounts:*", "system:serviceaccounts:shop", "regex:system:serviceaccounts:a")
        ),
        (
            "match: {groups: [sre]}, mode: skip",
            ["breakGlass: mode skip denies no image; expected mode analysis or strict"],
        ),
        ("match: {groups: [sre]}", ["breakGlass: mode passive denies no image; expected mode analysis or strict"]),
    ],
)
def test_break_glass_is_for_some_people(rule: str, problems: list[str]) -> None:
    found = _problems(f"rules: [{{name: on-call, {rule}, breakGlass: {{annotation: example.com/why}}}}]")
    assert found == [f"rules[0].{problem}" for problem in problems]


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("{}", "breakGlass.annotation: is required"),
        ("{annotation: ''}", "breakGlass.annotation: must not be empty"),
        ("{annotation: a b}", "breakGlass.annotation: expected a key such as app or example.com/team"),
        ("{label: a}", "breakGlass.annotation: is required"),
        ("true", "breakGlass: expected a mapping of keys to values; remove the key if it is empty"),
    ],
)
def test_a_mistake_in_break_glass(section: str, problem: str) -> None:
    found = _problems(f"rules: [{{name: it, match: {{groups: [sre]}}, mode: strict, breakGlass: {section}}}]")
    assert f"rules[0].{problem}" in found


@pytest.mark.parametrize(
    "text",
    [
        "exemptions: 5",
        "exemptions: [5, [], null]",
        "exemptions: [{match: 5, expires: [], name: {}}]",
        "exemptions: [{match: {images: {}, except: 5}, excuses: []}]",
        "limits: 5\nexemptions: [{expires: 2026-12-31}]",
        "limits: {exemptionDays: []}\nexemptions: [{expires: 2026-12-31}]",
        "rules: [{mode: [], breakGlass: {annotation: []}, match: 5}]",
        "rules: [{mode: {}, breakGlass: 5, match: {users: 5, groups: {}}}]",
        "rules: [{breakGlass: {annotation: a}, match: {users: [5, 'regex:(', {}]}}]",
        "defaults: {mode: []}\nrules: [{name: a, breakGlass: {annotation: a}}]",
    ],
)
def test_a_part_of_another_shape_is_reported_and_not_stumbled_over(text: str) -> None:
    assert _problems(text)


def test_a_mode_of_another_shape_is_reported() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_configuration("defaults: {mode: [strict]}", "c")
    assert "defaults.mode: expected one of passive, analysis, strict, skip" in map(str, caught.value.problems)
