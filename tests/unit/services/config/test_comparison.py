"""Changes between two configurations, in words."""

from typing import Any

import pytest

from anchore_admission.models.configuration import Configuration
from anchore_admission.services.config.comparison import MAX_CHANGES, changes, in_effect, waiting_for_restart

_A = {"name": "a", "match": {"namespaces": ["shop"]}, "mode": "strict"}
_B = {"name": "b", "mode": "skip"}
_E = {"name": "e", "match": {"images": ["a"]}, "reason": "r", "owner": "o", "expires": "2026-12-31"}


def _configuration(**document: Any) -> Configuration:
    return Configuration.model_validate({"anchore": {"endpoint": "http://anchore"}, **document})


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {}, []),
        ({"rules": [_A]}, {"rules": [_A, _B]}, ["rule b added, 2 of 2"]),
        ({"rules": [_A, _B]}, {"rules": [_B]}, ["rule a removed"]),
        ({"rules": [_A]}, {"rules": [{**_A, "mode": "passive"}]}, ["rule a: mode: strict -> passive"]),
        (
            {"rules": [_A]},
            {"rules": [{**_A, "match": {"namespaces": ["shop", "pay"], "users": ["u"]}}]},
            ["rule a: match.namespaces: [shop] -> [shop, pay]", "rule a: match.users: none -> [u]"],
        ),
        ({"rules": [_A]}, {"rules": [{**_A, "policy": "p"}]}, ["rule a: policy: none -> p"]),
        ({"rules": [_A, _B]}, {"rules": [_B, _A]}, ["rules in another order: b, a"]),
        (
            {"rules": [_A, _B]},
            {"rules": [_B, {"name": "c"}, _A]},
            ["rule c added, 2 of 3", "rules in another order: b, a"],
        ),
        ({}, {"defaults": {"mode": "strict"}}, ["defaults.mode: passive -> strict"]),
        ({}, {"defaults": {"requestAnalysis": False}}, ["defaults.requestAnalysis: true -> false"]),
        ({"workloads": "deny"}, {"unknownKinds": "deny"}, ["workloads: deny -> final", "unknownKinds: warn -> deny"]),
        ({"messages": {"notice": "n"}}, {}, ["messages.notice: n -> none"]),
        ({}, {"exemptions": [_E]}, ["exemption e added, 1 of 1"]),
        (
            {"exemptions": [_E]},
            {"exemptions": [{**_E, "expires": "2026-12-24T18:00:00Z"}]},
            ["exemption e: expires: 2027-01-01T00:00:00Z -> 2026-12-24T18:00:00Z"],
        ),
    ],
)
def test_a_change_is_named(old: dict[str, Any], new: dict[str, Any], expected: list[str]) -> None:
    assert changes(_configuration(**old), _configuration(**new)) == expected


def test_no_change_fills_the_log() -> None:
    many = [{"name": f"r{number}"} for number in range(MAX_CHANGES + 20)]
    found = changes(_configuration(), _configuration(rules=many))
    assert len(found) == MAX_CHANGES + 1
    assert found[-1] == "and 20 more changes"
    (long,) = changes(_configuration(rules=[_A]), _configuration(rules=[{**_A, "policy": "p\n" * 500}]))
    assert len(long) < 300
    assert "\n" not in long


@pytest.mark.parametrize(
    ("new", "waiting"),
    [
        ({}, []),
        ({"rules": [_A], "defaults": {"mode": "strict"}, "workloads": "off", "unknownKinds": "deny"}, []),
        ({"limits": {"images": 7, "exemptionDays": 9}, "messages": {"maxFindings": 1}, "exemptions": [_E]}, []),
        ({"anchore": {"endpoint": "http://other"}}, ["anchore.endpoint"]),
        ({"limits": {"images": 7, "body": 1024 * 1024}}, ["limits.body"]),
        ({"accounts": [{"name": "x"}]}, ["accounts"]),
        ({"memory": {"pass": 50}, "timeouts": {"read": 1}, "rules": [_A]}, ["memory.pass", "timeouts.read"]),
    ],
)
def test_what_needs_a_restart_keeps_its_former_value(new: dict[str, Any], waiting: list[str]) -> None:
    running, wanted = _configuration(), _configuration(**new)
    assert sorted(waiting_for_restart(running, wanted)) == sorted(waiting)
    effective = in_effect(running, wanted)
    assert (effective.rules, effective.defaults, effective.workloads) == (
        wanted.rules,
        wanted.defaults,
        wanted.workloads,
    )
    assert effective.limits.images == wanted.limits.images
    assert (effective.anchore, effective.memory, effective.limits.body) == (
        running.anchore,
        running.memory,
        running.limits.body,
    )


def test_every_section_is_either_reloaded_or_waits() -> None:
    """A section added later must not be ignored on a reload."""
    running = _configuration()
    dumped = {name: f"other {name}" for name in Configuration.model_fields}
    changed = running.model_copy(update=dumped | {"limits": running.limits})
    effective = in_effect(running, changed)
    reloaded = {name for name in dumped if name != "limits" and getattr(effective, name) == dumped[name]}
    assert reloaded == {"rules", "defaults", "exemptions", "workloads", "unknown_kinds", "messages"}
