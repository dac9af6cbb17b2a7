import json
import re
from typing import Any

import jsonschema
import pytest

from support.webhook import JSON, POD_CREATE, Webhook

Json = dict[str, Any]
SAFE = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@pytest.fixture
def webhook() -> Webhook:
    return Webhook()


async def described(webhook: Webhook) -> Json:
    paths: Json = (await webhook.http.get("/openapi.json")).json()["paths"]
    return paths


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/openapi.json", 200),
        ("GET", "/static-offline-docs/swagger-ui.css", 200),
        ("GET", "/static-offline-docs/swagger-ui-bundle.js", 200),
        ("GET", "/static-offline-docs/favicon.png", 200),
        ("POST", "/review", 415),
        ("GET", "/validate", 405),
        ("GET", "/mutate", 405),
        ("GET", "/no-such-path", 404),
    ],
)
async def test_browsers_may_do_nothing_with_an_answer_but_read_it(
    method: str, path: str, status: int, webhook: Webhook
) -> None:
    answer = await webhook.http.request(method, path)
    assert answer.status_code == status
    assert {name: answer.headers[name] for name in SAFE} == SAFE


async def test_the_api_server_is_sent_no_header_for_browsers(webhook: Webhook) -> None:
    for answer in (await webhook.validate(POD_CREATE), await webhook.mutate(POD_CREATE)):
        assert set(answer.headers) == {"content-type", "content-length"}


async def test_the_page_may_load_its_own_assets_only_and_names_them_relatively(webhook: Webhook) -> None:
    page = await webhook.http.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["connect-src"] == policy["style-src"] == "'self'"
    assert re.fullmatch(r"'self' 'sha256-[A-Za-z0-9+/]{43}='", policy["script-src"])
    links = re.findall(r"(?:href|src)=\"([^\"]*)\"", page.text) + re.findall(r"url: '([^']*)'", page.text)
    assert len(links) == 4
    for link in links:
        assert re.match(r"[a-z]", link)
        assert (await webhook.http.get(f"/{link}")).status_code == 200


async def test_only_public_routes_are_described(webhook: Webhook) -> None:
    paths = await described(webhook)
    assert [(path, *methods) for path, methods in paths.items()] == [
        ("/validate", "post"),
        ("/mutate", "post"),
        ("/review", "post"),
    ]
    for methods in paths.values():
        assert set(methods["post"]["responses"]) == {"200", "400", "413", "415"}


@pytest.mark.parametrize("path", ["/validate", "/mutate", "/review"])
async def test_every_example_matches_its_schema_and_gets_a_verdict(path: str, webhook: Webhook) -> None:
    content = (await described(webhook))[path]["post"]["requestBody"]["content"]
    assert content
    for media_type, offered in content.items():
        assert offered["examples"]
        for name, example in offered["examples"].items():
            jsonschema.validate(example["value"], offered["schema"])
            body = json.dumps(example["value"]) if media_type == JSON else example["value"]
            answer = await webhook.http.post(path, content=body, headers={"content-type": media_type})
            assert answer.status_code == 200, name
            assert answer.json().get("errors", []) == [], name


async def test_examples_keep_their_names_from_one_media_type_to_the_other(webhook: Webhook) -> None:
    content = (await described(webhook))["/review"]["post"]["requestBody"]["content"]
    yaml, other = (list(offered["examples"]) for offered in content.values())
    assert yaml == other
    assert len(yaml) > 3


async def test_responses_match_the_documentation(webhook: Webhook) -> None:
    paths = await described(webhook)
    good = [(path, POD_CREATE) for path in paths]
    for path, body in (*good, ("/validate", b"{}"), ("/mutate", b"{}"), ("/review", b"")):
        answer = await webhook.http.post(path, content=body, headers={"content-type": JSON})
        offered = paths[path]["post"]["responses"][str(answer.status_code)]["content"][JSON]
        jsonschema.validate(answer.json(), offered["schema"])
        shown = [example["value"] for example in offered.get("examples", {}).values()] or [offered["example"]]
        assert shown
        for example in shown:
            jsonschema.validate(example, offered["schema"])
            assert set(example) == set(answer.json())
