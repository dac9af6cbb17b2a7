"""Pinned tags on a real Kubernetes: what was judged is what nodes pull, and nothing that is applied again changes."""

import json
from collections.abc import Iterator
from subprocess import CompletedProcess
from typing import Final

import pytest

from e2e import calls
from e2e.bare import bare_webhook
from e2e.cluster.cluster import Cluster
from e2e.cluster.places import REGISTRY
from e2e.cluster.registry import VERSION, Registry
from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.pins import (
    BEST_EFFORT,
    MERGE,
    OFF,
    PIN,
    PINNING,
    REGISTRATION,
    REQUIRED,
    Pinning,
    identity,
    pinning,
    values,
    waiting,
    with_volume,
)
from e2e.release import NAME, WEBHOOK, Release
from e2e.stage import entries
from e2e.things import Json, images_of, thing

pytestmark = pytest.mark.cluster

REFRESH: Final = "5s"
"""Short, so that a moved tag is noticed soon."""
PORT: Final = 8473
HUNDRED: Final = 100
LATER: Final = "zz-later"
"""API servers call webhooks in the order of their objects' names, so this one after the controller's."""
SLOW: Final = {"mode": "slow", "delay": 1.5, "paths": ["/images"]}
"""Too slow for the mutating webhook, fast enough for the validating one."""
APPLIES: Final = {"client-side": (), "server-side": ("--server-side",)}
HELD: Final = [{"name": "e2e.anchore.io/held"}]


@pytest.fixture(scope="module")
def pinned(
    release: Release, registry: Registry, namespaces: Namespaces, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pinning]:
    with pinning(release, registry, namespaces, tmp_path_factory.mktemp("pinning"), REFRESH) as pinned:
        yield pinned


def test_what_is_applied_again_stays_as_it_is(pinned: Pinning) -> None:
    """Even after the tag has moved: whoever applies a manifest again does not mean to restart containers."""
    app = pinned.publish("team/applied:1")
    manifests = {how: with_volume(waiting(app.tag, f"applied-{how}"), app.tag) for how in APPLIES}
    cases = [(namespace, how) for namespace in (REQUIRED, BEST_EFFORT) for how in APPLIES]
    before = {(here, how): pinned.apply_pinned(here, manifests[how], app.pinned, *APPLIES[how]) for here, how in cases}
    assert {pod["spec"]["volumes"][0]["image"]["reference"] for pod in before.values()} == {app.pinned}
    unmoved = {case: applied_again(pinned, manifests[case[1]], *case) for case in cases}

    moved = pinned.publish("team/applied:1", "B")
    pinned.await_image(REQUIRED, moved.tag, moved.pinned)
    after = {case: applied_again(pinned, manifests[case[1]], *case) for case in cases}

    assert moved.digest != app.digest
    assert unmoved == after == {case: (identity(pod), 0, "") for case, pod in before.items()}


def applied_again(pinned: Pinning, manifest: Json, namespace: str, how: str) -> tuple[object, ...]:
    """Apply a manifest and ask for the difference; return the identity of the Pod, and what `kubectl diff` says."""
    pinned.apply(namespace, manifest, *APPLIES[how])
    diff = pinned.kubectl.run("kubectl", "diff", "-n", namespace, *APPLIES[how], "-f", "-", stdin=json.dumps(manifest))
    pod = pinned.get(namespace, manifest["metadata"]["name"])
    return identity(pod), diff.returncode, diff.stdout


def test_the_webhook_that_does_not_answer_is_named(pinned: Pinning) -> None:
    """API servers ignore a mutating webhook that fails, so nothing else says it."""
    app = pinned.publish("team/probed:1")
    probe = ("probe", "--registration", NAME, "--mutating", f"--image={app.tag}")
    program = ("kubectl", "exec", "-n", NAME, f"deployment/{NAME}", "--", "anchore-admission", *probe)

    # By default in the namespace default, whose labels the rules of this release need, too.
    assert len(exited(pinned, 0, *program).stdout.splitlines()) == 2
    both = until(lambda: exited(pinned, 0, *program, "--namespace", REQUIRED), "both answer")
    with pinned.unregistered():
        one = exited(pinned, 2, *program)

    validating = f"The validating webhook answers: a Pod with image {app.tag} would be "
    assert [line.startswith(validating) for line in both.stdout.splitlines()] == [True, False]
    assert f"The mutating webhook answers: a Pod with image {app.tag} would " in both.stdout
    assert [line.startswith(validating) for line in one.stdout.splitlines()] == [True]
    assert "The mutating webhook does not answer." in one.stderr


