"""POST /forget: only a process in the Pod itself can make the controller forget."""

import httpx
import pytest

from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.web.operations import Readiness, create_operations
from support.webhook import failure

LOOPBACK = "127.0.0.1"


@pytest.fixture(name="forgotten")
def _forgotten() -> list[int]:
    """The numbers of answers that the controller was made to forget."""
    return []


def operations(forgotten: list[int], client: str) -> httpx.AsyncClient:
    """Return a client with this address."""

    def forget() -> int:
        forgotten.append(7)
        return 7

    app = create_operations(Readiness(), Telemetry().exposition, forget, dict)
    transport = httpx.ASGITransport(app, client=(client, 50000))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080")


@pytest.mark.parametrize("client", [LOOPBACK, "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["127.0.0.1:8080", "127.0.0.1", "[::1]:8080", "[::1]", "localhost:8080"])
async def test_pod_itself_makes_it_forget(client: str, host: str, forgotten: list[int]) -> None:
    async with operations(forgotten, client) as http:
        answer = await http.post("/forget", headers={"host": host})

    assert (answer.status_code, answer.json()) == (200, {"forgotten": 7})
    assert forgotten == [7]


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        pytest.param("10.1.2.3", {}, id="another Pod"),
        pytest.param("10.1.2.3", {"x-forwarded-for": LOOPBACK}, id="another Pod that claims to be this one"),
        pytest.param("10.1.2.3", {"host": "localhost"}, id="another Pod that names this host"),
        pytest.param("fd00::1", {}, id="another Pod by IPv6"),
        pytest.param("::ffff:10.1.2.3", {}, id="another Pod by IPv4 on a socket for both"),
        pytest.param("127.0.0.6", {}, id="Istio's sidecar"),
        pytest.param("169.254.169.254", {}, id="a link-local address"),
        pytest.param("localhost", {}, id="no address"),
        pytest.param("", {}, id="a Unix socket"),
        pytest.param(LOOPBACK, {"x-forwarded-for": LOOPBACK}, id="a proxy in the Pod"),
        pytest.param(LOOPBACK, {"Forwarded": "for=10.1.2.3"}, id="a proxy in the Pod, by RFC 7239"),
        pytest.param(LOOPBACK, {"Via": "1.1 proxy"}, id="a proxy in the Pod, by RFC 9110"),
        pytest.param(LOOPBACK, {"host": "attacker.example:8080"}, id="a name that was made to point here"),
        pytest.param(LOOPBACK, {"host": "localhost.attacker.example"}, id="a name that begins like this host"),
        pytest.param(LOOPBACK, {"host": "10.1.2.3:8080"}, id="a proxy in the Pod that adds no header"),
        pytest.param(LOOPBACK, {"host": ""}, id="no host"),
        pytest.param(LOOPBACK, {"Origin": "https://example.com"}, id="a web page through a port forward"),
    ],
)
async def test_nobody_else_does(client: str, headers: dict[str, str], forgotten: list[int]) -> None:
    async with operations(forgotten, client) as http:
        answer = await http.post("/forget", headers=headers)

    assert failure(answer) == (
        403,
        "Forbidden",
        "only a process in the same Pod may call this path, on 127.0.0.1 or ::1",
    )
    assert forgotten == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_only_a_post_makes_it_forget(method: str, forgotten: list[int]) -> None:
    async with operations(forgotten, LOOPBACK) as http:
        answer = await http.request(method, "/forget")

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert forgotten == []
