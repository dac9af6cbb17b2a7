"""Static Pods: the kubelet runs them without admission; their mirror Pods only show them."""

import json
from collections.abc import Iterator

import pytest

from e2e.cluster.cluster import Cluster
from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until
from e2e.stage import Stage
from e2e.things import FAILING, thing

pytestmark = pytest.mark.cluster

MIRROR = "kubernetes.io/config.mirror"


@pytest.fixture
def mirror(cluster: Cluster, stage: Stage) -> Iterator[str]:
    """The mirror's name. The file is moved to where a kubelet looks, so that it is never read in part."""
    node = cluster.nodes[0]
    made = thing("Pod", FAILING, name="static", runs=True)
    made["metadata"]["namespace"] = "strict"
    draft, file = node.place.folder / "static.json", node.static_pods / "static.json"
    draft.write_text(json.dumps(made))
    draft.rename(file)
    name = f"static-{node.name}"
    yield name
    file.unlink()
    pod = f"/api/v1/namespaces/strict/pods/{name}"
    until(lambda: stage.api.call("GET", pod).code == 404, f"{name} is gone")


def test_a_mirror_pod_is_admitted_and_recorded(stage: Stage, kubectl: Kubectl, request: pytest.FixtureRequest) -> None:
    before = stage.counted("anchore_admission_reviews_total", outcome="out_of_scope", operation="CREATE")

    name = request.getfixturevalue("mirror")

    pod = until(lambda: stage.api.get(f"/api/v1/namespaces/strict/pods/{name}"), f"{name} is there")
    assert MIRROR in pod["metadata"]["annotations"]
    assert stage.annotations("strict", name, "create") == {"verdict": "out-of-scope", "scope": "mirror_pod"}
    assert stage.counted("anchore_admission_reviews_total", outcome="out_of_scope", operation="CREATE") > before
    kubectl("wait", "-n", "strict", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")


def test_a_pod_that_a_user_marks_as_a_mirror_is_judged(stage: Stage) -> None:
    node = stage.api.get("/api/v1/nodes")["items"][0]["metadata"]["name"]
    made = thing("Pod", FAILING, name="pretended", nodeName=node)
    made["metadata"]["annotations"] = {MIRROR: "0123456789abcdef"}

    assert stage.denial(stage.create("strict", made)).startswith(f"Image {FAILING} with digest sha256:")
