import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import given
from hypothesis import strategies as st

from support.webhook import JSON, POD_CREATE, REVIEWS, Webhook, failure, patched

Path = tuple[str | int, ...]
PIN = {"defaults": {"mode": "strict", "pin": "bestEffort"}}
SENT = [
    REVIEWS[f"kubernetes-1.36/{name}"] for name in ("pod-create", "cronjob-update-image", "pod-ephemeralcontainers")
]
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_WORDS = st.sampled_from(["CREATE", "DELETE", "Pod", "a:1", "sha256:0", "\0", "\N{PILE OF POO}", "https://a/b@c"])
_JSON = st.recursive(
    _SCALARS | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield every place at which a document can be changed."""
    items = value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
    for key, item in items:
        yield (*path, key)
        yield from paths(item, (*path, key))


def change(document: Any, path: Path, new: Any, *, remove: bool) -> None:
    """Replace the value at a place, if earlier changes have left it."""
    place = document
    for key in path[:-1]:
        try:
            place = place[key]
        except (LookupError, TypeError):
            return
    last: Any = path[-1]
    if isinstance(place, dict) and remove:
        place.pop(last, None)
    elif isinstance(place, dict) or (isinstance(place, list) and last in range(len(place))):
        place[last] = new


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    document = json.loads(draw(st.sampled_from(SENT)))
    places = list(paths(document))
    for _ in range(draw(st.integers(1, 4))):
        change(document, draw(st.sampled_from(places)), draw(_JSON), remove=draw(st.booleans()))
    return json.dumps(document).encode()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    start = draw(st.integers(0, len(POD_CREATE)))
    end = draw(st.integers(start, min(start + 20, len(POD_CREATE))))
    return POD_CREATE[:start] + draw(st.binary(max_size=20)) + POD_CREATE[end:]


async def _ask(body: bytes, headers: dict[str, str], query: str) -> tuple[httpx.Response, httpx.Response]:
    """Send a body to both webhooks; their Anchore holds every image of the reviews that are sent."""
    webhook = Webhook(PIN, body_limit=16 * 1024)
    for image in ("nginx:1.25", "busybox:1.36"):
        webhook.anchore.store(f"docker.io/library/{image}")
    async with webhook.submitting():
        answer = await webhook.http.post(f"/validate?{query}", content=body, headers=headers)
        recorded = 1 if answer.status_code == 200 else 0
        assert (len(webhook.recorder.reviews), len(webhook.recorder.malformed)) == (recorded, 1 - recorded)
        mutating = await webhook.http.post(f"/mutate?{query}", content=body, headers=headers)
        assert (len(webhook.recorder.pinnings), len(webhook.recorder.malformed)) == (recorded, 2 * (1 - recorded))
    return answer, mutating


def assert_patch(sent: Any, response: Any) -> None:
    """Assert that the response allows the object, and that its patch, if any, changes nothing but images in places."""
    assert response["allowed"] is True
    assert set(response) - {"auditAnnotations"} in ({"uid", "allowed"}, {"uid", "allowed", "patchType", "patch"})
    operations = json.loads(base64.b64decode(response.get("patch", "W10=")))
    new = patched(sent["request"].get("object"), {"patch": operations})
    assert all(place["path"].endswith(("/image", "/image/reference")) for place in operations)
    assert (new == sent["request"].get("object")) is (operations == [])


def assert_proper(body: bytes, content_type: str = JSON, query: str = "timeout=10s") -> None:
    """Assert that the responses are those that API servers accept, or errors in Kubernetes' own form."""
    answer, mutating = asyncio.run(_ask(body, {"content-type": content_type}, query))
    if answer.status_code != 200:
        assert failure(answer)[0] in {400, 413, 415}
        assert failure(mutating) == failure(answer)
        return
    sent, got = json.loads(body), answer.json()
    assert (got["apiVersion"], got["kind"]) == (sent["apiVersion"], "AdmissionReview")
    assert {**mutating.json(), "response": None} == {**got, "response": None}
    response = got["response"]
    assert response["uid"] == mutating.json()["response"]["uid"] == sent["request"]["uid"]
    assert_patch(sent, mutating.json()["response"])
    assert set(response) <= {"uid", "allowed", "status", "warnings", "auditAnnotations"}
    assert response["allowed"] is True or response["status"]["code"] == 403
    assert all(text.isprintable() and len(text) <= 250 for text in response.get("warnings", []))
    assert "unexpectedly" not in response.get("status", {}).get("message", "")


def test_the_reviews_of_pods_are_pinned_before_they_are_changed() -> None:
    for body in (SENT[0], SENT[2]):
        _, mutating = asyncio.run(_ask(body, {"content-type": JSON}, "timeout=3s"))
        assert "patch" in mutating.json()["response"]


@given(body=st.binary(max_size=200), content_type=st.sampled_from([JSON, "text/plain", ""]), query=st.text(max_size=20))
def test_random_bytes_are_answered_only_with_a_rejection(body: bytes, content_type: str, query: str) -> None:
    assert_proper(body, content_type, f"timeout={quote(query)}")


@given(mutated())
def test_a_review_with_anything_anywhere_is_judged_or_rejected(body: bytes) -> None:
    assert_proper(body)


@given(damaged())
def test_a_damaged_review_is_judged_or_rejected(body: bytes) -> None:
    assert_proper(body)
