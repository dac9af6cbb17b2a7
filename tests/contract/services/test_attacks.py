"""Reviews over a simulated Anchore, in either API, by authors who try to be admitted through their own submissions."""

import asyncio
import base64
import itertools
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from anchore_admission.adapters.anchore import Credentials
from anchore_admission.core.verdict import ReviewVerdict
from anchore_admission.models.configuration import ApiVersion, Configuration
from anchore_admission.models.review import decode
from anchore_admission.ports.deadline import Deadline
from anchore_admission.ports.telemetry import Origin
from anchore_admission.services.reviews.facts import FactGathering
from anchore_admission.services.reviews.judging import Judging
from anchore_admission.services.reviews.recent import Recent
from anchore_admission.services.reviews.review import Reviews
from anchore_admission.services.reviews.rules import CurrentRules, Rules
from anchore_admission.services.reviews.submissions import Schedule, Submissions
from support.anchore_calls import client
from support.anchore_stage import CVE, policy
from support.builders import pod_spec, review, workload
from support.fakes import FakeRecorder
from support.memory import memory_over
from support.sandbox_calls import ADMIN, Sandbox

Json = dict[str, Any]
APP = "r.example/corp/app"
CLEAN, VULNERABLE = "sha256:" + "a" * 64, "sha256:" + "b" * 64
V1_IS_CLEAN_V2_IS_NOT: Json = {
    "analysisTime": 0.5,
    "unknownImages": "refuse",
    "registry": [{"tag": f"{APP}:v1", "digest": CLEAN}, {"tag": f"{APP}:v2", "digest": VULNERABLE, "findings": [CVE]}],
    "policies": [{"policy": policy("strict"), "active": True}],
}
STRICT: Json = {"defaults": {"mode": "strict"}}


@dataclass
class Replica:
    """A controller with a memory of its own submissions, before a simulated Anchore; it remembers no answers."""

    sandbox: Sandbox
    version: ApiVersion
    settings: Mapping[str, Any] = field(default_factory=lambda: STRICT)

    def __post_init__(self) -> None:
        self.connect(httpx.ASGITransport(self.sandbox.app))

    def connect(self, transport: httpx.AsyncBaseTransport) -> None:
        user = Credentials(ADMIN[0], SecretStr(ADMIN[1]))
        self.anchore = client(transport, self.version, url="http://sandbox", credentials=user)
        accounts = {"default": self.anchore}
        self.recorder = FakeRecorder()
        self.recent = Recent()
        self.submissions = Submissions(accounts, self.recorder, Schedule(), clock=time.monotonic, recent=self.recent)
        memory = memory_over(accounts, self.recorder)
        gathering = FactGathering(memory, self.submissions, self.recorder, concurrency=32, passive_wait=0)
        rules = CurrentRules(Rules.of(Configuration.model_validate(self.settings)))
        self.reviews = Reviews(rules, Judging(gathering), self.recorder)

    async def review(self, image: str, *, namespace: str = "shop") -> ReviewVerdict:
        body = review(workload("Pod", pod_spec(image)), namespace=namespace)
        request = decode(json.dumps(body).encode()).request
        return await self.reviews.review(request, Deadline.after(30), origin=Origin.ADMISSION)

    async def admits(self, image: str, *, namespace: str = "shop") -> bool:
        return (await self.review(image, namespace=namespace)).allowed

    async def analyzed(self) -> None:
        """Let every submission be answered and every analysis end."""
        worker = asyncio.create_task(self.submissions.run())
        for _, entry in list(self.recent.items()):
            await asyncio.wait_for(entry.ended(), 30)
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker
        self.sandbox.clock.now += 60


@pytest.fixture(params=[ApiVersion.V1, ApiVersion.V2], ids=str)
def version(request: pytest.FixtureRequest) -> ApiVersion:
    value: ApiVersion = request.param
    return value


@asynccontextmanager
async def replica(version: ApiVersion, seed: Json, settings: Json | None = None) -> AsyncIterator[Replica]:
    sandbox = Sandbox(seed)
    opened = Replica(sandbox, version, settings or STRICT)
    try:
        yield opened
    finally:
        await opened.anchore.aclose()
        await sandbox.http.aclose()


