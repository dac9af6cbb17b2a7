import json
from typing import Any

import pytest

from support.builders import pod_spec, review, workload
from support.webhook import JSON, POD_CREATE, Webhook, failure

FORM = "application/x-www-form-urlencoded"
GOOD = review(workload("Pod", pod_spec("registry.example.com/app:1")))


def changed(**changes: Any) -> bytes:
    """Return a valid review with other fields in its request."""
    return json.dumps(review(GOOD["request"]["object"], **changes)).encode()


def envelope(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def _nested(opening: str, closing: str, depth: int = 20_000) -> str:
    return opening * depth + closing * depth


UNREADABLE = {
    "empty": b"",
    "white space": b" \n\t ",
    "truncated": POD_CREATE[: len(POD_CREATE) // 2],
    "truncated by one": POD_CREATE.rstrip()[:-1],
    "trailing text": POD_CREATE + b"{}",
    "no JSON": b"kind: AdmissionReview",
    "null": b"null",
    "array": b"[]",
    "number": b"1" * 10_000,
    "string": b'"AdmissionReview"',
    "NaN": b"NaN",
    "invalid UTF-8": POD_CREATE.replace(b'"shop"', b'"sh\xff\xfep"'),
    "UTF-16": POD_CREATE.decode().encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + POD_CREATE,
    "raw control character": POD_CREATE.replace(b'"shop"', b'"sh\x00op"'),
    "lone surrogate": POD_CREATE.replace(b'"shop"', rb'"\ud800"'),
    "lone surrogate in an unknown place": envelope(extra="?").replace(b'"?"', rb'"\udfff"'),
    "deep arrays": _nested("[", "]").encode(),
    "deep objects": _nested('{"a":', "}").encode(),
    "deep inside a label": envelope(extra="?").replace(b'"?"', _nested("[", "]").encode()),
    "no request": b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}',
    "request null": envelope(request=None),
    "request a list": envelope(request=[]),
    "kind missing": json.dumps({key: value for key, value in GOOD.items() if key != "kind"}).encode(),
    "another kind": envelope(kind="Pod"),
    "another version": envelope(apiVersion="admission.k8s.io/v2"),
    "version null": envelope(apiVersion=None),
    "uid missing": changed().replace(b'"uid"', b'"uuid"'),
    "uid null": changed(uid=None),
    "uid empty": changed(uid=""),
    "uid a number": changed(uid=7),
    "uid too long": changed(uid="u" * 257),
    "kind of the object null": changed(kind=None),
    "kind of the object a word": changed(kind="Pod"),
    "operation missing": changed().replace(b'"operation"', b'"op"'),
    "operation null": changed(operation=None),
    "user a word": changed(userInfo="jane"),
    "groups a word": changed(userInfo={"groups": "developers"}),
    "dry run a word": changed(dryRun="perhaps"),
    "huge number as namespace": changed(namespace="?").replace(b'"?"', b"1e999999"),
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
async def test_an_unreadable_call_is_a_clear_400(body: bytes) -> None:
    webhook = Webhook(body_limit=1024 * 1024)
    code, reason, message = failure(await webhook.validate(body))
    assert (code, reason) == (400, "BadRequest")
    assert message.startswith("not a readable AdmissionReview: ")
    assert len(message) < 1000
    assert webhook.recorder.malformed == [("malformed_review", message)]
    assert webhook.recorder.reviews == []


def spec(**changes: Any) -> bytes:
    """Return a review of a Pod with other fields in its spec."""
    return json.dumps(review({**GOOD["request"]["object"], "spec": changes})).encode()


def _container(**more: Any) -> bytes:
    return spec(containers=[{"name": "c1", "image": "registry.example.com/app:1", **more}])


DENIED = {
    "object a word": (changed(object="Pod"), "the object cannot be read: "),
    "object a list": (changed(object=[]), "the object cannot be read: "),
    "spec a list": (changed(object={"spec": []}), "the object cannot be read: spec: "),
    "containers an object": (spec(containers={}), "the object cannot be read: spec.containers: "),
    "object null": (changed(object=None), "the object cannot be read: it is missing"),
    "object missing": (changed().replace(b'"object"', b'"objekt"'), "the object cannot be read: it is missing"),
    "container null": (spec(containers=[None]), "the object cannot be read: spec.containers[0]: "),
    "image a number": (_container(image=1), "the object cannot be read: spec.containers[0].image: "),
    "image a huge number": (
        _container(image="?").replace(b'"?"', b"9" * 4000),
        "the object cannot be read: spec.containers[0].image: ",
    ),
    "image empty": (_container(image=""), 'containers "c1" names no image'),
    "image null": (_container(image=None), 'containers "c1" names no image'),
    "image with NUL": (_container(image="a\0b"), 'containers "c1": image a?b '),
    "image with emoji": (_container(image="\N{PILE OF POO}:1"), 'containers "c1": image \N{PILE OF POO}:1 '),
    "image of white space": (_container(image=" "), 'containers "c1": image   '),
    "image with a line break": (_container(image="a\nb"), 'containers "c1": image a?b '),
    "image too long": (_container(image="a" * 60_000), 'containers "c1": image aaa'),
    "name with NUL and emoji": (_container(name="\0\N{PILE OF POO}", image=""), 'containers "?\N{PILE OF POO}" names'),
    "name null": (_container(name=None, image=""), 'containers "" names no image'),
    "the same image key twice": (_container(image="?").replace(b'"?"', b'"a:1", "image": ""'), 'containers "c1" names'),
}


@pytest.mark.parametrize(("body", "message"), DENIED.values(), ids=DENIED)
async def test_an_unreadable_object_is_denied_with_a_message(body: bytes, message: str) -> None:
    response = await Webhook().judged(body)
    assert response["allowed"] is False
    assert response["status"]["code"] == 403
    assert response["status"]["message"].startswith(message)
    assert response["status"]["message"].isprintable()
    assert len(response["status"]["message"]) < 1000


ADMITTED = {
    "an empty object": changed(object={}),
    "metadata and spec null": changed(object={"metadata": None, "spec": None}),
    "containers null": spec(containers=None),
    "no containers": spec(containers=[]),
    "nulls everywhere": changed(
        resource={"group": ""},
        subResource=None,
        name=None,
        namespace=None,
        userInfo={"username": None, "groups": None},
        object={"metadata": {"labels": None, "annotations": {"a": None}, "ownerReferences": None}, "spec": {}},
        dryRun=None,
        options=None,
    ),
    "NUL and emoji in every name": changed(name="\0", namespace="\N{PILE OF POO}", object={"metadata": {"name": "\0"}}),
    "the longest uid": changed(uid="u" * 256, operation="DELETE"),
    "unknown keys": changed(operation="DELETE", unreadable="no", response={"allowed": False}),
}


@pytest.mark.parametrize("body", ADMITTED.values(), ids=ADMITTED)
async def test_an_object_without_images_is_admitted(body: bytes) -> None:
    webhook = Webhook()
    assert (await webhook.judged(body))["allowed"] is True
    assert webhook.recorder.malformed == []


@pytest.mark.parametrize(("first", "last", "allowed"), [("DELETE", "CREATE", False), ("CREATE", "DELETE", True)])
async def test_of_a_key_that_stands_twice_the_last_one_counts(first: str, last: str, allowed: bool) -> None:
    """Go's decoder, which API servers use, also takes the last one."""
    body = json.dumps(GOOD).replace('"operation": "CREATE"', f'"operation": "{first}", "operation": "{last}"')
    assert (await Webhook().judged(body.encode()))["allowed"] is allowed


@pytest.mark.parametrize(
    "query",
    ["", "timeout", "timeout=", "timeout=-5s", "timeout=9999s", "timeout=1e9s", "timeout=%00&timeout=x", "\xff"],
)
async def test_a_timeout_that_makes_no_sense_leaves_the_usual_one(query: str) -> None:
    answer = await Webhook().validate(GOOD, query=query)
    assert answer.status_code == 200
    assert answer.json()["response"]["allowed"] is False


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/yaml", "application/jsonp", "multipart/form-data", "json", ";", FORM],
)
async def test_another_content_type_is_named_in_the_error(content_type: str | None) -> None:
    webhook = Webhook()
    headers = {} if content_type is None else {"content-type": content_type}
    answer = await webhook.http.post("/validate", content=POD_CREATE, headers=headers)
    came = {None: "no content type", "": "no content type", ";": "no content type"}
    came[FORM] = f"the content type {FORM}, the default of curl"
    how = came.get(content_type, f"the content type {content_type}")
    text = f"the body has {how}: send it with the header 'Content-Type: application/json'"
    assert failure(answer) == (415, "UnsupportedMediaType", text)
    assert [code for code, _ in webhook.recorder.malformed] == ["unsupported_media_type"]


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", " application/json "])
async def test_json_is_known_by_its_type_alone(content_type: str) -> None:
    answer = await Webhook().http.post("/validate", content=POD_CREATE, headers={"content-type": content_type})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/validate", 405),
        ("PUT", "/validate", 405),
        ("HEAD", "/validate", 405),
        ("OPTIONS", "/validate", 405),
        ("GET", "/mutate", 405),
        ("POST", "/validate/", 404),
        ("POST", "/mutate/", 404),
        ("POST", "/", 404),
        ("GET", "/no-such-path", 404),
        ("GET", "/static-offline-docs/../../pyproject.toml", 404),
        ("GET", "/static-offline-docs/%2e%2e/%2e%2e/__init__.py", 404),
    ],
)
async def test_other_methods_and_paths_are_not_served(method: str, path: str, status: int) -> None:
    answer = await Webhook().http.request(method, path, headers={"content-type": JSON})
    assert answer.status_code == status
    assert "location" not in answer.headers


