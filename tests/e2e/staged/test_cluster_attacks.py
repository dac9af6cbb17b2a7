"""Authors of workloads who try to be admitted by what they write, through a real API server."""

from collections.abc import Iterator
from itertools import product
from typing import Final

import pytest

from e2e.cluster.waiting import until
from e2e.conftest import Namespaces
from e2e.stage import LABEL, Stage
from e2e.things import FAILING, PASSING, Json, thing

pytestmark = pytest.mark.cluster

APP: Final = "r.example/corp/app"
CLEAN, VULNERABLE = "sha256:" + "a" * 64, "sha256:" + "b" * 64
FINDING: Final[Json] = {
    "id": "CVE-2021-3711",
    "severity": "critical",
    "package": "openssl",
    "version": "1",
    "fix": "2",
    "packageType": "APKG",
}
REGISTRY: Final = [
    {"tag": f"{APP}:v1", "digest": CLEAN},
    {"tag": f"{APP}:v2", "digest": VULNERABLE, "findings": [FINDING]},
]
NO_NGINX: Final[Json] = {
    "id": "no-nginx",
    "name": "no-nginx",
    "version": "1_0",
    "policies": [{"id": "p", "name": "p", "version": "1_0", "rules": []}],
    "whitelists": [],
    "whitelisted_images": [],
    "blacklisted_images": [
        {
            "id": "b",
            "name": "no nginx",
            "registry": "docker.io",
            "repository": "library/nginx",
            "image": {"type": "tag", "value": "*"},
        }
    ],
    "mappings": [
        {
            "id": "m",
            "name": "m",
            "registry": "*",
            "repository": "*",
            "image": {"type": "tag", "value": "*"},
            "policy_ids": ["p"],
            "whitelist_ids": [],
        }
    ],
}


@pytest.fixture(scope="module")
def attacked(stage: Stage, namespaces: Namespaces) -> Iterator[Stage]:
    for name in ("hub", "tolerant", "registries"):
        namespaces(name, **{LABEL: "yes"})
    stage.sandbox.put("/sandbox/registry", json=REGISTRY).raise_for_status()
    stage.sandbox.post("/v1/policies", json=NO_NGINX).raise_for_status()
    yield stage
    stage.sandbox.delete("/v1/policies/no-nginx").raise_for_status()


def test_a_tag_in_front_of_a_digest_decides_nothing_about_the_tag(attacked: Stage) -> None:
    written = thing("Pod", f"{APP}:v2@{CLEAN}", name="written")
    attacked.create("strict", written)  # a dry run submits nothing
    until(lambda: attacked.create("strict", written, dry_run=True).allowed, "the clean digest is analyzed")

    for _ in range(4):  # whichever replica is asked, before and after the tag itself is submitted
        assert attacked.create("strict", thing("Pod", f"{APP}:v2", name="evil"), dry_run=True).code == 403
    assert attacked.create("strict", thing("Pod", f"{APP}:v2", name="evil")).code == 403
    until(
        lambda: "failed policy" in attacked.create("strict", thing("Pod", f"{APP}:v2"), dry_run=True).message,
        "the tag itself is analyzed",
    )


@pytest.mark.parametrize("image", ["nginx:1.25", "docker.io/library/nginx:1.25", "docker.io/nginx:1.25"])
def test_a_deny_list_holds_after_our_own_submission(attacked: Stage, image: str) -> None:
    for attempt in range(3):
        denied = attacked.create("hub", thing("Pod", image, name=f"attempt-{attempt}"))
        assert 'deny list entry "no nginx" names it' in attacked.denial(denied)
        attacked.sandbox.post("/v1/images", json={"tag": "docker.io/nginx:1.25"}).raise_for_status()


@pytest.mark.parametrize(
    "image",
    [
        *(
            f"{host}/{path}nginx:1.25"
            for host, path in product(
                ("docker.io:443", "registry-1.docker.io", "INDEX.docker.io", "Docker.IO", "index.docker.io:443"),
                ("library/", ""),
            )
        ),
        "docker.io/registry.k8s.io/evil:1",
        "evil.example/x.corp.example/app:1",
        "evil.example:443/x.corp.example/app:1",
        "EVIL.example/app:1",
    ],
)
def test_a_rule_is_not_evaded_by_spelling(attacked: Stage, image: str) -> None:
    answer = attacked.create("registries", thing("Pod", image), dry_run=True)
    assert answer.code == 403, (image, answer.warnings)


@pytest.mark.parametrize("image", ["registry.k8s.io/pause:3.9", "app.corp.example/team/app:1", "quay.io/any:1"])
def test_a_rule_admits_the_images_it_is_for(attacked: Stage, image: str) -> None:
    assert attacked.create("registries", thing("Pod", image), dry_run=True).code == 201


@pytest.mark.parametrize(
    "image",
    [
        "[2001:db8::1]:5000/evil:1",
        f"r.example.com/a@sha512:{'e' * 128}",
        f"r.example.com/a@sha384:{'e' * 96}",
        f"r.example.com/{'a' * 300}:1",
        "r.example.com/a" + "/a" * 400_000,
    ],
    ids=lambda image: image[:24],
)
def test_an_author_cannot_bring_about_that_there_is_no_verdict(attacked: Stage, image: str) -> None:
    """The rule admits images without a verdict."""
    answer = attacked.create("tolerant", thing("Pod", image), dry_run=True)
    assert answer.code == 403, answer.warnings


def test_padding_hides_no_image(attacked: Stage) -> None:
    digest = attacked.digest("alpine:3.20")
    padding = [f"alpine:t{number}@{digest}" for number in range(250)]
    answer = attacked.create("tolerant", thing("Pod", *padding, FAILING), dry_run=True)
    assert answer.code == 403, answer.warnings


@pytest.mark.parametrize("kind", ["Pod", "Deployment"])
def test_an_object_of_any_size_is_judged_or_denied(attacked: Stage, kind: str) -> None:
    """Go writes `<` as six bytes, so that an object of 1.4 MB makes a review of 8."""
    large = thing(kind, FAILING, name="large")
    pod = large["spec"]["template"]["spec"] if kind == "Deployment" else large["spec"]
    pod["containers"][0]["args"] = ["<" * 120_000] * 11
    answer = attacked.create("strict", large, dry_run=True)
    assert answer.code == 403, (answer.code, answer.message)
    assert "denied the request" in answer.message


def test_an_image_that_changes_while_its_pod_ends_is_judged(attacked: Stage) -> None:
    ending = thing("Pod", PASSING, name="ending")
    ending["metadata"]["finalizers"] = ["e2e.anchore.io/held"]
    assert attacked.create("strict", ending).code == 201
    path = "/api/v1/namespaces/strict/pods/ending"
    assert attacked.api.call("DELETE", path).allowed
    merge = "application/strategic-merge-patch+json"
    changed = {"spec": {"containers": [{"name": "c1", "image": FAILING}]}}
    assert attacked.api.call("PATCH", path, changed, content_type=merge).code == 403
    assert attacked.api.call("PATCH", path, {"metadata": {"finalizers": None}}, content_type=merge).allowed
