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
    renew(changing, {**VALUES, "config": {**CONFIGURATION, "workloads": chosen}})
    return chosen


def renew(stage: Stage, values: Json) -> None:
    """Install another configuration and wait until every replica follows it."""
    before = hashes(stage)
    stage.release.install(values)

    def follow() -> bool:
        stage.release.nudge()
        now = hashes(stage)
        return len(now) == 1 and now != before

    until(follow, "every replica follows the new configuration", 180, every=2)


def hashes(stage: Stage) -> set[str]:
    """Return the hashes of the configurations that the replicas follow."""
    samples = stage.release.metrics("anchore_admission_configuration_info")
    return {sample.labels["hash"] for each in samples for sample in each}


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
