"""Cases that test the rules of a configuration."""

from typing import Any

import pytest

from anchore_admission.models.cases import Case
from anchore_admission.models.configuration import Configuration
from anchore_admission.services.reviews.cases import CaseLabels, differences
from anchore_admission.services.reviews.fact_source import NoFacts
from anchore_admission.services.reviews.judging import Judging
from anchore_admission.services.reviews.manual import ManualReviews
from anchore_admission.services.reviews.review import Reviews
from anchore_admission.services.reviews.rules import CurrentRules, Rules
from support.builders import pod_spec, template, workload
from support.fakes import FakeRecorder

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
PROD = {"namespaceSelector": {"matchLabels": {"env": "prod"}}}
EXEMPTION = {"name": "hotfix", "match": {"images": ["quay.io/*"]}, "reason": "r", "owner": "o", "expires": "2027-02-01"}
CONFIGURATION = Configuration.model_validate(
    {
        "rules": [
            {"name": "on-call", "match": {"users": ["jane"], "groups": ["on-call"]}, "mode": "analysis"},
            {"name": "labels", "match": {"objectSelector": {"matchLabels": {"tier": "a"}}}, "mode": "passive"},
            {
                "name": "prod",
                "match": PROD,
                "mode": "strict",
                "policy": "pci",
                "enforcement": "warn",
                "onError": "warn",
                "pin": "required",
            },
        ],
        "defaults": {"mode": "strict", "account": "default"},
        "exemptions": [EXEMPTION],
        "workloads": "deny",
    }
)
APP, OTHER = "quay.io/team/app:1", "docker.io/library/redis:7"


async def _differences(expect: dict[str, Any], **case: Any) -> list[str]:
    about = {"namespaceLabels": {}, **({} if "object" in case else {"image": OTHER}), **case}
    parsed = Case.model_validate({**about, "expect": expect})
    labels = CaseLabels(parsed.namespace_labels)
    rules = CurrentRules(Rules.of(CONFIGURATION))
    reviews = Reviews(rules, Judging(NoFacts(), labels, lambda: NOW), FakeRecorder())
    names = {"defaults", *(rule.name for rule in CONFIGURATION.rules)}
    return await differences(parsed, ManualReviews(reviews).explaining(), names)


POD = workload("Pod", pod_spec(APP, OTHER), metadata={"name": "web", "labels": {"tier": "a"}})


@pytest.mark.parametrize(
    ("case", "expect"),
    [
        ({}, {"rule": "defaults", "mode": "strict", "account": "default", "policy": None, "exemption": None}),
        ({"image": APP}, {"exemption": "hotfix"}),
        ({"user": "jane", "groups": ["on-call"]}, {"rule": "on-call", "mode": "analysis"}),
        ({"namespaceLabels": {"env": "prod"}}, {"policy": "pci", "enforcement": "warn", "onError": "warn"}),
        ({"namespaceLabels": {"env": "prod"}}, {"pin": "required"}),
        ({}, {"pin": False}),  # YAML's off
        ({"namespaceLabels": None}, {"problem": True}),
        ({"image": "sha256:" + "a" * 64}, {"problem": True, "mode": "strict"}),
        ({"object": POD}, {"rule": "labels"}),
        ({"object": POD, "image": APP}, {"exemption": "hotfix"}),
        ({"object": template("Deployment", APP)}, {"rule": "defaults"}),
    ],
)
async def test_a_case_passes_whose_expectation_holds(case: dict[str, Any], expect: dict[str, Any]) -> None:
    assert await _differences(expect, **case) == []


@pytest.mark.parametrize(
    ("case", "expect", "found"),
    [
        ({}, {"rule": "prod"}, ["rule: expected prod, got defaults (prod was passed over: namespaceSelector)"]),
        ({}, {"rule": "pord"}, ["rule: expected pord, got defaults (no rule has the name pord)"]),
        ({"namespaceLabels": {"env": "prod"}}, {"rule": "defaults"}, ["rule: expected defaults, got prod"]),
        (
            {"namespaceLabels": {"env": "prod"}},
            {"mode": "passive", "policy": None, "account": "other", "enforcement": "deny", "onError": "deny"},
            [
                "mode: expected passive, got strict",
                "account: expected other, got default",
                "policy: expected the active policy, got pci",
                "enforcement: expected deny, got warn",
                "onError: expected deny, got warn",
            ],
        ),
        ({}, {"pin": "required"}, ["pin: expected required, got off"]),
        ({}, {"policy": "pci"}, ["policy: expected pci, got the active policy"]),
        ({}, {"exemption": "hotfix"}, ["exemption: expected hotfix, got none"]),
        ({"image": APP}, {"exemption": None}, ["exemption: expected none, got hotfix"]),
        ({"namespaceLabels": None}, {"mode": "strict"}, ["problem: the labels of namespace default are not known"]),
        ({}, {"problem": True}, ["expected a problem, but there is none"]),
        (
            {"object": POD},
            {"exemption": "hotfix"},
            [f"{OTHER}: exemption: expected hotfix, got none"],
        ),
        ({"object": POD, "image": "quay.io/team/app:2"}, {"rule": "labels"}, ["the object does not name the image"]),
        ({"object": workload("Pod", {"containers": []})}, {"rule": "labels"}, ["the object holds no images"]),
        ({"object": {"apiVersion": "v1", "kind": "Service"}}, {"rule": "labels"}, ["the object holds no images"]),
        ({"object": {"kind": "Pod"}}, {"rule": "labels"}, ["not a Kubernetes object: it has no apiVersion and kind"]),
    ],
)
async def test_a_case_fails_with_what_differs(case: dict[str, Any], expect: dict[str, Any], found: list[str]) -> None:
    assert await _differences(expect, **case) == found
