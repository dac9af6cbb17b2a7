"""The mutating webhook's service: it pins what reviews would admit, and never denies."""

import asyncio
import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anchore_admission.core.freshness import Lifetimes
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.core.pins import PinResult
from anchore_admission.core.reference import parse
from anchore_admission.errors import AnchoreUnavailable
from anchore_admission.models.review import AdmissionResponse
from anchore_admission.ports.deadline import Deadline
from anchore_admission.services.reviews.pinning import PIN_SECONDS
from support.builders import Json, pod, request, template
from support.fakes import FakeRecorder, digest_of, settled
from support.review_setup import APP, BAD, REGISTRY, ReviewSetup, defaults

LIST = digest_of("list")
AMD64 = digest_of("amd64")
PINNED = f"{APP}@{LIST}"
STRICT = defaults("strict", pin="bestEffort")
OUTAGE = AnchoreUnavailable("no connection")


def _setup(document: Json | None = None, **given: Any) -> ReviewSetup:
    setup = ReviewSetup(
        settings=document or STRICT, lifetimes=Lifetimes(), passive_wait=1.0, policy_interval=30.0, **given
    )
    setup.anchore.store(APP, digest=AMD64, parent_digest=LIST)
    return setup


async def mutate(setup: ReviewSetup, new: Any, *, old: Any = None, **about: Any) -> AdmissionResponse:
    asked = request(new, oldObject=old, operation="UPDATE" if old else "CREATE", **about)
    response = await setup.pinning.mutate(asked, Deadline.after(PIN_SECONDS, setup.clock))
    assert response.allowed
    assert response.uid == asked.uid
    return response


def patched(new: Any, response: AdmissionResponse) -> Any:
    """Apply the patch as an API server would: each path must exist."""
    found = copy.deepcopy(new)
    for replacement in response.patch:
        *way, last = replacement.path.removeprefix("/").split("/")
        at = found
        for step in way:
            at = at[int(step) if isinstance(at, list) else step]
        assert isinstance(at[last], str)
        at[last] = replacement.value
    return found


def results(setup: ReviewSetup) -> list[PinResult]:
    """The outcomes of the latest call."""
    return [pin.result for pin in setup.recorder.pinnings[-1].pins]


async def test_the_first_pod_waits_for_the_submission_that_tells_where_the_tag_points() -> None:
    setup = _setup()
    async with setup.running():
        response = await mutate(setup, pod(APP))

    assert [(each.path, each.value) for each in response.patch] == [("/spec/containers/0/image", PINNED)]
    assert response.audit_annotations == {"pinned": f"containers/c1={LIST}"}
    assert setup.submitted == [APP]


async def test_the_pinned_pod_is_judged_from_memory() -> None:
    setup = _setup()
    async with setup.running():
        response = await mutate(setup, pod(APP))
        asked = len(setup.operations)
        verdict = await setup.review(patched(pod(APP), response))

    assert verdict.allowed
    assert [image.digest for image in verdict.images] == [AMD64]
    assert setup.operations[asked:] == []


async def test_a_tag_that_moved_is_pinned_to_what_was_judged() -> None:
    """Anchore still shows the old image by the tag; its response to the submission tells the new one."""
    setup = _setup()
    moved, moved_list = digest_of("new-amd64"), digest_of("new-list")
    async with setup.running():
        await mutate(setup, pod(APP))
        setup.anchore.store(f"{REGISTRY}/app:next", digest=moved, parent_digest=moved_list)
        setup.anchore.registry[APP] = moved
        await setup.clock.advance(601)
        response = await mutate(setup, pod(APP))

    assert [each.value for each in response.patch] == [f"{APP}@{moved_list}"]


async def test_a_tag_that_another_replica_has_seen_move_is_resolved_again_at_once() -> None:
    setup = _setup()
    moved, moved_list = digest_of("new-amd64"), digest_of("new-list")
    async with setup.running():
        await mutate(setup, pod(APP))
        setup.anchore.registry[APP] = moved
        setup.anchore.store(APP, digest=moved, parent_digest=moved_list, detected_at="2027-01-01T00:00:00Z")
        await setup.clock.advance(61)
        response = await mutate(setup, pod(APP))

    assert [each.value for each in response.patch] == [f"{APP}@{moved_list}"]
    assert setup.submitted == [APP, APP]


