"""A stand-in Anchore that speaks API v1 over plain HTTP, small enough to cost little beside what it measures.

``serving`` runs the server in the loop of the benchmark; what it answers is a function of the call. ``Steady`` is the
Anchore of the benchmarks: it holds every image, all of them pass, and each call takes the same time.
"""

import asyncio
import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

Json = Any

POLICY = "bench-policy"
_OFFICIAL = "docker.io/library/"


@dataclass(frozen=True, slots=True)
class Call:
    """One request; ``operation`` is the controller's own name of it, ``other`` if it has none."""

    operation: str
    path: tuple[str, ...]
    query: dict[str, str]
    body: Json = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One response."""

    status: int
    body: bytes
    content_type: str = "application/json"

    def wire(self) -> bytes:
        length = len(self.body)
        head = f"HTTP/1.1 {self.status} -\r\ncontent-type: {self.content_type}\r\ncontent-length: {length}\r\n\r\n"
        return head.encode() + self.body


Respond = Callable[[Call, asyncio.StreamWriter], Awaitable[None]]
"""Writes the response to a call, or whatever takes its place; closing the writer ends the connection."""


def of(document: Json, status: int = 200) -> Answer:
    return Answer(status, json.dumps(document).encode())


def error(status: int, message: str) -> Answer:
    return of({"message": message, "httpcode": status, "detail": {}}, status)


NO_EVENTS = of({"results": [], "next_page": False, "item_count": 0, "page": 1})
NOT_FOUND = error(404, "image data not found in DB")


@contextlib.asynccontextmanager
async def serving(respond: Respond, port: int = 0) -> AsyncIterator[int]:
    """Serve on the loopback and yield the port; all connections are aborted at the end, as by a crash."""
    writers: set[asyncio.StreamWriter] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        # The client may hang up at any time, and the server does at its end.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                await respond(await _read(reader), writer)
                await writer.drain()
        writers.discard(writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port, backlog=1024)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


def send(writer: asyncio.StreamWriter, wire: bytes) -> None:
    """Write to a client that may be gone: uvloop raises a RuntimeError then, and asyncio nothing."""
    if not writer.is_closing():
        writer.write(wire)


async def _read(reader: asyncio.StreamReader) -> Call:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    method, target, _ = head.split(" ", 2)
    _, _, rest = head.lower().partition("content-length: ")
    body = await reader.readexactly(int(rest.partition("\r\n")[0])) if rest else b""
    parts = urlsplit(target)
    path = tuple(unquote(segment) for segment in parts.path.strip("/").split("/"))
    query = dict(parse_qsl(parts.query))
    return Call(_operation(method, path, query), path, query, json.loads(body) if body else None)


def _operation(method: str, path: tuple[str, ...], query: dict[str, str]) -> str:
    match method, path:
        case "POST", ("v1", "images"):
            return "submit"
        case "GET", ("v1", "images") if "fulltag" in query:
            return "by_tag"
        case "GET", ("v1", "images", _):
            return "by_digest"
        case "GET", ("v1", "images", _, "check"):
            return "check"
        case "GET", ("v1", "policies"):
            return "policies"
        case "GET", ("v1", "events"):
            return "events"
        case _:
            return "other"


def digest_of(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def image(digest: str, *full_tags: str, state: str = "analyzed", detected_at: str = "2026-01-01T00:00:00Z") -> Json:
    """Return the record of one image with its tags."""
    return {
        "imageDigest": digest,
        "parentDigest": digest,
        "analysis_status": state,
        "image_status": "active",
        "created_at": detected_at,
        "image_content": {"metadata": {"arch": "amd64", "distro": "debian", "distro_version": "12"}},
        "image_detail": [
            {"fulltag": full_tag, "tag_detected_at": detected_at, "created_at": detected_at} for full_tag in full_tags
        ],
    }


def evaluation(
    digest: str,
    full_tag: str,
    *,
    passed: bool = True,
    policy: str = POLICY,
    findings: int = 1,
    is_detailed: bool = True,
) -> Json:
    """Return the response to a check by a policy that maps every image; only a failure has ``findings``."""
    document = {
        "id": policy,
        "mappings": [{"registry": "*", "repository": "*"}],
        "policies": [{"id": "p", "rules": [{"gate": "vulnerabilities"}]}],
    }
    action = "go" if passed else "stop"
    rows = [
        [f"CVE-2026-{n:04}+lib{n}", "vulnerabilities", "package", f"HIGH Vulnerability found in lib{n}", "stop", False]
        for n in range(0 if passed else findings)
    ]
    table = {"header": ["Trigger_Id", "Gate", "Trigger", "Check_Output", "Gate_Action", "Whitelisted"], "rows": rows}
    outcome = {
        "final_action": action,
        "final_action_reason": "policy_evaluation",
        "matched_mapping_rule": {"name": "all"},
        "matched_whitelisted_images_rule": False,
        "matched_blacklisted_images_rule": False,
        "evaluation_problems": [],
        "result": {"image": {"result": table}},
    }
    found = {
        "policyId": policy,
        "status": "pass" if passed else "fail",
        "last_evaluation": "2026-01-01T00:00:00Z",
        "detail": {"policy": document, "result": outcome} if is_detailed else {},
    }
    return [{digest: {full_tag: [found]}}]


def policy_row(policy: str = POLICY, *, last_updated: str = "2026-01-01T00:00:00Z", active: bool = True) -> Json:
    """Return one row of the list of policies."""
    return {
        "policyId": policy,
        "name": policy,
        "active": active,
        "last_updated": last_updated,
        "created_at": last_updated,
    }


@dataclass
class Steady:
    """An Anchore that holds every image under one name and passes it, ``delay`` seconds after each call.

    Docker Hub's official images are held under their short name only, as Anchore holds what is submitted by people.
    """

    delay: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)
    _tags: dict[str, str] = field(default_factory=dict)

    def verdict_calls(self) -> int:
        """Return how many calls a verdict had to wait for: look-ups and checks."""
        return self.calls["by_tag"] + self.calls["by_digest"] + self.calls["check"]

    async def respond(self, call: Call, writer: asyncio.StreamWriter) -> None:
        self.calls[call.operation] += 1
        await asyncio.sleep(self.delay)
        send(writer, self._answer(call).wire())

    def _answer(self, call: Call) -> Answer:
        match call.operation:
            case "by_tag":
                tag = call.query["fulltag"]
                return NOT_FOUND if tag.startswith(_OFFICIAL) else of([self._image(tag)])
            case "by_digest":
                tag = self._tags.get(call.path[2], "")
                return of([self._image(tag)]) if tag else NOT_FOUND
            case "check":
                return of(evaluation(call.path[2], call.query["tag"]))
            case "submit":
                return of([self._image(call.body["source"]["tag"]["pullstring"])])
            case "policies":
                return of([policy_row()])
            case "events":
                return NO_EVENTS
            case _:
                return error(404, "no such path")

    def _image(self, full_tag: str) -> Json:
        digest = digest_of(full_tag)
        self._tags[digest] = full_tag
        return image(digest, full_tag)
