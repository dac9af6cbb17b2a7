"""An Anchore, a proxy or a gateway that echoes requests: our credentials never reach a message."""

import io
import json
import logging
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from urllib.parse import quote

import httpx
import pytest

from anchore_admission.adapters.logs import JsonFormatter
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.errors import EvaluationError
from anchore_admission.models.configuration import ApiVersion
from support.anchore_calls import DIGEST, SECRET, TAG, Played, client, deadline

BASE64 = b64encode(f"admin:{SECRET}".encode()).decode()
ECHOES = {
    "header": f"Authorization: Basic {BASE64}",
    "pair": f"admin:{SECRET}",
    "address": f"http://admin:{SECRET}@anchore.test/",
    "URL": quote(f"admin:{SECRET}", safe=""),
    "Base64 in a URL": quote(BASE64, safe=""),
    "far behind": "x" * 150 + SECRET,
}


def answers(echo: str) -> dict[str, httpx.Response]:
    dump = {"message": echo, "httpcode": 403, "detail": {"headers": {"authorization": echo}}}
    return {
        "403": httpx.Response(403, json=dump),
        "400": httpx.Response(400, json=dump),
        "404": httpx.Response(404, json=dump | {"message": f"account {echo} not found"}),
        "500": httpx.Response(500, json=echo),
        "502": httpx.Response(502, html=f"<pre>{echo}</pre>"),
        "407": httpx.Response(407, text=echo),
        "redirect": httpx.Response(302, headers={"location": f"https://admin:{SECRET}@anchore.test/{echo}"}),
        "problem": httpx.Response(
            200,
            json={
                "evaluations": [
                    {"status": "pass", "evaluation_problems": [{"problem_type": echo, "details": {"sent": echo}}]}
                ]
            },
        ),
        "finding": httpx.Response(
            200,
            json={
                "evaluations": [
                    {"status": "fail", "details": {"findings": [{"action": "stop", "message": echo, "gate": echo}]}}
                ]
            },
        ),
        "state": httpx.Response(200, json={"image_digest": DIGEST, "analysis_status": echo, "image_detail": []}),
    }


@pytest.mark.parametrize("echo", ECHOES.values(), ids=list(ECHOES))
@pytest.mark.parametrize("kind", list(answers("")))
@pytest.mark.parametrize("operation", ["by_digest", "check", "submit"])
async def test_an_echo_is_redacted(kind: str, echo: str, operation: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    played = Played(lambda _: answers(echo)[kind])
    async with aclosing(client(played.transport(), ApiVersion.V2)) as anchore:
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "by_digest": lambda: anchore.by_digest(DIGEST, deadline()),
            "check": lambda: anchore.check(DIGEST, TAG, "p", deadline()),
            "submit": lambda: anchore.submit(AnalysisRequest(TAG), deadline()),
        }
        try:
            said = repr(await calls[operation]())
        except EvaluationError as error:
            said = str(error)
    for secret in (SECRET, BASE64, BASE64.rstrip("="), quote(BASE64, safe="")):
        assert secret not in said
        assert secret not in caplog.text


async def test_log_lines_of_other_libraries_are_redacted_too() -> None:
    async with aclosing(client(Played(lambda _: httpx.Response(200, json=[])).transport())) as anchore:
        await anchore.by_tag(TAG, deadline())
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("a library")
    logger.addHandler(handler)
    try:
        error = ValueError(f"http://admin:{SECRET}@anchore.test")
        logger.error("sent %s", BASE64, exc_info=error)
    finally:
        logger.removeHandler(handler)
    line = json.loads(stream.getvalue())
    assert line["message"].startswith("sent [redacted]")
    assert SECRET not in stream.getvalue()


@pytest.mark.parametrize(
    "echoed", [SECRET * 3, f"Authorization: Basic {BASE64}", {"x" * 30: SECRET}, ["x" * 30, SECRET]]
)
@pytest.mark.parametrize("place", ["items", "row", "digest"])
async def test_a_value_in_the_wrong_place_is_not_quoted_in_part(
    place: str, echoed: object, caplog: pytest.LogCaptureFixture
) -> None:
    bodies = {
        "items": {"items": {"x": echoed}},
        "row": {"items": [[echoed]]},
        "digest": {"items": [{"image_digest": [echoed]}]},
    }
    played = Played(lambda _: httpx.Response(200, json=bodies[place]))
    async with aclosing(client(played.transport(), ApiVersion.V2)) as anchore:
        with pytest.raises(EvaluationError):
            await anchore.by_tag(TAG, deadline())
    said = caplog.text
    assert "items" in said
    assert "input_value" not in said
    for text in (SECRET, BASE64):
        assert not any(text[i : i + 9] in said for i in range(len(text) - 8))


@pytest.mark.parametrize("version", [ApiVersion.V1, ApiVersion.V2])
async def test_text_of_facts_is_redacted(version: ApiVersion) -> None:
    content = {"metadata": {"arch": SECRET}}
    row = {"analysis_status": "analyzed", "image_detail": [], "image_content": content}
    check = {"policy_id": SECRET, "evaluations": [{"status": "fail"}]}
    old = [{DIGEST: {TAG: [{"policyId": SECRET, "status": "fail", "detail": {"result": {}}}]}}]
    answers = {
        ApiVersion.V1: ([row | {"imageDigest": DIGEST}], old),
        ApiVersion.V2: (row | {"image_digest": DIGEST}, check),
    }
    played = Played(lambda request: httpx.Response(200, json=answers[version][request.url.path.endswith("/check")]))
    async with aclosing(client(played.transport(), version)) as anchore:
        said = [
            repr(await anchore.by_digest(DIGEST, deadline())),
            repr(await anchore.check(DIGEST, TAG, None, deadline())),
        ]
    assert "[redacted]" in said[0]
    assert "[redacted]" in said[1]
    assert SECRET not in "".join(said)


@pytest.mark.parametrize("host", [SECRET, f"x.{SECRET}.test", BASE64.rstrip("="), f"{SECRET}:443"])
async def test_a_redirect_shows_no_secret_in_lower_case(host: str) -> None:
    played = Played(lambda _: httpx.Response(302, headers={"location": f"https://{host}/"}))
    async with aclosing(client(played.transport(), ApiVersion.V2)) as anchore:
        with pytest.raises(EvaluationError) as raised:
            await anchore.by_tag(TAG, deadline())
    assert BASE64.lower()[:20] not in str(raised.value)
    assert SECRET not in str(raised.value)
