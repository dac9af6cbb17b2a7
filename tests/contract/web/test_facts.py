"""The port for facts: what other policy engines are told, in the words of each, and what happens to odd questions."""

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Message

from anchore_admission.core.facts import AnalysisState, Finding, PolicyEvaluation
from anchore_admission.errors import AnchoreUnavailable
from anchore_admission.models.provider import MOST_IMAGES
from anchore_admission.ports.telemetry import Engine, FactsOutcome
from anchore_admission.web.facts import ANSWER_LIMIT, BODY_LIMIT, SECONDS
from support.facts_port import BAD, FINDING, GOOD, REPOSITORY, FactsPortSetup, provider_request, provider_response
from support.fakes import ACTIVE_POLICY, ManualClock, digest_of, settled

UNKNOWN = f"{REPOSITORY}/unknown:1"
KEYS = (GOOD, BAD)
ANSWERED, NOT_YET, INVALID = FactsOutcome.ANSWERED, FactsOutcome.NOT_YET, FactsOutcome.INVALID


@pytest.fixture
def port() -> FactsPortSetup:
    return FactsPortSetup()


async def test_every_image_is_reported_in_the_order_of_the_question(port: FactsPortSetup) -> None:
    bad, good, unknown, again = await port.images(BAD, GOOD, UNKNOWN, BAD)
    assert [each["reference"] for each in (bad, good, unknown, again)] == [BAD, GOOD, UNKNOWN, BAD]
    assert good["evaluation"] == {
        "policy": ACTIVE_POLICY,
        "action": "go",
        "reason": "policy_evaluation",
        "mapped": True,
        "problems": [],
    }
    assert (bad["digest"], bad["state"], bad["evaluation"]["action"]) == (digest_of(BAD), "analyzed", "stop")
    assert bad["findings"][0]["message"] == FINDING.message
    assert (bad["rule"], bad["mode"], bad["verdict"]["decision"]) == ("defaults", "strict", "deny")
    assert (unknown["state"], unknown["evaluation"], unknown["error"]) == ("unknown", None, None)
    assert (bad["answerAge"], bad["stale"], bad["exemptions"]) == (0, False, None)
    assert port.log.requests == [(Engine.OTHER, ANSWERED)]


async def test_nothing_is_submitted_or_recorded_as_a_review(port: FactsPortSetup) -> None:
    await port.images(UNKNOWN, GOOD)
    await port.keys(UNKNOWN)
    await settled()
    assert port.anchore.subjects("submit") == []
    assert port.recorder.reviews == []


async def test_a_question_is_answered_from_memory_until_the_facts_are_old(port: FactsPortSetup) -> None:
    """Gatekeeper's audit asks about every image once a minute."""
    await port.images(GOOD, BAD)
    asked = list(port.anchore.calls)
    assert await port.images(GOOD, BAD) == [item["value"] for item in (await port.keys(GOOD, BAD))["items"]]
    assert port.anchore.calls == asked


async def test_a_rule_gives_the_policy_whatever_its_mode(port: FactsPortSetup) -> None:
    port.anchore.evaluate(digest_of(GOOD), PolicyEvaluation(passed=False, policy="second"), "second")
    (found,) = await port.images(GOOD, rule="other")
    assert (found["rule"], found["evaluation"]["policy"], found["evaluation"]["action"]) == ("other", "second", "stop")
    assert (await port.keys(GOOD, rule="/other"))["items"][0]["value"] == found


@pytest.mark.parametrize(
    ("rule", "status", "why"),
    [
        ("missing", 404, "no rule is named missing; name a rule of the configuration"),
        ("elsewhere", 400, "account spare of rule elsewhere is not connected; name another rule"),
        ("labeled", 400, "rule labeled chooses its policy by labels or annotations; name another rule"),
    ],
)
async def test_a_rule_that_cannot_be_used_is_an_error(port: FactsPortSetup, rule: str, status: int, why: str) -> None:
    answer = await port.post({"images": [GOOD], "rule": rule})
    assert (answer.status_code, answer.json()["message"]) == (status, why)
    answer = await port.post(provider_request([GOOD]), f"/facts/gatekeeper/{rule}")
    assert answer.status_code == status
    assert provider_response(answer) == {"idempotent": True, "items": [], "systemError": why}


