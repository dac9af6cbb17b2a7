import json
from typing import Any

import httpx
import pytest

from anchore_admission.web.manual import BODY_LIMIT
from support.builders import pod_spec, workload
from support.fakes import digest_of
from support.webhook import JSON, POD_CREATE, Webhook, failure

Json = dict[str, Any]
GOOD, BAD, NEW = (f"registry.example.com/{name}:1" for name in ("good", "bad", "new"))
YAML = "application/yaml"
POD = workload("Pod", pod_spec(GOOD))
POD_YAML = f"""
apiVersion: v1
kind: Pod
metadata: {{name: shop}}
spec:
  initContainers: [{{name: setup, image: {BAD}}}]
  containers: [{{name: web, image: {GOOD}}}]
"""
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: shop}\n"
RULES: Json = {
    "defaults": {"mode": "strict"},
    "rules": [
        {"name": "sandbox", "match": {"namespaces": ["sandbox"]}, "mode": "passive"},
        {"name": "robots", "match": {"users": ["ci-*"]}, "mode": "passive"},
    ],
}


@pytest.fixture
def webhook() -> Webhook:
    """Strict; Anchore holds a good image and a bad one."""
    webhook = Webhook(RULES)
    webhook.anchore.store(GOOD)
    webhook.fail(BAD)
    return webhook


async def post(webhook: Webhook, body: Any, content_type: str = JSON, query: str = "") -> httpx.Response:
    content = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else json.dumps(body).encode()
    return await webhook.http.post(f"/review?{query}", content=content, headers={"content-type": content_type})


