import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import given
from hypothesis import strategies as st

from support.webhook import JSON, POD_CREATE, REVIEWS, Webhook, failure

Path = tuple[str | int, ...]
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


async def _ask(body: bytes, headers: dict[str, str], query: str) -> httpx.Response:
    webhook = Webhook(body_limit=16 * 1024)
    answer = await webhook.http.post(f"/validate?{query}", content=body, headers=headers)
    recorded = 1 if answer.status_code == 200 else 0
    assert (len(webhook.recorder.reviews), len(webhook.recorder.malformed)) == (recorded, 1 - recorded)
    return answer


def assert_proper(body: bytes, content_type: str = JSON, query: str = "timeout=10s") -> None:
    """Assert that the response is a verdict that the API server accepts, or an error in Kubernetes' own form."""
    answer = asyncio.run(_ask(body, {"content-type": content_type}, query))
    if answer.status_code != 200:
        assert failure(answer)[0] in {400, 413, 415}
        return
    sent, got = json.loads(body), answer.json()
    assert (got["apiVersion"], got["kind"]) == (sent["apiVersion"], "AdmissionReview")
    response = got["response"]
    assert response["uid"] == sent["request"]["uid"]
    assert set(response) <= {"uid", "allowed", "status", "warnings", "auditAnnotations"}
    assert response["allowed"] is True or response["status"]["code"] == 403
    assert all(text.isprintable() and len(text) <= 250 for text in response.get("warnings", []))
    assert "unexpectedly" not in response.get("status", {}).get("message", "")


@given(body=st.binary(max_size=200), content_type=st.sampled_from([JSON, "text/plain", ""]), query=st.text(max_size=20))
def test_random_bytes_are_answered_only_with_a_rejection(body: bytes, content_type: str, query: str) -> None:
    assert_proper(body, content_type, f"timeout={quote(query)}")


@given(mutated())
def test_a_review_with_anything_anywhere_is_judged_or_rejected(body: bytes) -> None:
    assert_proper(body)


@given(damaged())
def test_a_damaged_review_is_judged_or_rejected(body: bytes) -> None:
    assert_proper(body)