async def test_gatekeeper_gets_final_facts_as_values(port: FactsPortSetup) -> None:
    answer = await port.keys(*KEYS, GOOD)
    assert answer["systemError"] == ""
    assert [item["key"] for item in answer["items"]] == [GOOD, BAD, GOOD]
    assert [item["value"]["evaluation"]["action"] for item in answer["items"]] == ["go", "stop", "go"]
    assert all("error" not in item for item in answer["items"])
    assert port.log.requests == [(Engine.GATEKEEPER, ANSWERED)]


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (None, "is not analyzed"),
        (AnalysisState.NOT_ANALYZED, "queued"),
        (AnalysisState.ANALYZING, "under way"),
        (AnalysisState.FAILED, "failed to analyze"),
    ],
)
async def test_gatekeeper_is_asked_to_ask_again_about_an_image_without_facts(
    port: FactsPortSetup, state: AnalysisState | None, why: str
) -> None:
    if state:
        port.pend(UNKNOWN, state)
    answer = await port.keys(GOOD, UNKNOWN)
    assert answer["items"] == []
    assert answer["systemError"].startswith(f"no facts yet about 1 of 2 images: Image {UNKNOWN}")
    assert why in answer["systemError"]
    assert port.log.outcomes() == [NOT_YET]


async def test_an_outage_of_anchore_is_a_system_error(port: FactsPortSetup) -> None:
    port.anchore.fail_all(AnchoreUnavailable("Anchore is not available (503)"))
    answer = await port.keys(GOOD)
    assert answer["items"] == []
    assert "Anchore is not available (503)" in answer["systemError"]
    (found,) = await port.images(GOOD)
    assert (found["error"], found["state"], found["evaluation"]) == ("unavailable", None, None)
    assert (found["answerAge"], found["stale"]) == (None, None)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", "names no image"),
        ("Not A Reference", "is not a valid image reference"),
        (digest_of("x"), "is an image ID"),
        ("[::1]:5000/app:1", "cannot be checked"),
        (f"{REPOSITORY}/app:{'t' * 5000}", "is not a valid image reference"),
        ("\x00\x1b[31m\u202e", "is not a valid image reference"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"), "is not a valid image reference"),
    ],
)
async def test_a_key_that_no_facts_can_be_about_is_an_error_of_its_own(
    port: FactsPortSetup, key: str, why: str
) -> None:
    answer = await port.keys(GOOD, key)
    assert answer["systemError"] == ""
    first, second = answer["items"]
    assert first["value"]["state"] == "analyzed"
    assert second["key"] == key
    assert "value" not in second
    assert why in second["error"]
    assert second["error"].isprintable()
    assert len(second["error"]) <= 500


async def test_many_problems_are_counted(port: FactsPortSetup) -> None:
    keys = [f"{REPOSITORY}/unknown-{number}:1" for number in range(MOST_IMAGES)]
    answer = await port.keys(*keys)
    assert answer["systemError"].startswith(f"no facts yet about {MOST_IMAGES} of {MOST_IMAGES} images: ")
    assert answer["systemError"].endswith("; and 90 more")