async def reviewed(webhook: Webhook, body: Any, content_type: str = JSON, query: str = "") -> Any:
    answer = await post(webhook, body, content_type, query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == JSON
    return answer.json()


def verdicts(document: Json) -> list[tuple[str, str, str]]:
    return [(image["object"]["kind"], image["image"], image["verdict"]) for image in document["images"]]


async def test_an_object_is_reported_image_by_image_with_all_reasons(webhook: Webhook) -> None:
    document = await reviewed(webhook, POD_YAML, YAML)
    assert document["allowed"] is False
    assert verdicts(document) == [("Pod", BAD, "deny"), ("Pod", GOOD, "admit")]
    assert document["images"][0] == {
        "image": BAD,
        "digest": digest_of(BAD),
        "object": {"kind": "Pod", "namespace": "default", "name": "shop"},
        "places": ['initContainers "setup"'],
        "rule": "defaults",
        "mode": "strict",
        "verdict": "deny",
        "reason": "policy_failed",
        "effect": "deny",
        "message": f"Image {BAD} with digest {digest_of(BAD)} failed policy checks for policy bundle active",
        "findings": ["HIGH CVE-2021-3711 in openssl, fixed in 1.1.1k-r0"],
        "exemptions": [],
    }
    assert document["errors"] == []
    assert document["objects"] == {"reviewed": 1, "withoutImages": 0, "notChecked": 0, "unread": 0, "notReviewed": 0}


@pytest.mark.parametrize("content_type", [JSON, YAML, "application/x-yaml", "text/yaml; charset=utf-8", "text/plain"])
async def test_json_is_read_under_every_name_of_yaml_too(content_type: str, webhook: Webhook) -> None:
    document = await reviewed(webhook, POD, content_type)
    assert (document["allowed"], verdicts(document)) == (True, [("Pod", GOOD, "admit")])


@pytest.mark.parametrize(
    ("content_type", "came"),
    [
        ("application/xml", "the content type application/xml"),
        ("multipart/form-data; boundary=x", "the content type multipart/form-data"),
        (
            "application/x-www-form-urlencoded",
            "the content type application/x-www-form-urlencoded, the default of curl",
        ),
        ("", "no content type"),
    ],
)
async def test_another_content_type_is_named_in_the_error(content_type: str, came: str, webhook: Webhook) -> None:
    how = "send it with the header 'Content-Type: application/yaml', or application/json"
    expected = f"the body has {came}: {how}"
    assert failure(await post(webhook, POD, content_type)) == (415, "UnsupportedMediaType", expected)


LISTS: dict[str, tuple[Any, str]] = {
    "a List": ({"apiVersion": "v1", "kind": "List", "items": [POD, workload("Deployment", pod_spec(BAD))]}, JSON),
    "a PodList": ({"apiVersion": "v1", "kind": "PodList", "items": [POD, workload("Deployment", pod_spec(BAD))]}, JSON),
    "documents": (f"{json.dumps(POD)}\n---\n{json.dumps(workload('Deployment', pod_spec(BAD)))}\n---\n", YAML),
}


@pytest.mark.parametrize(("body", "content_type"), LISTS.values(), ids=LISTS)
async def test_many_objects_are_reviewed_in_their_order(body: Any, content_type: str, webhook: Webhook) -> None:
    document = await reviewed(webhook, body, content_type)
    assert document["allowed"] is False
    assert verdicts(document) == [("Pod", GOOD, "admit"), ("Deployment", BAD, "deny")]
    assert document["objects"] == {"reviewed": 2, "withoutImages": 0, "notChecked": 0, "unread": 0, "notReviewed": 0}


async def test_objects_without_images_are_counted_and_unreadable_ones_are_named(webhook: Webhook) -> None:
    broken = "apiVersion: v1\nkind: Pod\nmetadata: {name: odd}\nspec: []\n"
    document = await reviewed(webhook, f"{SERVICE}---\n{POD_YAML}---\njust: text\n---\n{broken}---\n{SERVICE}", YAML)
    assert len(document["images"]) == 2
    assert document["objects"] == {"reviewed": 1, "withoutImages": 2, "notChecked": 0, "unread": 2, "notReviewed": 0}
    no_object, odd = document["errors"]
    assert no_object["message"] == "not a Kubernetes object: it has no apiVersion and kind"
    assert {key: odd[key] for key in ("kind", "namespace", "name")} == {
        "kind": "Pod",
        "namespace": "default",
        "name": "odd",
    }
    assert odd["message"].startswith("spec: ")


async def test_only_objects_without_images_are_fine(webhook: Webhook) -> None:
    document = await reviewed(webhook, SERVICE, YAML)
    assert (document["allowed"], document["images"], document["errors"]) == (True, [], [])


async def test_unknown_kinds_are_reported_as_not_checked(webhook: Webhook) -> None:
    rollout = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "spec": {"template": {"spec": pod_spec(BAD)}}}
    document = await reviewed(webhook, rollout)
    assert (document["allowed"], document["images"], document["errors"]) == (False, [], [])
    assert document["notChecked"][0]["message"].startswith("not checked: kind Rollout of argoproj.io/v1alpha1")
    assert document["objects"] == {"reviewed": 0, "withoutImages": 0, "notChecked": 1, "unread": 0, "notReviewed": 0}


async def test_an_empty_list_is_no_pass(webhook: Webhook) -> None:
    document = await reviewed(webhook, {"apiVersion": "v1", "kind": "List", "items": []})
    assert (document["allowed"], document["objects"]["unread"]) == (False, 1)


async def test_a_list_of_images_is_reviewed_as_one_pod(webhook: Webhook) -> None:
    document = await reviewed(webhook, [GOOD, BAD, "sha256:0123abcd"])
    assert document["allowed"] is False
    assert verdicts(document) == [("Pod", GOOD, "admit"), ("Pod", BAD, "deny"), ("Pod", "sha256:0123abcd", "deny")]
    assert document["images"][2]["reason"] == "image_id"


async def test_an_admission_review_is_reviewed_for_its_original_user(webhook: Webhook) -> None:
    document = await reviewed(webhook, POD_CREATE, query="namespace=sandbox")
    (image,) = document["images"]
    assert image["object"] == {"kind": "Pod", "namespace": "shop", "name": "shop"}
    assert image["mode"] == "strict"


