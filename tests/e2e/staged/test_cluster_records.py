"""Records of reviews: audit annotations, metrics and submissions; a dry run leaves none in Anchore."""

from typing import Any

import pytest

from e2e import calls
from e2e.cluster.cluster import Cluster
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.release import REGISTRATIONS
from e2e.stage import LABEL, NAMESPACES, NOTICE, Stage
from e2e.things import FAILING, KINDS, PASSING, PENDING, thing

pytestmark = pytest.mark.cluster

REQUESTOR = {"requestor": "anchore-admission-controller"}
MERGE = "application/merge-patch+json"


def held(stage: Stage) -> dict[str, Any]:
    """All that the sandbox holds, and how often the controller has asked it to hold more."""
    return {
        "images": stage.images(),
        "sandbox": stage.sandbox.get("/sandbox").json(),
        "policies": stage.sandbox.get("/v1/policies").json(),
        "requests": stage.counted("anchore_admission_analysis_requests_total"),
        "submissions": stage.counted("anchore_admission_anchore_calls_total", operation="submit"),
    }


def is_quiet(stage: Stage) -> bool:
    """Return whether all submissions are sent and no analysis is in progress."""
    under_way = ("anchore_admission_analysis_queue_depth", "anchore_admission_anchore_calls_in_flight")
    changing = {image["analysis_status"] for image in stage.images() if PENDING not in str(image["image_detail"])}
    return not any(map(stage.counted, under_way)) and changing <= {"analyzed", "analysis_failed"}


def test_an_unknown_image_is_submitted_in_the_name_of_the_controller(stage: Stage) -> None:
    tag = "registry.example.com/team/recorded:1"

    answer = stage.create("passive", thing("Pod", tag, name="recorded"))

    record = until(lambda: stage.known(tag), f"Anchore knows {tag}")[0]
    assert record["annotations"] == REQUESTOR
    assert answer.warnings == (
        f"Image analysis for image {tag} requested and found mapped to digest {record['imageDigest']}",
    )


@pytest.mark.parametrize("namespace", NAMESPACES)
@pytest.mark.parametrize("image", [PASSING, FAILING])
def test_every_verdict_says_that_it_is_the_sandbox_s(stage: Stage, namespace: str, image: str) -> None:
    assert stage.api.create(namespace, thing("Pod", image), dry_run=True).warnings[-1] == NOTICE


@pytest.mark.parametrize("namespace", ["passive", "analysis", "strict"])
@pytest.mark.parametrize("image", ["registry.example.com/team/dry:1", PASSING, "broken:1"])
def test_a_dry_run_leaves_anchore_as_it_was(stage: Stage, kubectl: Kubectl, namespace: str, image: str) -> None:
    """Unknown, known and failed images: what else would be asked for, refreshed, or asked for again."""
    until(lambda: is_quiet(stage), "nothing is under way")
    before = held(stage)

    done = kubectl.run("kubectl", "run", "dry", "-n", namespace, f"--image={image}", "--dry-run=server")

    assert (done.returncode == 0) == (namespace == "passive" or image == PASSING), done.stderr
    assert ("dry run" in done.stderr) == (namespace == "passive" or image != PASSING)
    until(lambda: is_quiet(stage), "nothing is under way")
    assert held(stage) == before


def test_requests_that_are_not_dry_runs_would_be_noticed(stage: Stage) -> None:
    until(lambda: is_quiet(stage), "nothing is under way")
    before = held(stage)

    stage.create("strict", thing("Pod", "registry.example.com/team/wet:1"))

    until(lambda: held(stage)["requests"] == before["requests"] + 1 and is_quiet(stage), "it is asked for")
    after = held(stage)
    assert after["submissions"] == before["submissions"] + 1
    assert len(after["images"]) == len(before["images"]) + 1
    assert after["sandbox"]["images"] == before["sandbox"]["images"] + 1


def test_the_audit_log_has_the_verdict_of_a_denial(cluster: Cluster, stage: Stage) -> None:
    assert stage.create("strict", thing("Pod", PASSING, FAILING, name="audited-denied")).code == 403

    annotations = stage.annotations("strict", "audited-denied", "create")

    assert annotations["verdict"] == "deny"
    assert annotations["rules"] == "defaults"
    first, second = annotations["images"].split("; ")  # the denied one first
    assert first.startswith(f"{FAILING} sha256:")
    assert first.endswith("deny: policy_failed")
    assert second.startswith(f"{PASSING} sha256:")
    assert second.endswith("admit: policy_passed")


def test_the_audit_log_has_denials_that_were_only_warned_about(cluster: Cluster, stage: Stage) -> None:
    assert stage.create("warned", thing("Pod", FAILING, name="audited-warned")).code == 201

    annotations = stage.annotations("warned", "audited-warned", "create")

    assert annotations["verdict"] == "deny"
    assert annotations["rules"] == "warned"


def test_the_audit_log_has_the_reason_why_nothing_was_judged(cluster: Cluster, stage: Stage) -> None:
    """A change of nothing but its finalizers would not even reach the controller."""
    made = thing("Deployment", PASSING, name="audited-out-of-scope", replicas=0)
    made["metadata"]["finalizers"] = ["e2e.anchore.io/held"]
    assert stage.create("strict", made).code == 201
    deployment = "/apis/apps/v1/namespaces/strict/deployments/audited-out-of-scope"
    stage.api.call("DELETE", deployment)
    template = {"metadata": {"annotations": {"e2e": "changed"}}}
    change = {"metadata": {"finalizers": []}, "spec": {"template": template}}
    assert stage.api.call("PATCH", deployment, change, content_type=MERGE).code == 200

    assert stage.annotations("strict", "audited-out-of-scope", "patch") == {
        "verdict": "out-of-scope",
        "scope": "being_deleted",
    }


def test_metrics_count_reviews(stage: Stage) -> None:
    before = stage.counted("anchore_admission_reviews_total", outcome="denied")
    assert stage.create("strict", thing("Pod", FAILING)).code == 403

    assert stage.counted("anchore_admission_reviews_total", outcome="denied") == before + 1


def test_the_api_server_counts_no_failed_call(stage: Stage) -> None:
    before = calls.answered(stage.api, stage.webhook, "403")

    for kind in KINDS:
        stage.create("strict", thing(kind, FAILING), dry_run=True)

    assert calls.answered(stage.api, stage.webhook, "403") >= before + len(KINDS)
    assert stage.missed() == {}


def test_the_older_version_of_the_review_is_spoken_too(stage: Stage, namespaces: Namespaces) -> None:
    """An API server asks in v1beta1 when nothing newer is registered, and refuses an answer in another version."""
    name = namespaces("older", **{LABEL: "older"})
    older = {
        **stage.release.registration(),
        "name": "older.admission.anchore.io",
        "admissionReviewVersions": ["v1beta1"],
        "namespaceSelector": {"matchLabels": {LABEL: "older"}},
    }
    made = stage.api.call("POST", REGISTRATIONS, {"metadata": {"name": "older"}, "webhooks": [older]})
    assert made.allowed, made.message
    try:
        until(lambda: stage.create(name, thing("Pod", FAILING), dry_run=True).code == 403, "it is called")
        denied = stage.create(name, thing("Pod", FAILING))
        admitted = stage.create(name, thing("Deployment", PENDING, replicas=0))
    finally:
        stage.api.call("DELETE", f"{REGISTRATIONS}/older")

    assert denied.message.startswith(f'admission webhook "{older["name"]}" denied the request: Image {FAILING} with')
    assert admitted.code == 201, admitted.message
    assert admitted.warnings[0].startswith(f"Image {PENDING} with digest")