def exited(pinned: Pinning, code: int, *program: str) -> CompletedProcess[str]:
    """Run a program that ends with this code, and return what it printed."""
    ended = pinned.kubectl.run(*program)
    assert ended.returncode == code, (ended.stdout, ended.stderr)
    return ended


def test_a_changed_image_is_pinned_anew(pinned: Pinning) -> None:
    app, other = pinned.publish("team/changed:1"), pinned.publish("team/changed:2", "B")
    pinned.create_pinned(REQUIRED, thing("Pod", app.tag, name="changed", runs=True), app.pinned)
    assert pinned.version(REQUIRED, "changed") == "A"

    until(lambda: pinned.kubectl("set", "image", "-n", REQUIRED, "pod/changed", f"c1={other.tag}"), "it is changed")

    assert images_of(pinned.get(REQUIRED, "changed")) == [other.pinned]
    until(lambda: pinned.version(REQUIRED, "changed") == "B", "the other version runs")


def test_another_field_manager_meets_a_conflict(pinned: Pinning) -> None:
    """Both send the tag, and neither the value that is stored; so the documentation says."""
    app = pinned.publish("team/managed:1")
    manifest = waiting(app.tag, "managed")
    before = pinned.apply_pinned(REQUIRED, manifest, app.pinned, "--server-side", "--field-manager=one")
    other = ("kubectl", "apply", "-n", REQUIRED, "--server-side", "--field-manager=two", "-f", "-")

    refused = pinned.kubectl.run(*other, stdin=json.dumps(manifest))
    forced = pinned.kubectl.run(*other, "--force-conflicts", stdin=json.dumps(manifest))

    assert refused.returncode != 0
    assert 'conflict with "one"' in refused.stderr
    assert '.spec.containers[name="c1"].image' in refused.stderr
    assert forced.returncode == 0, forced.stderr
    after = pinned.get(REQUIRED, "managed")
    assert (images_of(after), after["metadata"]["generation"]) == ([app.pinned], before["metadata"]["generation"])


def test_an_ephemeral_container_is_pinned_and_nothing_else(pinned: Pinning) -> None:
    app, tool = pinned.publish("team/debugged:1"), pinned.publish("team/tool:1", "tool")
    with pinned.unregistered():
        assert pinned.api.create(BEST_EFFORT, thing("Pod", app.tag, name="debugged", runs=True)).allowed
    assert pinned.version(BEST_EFFORT, "debugged") == "A"

    def is_pinned() -> bool:
        debug = ("debug", "-n", BEST_EFFORT, "debugged", f"--image={tool.tag}", "--", "sleep", "1000")
        pinned.kubectl(*debug)
        added = pinned.get(BEST_EFFORT, "debugged")["spec"]["ephemeralContainers"]
        return bool(added[-1]["image"] == tool.pinned)

    until(is_pinned, "the ephemeral container is pinned")

    def runs() -> bool:
        statuses = pinned.get(BEST_EFFORT, "debugged")["status"]["ephemeralContainerStatuses"]
        return any("running" in status["state"] and tool.digest in status["imageID"] for status in statuses)

    until(runs, "the ephemeral container runs")
    after = pinned.get(BEST_EFFORT, "debugged")
    assert images_of(after) == [app.tag]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0