async def test_a_tag_that_moved_to_an_image_that_fails_stays_and_is_denied() -> None:
    setup = _setup()
    moved = digest_of("new-amd64")
    setup.anchore.store(f"{REGISTRY}/app:next", digest=moved)
    setup.fail_policy("new-amd64")
    setup.anchore.registry[APP] = moved
    async with setup.running():
        response = await mutate(setup, pod(APP))
        verdict = await setup.review(pod(APP))

    assert response.patch == ()
    assert results(setup) == [PinResult.DENIED]
    assert not verdict.allowed


async def test_registries_of_another_namespace_that_hang_keep_no_tag_from_being_pinned() -> None:
    setup = _setup(defaults("strict", pin="required"))
    async with setup.running():
        for number in range(20):
            await setup.responded(AnalysisRequest(f"flood{number}.example.com/once:1"), "flood")
        for number in range(100):
            image = f"flood{number % 20}.example.com/app:{number}"
            setup.anchore.hang("submit", subject=image)
            await setup.review(pod(image), namespace="flood")
        assert setup.anchore.in_flight == 2
        response = await mutate(setup, pod(APP))
        verdict = await setup.review(patched(pod(APP), response))

    assert [each.value for each in response.patch] == [PINNED]
    assert verdict.allowed


async def test_a_registry_that_does_not_respond_leaves_the_tag_in_time() -> None:
    setup = _setup()
    setup.anchore.hang("submit")
    async with setup.running():
        mutating = asyncio.create_task(mutate(setup, pod(APP)))
        await setup.clock.advance(PIN_SECONDS - 0.1)
        assert not mutating.done()
        await setup.clock.advance(0.1)
        assert mutating.done()
        response = await mutating

    assert response.patch == ()
    assert response.audit_annotations == {"not-pinned": "containers/c1: its tag has not been resolved yet"}


async def test_a_slow_anchore_leaves_the_tag_in_time() -> None:
    setup = _setup()
    setup.anchore.hang("by_tag")
    mutating = asyncio.create_task(mutate(setup, pod(APP)))
    await setup.clock.advance(PIN_SECONDS)
    assert mutating.done()
    response = await mutating

    assert response.patch == ()
    assert results(setup) == [PinResult.NO_TIME]


async def test_during_an_outage_what_is_known_is_pinned_until_the_tag_may_have_moved() -> None:
    setup = _setup()
    async with setup.running():
        await mutate(setup, pod(APP))
        setup.anchore.fail_all(OUTAGE)
        await setup.clock.advance(300)
        assert (await mutate(setup, pod(APP))).patch
        await setup.clock.advance(290)
        assert (await mutate(setup, pod(APP))).patch
        await setup.clock.advance(11)
        assert (await mutate(setup, pod(APP))).patch == ()


async def test_a_dry_run_submits_nothing() -> None:
    setup = _setup()
    async with setup.running():
        response = await mutate(setup, pod(APP), dryRun=True)
        assert (response.patch, setup.submitted) == ((), [])

        await mutate(setup, pod(APP))
        assert (await mutate(setup, pod(APP), dryRun=True)).patch


@pytest.mark.parametrize("mode", ["passive", "analysis", "strict"])
async def test_every_mode_that_judges_pins(mode: str) -> None:
    setup = _setup(defaults(mode, pin="bestEffort"))
    async with setup.running():
        assert patched(pod(APP), await mutate(setup, pod(APP))) == pod(PINNED)


async def test_passive_mode_does_not_submit_the_digest_that_a_tag_was_pinned_to() -> None:
    setup = _setup(defaults("passive", pin="bestEffort"))
    async with setup.running():
        body = patched(pod(APP), await mutate(setup, pod(APP)))
        verdict = await setup.review(body)

    assert setup.submitted == [APP]
    assert verdict.message.endswith(f"found mapped to digest {AMD64}")


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (pod(APP), defaults("strict")),
        (pod(APP), {**defaults("strict", pin="bestEffort"), "rules": [{"name": "a", "mode": "skip"}]}),
        (template("Deployment", APP), STRICT),
        (pod(f"{APP}@{AMD64}"), STRICT),
        (pod(f"{REGISTRY}/app@{AMD64}"), STRICT),
        (pod("sha256:" + "a" * 64, "UPPER:1", "", None), STRICT),
        ({"kind": "EphemeralContainers", "ephemeralContainers": [{"name": "d", "image": APP}]}, STRICT),
    ],
)
async def test_what_is_not_pinned_asks_nothing(body: Any, document: Json) -> None:
    setup = _setup(document)
    response = await mutate(setup, body)

    assert (response.patch, response.audit_annotations) == ((), {})
    assert setup.operations == []