ODD: list[tuple[Any, int, str]] = [
    (b"", 400, "the body is not readable"),
    (b"\xff\xfe", 400, "the body is not readable"),
    (b"[" * 100_000, 400, "the body is not readable"),
    (b'{"x":' * 50_000 + b"1" + b"}" * 50_000, 400, "the body is not readable"),
    (b'{"images": NaN}', 400, "the body is not readable"),
    (["nginx"], 400, "the body is not readable"),
    (b"null", 400, "the body is not readable"),
    (b" " * (BODY_LIMIT + 1), 413, "the body is larger than the limit"),
]


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        *ODD,
        ({}, 400, "missing required field `images`"),
        ({"images": None}, 400, "the body is not readable"),
        ({"images": "nginx"}, 400, "Expected `array`"),
        ({"images": [1]}, 400, "Expected `str`"),
        ({"images": []}, 400, "the list of images is empty"),
        ({"images": ["a"] * (MOST_IMAGES + 1)}, 400, "more than 100 images; ask about fewer at once"),
        ({"images": ["a"] * 100_000}, 400, "more than 100 images; ask about fewer at once"),
        ({"images": ["a"], "rule": 1}, 400, "Expected `str | null`"),
        ({"images": ["a"], "rule": ""}, 404, 'no rule is named ""; name a rule'),
        ({"images": ["a"], "rules": "other"}, 400, "unknown field `rules`"),
        ({"images": ["a"], "Rule": "other"}, 400, "unknown field `Rule`"),
        ({"images": ["a"], "rule": "x" * 100_000}, 404, "no rule is named xxx"),
    ],
)
async def test_an_odd_question_is_answered_with_the_reason(
    port: FactsPortSetup, body: Any, status: int, why: str
) -> None:
    answer = await port.post(body)
    assert answer.status_code == status, answer.text
    assert (answer.json()["kind"], answer.json()["code"]) == ("Status", status)
    assert why in answer.json()["message"]
    assert len(answer.content) < 1000
    assert port.log.requests == [(Engine.OTHER, INVALID)]
    assert port.anchore.calls == []


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        *ODD,
        ({}, 400, "expected a ProviderRequest of externaldata.gatekeeper.sh/v1beta1, not no kind of no apiVersion"),
        ({**provider_request([GOOD]), "apiVersion": "externaldata.gatekeeper.sh/v1alpha1"}, 400, "v1alpha1"),
        ({**provider_request([GOOD]), "kind": "ProviderResponse"}, 400, "not ProviderResponse"),
        ({**provider_request([GOOD]), "request": {"keys": "nginx"}}, 400, "Expected `array | null`"),
        ({**provider_request([GOOD]), "request": {"keys": [None]}}, 400, "Expected `str`"),
        (provider_request(["a"] * (MOST_IMAGES + 1)), 400, "more than 100 images"),
        (provider_request([f"a{number}" for number in range(50_000)]), 400, "more than 100 images"),
        (provider_request([f"image-{number}" for number in range(100_000)]), 413, "the body is larger than the limit"),
    ],
)
async def test_an_odd_question_of_gatekeeper_is_a_system_error(
    port: FactsPortSetup, body: Any, status: int, why: str
) -> None:
    answer = await port.post(body, "/facts/gatekeeper")
    assert answer.status_code == status, answer.text
    found = provider_response(answer)
    assert found["items"] == []
    assert why in found["systemError"]
    assert len(answer.content) < 1000
    assert port.log.requests == [(Engine.GATEKEEPER, INVALID)]


@pytest.mark.parametrize("request_part", [{}, {"keys": []}, {"keys": None}, None])
async def test_no_keys_are_all_answered(port: FactsPortSetup, request_part: Any) -> None:
    answer = await port.post({**provider_request([]), "request": request_part}, "/facts/gatekeeper")
    assert provider_response(answer) == {"idempotent": True, "items": [], "systemError": ""}


@pytest.mark.parametrize(
    ("path", "engine", "status"),
    [
        ("/", Engine.OTHER, 404),
        ("/validate", Engine.OTHER, 404),
        ("/facts/", Engine.OTHER, 404),
        ("/factsgatekeeper", Engine.OTHER, 404),
        ("/facts/gatekeeperx", Engine.OTHER, 404),
        ("/facts/gatekeeper/", Engine.GATEKEEPER, 404),
        ("/facts/gatekeeper/a/b", Engine.GATEKEEPER, 404),
        ("/facts/gatekeeper/other/", Engine.GATEKEEPER, 404),
        ("/facts/gatekeeper//other", Engine.GATEKEEPER, 404),
        ("/facts/gatekeeper/%2e%2e/other", Engine.GATEKEEPER, 404),
        ("/facts/gatekeeper/%00", Engine.GATEKEEPER, 404),
    ],
)
async def test_other_paths_are_not_found(port: FactsPortSetup, path: str, engine: Engine, status: int) -> None:
    answer = await port.post(provider_request([GOOD]), path)
    assert answer.status_code == status
    assert port.log.requests == [(engine, INVALID)]


