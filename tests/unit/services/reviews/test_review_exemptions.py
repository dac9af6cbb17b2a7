"""Exemptions and break-glass on the path of a whole review."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from anchore_admission.core.decision import Decision, Effect
from anchore_admission.core.verdict import ReviewVerdict
from anchore_admission.errors import AnchoreUnavailable
from support.builders import Json, containers, pod, template, vulnerability
from support.fakes import digest_of, settled
from support.review_setup import APP, BAD, CONTROLLER, REGISTRY, ReviewSetup

END = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
LOG4J = vulnerability("CVE-2021-44228", "log4j-core", severity="CRITICAL", fix="2.17.0")
KEY = "example.com/reason"
EXEMPTION: Json = {
    "name": "log4j-hotfix",
    "match": {"images": [f"{REGISTRY}/*"], "namespaces": ["shop"]},
    "reason": "not loaded",
    "owner": "team-shop",
    "ticket": "SEC-1",
    "expires": "2026-12-31",
    "excuses": {"cves": ["CVE-2021-44228"]},
}
ON_CALL: Json = {
    "name": "on-call",
    "match": {"groups": ["on-call"]},
    "mode": "strict",
    "breakGlass": {"annotation": KEY},
}
GROUNDS = "owner team-shop, ticket SEC-1, until 2027-01-01T00:00:00Z"


def _setup(*exemptions: Json, rules: tuple[Json, ...] = (), now: float = END - 1, **defaults: Any) -> ReviewSetup:
    settings = {"defaults": {"mode": "strict", **defaults}, "rules": list(rules), "exemptions": list(exemptions)}
    setup = ReviewSetup(settings=settings, now=now)
    for image in (APP, BAD):
        setup.anchore.store(image)
        setup.fail_policy(image, LOG4J)
    return setup


def _trail(verdict: ReviewVerdict) -> str | None:
    return verdict.audit_annotations.get("exemptions")


async def test_an_exempt_pod_is_admitted_with_a_warning_and_its_verdict_stays() -> None:
    verdict = await _setup(EXEMPTION).review(pod(APP))

    assert (verdict.allowed, verdict.decision, verdict.message) == (True, Decision.DENY, "")
    assert verdict.warnings == (f"Exemption log4j-hotfix admits image {APP}: not loaded ({GROUNDS})",)
    assert verdict.audit_annotations["verdict"] == "deny"
    assert verdict.audit_annotations["exemptions"] == f"exemption log4j-hotfix: not loaded ({GROUNDS})"
    image = f"{APP} {digest_of(APP)} amd64 deny: policy_failed, admitted by log4j-hotfix"
    assert verdict.audit_annotations["images"] == image


async def test_an_exemption_ends_at_its_moment() -> None:
    setup = _setup(EXEMPTION)
    before = await setup.review(pod(APP))
    setup.now = END
    after = await setup.review(pod(APP))

    assert (before.allowed, after.allowed) == (True, False)
    assert _trail(after) is None


async def test_the_moment_counts_at_which_anchore_has_answered() -> None:
    setup = _setup(EXEMPTION)
    answer = setup.anchore.hang("by_tag")
    reviewing = asyncio.create_task(setup.review(pod(APP)))
    await settled()
    setup.now = END
    answer.set()

    assert not (await reviewing).allowed


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({}, True),
        ({"match": {"namespaces": ["other"]}}, False),
        ({"match": {"users": ["jane"]}}, True),
        ({"match": {"users": ["joe"]}}, False),
        ({"match": {"images": [f"{REGISTRY}/app@{digest_of(APP)}"]}}, True),
        ({"match": {"images": [f"{REGISTRY}/app@{digest_of(BAD)}"]}}, False),
        ({"match": {"kinds": ["Pod"], "except": {"images": [f"{REGISTRY}/app"]}}}, False),
        ({"match": {"namespaceSelector": {"matchLabels": {"a": "b"}}}}, False),
        ({"excuses": {"cves": ["CVE-2021-4422"]}}, False),
        ({"excuses": {"findings": ["vulnerabilities:package"]}}, True),
        ({"excuses": {"findings": ["dockerfile:instruction"]}}, False),
    ],
)
async def test_an_exemption_applies_where_it_matches(change: Json, *, allowed: bool) -> None:
    assert (await _setup({**EXEMPTION, **change}).review(pod(APP))).allowed is allowed


async def test_a_pod_with_another_denied_image_stays_denied_and_the_trail_shows_the_exemption() -> None:
    setup = _setup({**EXEMPTION, "match": {"images": [f"{REGISTRY}/app"]}})
    verdict = await setup.review(pod(APP, BAD))

    assert not verdict.allowed
    assert APP not in verdict.message
    assert "log4j-hotfix" in (_trail(verdict) or "")
    assert verdict.audit_annotations["images"].startswith(BAD)


async def test_many_warnings_do_not_hide_an_exemption() -> None:
    setup = _setup(
        {**EXEMPTION, "match": {"images": [f"{REGISTRY}/app"]}},
        rules=({"name": "soft", "match": {"except": {"images": [f"{REGISTRY}/app"]}}, "enforcement": "warn"},),
    )
    verdict = await setup.review(pod(*(f"{REGISTRY}/other:{n}" for n in range(30)), APP))

    assert verdict.allowed
    assert len(verdict.warnings) == 10
    assert verdict.warnings[0].startswith("Exemption log4j-hotfix admits image")
    assert "log4j-hotfix" in (_trail(verdict) or "")


async def test_one_warning_names_an_exemption_of_many_images() -> None:
    verdict = await _setup(EXEMPTION).review(pod(APP, BAD))

    assert verdict.warnings == (f"Exemption log4j-hotfix admits image {APP} and 1 more: not loaded ({GROUNDS})",)


async def test_every_exemption_in_use_is_in_the_trail_however_many_and_long() -> None:
    exemptions = [
        {**EXEMPTION, "name": f"e{n}", "match": {"images": [f"{REGISTRY}/app-{n}"]}, "reason": "r" * 1000}
        for n in range(20)
    ]
    setup = _setup(*exemptions)
    images = [f"{REGISTRY}/app-{n}:1" for n in range(20)]
    for image in images:
        setup.anchore.store(image)
        setup.fail_policy(image, LOG4J)
    verdict = await setup.review(pod(*images))

    assert verdict.allowed
    trail = _trail(verdict) or ""
    assert trail == "; ".join(f"exemption e{n}" for n in range(20))
    assert max(map(len, verdict.warnings)) <= 250
    assert all("until 2027-01-01T00:00:00Z" in warning for warning in verdict.warnings[:9])


async def test_a_template_uses_the_exemption_too() -> None:
    verdict = await _setup(EXEMPTION).review(template("Deployment", APP))

    assert (verdict.allowed, len(verdict.warnings)) == (True, 1)
    assert "log4j-hotfix" in (_trail(verdict) or "")


@pytest.mark.parametrize(
    ("enforcement", "effect", "warnings"),
    [("deny", Effect.WARN, 1), ("warn", Effect.WARN, 1), ("audit", Effect.ALLOW, 0)],
)
async def test_enforcement_does_not_hide_an_exemption(enforcement: str, effect: Effect, warnings: int) -> None:
    verdict = await _setup(EXEMPTION, enforcement=enforcement).review(pod(APP))

    assert (verdict.images[0].effect, len(verdict.warnings)) == (effect, warnings)
    assert "log4j-hotfix" in (_trail(verdict) or "")


async def test_an_object_that_is_denied_as_a_whole_has_no_exemption() -> None:
    setup = _setup({**EXEMPTION, "excuses": None})
    images = [f"{REGISTRY}/app:{n}" for n in range(201)]

    assert not (await setup.review(pod(*images))).allowed
    assert not (await setup.review({**pod(APP), "spec": {"containers": 5}})).allowed


async def test_an_exemption_of_everything_admits_while_anchore_is_down() -> None:
    setup = _setup({key: value for key, value in EXEMPTION.items() if key != "excuses"}, EXEMPTION)
    setup.anchore.fail("by_tag", AnchoreUnavailable("down"))
    verdict = await setup.review(pod(APP))

    assert (verdict.allowed, verdict.decision) == (True, Decision.NO_VERDICT)
    assert "errors" in verdict.audit_annotations


def _bare(*images: str, reason: str | None = "the shop\nis down") -> Json:
    return pod(*images, metadata={"annotations": {KEY: reason}} if reason is not None else None)


@pytest.mark.parametrize("rules", [(ON_CALL,), (ON_CALL, {"name": "everyone"})])
async def test_break_glass_admits_the_pod_of_a_person_on_call(rules: tuple[Json, ...]) -> None:
    verdict = await _setup(rules=rules).review(_bare(APP), groups=("on-call",))

    assert (verdict.allowed, verdict.decision) == (True, Decision.DENY)
    assert verdict.warnings == (f"Break-glass of rule on-call admits image {APP}: the shop is down",)
    assert _trail(verdict) == "break_glass on-call: the shop is down"
    assert verdict.audit_annotations["images"].endswith("deny: policy_failed, admitted by on-call")


@pytest.mark.parametrize(
    ("body", "groups", "user"),
    [
        (_bare(APP), ("developers",), "jane"),
        (_bare(APP, reason=None), ("on-call",), "jane"),
        (_bare(APP, reason=" \t\u200b"), ("on-call",), "jane"),
        # The author of a Deployment writes the annotation, but its controller creates the Pod.
        (_bare(APP), ("system:serviceaccounts", "system:authenticated"), CONTROLLER),
        (template("Deployment", APP, metadata={"annotations": {KEY: "why"}}), ("on-call",), "jane"),
        (template("Job", APP, metadata={"annotations": {KEY: "why"}}), ("on-call",), "jane"),
        (pod("sha256:" + "0" * 64, metadata={"annotations": {KEY: "why"}}), ("on-call",), "jane"),
        (pod(APP, metadata={"labels": {KEY: "why"}}), ("on-call",), "jane"),
        (pod(APP, metadata={"annotations": {f"{KEY}s": "why", KEY.upper(): "why"}}), ("on-call",), "jane"),
    ],
)
async def test_break_glass_needs_the_person_a_pod_and_a_reason(body: Json, groups: tuple[str, ...], user: str) -> None:
    verdict = await _setup(rules=(ON_CALL,)).review(body, groups=groups, user=user)

    assert not verdict.allowed
    assert _trail(verdict) is None


async def test_the_denial_of_a_person_on_call_names_the_annotation() -> None:
    setup = _setup(rules=(ON_CALL,))
    on_call = await setup.review(_bare(APP, reason=None), groups=("on-call",))
    other = await setup.review(_bare(APP, reason=None))

    assert f"In an emergency, give a reason in the Pod's annotation {KEY}\n" in on_call.message
    assert "emergency" not in other.message


async def test_an_ephemeral_container_is_admitted_by_the_annotation_of_its_pod() -> None:
    setup = _setup(rules=(ON_CALL,))
    old = _bare("registry.example.com/fine:1")
    new = json.loads(json.dumps(old))
    new["spec"]["ephemeralContainers"] = containers(APP)
    admitted = await setup.review(new, old=old, subresource="ephemeralcontainers", groups=("on-call",))
    del new["metadata"]["annotations"]
    denied = await setup.review(new, old=old, subresource="ephemeralcontainers", groups=("on-call",))

    assert (admitted.allowed, denied.allowed) == (True, False)


async def test_removing_the_annotation_with_an_update_of_the_image_ends_break_glass() -> None:
    setup = _setup(rules=(ON_CALL,))
    old, new = _bare(APP), _bare(BAD, reason=None)

    assert not (await setup.review(new, old=old, groups=("on-call",))).allowed
    assert (await setup.review(_bare(APP, reason=None), old=old, groups=("on-call",))).allowed, "no new image"


async def test_break_glass_needs_a_rule_that_certainly_applies() -> None:
    selective = {**ON_CALL, "match": {"groups": ["on-call"], "namespaceSelector": {"matchLabels": {"env": "dev"}}}}
    verdict = await _setup(rules=(selective,)).review(_bare(APP), groups=("on-call",))

    assert not verdict.allowed
    assert _trail(verdict) is None
    assert "emergency" not in verdict.message