@pytest.mark.parametrize(
    ("query", "body", "namespace", "mode"),
    [
        ("", POD, "default", "strict"),
        ("namespace=sandbox", POD, "sandbox", "passive"),
        ("namespace=", POD, "default", "strict"),
        ("namespace=sandbox", workload("Pod", pod_spec(GOOD), metadata={"namespace": "shop"}), "shop", "strict"),
        ("user=ci-7", POD, "default", "passive"),
    ],
)
async def test_namespace_and_user_stand_in_where_the_object_does_not_say(
    query: str, body: Json, namespace: str, mode: str, webhook: Webhook
) -> None:
    (image,) = (await reviewed(webhook, body, query=query))["images"]
    assert (image["object"]["namespace"], image["mode"]) == (namespace, mode)


@pytest.mark.parametrize("query", ["", "namespace=sandbox"], ids=["strict", "passive"])
async def test_anchore_is_queried_only_about_images_it_knows(query: str, webhook: Webhook) -> None:
    document = await reviewed(webhook, [NEW], query=query)
    assert document["images"][0]["reason"] == ("requested" if query else "unknown")
    assert webhook.recorder.depths == []
    assert webhook.recorder.submissions == []
    assert webhook.anchore.subjects("submit") == []


UNREADABLE: dict[str, tuple[Any, str]] = {
    "nothing": ("", "the body is empty: send a Kubernetes object or a list of images"),
    "only comments": ("# nothing\n---\n", "the body is empty: send a Kubernetes object or a list of images"),
    "an empty list": ("[]", "a list must be one of images, such as [ubuntu, nginx:1.25]"),
    "a list of objects": ([POD], "a list must be one of images, such as [ubuntu, nginx:1.25]"),
    "too many images": ([GOOD] * 1001, "more than 1000 images"),
    "too many documents": ("---\n".join(["a: 1\n"] * 1001), "more than 1000 objects"),
    "an alias": ("a: &a [x]\nb: *a\n", "alias"),
    "a bomb": ("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "alias"),
    "a tag": ("a: !!int id\n", "!!int does not fit the value"),
    "a duplicate key": ("kind: Pod\nkind: Job\n", "line 2"),
    "invalid UTF-8": (b"a: \xff", "is not UTF-8 text"),
    "NUL": (b"a: \0", "is not valid YAML"),
    "deep nesting": ("[" * 5000, "deep"),
    "truncated": ('{"apiVersion": "v1", ', "line 1, column 22: is not valid JSON"),
}


@pytest.mark.parametrize(("body", "message"), UNREADABLE.values(), ids=UNREADABLE)
async def test_an_unreadable_body_is_a_400_that_says_where(body: Any, message: str, webhook: Webhook) -> None:
    code, reason, text = failure(await post(webhook, body, YAML))
    assert (code, reason) == (400, "BadRequest")
    assert message in text


async def test_a_body_up_to_a_mebibyte_is_read_and_no_more(webhook: Webhook) -> None:
    fits = json.dumps(POD).ljust(BODY_LIMIT)
    assert (await reviewed(webhook, fits))["allowed"] is True
    expected = (413, "RequestEntityTooLarge", f"the body is larger than the limit of {BODY_LIMIT} bytes")
    assert failure(await post(webhook, fits + " ")) == expected
    assert BODY_LIMIT == 1024 * 1024


async def test_manual_reviews_and_their_page_can_be_switched_off() -> None:
    webhook = Webhook(docs=False)
    for path in ("/review", "/docs", "/openapi.json", "/redoc", "/static-offline-docs/swagger-ui.css"):
        assert (await webhook.http.request("POST" if path == "/review" else "GET", path)).status_code == 404
    assert (await webhook.validate(POD_CREATE)).status_code == 200


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("unknown=1", "unknown query parameter unknown; expected namespace, user or explain"),
        ("namepsace=shop", "unknown query parameter namepsace; expected namespace, user or explain"),
        ("explain=yes", "explain: expected true or false"),
        ("a%00b=", "unknown query parameter a?b; expected namespace, user or explain"),
        ("namespace=shop&namespace=other", "the query parameter namespace is given more than once"),
        ("namespace=a%00b", "namespace: expected a name of lower-case letters, digits and '-', at most 63"),
        ("namespace=Shop", "namespace: expected a name of lower-case letters, digits and '-', at most 63"),
        (f"namespace={'a' * 64}", "namespace: expected a name of lower-case letters, digits and '-', at most 63"),
    ],
)
async def test_a_parameter_without_effect_is_rejected(query: str, why: str, webhook: Webhook) -> None:
    assert failure(await post(webhook, POD, query=query)) == (400, "BadRequest", why)