async def test_a_question_without_a_content_type_is_json(port: FactsPortSetup) -> None:
    """Go names none by itself."""
    request = port.http.build_request("POST", "/facts", content=b'{"images": ["nginx"]}')
    request.headers["authorization"] = "Bearer t0ken-of-policy-engines"
    assert "content-type" not in request.headers
    assert (await port.http.send(request)).status_code == 200


async def test_only_json_is_posted(port: FactsPortSetup) -> None:
    assert (await port.post({"images": [GOOD]}, **{"content-type": "text/plain"})).status_code == 415
    headers = {"authorization": "Bearer t0ken-of-policy-engines"}
    plain, gatekeeper = [await port.http.get(path, headers=headers) for path in ("/facts", "/facts/gatekeeper")]
    assert (plain.status_code, plain.headers["allow"]) == (405, "POST")
    assert (gatekeeper.status_code, gatekeeper.headers["allow"]) == (405, "POST")
    assert "use POST" in provider_response(gatekeeper)["systemError"]


def _findings(count: int, text: str) -> list[Finding]:
    return [Finding("vulnerabilities", "package", f"CVE-2026-{n}+{text}", f"CRITICAL {text}") for n in range(count)]


async def test_an_answer_stays_small_enough_for_kyverno(port: FactsPortSetup) -> None:
    images = [f"{REPOSITORY}/large:{number}" for number in range(MOST_IMAGES)]
    for image in images:
        port.anchore.store(image)
        port.fail(image, *_findings(100, "\N{SNOWMAN}" * 2000))
    answer = await port.post({"images": images})
    found = answer.json()["images"]
    assert len(answer.content) <= ANSWER_LIMIT
    assert {each["findingsTotal"] for each in found} == {100}
    assert {len(each["findings"]) for each in found} <= {5, 10}
    (one,) = await port.images(images[0])
    assert len(one["findings"]) == 100


async def test_a_large_answer_is_sent_in_parts(port: FactsPortSetup) -> None:
    """A TLS connection keeps the memory of its largest write until it is closed."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": json.dumps({"images": ["x" * 10_000] * 100}).encode()}

    async def send(message: Message) -> None:
        sent.append(message)

    await port.endpoint({"type": "http", "method": "POST", "path": "/facts", "headers": []}, receive, send)
    start, *parts = sent
    assert start["status"] == 200
    assert dict(start["headers"])[b"content-length"] == b"%d" % sum(len(part["body"]) for part in parts)
    assert len(json.loads(b"".join(part["body"] for part in parts))["images"]) == 100
    assert max(len(part["body"]) for part in parts) <= 32 * 1024
    assert [part["more_body"] for part in parts] == [True] * (len(parts) - 1) + [False]


async def test_one_question_computes_at_a_time(port: FactsPortSetup) -> None:
    async with port.endpoint.reports.computing:
        asking = asyncio.create_task(port.images(GOOD))
        await settled()
        assert port.anchore.subjects("by_tag") == [GOOD]
        assert not asking.done()
    assert (await asking)[0]["reference"] == GOOD


async def test_questions_wait_for_their_turn_and_end_in_time() -> None:
    port = FactsPortSetup(clock=ManualClock.of_loop(), seconds=SECONDS)
    port.anchore.hang("by_tag")
    asking = asyncio.gather(*(port.keys(f"{REPOSITORY}/slow:{number}") for number in range(3)))
    await port.clock.advance(SECONDS - 0.1)
    assert not asking.done()
    await port.clock.advance(0.1)
    assert asking.done()
    assert all("no facts yet about 1 of 1 images" in answer["systemError"] for answer in await asking)