def test_a_sidecar_that_another_webhook_adds_later_is_pinned(
    pinned: Pinning, tmp_path_factory: pytest.TempPathFactory
) -> None:
    app, sidecar = pinned.publish("team/served:1"), pinned.publish("team/sidecar:1", "sidecar")
    container = {"name": "sidecar", "image": sidecar.tag}
    operation = {"op": "add", "path": "/spec/containers/-", "value": container}
    with bare_webhook(tmp_path_factory.mktemp("injector"), PORT, operation) as (daemon, called):
        webhook = {
            "name": "injector.e2e.example",
            "clientConfig": called,
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": REQUIRED}},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }

        with pinned.other(LATER, webhook):
            assert daemon.require()
            pinned.create_pinned(REQUIRED, waiting(app.tag, "served"), app.pinned, sidecar.pinned)
    noted = audited("served", REQUIRED, sidecar.pinned)
    assert app.pinned in noted[f"{WEBHOOK}/images"]
    # The server keeps the first text of an annotation, so that of the second call is lost.
    assert noted[f"{PINNING}/pinned"] == f"containers/c1={app.digest}"


def audited(name: str, namespace: str, image: str) -> Json:
    """Return the annotations in the audit log of the Pod that was admitted with this image."""

    def found() -> list[Json]:
        annotations = [entry["annotations"] for entry in entries(namespace, name, "create")]
        return [each for each in annotations if image in each.get(f"{WEBHOOK}/images", "")]

    return until(found, "the audit log has it")[-1]


def test_the_judged_image_runs_whatever_its_tag_points_to_at_the_pull(pinned: Pinning) -> None:
    """The same without pinning runs what nothing has judged."""
    versions = {}
    for namespace in (REQUIRED, OFF):
        name = f"team/moved-{namespace}:1"
        judged = pinned.publish(name)
        made = with_volume(thing("Pod", judged.tag, name="held", runs=True, schedulingGates=HELD), judged.tag)
        pinned.create_pinned(namespace, made, judged.pinned if namespace == REQUIRED else judged.tag)
        pinned.registry.push(name, "B")

        path = f"/api/v1/namespaces/{namespace}/pods/held"
        released = pinned.api.call("PATCH", path, {"spec": {"schedulingGates": None}}, content_type=MERGE)
        assert released.allowed, released.message
        versions[namespace] = pinned.version(namespace, "held"), pinned.version(namespace, "held", f"/files/{VERSION}")
    assert versions == {REQUIRED: ("A", "A"), OFF: ("B", "B")}


def test_an_image_of_one_platform_is_pinned_and_runs(pinned: Pinning) -> None:
    app = pinned.publish("team/single:1", "single", platforms=1)

    pinned.create_pinned(REQUIRED, thing("Pod", app.tag, name="single", runs=True), app.pinned)

    assert pinned.version(REQUIRED, "single") == "single"


def test_new_replicas_of_a_deployment_carry_the_digest_that_is_judged_then(pinned: Pinning) -> None:
    """The template keeps the tag, so that nothing is rolled out."""
    first = pinned.publish("team/scaled:1")
    manifest = thing("Deployment", first.tag, name="scaled", runs=True)
    pinned.apply(REQUIRED, manifest)

    def replicas() -> list[Json]:
        path = f"/api/v1/namespaces/{REQUIRED}/pods?labelSelector=app=scaled"
        return [pod for pod in pinned.api.get(path)["items"] if "deletionTimestamp" not in pod["metadata"]]

    until(lambda: len(replicas()) == 1, "the first replica is there")
    assert images_of(replicas()[0]) == [first.pinned]
    second = pinned.publish("team/scaled:1", "B")

    pinned.await_image(REQUIRED, second.tag, second.pinned)
    pinned.kubectl("scale", "-n", REQUIRED, "deployment/scaled", "--replicas=3")
    pinned.kubectl("rollout", "status", "-n", REQUIRED, "deployment/scaled", "--timeout=240s")

    assert sorted(images_of(pod)[0] for pod in replicas()) == sorted([first.pinned, second.pinned, second.pinned])
    versions = [pinned.version(REQUIRED, pod["metadata"]["name"]) for pod in replicas()]
    assert sorted(versions) == ["A", "B", "B"]
    pinned.apply(REQUIRED, {**manifest, "spec": {**manifest["spec"], "replicas": 3}})
    deployment = pinned.api.get(f"/apis/apps/v1/namespaces/{REQUIRED}/deployments/scaled")
    assert images_of(deployment["spec"]["template"]) == [first.tag]
    sets = pinned.api.get(f"/apis/apps/v1/namespaces/{REQUIRED}/replicasets?labelSelector=app=scaled")["items"]
    assert [images_of(each["spec"]["template"]) for each in sets] == [[first.tag]]


def test_a_hundred_replicas_are_all_pinned(pinned: Pinning) -> None:
    app = pinned.publish("team/hundred:1")
    made = thing("Deployment", app.tag, name="hundred", replicas=HUNDRED, schedulerName="nobody")
    assert pinned.api.create(REQUIRED, made).allowed
    path = f"/api/v1/namespaces/{REQUIRED}/pods?labelSelector=app=hundred"

    until(lambda: len(pinned.api.get(path)["items"]) == HUNDRED, f"{HUNDRED} replicas are there", 240)

    assert {image for pod in pinned.api.get(path)["items"] for image in images_of(pod)} == {app.pinned}


def test_a_slow_anchore_leaves_the_tag_and_required_denies_it(pinned: Pinning) -> None:
    best, required = pinned.publish("team/slow-best:1"), pinned.publish("team/slow-required:1")
    pinned.anchore.put("/sandbox/faults", json=[SLOW]).raise_for_status()
    try:
        admitted = pinned.api.create(BEST_EFFORT, waiting(best.tag, "slow"))
        denial = pinned.denied(REQUIRED, waiting(required.tag, "slow"))
    finally:
        pinned.anchore.delete("/sandbox/faults").raise_for_status()
    assert (admitted.code, images_of(admitted.body)) == (201, [best.tag])
    assert f"Image {required.tag} is not pinned to a digest, which rule required requires" in denial
    pinned.create_pinned(REQUIRED, waiting(required.tag, "slow"), required.pinned)


def test_without_the_mutating_webhook_required_denies_and_nothing_else_does(pinned: Pinning) -> None:
    """And what is applied again gets its tag back; the documentation has the table."""
    app = pinned.publish("team/gone:1")
    plain, volume = waiting(app.tag, "gone"), with_volume(waiting(app.tag, "gone-volume"), app.tag)
    for namespace in (REQUIRED, BEST_EFFORT):
        for manifest in (plain, volume):
            pinned.apply_pinned(namespace, manifest, app.pinned)
    server = waiting(app.tag, "gone-server")
    pinned.apply_pinned(BEST_EFFORT, server, app.pinned, "--server-side")
    before = {name: pinned.get(BEST_EFFORT, name)["metadata"]["generation"] for name in ("gone", "gone-server")}
    kept = identity(pinned.get(REQUIRED, "gone"))

    with pinned.unregistered():
        denial = until(lambda: denied_for_the_webhook(pinned, app.tag), "Pods are denied for want of the webhook")
        new = pinned.api.create(BEST_EFFORT, waiting(app.tag, "new"))
        pinned.apply(BEST_EFFORT, plain)
        pinned.apply(BEST_EFFORT, server, "--server-side")
        refused = {
            (namespace, manifest["metadata"]["name"]): pinned.kubectl.run(
                "kubectl", "apply", "-n", namespace, "-f", "-", stdin=json.dumps(manifest)
            )
            for namespace, manifest in ((BEST_EFFORT, volume), (REQUIRED, plain), (REQUIRED, volume))
        }

    assert denial.endswith("the mutating webhook has not pinned it; try again, or write its digest")
    assert (new.code, images_of(new.body)) == (201, [app.tag])
    for name, generation in before.items():
        after = pinned.get(BEST_EFFORT, name)
        assert (images_of(after), after["metadata"]["generation"]) == ([app.tag], generation + 1)
    assert all(done.returncode != 0 for done in refused.values())
    assert "pod updates may not change fields other than" in refused[BEST_EFFORT, "gone-volume"].stderr
    assert "is not pinned to a digest" in refused[REQUIRED, "gone"].stderr
    assert identity(pinned.get(REQUIRED, "gone")) == kept


def denied_for_the_webhook(pinned: Pinning, tag: str) -> str:
    """Return the message of a denial once the replica that is asked knows where the tag points."""
    denial = pinned.denied(REQUIRED, waiting(tag, "new"))
    assert f"Image {tag} is not pinned to a digest, which rule required requires" in denial
    return denial if "the mutating webhook" in denial else ""


def test_a_mutating_webhook_that_is_down_is_passed_over(pinned: Pinning) -> None:
    """``failurePolicy: Ignore``, of which the user is not told anything."""
    app = pinned.publish("team/down:1")
    with pinned.unregistered() as webhook:
        down = {**webhook, "clientConfig": {"url": "https://127.0.0.1:1/mutate"}}
        before = calls.failed(pinned.api, PINNING)

        def passed_over() -> bool:
            answer = pinned.api.create(BEST_EFFORT, waiting(app.tag, "down"))
            assert (answer.code, images_of(answer.body)) == (201, [app.tag])
            pinned.remove(BEST_EFFORT, "down")
            return bool(calls.more(before, calls.failed(pinned.api, PINNING)))

        with pinned.other(LATER, down):
            until(passed_over, "the API server has called it in vain")
            until(lambda: denied_for_the_webhook(pinned, app.tag), "Pods are denied for want of the webhook")


def test_digests_stay_when_a_rule_no_longer_pins(pinned: Pinning, namespaces: Namespaces) -> None:
    """Another label of the namespace selects another rule; the mutating webhook is still there."""
    here = namespaces("pin-switched", **{PIN: "required"})
    app = pinned.publish("team/switched:1")
    manifests = {how: with_volume(waiting(app.tag, f"switched-{how}"), app.tag) for how in APPLIES}
    before = {how: pinned.apply_pinned(here, each, app.pinned, *APPLIES[how]) for how, each in manifests.items()}

    pinned.kubectl("label", "--overwrite", "namespace", here, f"{PIN}=off")
    pinned.await_image(here, app.tag, app.tag)
    for how, manifest in manifests.items():
        pinned.apply(here, manifest, *APPLIES[how])

    after = {how: identity(pinned.get(here, f"switched-{how}")) for how in APPLIES}
    assert after == {how: identity(pod) for how, pod in before.items()}


def test_the_audit_log_tells_what_was_pinned_and_what_was_not(pinned: Pinning, cluster: Cluster) -> None:
    app = pinned.publish("team/audited:1")
    pod = waiting(app.tag, "audited")
    pod["spec"]["containers"].append({"name": "c2", "image": app.tag, "imagePullPolicy": "Never"})
    pinned.create_pinned(BEST_EFFORT, pod, app.pinned, app.tag)

    noted = audited("audited", BEST_EFFORT, app.pinned)

    assert {key: text for key, text in noted.items() if key.startswith(f"{PINNING}/")} == {
        f"{PINNING}/pinned": f"containers/c1={app.digest}",
        f"{PINNING}/not-pinned": "containers/c2: its pull policy is Never",
    }


def test_a_dry_run_shows_the_digest(pinned: Pinning) -> None:
    app = pinned.publish("team/dry:1")

    def shown() -> bool:
        """Return whether the digest is shown while it is known from another Pod where the tag points."""
        pinned.probe(REQUIRED, app.tag)
        answer = pinned.api.create(REQUIRED, waiting(app.tag, "dry"), dry_run=True)
        return answer.allowed and images_of(answer.body) == [app.pinned]

    until(shown, "a dry run is pinned")


def test_a_dry_run_requests_nothing(pinned: Pinning) -> None:
    """Submissions are sent in turn: one of the dry run would have been sent before that of a later Pod."""
    dry, later = f"{REGISTRY}/team/unknown:1", f"{REGISTRY}/team/unknown:2"

    pinned.api.create(BEST_EFFORT, waiting(dry, "dry"), dry_run=True)
    pinned.api.create(BEST_EFFORT, waiting(later, "later"))

    until(lambda: pinned.anchore.get("/v1/images", params={"fulltag": later}).is_success, f"Anchore knows {later}")
    assert pinned.anchore.get("/v1/images", params={"fulltag": dry}).status_code == 404


def test_the_registration_is_restored_as_that_of_the_validating_webhook(pinned: Pinning) -> None:
    wanted = pinned.api.get(REGISTRATION)["webhooks"]
    judging = pinned.release.registration()
    shared = ("matchConditions", "namespaceSelector", "objectSelector", "matchPolicy", "sideEffects")
    assert {key: wanted[0][key] for key in shared} == {key: judging[key] for key in shared}
    assert wanted[0]["clientConfig"]["caBundle"] == judging["clientConfig"]["caBundle"]
    found = {key: wanted[0][key] for key in ("name", "failurePolicy", "reinvocationPolicy", "timeoutSeconds")}
    expected = {"failurePolicy": "Ignore", "reinvocationPolicy": "IfNeeded", "timeoutSeconds": 3}
    assert found == {"name": PINNING, **expected}

    patch = [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"}]
    changed = pinned.api.call("PATCH", REGISTRATION, patch, content_type="application/json-patch+json")

    assert changed.body["webhooks"][0]["failurePolicy"] == "Fail"
    until(lambda: pinned.api.get(REGISTRATION)["webhooks"] == wanted, "it is as it was")


def test_the_chart_switches_pinning_off_and_on_again(pinned: Pinning) -> None:
    app = pinned.publish("team/upgraded:1")
    manifest = with_volume(waiting(app.tag, "upgraded"), app.tag)
    before = pinned.apply_pinned(REQUIRED, manifest, app.pinned)

    said = pinned.release.install({**values(REFRESH), "pinning": {"enabled": False}})
    assert pinned.api.call("GET", REGISTRATION).code == 404
    until(lambda: denied_for_the_webhook(pinned, app.tag), "Pods are denied for want of the webhook")
    assert identity(pinned.get(REQUIRED, "upgraded")) == identity(before)

    assert "pinning.enabled" in said
    assert "pinning.enabled" not in pinned.release.install(values(REFRESH))
    until(pinned.called, "the mutating webhook is called")
    pinned.create_pinned(REQUIRED, waiting(app.tag, "upgraded-again"), app.pinned)
