"""Anchore fails, and the image is not remembered: Pods are denied, templates are warned about, and why is said."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from e2e.cluster.cluster import Cluster
from e2e.cluster.waiting import until
from e2e.stage import Stage
from e2e.things import TEMPLATES, thing

pytestmark = pytest.mark.cluster

FAULT = {"mode": "fail", "status": 500, "methods": ["GET"], "paths": ["/images"]}
"""Every look-up and every check; submissions are not affected."""
UNASKED = "registry.example.com/team/unasked:1"
"""An image that passes, and that the controller never sees while Anchore answers."""
SAID = f"Image {UNASKED} could not be checked: Anchore failed with a server error (500)"


@pytest.fixture(scope="module", autouse=True)
def analyzed(stage: Stage) -> None:
    """Anchore has analyzed the image, at the request of somebody else."""
    stage.sandbox.post("/v1/images", json={"tag": UNASKED}).raise_for_status()
    until(lambda: stage.known(UNASKED)[0]["analysis_status"] == "analyzed", f"{UNASKED} is analyzed")


@contextmanager
def failing(stage: Stage) -> Iterator[Stage]:
    """A stage whose Anchore fails until the test module ends."""
    stage.sandbox.put("/sandbox/faults", json=[FAULT]).raise_for_status()
    try:
        yield stage
    finally:
        stage.sandbox.delete("/sandbox/faults").raise_for_status()


@pytest.fixture
def unanswered(stage: Stage) -> Iterator[Stage]:
    with failing(stage):
        yield stage


@pytest.mark.parametrize("namespace", ["strict", "analysis"])
def test_a_pod_is_denied(unanswered: Stage, namespace: str) -> None:
    assert unanswered.denial(unanswered.create(namespace, thing("Pod", UNASKED))) == SAID


@pytest.mark.parametrize("kind", TEMPLATES)
@pytest.mark.parametrize("namespace", ["strict", "analysis"])
def test_a_template_is_admitted_with_a_warning(unanswered: Stage, namespace: str, kind: str) -> None:
    """Anchore may answer when its Pods come."""
    answer = unanswered.create(namespace, thing(kind, UNASKED, name="unchecked", replicas=0))

    assert (answer.code, answer.warnings) == (201, (SAID,)), answer.message


def test_where_nothing_is_denied_it_is_warned_about(unanswered: Stage) -> None:
    answer = unanswered.create("warned", thing("Pod", UNASKED, name="unchecked"))

    assert (answer.code, answer.warnings) == (201, (SAID,)), answer.message


def test_skip_mode_is_not_affected(unanswered: Stage) -> None:
    answer = unanswered.create("skipped", thing("Pod", UNASKED, name="unchecked"))

    assert (answer.code, answer.warnings) == (201, ()), answer.message


def test_the_audit_log_has_the_error(cluster: Cluster, unanswered: Stage) -> None:
    assert unanswered.create("strict", thing("Pod", UNASKED, name="audited-unchecked")).code == 403

    annotations = unanswered.annotations("strict", "audited-unchecked", "create")

    assert annotations["verdict"] == "no_verdict"
    assert annotations["errors"] == f"{UNASKED}: unavailable"
    assert annotations["images"].endswith("no_verdict: error")


def test_a_failure_is_not_remembered(stage: Stage) -> None:
    with failing(stage):
        assert stage.create("strict", thing("Pod", UNASKED)).code == 403

    answer = stage.create("strict", thing("Pod", UNASKED, name="checked-again"))

    assert (answer.code, answer.warnings) == (201, ()), answer.message