class TestTagInFrontOfADigest:
    """Any author can write ``repo:tag@digest``; it must not decide the digest of the tag."""

    @pytest.mark.parametrize("tag", ["v2", "latest", CLEAN.replace(":", "-"), "sha256-" + "a" * 12])
    async def test_does_not_decide_the_digest_of_the_tag(self, version: ApiVersion, tag: str) -> None:
        async with replica(version, V1_IS_CLEAN_V2_IS_NOT) as attacked:
            await attacked.review(f"{APP}:{tag}@{CLEAN}")
            await attacked.analyzed()
            assert await attacked.admits(f"{APP}:{tag}@{CLEAN}")
            assert not await attacked.admits(f"{APP}:{tag}")
            await attacked.analyzed()
            assert not await attacked.admits(f"{APP}:{tag}")

    @pytest.mark.parametrize(
        "settings",
        [
            {"defaults": {"mode": "strict", "requestAnalysis": False}, "rules": []},
            {"defaults": {"mode": "analysis", "requestAnalysis": False}},
        ],
        ids=["strict", "analysis"],
    )
    async def test_does_not_through_a_passive_namespace_on_the_same_account(
        self, version: ApiVersion, settings: Json
    ) -> None:
        passive = {"name": "dev", "match": {"namespaces": ["dev"]}, "mode": "passive", "requestAnalysis": True}
        async with replica(version, V1_IS_CLEAN_V2_IS_NOT, {**settings, "rules": [passive]}) as attacked:
            assert await attacked.admits(f"{APP}:v2@{CLEAN}", namespace="dev")
            await attacked.analyzed()
            assert not await attacked.admits(f"{APP}:v2")

    @pytest.mark.parametrize("kind", ["whitelisted_images", "mappings"])
    async def test_inherits_no_rule_that_is_meant_for_the_tag(self, version: ApiVersion, kind: str) -> None:
        """The policy excuses ``v1``; the vulnerable digest carries only ``v2``."""
        excused = {
            "id": "e1",
            "name": "v1",
            "registry": "*",
            "repository": "*",
            "image": {"type": "tag", "value": "v1"},
        }
        written = policy("strict")
        if kind == "mappings":
            nothing = {"id": "p0", "name": "nothing", "version": "1_0", "rules": []}
            written["policies"].append(nothing)
            written["mappings"].insert(0, excused | {"policy_ids": ["p0"], "whitelist_ids": []})
        else:
            written[kind] = [excused]
        seed = {**V1_IS_CLEAN_V2_IS_NOT, "policies": [{"policy": written, "active": True}]}
        async with replica(version, seed) as attacked:
            for image in (f"{APP}:v1", f"{APP}:v2", f"{APP}:v1@{VULNERABLE}"):
                await attacked.review(image)
            await attacked.analyzed()
            assert await attacked.admits(f"{APP}:v1")
            for tag in ("", ":v1", ":v2"):
                assert not await attacked.admits(f"{APP}{tag}@{VULNERABLE}")

    async def test_does_not_in_rows_of_earlier_releases(self, version: ApiVersion) -> None:
        """Earlier releases submitted the digest under the author's tag, dated 2000."""
        async with replica(version, V1_IS_CLEAN_V2_IS_NOT) as attacked:
            pull = {ApiVersion.V1: "pullstring", ApiVersion.V2: "pull_string"}[version]
            source = {"tag": f"{APP}:v2", pull: f"{APP}@{CLEAN}", "creation_timestamp_override": "2000-01-01T00:00:00Z"}
            added = await attacked.sandbox.call("POST", f"/{version}/images", json={"source": {"digest": source}})
            assert added.status_code == 200
            attacked.sandbox.clock.now += 60
            denied = await attacked.review(f"{APP}:v2")
            assert "is not analyzed" in denied.message
            await attacked.analyzed()
            assert "failed policy checks" in (await attacked.review(f"{APP}:v2")).message
            assert await attacked.admits(f"{APP}:v2@{CLEAN}")


HUB = ("docker.io/library/nginx", "docker.io/nginx")
SPELLINGS = ("nginx:1.25", "docker.io/library/nginx:1.25", f"nginx@{VULNERABLE}", f"nginx:1.25@{VULNERABLE}")


def _selecting(repository: str) -> Json:
    return {"id": "s1", "name": "s1", "registry": "docker.io", "repository": repository}