async def test_more_images_than_the_limit_are_left_to_the_review() -> None:
    setup = _setup(STRICT | {"limits": {"images": 2}})
    response = await mutate(setup, pod(*(f"{REGISTRY}/many:{n}" for n in range(3))))

    assert (response.patch, setup.operations) == ((), [])


async def test_an_object_that_cannot_be_read_is_left_alone() -> None:
    setup = _setup()

    assert (await mutate(setup, {"kind": "Pod", "spec": {"containers": "none"}})).patch == ()


# Updates


def _with(images: dict[str, str], *, field: str = "containers", **more: Any) -> Json:
    listed = [{"name": name, "image": image} for name, image in images.items()]
    return pod("base:1", **({field: listed} | more))


async def test_an_update_keeps_digests_without_asking_anchore() -> None:
    setup = _setup(defaults("strict"))
    new, old = _with({"a": APP, "b": BAD}), _with({"a": PINNED, "b": BAD})
    response = await mutate(setup, new, old=old)

    assert patched(new, response) == old
    assert response.audit_annotations == {"pinned": f"containers/a={LIST} (kept)"}
    assert (results(setup), setup.operations) == ([PinResult.KEPT], [])


async def test_an_update_pins_only_what_has_changed() -> None:
    setup = _setup()
    new, old = _with({"a": APP, "b": BAD}), _with({"a": f"{REGISTRY}/app:0", "b": BAD})
    async with setup.running():
        response = await mutate(setup, new, old=old)

    assert patched(new, response) == _with({"a": PINNED, "b": BAD})
    assert setup.anchore.subjects("by_tag") == [APP]


async def test_an_update_without_a_readable_old_object_changes_nothing() -> None:
    setup = _setup()
    asked = request(pod(APP), oldObject={"spec": 1}, operation="UPDATE")

    assert (await setup.pinning.mutate(asked, setup.deadline())).patch == ()
    assert setup.operations == []


async def test_kubectl_debug_changes_the_new_container_only() -> None:
    setup = _setup()
    old = pod(APP, ephemeralContainers=[{"name": "d1", "image": APP}])
    new = pod(APP, ephemeralContainers=[{"name": "d1", "image": APP}, {"name": "d2", "image": APP}])
    async with setup.running():
        response = await mutate(setup, new, old=old, subResource="ephemeralcontainers")

    assert [each.path for each in response.patch] == ["/spec/ephemeralContainers/1/image"]


async def test_containers_stay_where_the_api_server_would_drop_the_patch() -> None:
    setup = _setup()
    new, old = pod(APP, ephemeralContainers=[{"name": "d", "image": APP}]), pod(f"{REGISTRY}/app:0")
    async with setup.running():
        response = await mutate(setup, new, old=old, subResource="ephemeralcontainers")

    assert [each.path for each in response.patch] == ["/spec/ephemeralContainers/0/image"]


@pytest.mark.parametrize("operation", ["DELETE", "CONNECT"])
async def test_other_operations_change_nothing(operation: str) -> None:
    setup = _setup()
    response = await setup.pinning.mutate(request(pod(APP), operation=operation), setup.deadline())

    assert (response.allowed, response.patch) == (True, ())


# What a rule requires


async def test_a_required_pin_is_enforced_by_the_review_alone() -> None:
    setup = _setup(defaults("strict", pin="required"))
    async with setup.running():
        unpinned = await setup.review(pod(APP))
        pinned = await setup.review(patched(pod(APP), await mutate(setup, pod(APP))))

    assert (unpinned.allowed, pinned.allowed) == (False, True)
    assert "is not pinned to a digest" in unpinned.message


