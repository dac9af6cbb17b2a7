"""What the controller leaves behind: audit annotations, metrics, requests for analysis; and what a dry run does not."""

from typing import Any

import httpx
import pytest

from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.processes import LABEL, OPERATIONS, registered
from e2e.stage import Stage
from e2e.things import FAILING, KINDS, PASSING, PENDING, thing

pytestmark = pytest.mark.cluster

REQUESTOR = {"requestor": "anchore-admission-controller"}


def known(sandbox: httpx.Client, tag: str) -> list[dict[str, Any]]:
    """What Anchore has of a tag."""
    answer = sandbox.get("/v1/images", params={"fulltag": tag})
    return [] if answer.status_code == 404 else list(answer.raise_for_status().json())


def test_an_unknown_image_is_submitted_in_the_name_of_the_controller(stage: Stage) -> None:
    tag = "registry.example.com/team/told:1"

    answer = stage.create("passive", thing("Pod", tag, name="told"))

    record = until(lambda: known(stage.sandbox, tag), f"Anchore knows {tag}")[0]
    assert record["annotations"] == REQUESTOR
    assert answer.warnings == (
        f"Image analysis for image {tag} requested and found mapped to digest {record['imageDigest']}",
    )


@pytest.mark.parametrize("namespace", ["passive", "strict"])
def test_a_dry_run_leaves_anchore_as_it_was(stage: Stage, kubectl: Kubectl, namespace: str) -> None:
    tag = f"registry.example.com/team/dry-{namespace}:1"

    done = kubectl.run("kubectl", "run", "dry", "-n", namespace, f"--image={tag}", "--dry-run=server")

    assert (done.returncode == 0) == (namespace == "passive"), done.stderr
    assert "dry run" in done.stderr
    # Submissions are sent in order: once a later one has arrived, an earlier one would have.
    later = f"registry.example.com/team/later-{namespace}:1"
    stage.create("passive", thing("Pod", later, name=f"later-{namespace}"))
    until(lambda: known(stage.sandbox, later), f"Anchore knows {later}")
    assert known(stage.sandbox, tag) == []


def test_the_audit_log_has_the_verdict_on_what_was_denied(stage: Stage) -> None:
    assert stage.create("strict", thing("Pod", PASSING, FAILING, name="audited-denied")).code == 403

    told = stage.annotations("strict", "audited-denied", "create")

    assert told["verdict"] == "deny"
    assert told["rules"] == "defaults"
    first, second = told["images"].split("; ")
    assert first.startswith(f"{PASSING} sha256:")
    assert first.endswith("admit: policy_passed")
    assert second.startswith(f"{FAILING} sha256:")
    assert second.endswith("deny: policy_failed")


def test_the_audit_log_has_what_a_softer_rule_let_through(stage: Stage) -> None:
    assert stage.create("warned", thing("Pod", FAILING, name="audited-warned")).code == 201

    told = stage.annotations("warned", "audited-warned", "create")

    assert told["verdict"] == "deny"
    assert told["rules"] == "warned"


def test_the_audit_log_has_why_nothing_was_judged(stage: Stage) -> None:
    assert stage.create("strict", thing("Pod", PASSING, name="audited-exempt")).code == 201
    pod = "/api/v1/namespaces/strict/pods/audited-exempt"
    held = {"metadata": {"finalizers": ["e2e.anchore.io/held"]}}
    kind = "application/merge-patch+json"
    assert stage.api.call("PATCH", pod, held, content_type=kind).code == 200
    stage.api.call("DELETE", pod)
    assert stage.api.call("PATCH", pod, {"metadata": {"finalizers": []}}, content_type=kind).code == 200

    assert stage.annotations("strict", "audited-exempt", "patch") == {
        "verdict": "exempt",
        "exemptions": "being_deleted",
    }


def test_metrics_count_what_was_reviewed(stage: Stage) -> None:
    def denied() -> float:
        lines = httpx.get(f"{OPERATIONS}/metrics", trust_env=False).text.splitlines()
        counts = [
            line for line in lines if line.startswith("anchore_admission_reviews_total{") and 'outcome="denied"' in line
        ]
        return sum(float(line.rpartition(" ")[2]) for line in counts)

    before = denied()
    assert stage.create("strict", thing("Pod", FAILING)).code == 403

    assert denied() == before + 1


def test_the_api_server_counts_no_failed_call(stage: Stage) -> None:
    for kind in KINDS:
        stage.create("strict", thing(kind, FAILING), dry_run=True)

    calls = [
        call
        for call in stage.api.metrics(
            "apiserver_admission_webhook_request_total",
            "apiserver_admission_webhook_rejection_count",
            "apiserver_admission_webhook_fail_open_count",
        )
        if call.labels["name"] == stage.webhook
    ]

    answered = sum(call.value for call in calls if call.labels.get("code") == "403")  # a denial's own code
    assert answered >= len(KINDS)
    failed = [
        call
        for call in calls
        if call.labels.get("code", "200") not in {"200", "403"}
        or call.labels.get("error_type", "no_error") != "no_error"
        or call.name.endswith("fail_open_count")
    ]
    assert failed == []


def test_the_older_version_of_the_review_is_spoken_too(stage: Stage, namespaces: Namespaces) -> None:
    """An API server asks in v1beta1 when nothing newer is registered, and refuses an answer in another version."""
    name = namespaces("older", **{LABEL: "older"})

    with registered(stage.api, "older", stage.authority, versions=["v1beta1"], probe=name) as webhook:
        denied = stage.create(name, thing("Pod", FAILING))
        admitted = stage.create(name, thing("Deployment", PENDING, replicas=0))

    assert denied.message.startswith(f'admission webhook "{webhook}" denied the request: Image {FAILING} with digest')
    assert admitted.code == 201, admitted.message
    assert admitted.warnings[0].startswith(f"Image {PENDING} with digest")