@pytest.mark.parametrize("docs", [True, False])
@pytest.mark.parametrize(
    "path", ["/", "/validat", "/validate/", "/mutate/", "/validate/secret", "/static-offline-docs/none"]
)
async def test_another_path_is_answered_with_the_paths_that_are_served(path: str, docs: bool) -> None:
    answer = await Webhook(docs=docs).http.post(path, content=POD_CREATE, headers={"content-type": JSON})
    code, reason, text = failure(answer)
    assert (code, reason) == (404, "NotFound")
    assert "POST /validate, POST /mutate" in text
    assert ("POST /review" in text) is docs


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize(("path", "allowed"), [("/validate", "POST"), ("/mutate", "POST"), ("/review", "POST")])
async def test_another_method_is_answered_with_the_allowed_one(path: str, allowed: str, method: str) -> None:
    answer = await Webhook().http.request(method, path)
    assert answer.headers["allow"] == allowed
    assert failure(answer) == (405, "MethodNotAllowed", f"the method is not allowed here: use {allowed}")


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css"])
async def test_the_documentation_can_only_be_read(path: str) -> None:
    http = Webhook().http
    assert (await http.head(path)).status_code == 200
    answer = await http.post(path, content=b"x")
    assert answer.headers["allow"] == "GET"
    assert failure(answer) == (405, "MethodNotAllowed", "the method is not allowed here: use GET")
