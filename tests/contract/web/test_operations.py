import json
from collections.abc import AsyncIterator

import httpx
import pytest

from anchore_admission import __version__
from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.web.operations import Readiness, create_operations
from support.webhook import failure


@pytest.fixture
def readiness() -> Readiness:
    return Readiness("configuration", "listening")


@pytest.fixture
async def client(readiness: Readiness) -> AsyncIterator[httpx.AsyncClient]:
    app = create_operations(readiness, Telemetry().exposition, lambda: 0, lambda: {"hash": "0123456789ab"})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://operations") as client:
        yield client


async def test_the_process_is_alive_whatever_its_readiness(client: httpx.AsyncClient) -> None:
    answer = await client.get("/livez")
    assert (answer.status_code, answer.text) == (200, "ok")


async def test_readiness_needs_every_condition_and_lists_them(client: httpx.AsyncClient, readiness: Readiness) -> None:
    readiness.set("configuration", True)
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "conditions": {"configuration": True, "listening": False}}
    readiness.set("listening", True)
    answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["ready"] is True
    readiness.set("listening", False)
    assert (await client.get("/readyz")).status_code == 503


def test_a_condition_that_was_not_named_is_a_mistake(readiness: Readiness) -> None:
    with pytest.raises(KeyError, match="lisening"):
        readiness.set("lisening", True)


def test_a_watched_condition_is_evaluated_each_time(readiness: Readiness) -> None:
    listening = [False]
    readiness.set("configuration", True)
    readiness.watch("listening", lambda: listening[0])
    assert not readiness.is_ready()
    listening[0] = True
    assert readiness.is_ready()


def test_the_conditions_cannot_be_changed_from_outside(readiness: Readiness) -> None:
    readiness.conditions()["listening"] = True
    assert readiness.conditions() == {"configuration": False, "listening": False}


async def test_the_version_is_exposed(client: httpx.AsyncClient) -> None:
    version = json.loads((await client.get("/version")).content)
    assert version["version"] == __version__
    assert version["configuration"] == {"hash": "0123456789ab"}
    assert version.keys() == {"version", "python", "configuration"}


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ],
)
async def test_metrics_are_served_in_the_accepted_format(
    accept: str, media_type: str, client: httpx.AsyncClient
) -> None:
    answer = await client.get("/metrics", headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(media_type)
    assert "anchore_admission_build_info{" in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/livez", 405), ("GET", "/", 404), ("GET", "/livez/", 404), ("GET", "/validate", 404)],
)
async def test_nothing_else_is_answered(method: str, path: str, status: int, client: httpx.AsyncClient) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    code, _, text = failure(answer)
    assert code == status
    assert "use GET" in text if status == 405 else "/livez, /readyz, /version, /metrics" in text


async def test_head_is_answered_like_get_without_a_body(client: httpx.AsyncClient) -> None:
    assert (await client.head("/livez")).status_code == 200
