"""The description of the port for facts: complete, true of every answer, and shown to known callers only."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2
import jsonschema
import pytest

from anchore_admission.errors import AnchoreUnavailable
from anchore_admission.models.provider import MOST_IMAGES
from anchore_admission.web.facts import BODY_LIMIT
from anchore_admission.web.facts_openapi import facts_document
from support.facts_port import BAD, FINDING, GOOD, REPOSITORY, TOKEN, FactsPortSetup, provider_request
from support.paths import ROOT
from support.token_api import OTHER

DOCUMENT = "/openapi.json"
UNKNOWN = f"{REPOSITORY}/unknown:1"
AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}
Json = dict[str, Any]


@pytest.fixture
def port() -> FactsPortSetup:
    return FactsPortSetup()


def validator(schema: Mapping[str, Any]) -> jsonschema.Draft202012Validator:
    """Return a validator that knows the components, and accepts none but the described members."""
    components = json.loads(json.dumps(facts_document()["components"]))
    for each in objects(components):
        each.setdefault("additionalProperties", False)
    return jsonschema.Draft202012Validator({**schema, "components": components})


def objects(node: Any) -> Iterator[Json]:
    """Yield every schema of an object with properties."""
    if isinstance(node, dict):
        if "properties" in node and "type" in node:
            yield node
        for child in node.values():
            yield from objects(child)


def described(path: str, status: int) -> jsonschema.Draft202012Validator:
    response = facts_document()["paths"][path]["post"]["responses"][str(status)]
    return validator(response["content"]["application/json"]["schema"])


def test_the_document_in_the_docs_is_this_one() -> None:
    """Write it anew with ``json.dumps(facts_document(), indent=2)`` and a newline."""
    assert (ROOT / "docs" / "facts.openapi.json").read_text() == json.dumps(facts_document(), indent=2) + "\n"


async def test_it_is_served_to_known_callers(port: FactsPortSetup) -> None:
    answer = await port.http.get(DOCUMENT, headers=AUTHORIZED)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == facts_document()
    assert (await port.http.get(DOCUMENT)).status_code == 401
    refused = await port.post({}, DOCUMENT)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")


def test_its_schemas_are_schemas_and_each_reference_leads_somewhere() -> None:
    schemas = facts_document()["components"]["schemas"]
    assert {"ImagesRequest", "ImagesResponse", "ProviderRequest", "ProviderResponse", "ImageReport"} <= schemas.keys()
    for name, schema in schemas.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["description"], name
    for part in json.dumps(facts_document()).split('"$ref": "#/components/schemas/')[1:]:
        assert part.partition('"')[0] in schemas


@pytest.mark.parametrize(
    ("body", "path", "token", "status"),
    [
        ({"images": [GOOD, BAD, UNKNOWN, "Not A Reference"]}, "/facts", TOKEN, 200),
        ({"images": []}, "/facts", TOKEN, 400),
        ({"images": [GOOD], "rule": "missing"}, "/facts", TOKEN, 404),
        ({"images": [GOOD]}, "/facts", None, 401),
        ({"images": [GOOD]}, "/facts", "other", 403),
        (b"x" * (BODY_LIMIT + 1), "/facts", TOKEN, 413),
        (provider_request([GOOD, BAD, "Not A Reference"]), "/facts/gatekeeper", TOKEN, 200),
        (provider_request([GOOD, UNKNOWN]), "/facts/gatekeeper", TOKEN, 200),
        (provider_request([GOOD]), "/facts/gatekeeper/{rule}", TOKEN, 404),
        (provider_request([]), "/facts/gatekeeper", TOKEN, 200),
        ({}, "/facts/gatekeeper", TOKEN, 400),
        (provider_request([GOOD]), "/facts/gatekeeper", None, 401),
        (provider_request([GOOD]), "/facts/gatekeeper", "other", 403),
    ],
)
async def test_every_answer_is_as_described(
    port: FactsPortSetup, body: Json | bytes, path: str, token: str | None, status: int
) -> None:
    port.warn(GOOD, FINDING)
    port.api.put("other", OTHER)
    answer = await port.post(body, path.replace("{rule}", "missing"), token)
    assert answer.status_code == status
    described(path, status).validate(answer.json())


async def test_an_answer_in_an_outage_is_as_described(port: FactsPortSetup) -> None:
    port.anchore.fail_all(AnchoreUnavailable("Anchore is not available (503)"))
    described("/facts", 200).validate((await port.post({"images": [GOOD]})).json())


@pytest.mark.parametrize(
    ("status", "headers"),
    [(415, {"content-type": "text/plain"}), (503, {"authorization": "Bearer kyverno"})],
)
@pytest.mark.parametrize("path", ["/facts", "/facts/gatekeeper"])
async def test_refusals_by_their_headers_are_as_described(
    port: FactsPortSetup, path: str, status: int, headers: dict[str, str]
) -> None:
    port.api.broken = httpx2.ReadTimeout("")
    answer = await port.http.post(path, content=b"{}", headers={**AUTHORIZED, **headers})
    assert answer.status_code == status
    described(path, status).validate(answer.json())


@pytest.mark.parametrize(
    ("question", "valid"),
    [
        ({"images": [GOOD]}, True),
        ({"images": [GOOD], "rule": "other"}, True),
        ({"images": [GOOD], "rule": None}, True),
        ({"images": [GOOD] * MOST_IMAGES}, True),
        ({"images": [GOOD] * (MOST_IMAGES + 1)}, False),
        ({"images": []}, False),
        ({}, False),
        ({"images": [GOOD], "rul": "other"}, False),
        ({"images": [1]}, False),
    ],
)
async def test_the_described_questions_are_those_that_are_answered(
    port: FactsPortSetup, question: Json, valid: bool
) -> None:
    schema = facts_document()["paths"]["/facts"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert validator(schema).is_valid(question) is valid
    assert ((await port.post(question)).status_code == 200) is valid


@pytest.mark.parametrize(
    ("question", "valid"),
    [
        (provider_request([GOOD]), True),
        ({**provider_request([]), "request": {}}, True),
        ({**provider_request([]), "request": None}, True),
        ({**provider_request([GOOD]), "kind": "ProviderResponse"}, False),
        ({**provider_request([GOOD]), "apiVersion": "v1"}, False),
        ({"request": {"keys": [GOOD]}}, False),
        ({**provider_request([GOOD]), "request": {"keys": [1]}}, False),
    ],
)
async def test_the_described_questions_of_gatekeeper_are_those_that_are_answered(
    port: FactsPortSetup, question: Json, valid: bool
) -> None:
    operation = facts_document()["paths"]["/facts/gatekeeper"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert validator(schema).is_valid(question) is valid
    assert ((await port.post(question, "/facts/gatekeeper")).status_code == 200) is valid