def _policies() -> dict[str, Json]:
    any_tag = {"image": {"type": "tag", "value": "*"}}
    maps = {"policy_ids": ["p1"], "whitelist_ids": []}
    found: dict[str, Json] = {}
    for repository in ("library/nginx", "nginx", "library/*"):
        entry = _selecting(repository) | any_tag
        found[f"deny list {repository}"] = policy("strict", "WARN", blacklisted_images=[entry])
        found[f"allow list {repository}"] = policy("strict", whitelisted_images=[entry])
        found[f"mapping {repository}"] = policy("strict", mappings=[entry | maps])
        found[f"mapping {repository}, lenient"] = policy("strict", "WARN", mappings=[entry | maps])
    return found


POLICIES = _policies()


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("held", [(), HUB[:1], HUB[1:], HUB], ids=["none", "library", "short", "both"])
async def test_verdict_does_not_flip_because_the_image_was_submitted(
    version: ApiVersion, name: str, held: tuple[str, ...]
) -> None:
    """Neither our own submissions nor the name under which people added the image change the verdict."""
    image = {"digest": VULNERABLE, "findings": [CVE]}
    seed: Json = {
        "analysisTime": 0.5,
        "registry": [image | {"tag": f"{repository}:1.25"} for repository in HUB],
        "policies": [{"policy": POLICIES[name], "active": True}],
    }
    if held:
        seed["images"] = [image | {"tag": [f"{repository}:1.25" for repository in held]}]
    async with replica(version, seed) as attacked:
        if not held:
            await attacked.review(SPELLINGS[0])
            await attacked.analyzed()
        before = {spelling: (await attacked.review(spelling)).message for spelling in SPELLINGS}
        assert len({bool(message) for message in before.values()}) == 1, before
        assert bool(before[SPELLINGS[0]]) is (", lenient" not in name)
        for spelling in itertools.chain(SPELLINGS, SPELLINGS):
            await attacked.analyzed()
            assert (await attacked.review(spelling)).message == before[spelling]


@pytest.mark.parametrize("held", [True, False], ids=["added by people", "submitted by us"])
@pytest.mark.parametrize("suffix", [":1.25", f"@{VULNERABLE}"], ids=["tag", "digest"])
@pytest.mark.parametrize(
    ("registry", "repository", "written"),
    [
        ("registry.example.com", "team/app", "registry.example.com/team/app"),
        ("registry.example.com", "team/app", "Registry.Example.com/team/app"),
        ("registry.example.com", "team/app", "registry.example.com:443/team/app"),
        ("registry.example.com", "team/app", "REGISTRY.example.com:0443/team/app"),
        ("docker.io", "library/nginx", "registry-1.docker.io/library/nginx"),
        ("docker.io", "nginx", "Docker.IO/library/nginx"),
        ("docker.io", "nginx", "registry.hub.docker.com/library/nginx"),
    ],
)
async def test_mapping_is_not_evaded_by_another_spelling_of_the_registry(
    version: ApiVersion, registry: str, repository: str, written: str, suffix: str, *, held: bool
) -> None:
    """The policy maps one registry; every spelling of it is the same registry to a node that pulls."""
    mapped = {"tag": f"{registry}/{repository}:1.25", "digest": VULNERABLE, "findings": [CVE]}
    mapping = policy("strict")["mappings"][0] | {"registry": registry, "repository": repository}
    seed: Json = {
        "analysisTime": 0.5,
        "registry": [mapped, mapped | {"tag": f"{written}:1.25"}],
        "policies": [{"policy": policy("strict", mappings=[mapping]), "active": True}],
        "images": [mapped] if held else [],
    }
    async with replica(version, seed) as attacked:
        assert not await attacked.admits(f"{written}{suffix}")
        for _ in range(2):
            await attacked.analyzed()
            assert "failed policy checks" in (await attacked.review(f"{written}{suffix}")).message


@pytest.mark.parametrize(
    ("pattern", "written", "allowed"),
    [
        ("registry*", "registry-1.docker.io/team/app", False),
        ("*:443", "docker.io:443/team/app", False),
        ("docker.io", "registry-1.docker.io/team/app", True),
        ("*", "registry-1.docker.io/team/app", True),
    ],
)
async def test_spelling_of_the_registry_brings_no_mapping_about(
    version: ApiVersion, pattern: str, written: str, *, allowed: bool
) -> None:
    """``requireMapping`` denies what no mapping covers under the registry's own name."""
    image = {"tag": f"{written}:1", "digest": CLEAN}
    mapping = policy("strict")["mappings"][0] | {"registry": pattern}
    seed: Json = {"images": [image], "policies": [{"policy": policy("strict", mappings=[mapping]), "active": True}]}
    async with replica(version, seed, {"defaults": {"mode": "strict", "requireMapping": True}}) as attacked:
        assert await attacked.admits(f"{written}:1") is allowed
        assert await attacked.admits(f"{written}@{CLEAN}") is allowed


