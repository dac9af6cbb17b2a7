"""The setting ``workloads`` for denied templates; Pods are denied regardless of it."""

from collections.abc import Iterator

import pytest

from e2e.cluster.waiting import until
from e2e.stage import CONFIGURATION, VALUES, Stage
from e2e.things import FAILING, PENDING, TEMPLATES, Json, thing

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def changing(stage: Stage) -> Iterator[Stage]:
    """A stage whose configuration is restored for the tests that follow."""
    yield stage
    renew(stage, VALUES)


@pytest.fixture(scope="module", params=["deny", "warn", "off"])
def workloads(changing: Stage, request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    renew(changing, {**VALUES, "config": {**CONFIGURATION, "workloads": chosen}, "shutdownDelay": "0s"})
    return chosen


def renew(stage: Stage, values: Json) -> None:
    """Install another configuration and wait until no replica runs the previous one."""
    before = {pod["metadata"]["uid"] for pod in stage.release.pods()}
    stage.release.install(values)
    labels = "labelSelector=app.kubernetes.io/component=webhook"

    def gone() -> bool:
        found = stage.api.get(f"/api/v1/namespaces/{stage.release.name}/pods?{labels}")["items"]
        return not before & {pod["metadata"]["uid"] for pod in found}

    until(gone, "the old replicas have gone", 180)


@pytest.mark.parametrize("image", [FAILING, PENDING])
@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_denied_template_is_treated_as_the_setting_says(stage: Stage, workloads: str, kind: str, image: str) -> None:
    answer = stage.create("strict", thing(kind, image), dry_run=True)

    match workloads:
        case "deny":
            assert stage.denial(answer).startswith(f"Image {image} with digest sha256:")
        case "warn":
            assert answer.code == 201, answer.message
            assert [text.partition(" sha256:")[0] for text in answer.warnings] == [f"Image {image} with digest"]
        case _:
            assert (answer.code, answer.warnings) == (201, ()), answer.message


@pytest.mark.parametrize("image", [FAILING, PENDING])
def test_a_pod_is_denied_regardless_of_the_setting(stage: Stage, workloads: str, image: str) -> None:
    assert stage.denial(stage.create("strict", thing("Pod", image))).startswith(f"Image {image} with digest sha256:")