@pytest.mark.parametrize(
    ("body", "about"),
    [
        (template("Deployment", APP), {}),
        (pod(APP), {"old": pod(APP)}),
        (pod(PINNED), {}),
    ],
)
async def test_templates_and_unchanged_images_need_no_pin(body: Any, about: dict[str, Any]) -> None:
    setup = _setup(defaults("strict", pin="required"))

    assert (await setup.review(body, **about)).allowed


async def test_forged_annotations_and_digests_count_for_nothing() -> None:
    setup = _setup(defaults("strict", pin="required"))
    forged = f"{REGISTRY}/app:1@{digest_of('forged')}"
    annotated = pod(APP, metadata={"annotations": {"pinned": f"containers/c1={LIST}"}})

    assert not (await setup.review(annotated)).allowed
    assert not (await setup.review(pod(forged))).allowed


# Failures


class _BrokenRecorder(FakeRecorder):
    def pinning(self, record: Any) -> None:  # noqa: ARG002 - the port's
        raise RuntimeError("no metric")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_unexpected_error_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    setup = _setup(recorder=_BrokenRecorder())
    async with setup.running():
        assert (await mutate(setup, pod(APP))).patch
    setup.gathering._resubmissions = None  # type: ignore[assignment]
    await setup.clock.advance(601)
    assert (await mutate(setup, pod(APP))).patch == ()
    assert "failed unexpectedly" in caplog.text


# Any Pod

_IMAGES = st.sampled_from(
    [APP, f"{REGISTRY}/app", f"{REGISTRY}/single:1", BAD, f"{APP}@{AMD64}", "sha256:" + "a" * 64, "UPPER:1", ""]
)
_CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abc"), "image": _IMAGES},
        optional={"imagePullPolicy": st.sampled_from(["Always", "Never", "IfNotPresent"]), "command": st.just(["x"])},
    ),
    max_size=3,
)
_VOLUMES = st.lists(
    st.one_of(
        st.just({"name": "v", "emptyDir": {}}),
        st.builds(lambda image: {"name": "w", "image": {"reference": image, "x": 1}}, _IMAGES),
    ),
    max_size=2,
)
_PODS = st.builds(
    lambda containers, initial, added, volumes: pod(
        "x", containers=containers, initContainers=initial, ephemeralContainers=added, volumes=volumes
    ),
    _CONTAINERS,
    _CONTAINERS,
    _CONTAINERS,
    _VOLUMES,
)


def _texts(body: Json) -> list[str]:
    spec = body["spec"]
    containers = [*spec["initContainers"], *spec["containers"], *spec["ephemeralContainers"]]
    volumes = [volume["image"]["reference"] for volume in spec["volumes"] if "image" in volume]
    return [container["image"] for container in containers] + volumes


def _without_texts(body: Json) -> Json:
    found = copy.deepcopy(body)
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in found["spec"][field]:
            container["image"] = ""
    for volume in found["spec"]["volumes"]:
        if "image" in volume:
            volume["image"]["reference"] = ""
    return found


@given(body=_PODS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_patch_changes_nothing_but_tags_and_only_once(body: Json) -> None:
    async def pinned_twice() -> tuple[Json, AdmissionResponse, AdmissionResponse, AdmissionResponse]:
        setup = _setup()
        setup.anchore.store(f"{REGISTRY}/app:latest", digest=AMD64, parent_digest=LIST)
        setup.anchore.store(f"{REGISTRY}/single:1")
        setup.anchore.store(BAD)
        setup.fail_policy(BAD)
        async with setup.running():
            first = await mutate(setup, body)
            await settled()
            again = await mutate(setup, body)
            result = patched(body, first)
            return result, first, again, await mutate(setup, result)

    result, first, again, second = asyncio.run(pinned_twice())
    assert first.patch == again.patch, "equal facts, equal patch"
    assert second.patch == ()
    assert _without_texts(result) == _without_texts(body)
    for before, after in zip(_texts(body), _texts(result), strict=True):
        if before == after:
            continue
        old, new = parse(before), parse(after)
        assert (old.repository, old.tag) == (new.repository, new.tag)
        assert after.startswith(before)
        assert new.digest in {LIST, digest_of(f"{REGISTRY}/single:1")}