@pytest.mark.parametrize("requests", [True, False], ids=["requests analysis", "requests none"])
async def test_a_tag_that_moved_and_was_added_by_others_is_judged_again(version: ApiVersion, *, requests: bool) -> None:
    """A replica that remembers where the tag pointed agrees at once with one that does not."""
    settings = {"defaults": {"mode": "strict", "requestAnalysis": requests}}
    seed = {**V1_IS_CLEAN_V2_IS_NOT, "images": [{"tag": f"{APP}:v1", "digest": CLEAN}]}
    async with replica(version, seed, settings) as attacked:
        assert await attacked.admits(f"{APP}:v1")
        await attacked.analyzed()
        assert await attacked.admits(f"{APP}:v1")
        moved = {"tag": f"{APP}:v1", "digest": VULNERABLE, "findings": [CVE]}
        answer = await attacked.sandbox.http.put("/sandbox/registry", json=[moved])
        assert answer.status_code < 300, answer.text
        await attacked.sandbox.add(f"{APP}:v1", version=str(version))
        attacked.sandbox.clock.now += 60
        for asked in (attacked, Replica(attacked.sandbox, version, settings)):
            assert "failed policy checks" in (await asked.review(f"{APP}:v1")).message


async def test_copy_of_a_failing_image_under_another_name_is_not_admitted_unseen(version: ApiVersion) -> None:
    """Policies map by repository: the copy is unmapped, which the warning says and ``requireMapping`` denies."""
    image = {"tag": f"{HUB[0]}:1.25", "digest": VULNERABLE, "findings": [CVE]}
    mapping = policy("strict")["mappings"][0] | {"registry": "docker.io"}
    seed: Json = {"images": [image], "policies": [{"policy": policy("strict", mappings=[mapping]), "active": True}]}
    copy = f"other.example.com/nginx@{VULNERABLE}"
    async with replica(version, seed) as lenient:
        admitted = await lenient.review(copy)
        assert admitted.allowed
        assert any(f"{HUB[0]}:1.25" in warning for warning in admitted.warnings)
    async with replica(version, seed, {"defaults": {"mode": "strict", "requireMapping": True}}) as strict:
        assert not await strict.admits(copy)


@pytest.mark.parametrize("mode", ["strict", "analysis"])
@pytest.mark.parametrize("suffix", [":v2", f"@{VULNERABLE}"], ids=["tag", "digest"])
async def test_record_that_its_author_made_too_long_is_a_denial(version: ApiVersion, mode: str, suffix: str) -> None:
    """A record holds the image's Dockerfile, which Anchore makes up from its history, once for each tag."""
    settings = {"defaults": {"mode": mode, "onError": "allow"}}
    dockerfile = base64.b64encode(b"RUN true\n" * 100_000).decode()
    async with replica(version, V1_IS_CLEAN_V2_IS_NOT, settings) as attacked:
        pull = {ApiVersion.V1: "pullstring", ApiVersion.V2: "pull_string"}[version]
        source = {"tag": {pull: f"{APP}:v2", "dockerfile": dockerfile}}
        added = await attacked.sandbox.call("POST", f"/{version}/images", json={"source": source})
        assert added.status_code == 200
        attacked.sandbox.clock.now += 60
        denied = await attacked.review(f"{APP}{suffix}")
        assert not denied.allowed
        assert "limits.anchoreResponse sets the limit" in denied.message


async def test_the_name_of_an_image_does_not_change_the_meaning_of_a_response(version: ApiVersion) -> None:
    """Anchore may repeat a name that holds the words of another answer: an account that is not there."""

    def absent(request: httpx.Request) -> httpx.Response:
        asked = request.url.params.get("fulltag") or request.url.params.get("full_tag")
        return httpx.Response(404, json={"message": f"Image {asked} not found", "httpcode": 404, "detail": {}})

    async with replica(version, {}, {"defaults": {"mode": "strict", "onError": "allow"}}) as attacked:
        await attacked.anchore.aclose()
        attacked.connect(httpx.MockTransport(absent))
        denied = await attacked.review("r.example/team/account:1")
        assert denied.message.startswith("Image r.example/team/account:1 is not analyzed")