async def test_objects_in_lists_count(webhook: Webhook) -> None:
    pods = [workload("Pod", pod_spec(GOOD))] * 1001
    inner = {"apiVersion": "v1", "kind": "List", "items": pods}
    for body in (inner, {"apiVersion": "v1", "kind": "List", "items": [inner]}, [POD, inner][1]):
        code, _, text = failure(await post(webhook, body))
        assert (code, text) == (400, "more than 1000 objects, including those in Lists; send fewer at once")
    assert webhook.anchore.calls == []


async def test_images_past_the_limit_are_reported_as_not_reviewed() -> None:
    webhook = Webhook(manual_bounds={"max_images": 3, "at_once": 1})
    webhook.anchore.store(GOOD)
    pods = [workload("Pod", pod_spec(GOOD), metadata={"name": f"p{number}"}) for number in range(5)]
    document = await reviewed(webhook, {"apiVersion": "v1", "kind": "List", "items": pods})
    assert document["allowed"] is False
    assert [(error["name"], error["message"]) for error in document["errors"]] == [
        (name, "not reviewed: the objects before it name 3 images; send fewer at once") for name in ("p3", "p4")
    ]
    assert len(document["images"]) == 3


async def test_objects_past_the_deadline_are_reported_as_not_reviewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anchore_admission.web.manual.SECONDS", 2.0)  # a busy machine must begin with p0 in time
    webhook = Webhook(manual_bounds={"at_once": 1})
    webhook.anchore.hang("by_tag")
    pods = [workload("Pod", pod_spec(GOOD), metadata={"name": f"p{number}"}) for number in range(3)]
    document = await reviewed(webhook, {"apiVersion": "v1", "kind": "List", "items": pods})
    assert document["allowed"] is False
    late = [error for error in document["errors"] if "not reviewed: this call ran out of time" in error["message"]]
    assert [error["name"] for error in late] == ["p1", "p2"]
    assert document["objects"]["notReviewed"] == 2


async def test_an_explanation_names_the_rules_passed_over(webhook: Webhook) -> None:
    [image] = (await reviewed(webhook, [GOOD], query="explain=true"))["images"]
    assert image["verdict"] == "admit"
    assert image["explanation"] == {
        "rule": "defaults",
        "mode": "strict",
        "account": "default",
        "policy": None,
        "enforcement": "deny",
        "onError": "deny",
        "breakGlass": None,
        "pin": "off",
        "pinConflict": "",
        "opa": None,
        "problem": "",
        "exemptions": [],
        "passedOver": [{"rule": "sandbox", "keys": ["namespaces"]}, {"rule": "robots", "keys": ["users"]}],
        "passedOverMore": 0,
    }


async def test_an_explanation_of_many_rules_is_bounded() -> None:
    rules = [{"name": f"rule-{number}", "match": {"users": ["ci-*"]}} for number in range(60)]
    [image] = (await reviewed(Webhook({"rules": rules}), [GOOD], query="explain=true"))["images"]
    assert len(image["explanation"]["passedOver"]) == 50
    assert image["explanation"]["passedOverMore"] == 10


@pytest.mark.parametrize("query", ["", "explain=false"])
async def test_without_the_wish_nothing_is_explained(webhook: Webhook, query: str) -> None:
    [image] = (await reviewed(webhook, [GOOD], query=query))["images"]
    assert "explanation" not in image
