"""The policy in docs/examples/kyverno decides with the facts endpoint's answers, and denies without them."""

from collections.abc import Mapping
from typing import Any

import jmespath.exceptions
import pytest
import yaml

from anchore_admission.core.facts import Finding
from anchore_admission.models.image_report import ReportedVerdict
from support.facts_port import BAD, GOOD, REPOSITORY, FactsPortSetup
from support.image_reports import APP, INIT, WARNED, pod, report
from support.kyverno import CallFailed, KyvernoRule
from support.paths import DOCS

POLICY = yaml.safe_load((DOCS / "examples" / "kyverno" / "cluster-policy.yaml").read_text())
(RULE,) = POLICY["spec"]["rules"]
PENDING = f"{REPOSITORY}/pending:1"
STOPPED = ReportedVerdict("deny", "policy_failed")


def denials(
    answer: Mapping[str, Any], created: Mapping[str, Any], before: Mapping[str, Any] | None = None
) -> list[str]:
    request = {"object": created, "oldObject": before}
    return KyvernoRule(RULE, lambda _: answer).denials(request)


def test_a_rule_without_facts_denies() -> None:
    """Kyverno blocks on an error of a rule only with ``Fail``; a default would stand in for the missing answer."""
    (call,) = (entry["apiCall"] for entry in RULE["context"] if "apiCall" in entry)

    assert POLICY["spec"]["webhookConfiguration"]["failurePolicy"] == "Fail"
    assert RULE["validate"]["failureAction"] == "Enforce"
    assert "default" not in call
    assert (call["method"], call["service"]["url"].rpartition("/")[2]) == ("POST", "facts")


def test_the_other_kind_of_policy_denies_on_errors_too() -> None:
    other = yaml.safe_load((DOCS / "examples" / "kyverno" / "validating-policy.yaml").read_text())

    assert (other["spec"]["failurePolicy"], other["spec"]["validationActions"]) == ("Fail", ["Deny"])
    assert other["metadata"]["name"] == POLICY["metadata"]["name"]


ANSWERS = [
    ("passes", {"images": [report()]}, []),
    ("no image answered", {"images": []}, ["Anchore's facts are missing."]),
    ("another image answered", {"images": [report(INIT)]}, ["Anchore's facts are missing."]),
    (
        "stopped",
        {"images": [report(verdict=STOPPED)]},
        ["These images do not pass Anchore's policy: registry.example.com/app:1"],
    ),
    (
        "no verdict",
        {"images": [report(verdict=None)]},
        ["These images do not pass Anchore's policy: registry.example.com/app:1"],
    ),
]


@pytest.mark.parametrize(("answer", "messages"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_the_verdict_decides(answer: Mapping[str, Any], messages: list[str]) -> None:
    assert denials(answer, pod(APP)) == messages


@pytest.mark.parametrize("answer", [{}, {"images": None}, [], "facts"], ids=str)
def test_an_answer_of_another_shape_is_an_error(answer: Any) -> None:
    with pytest.raises((jmespath.exceptions.JMESPathTypeError, TypeError)):
        denials(answer, pod(APP))


PRIVILEGED = {"image": APP, "securityContext": {"privileged": True}}
EXPOSED = [
    (pod(APP), 0),
    (pod(APP, hostNetwork=False), 0),
    (pod(APP, hostNetwork=True), 1),
    ({"spec": {"containers": [PRIVILEGED]}}, 1),
    (pod(APP, initContainers=[PRIVILEGED]), 1),
    (pod(APP, ephemeralContainers=[PRIVILEGED]), 1),
]


@pytest.mark.parametrize(("created", "count"), EXPOSED)
@pytest.mark.parametrize(
    "facts",
    [report(findings=(WARNED,)), report(findings_total=None), report(findings_total=9)],
    ids=["severe", "unknown", "cut"],
)
def test_findings_count_where_the_pod_is_exposed(
    created: Mapping[str, Any], count: int, facts: Mapping[str, Any]
) -> None:
    assert len(denials({"images": [facts]}, created)) == count


def test_the_images_of_every_place_are_asked_about() -> None:
    asked: list[Any] = []

    def call(body: Any) -> Any:
        asked.append(body)
        raise CallFailed

    created = pod(
        "app",
        initContainers=[{"image": "init"}],
        ephemeralContainers=[{"image": "debug"}],
        volumes=[{"name": "empty", "emptyDir": {}}, {"name": "image", "image": {"reference": "volume"}}],
    )
    with pytest.raises(CallFailed):
        KyvernoRule(RULE, call).denials({"object": created, "oldObject": None})

    assert asked == [{"images": ["init", "app", "debug", "volume"]}]


def test_an_update_without_a_new_image_is_not_asked_about() -> None:
    assert denials({}, pod(APP), before=pod(APP)) == []
    assert denials({"images": [report(), report(INIT)]}, pod(APP, INIT), before=pod(APP)) == []
    assert denials({"images": [report()]}, pod(APP, INIT), before=pod(APP)) == ["Anchore's facts are missing."]


ASKED = [
    (pod(GOOD), []),
    (pod(GOOD, hostNetwork=True), ["This Pod is exposed, and its images have severe findings."]),
    (pod(BAD), [f"These images do not pass Anchore's policy: {BAD}"]),
    (pod(GOOD, initContainers=[{"image": BAD}]), [f"These images do not pass Anchore's policy: {BAD}"]),
    (pod(PENDING, GOOD), [f"These images do not pass Anchore's policy: {PENDING}"]),
    (pod(GOOD, GOOD), []),
    (pod("Bad Key"), ["These images do not pass Anchore's policy: Bad Key"]),
]


@pytest.mark.parametrize(("created", "messages"), ASKED)
async def test_the_endpoint_answers_the_question_of_the_policy(created: Mapping[str, Any], messages: list[str]) -> None:
    port = FactsPortSetup()
    port.warn(GOOD, Finding("vulnerabilities", "package", "CVE-2026-1+ssl", "HIGH in ssl", action="warn"))
    port.pend(PENDING)
    asked: list[Any] = []

    def call(body: Any) -> Any:
        asked.append(body)
        raise CallFailed

    with pytest.raises(CallFailed):
        KyvernoRule(RULE, call).denials({"object": created, "oldObject": None})
    answer = await port.post(asked[0])

    assert answer.status_code == 200, answer.text
    assert denials(answer.json(), created) == messages
