"""Images in the sandbox: names, the walk of an analysis, adds of every form."""

from typing import Any

import pytest

from anchore_admission.sandbox.references import BadReference, parse
from anchore_admission.sandbox.times import rfc3339
from support.sandbox_calls import START, Sandbox

D = "a" * 64
NGINX = "docker.io/library/nginx:1.25"

PARSED = [
    ("nginx", "docker.io", "nginx", "docker.io/nginx:latest"),
    ("nginx:1.25", "docker.io", "nginx", "docker.io/nginx:1.25"),
    ("docker.io/nginx", "docker.io", "nginx", "docker.io/nginx:latest"),
    ("library/nginx", "docker.io", "library/nginx", "docker.io/library/nginx:latest"),
    ("docker.io/library/nginx:1", "docker.io", "library/nginx", "docker.io/library/nginx:1"),
    ("team/app", "docker.io", "team/app", "docker.io/team/app:latest"),
    ("index.docker.io/library/nginx:1", "index.docker.io", "library/nginx", "index.docker.io/library/nginx:1"),
    ("Docker.io/Library/Nginx:Latest", "Docker.io", "Library/Nginx", "Docker.io/Library/Nginx:Latest"),
    ("localhost/x:1", "localhost", "x", "localhost/x:1"),
    ("localhost:5000/x", "localhost:5000", "x", "localhost:5000/x:latest"),
    ("myhost:5000/t/app:v1", "myhost:5000", "t/app", "myhost:5000/t/app:v1"),
    ("myhost/t/app:v1", "docker.io", "myhost/t/app", "docker.io/myhost/t/app:v1"),
    ("quay.io/a/b", "quay.io", "a/b", "quay.io/a/b:latest"),
    (f"nginx@sha256:{D}", "docker.io", "nginx", None),
    (f"r.io:443/a/b@sha256:{D}", "r.io:443", "a/b", None),
    (f"nginx:1@sha256:{D}", "docker.io", "nginx:1", None),
    (f"sha256:{D}", "docker.io", None, None),
    (D, None, None, None),
    (f"docker-pullable://nginx@sha256:{D}", "docker-pullable", "/nginx", None),
]


@pytest.mark.parametrize(("text", "registry", "repo", "full_tag"), PARSED)
def test_references_are_read_as_anchore_reads_them(
    text: str, registry: str | None, repo: str | None, full_tag: str | None
) -> None:
    reference = parse(text)

    assert (reference.registry, reference.repo, reference.full_tag) == (registry, repo, full_tag)
    assert reference.digest == (f"sha256:{D}" if "sha256:" in text else None)
    assert reference.image_id == (D if text == D else None)


@pytest.mark.parametrize("text", ["[::1]:5000/x", "bad ref!", "a\nb", "näme"])
def test_references_with_other_characters_are_rejected(text: str) -> None:
    with pytest.raises(BadReference):
        parse(text)


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_an_unknown_image_walks_to_analyzed_as_time_passes(version: str) -> None:
    sandbox = Sandbox({"analysisTime": 10})
    added = await sandbox.add("nginx", version=version)
    digest = added["imageDigest" if version == "v1" else "image_digest"]

    async def state() -> tuple[str, Any]:
        image = await sandbox.get(f"/{version}/images/{digest}")
        image = image[0] if version == "v1" else image
        return image["analysis_status"], image["image_content"]["metadata"]["arch"]

    assert added["analysis_status"] == "not_analyzed"
    seen = []
    for now in (START, START + 3.9, START + 4, START + 9.9, START + 10, START + 1000):
        sandbox.clock.now = now
        seen.append(await state())
    waiting, working, done = ("not_analyzed", None), ("analyzing", None), ("analyzed", "amd64")
    assert seen == [waiting, waiting, working, working, done, done]


async def test_an_analysis_can_take_no_time() -> None:
    sandbox = Sandbox({"analysisTime": 0})

    assert (await sandbox.add("nginx"))["analysis_status"] == "analyzed"


async def test_a_failed_analysis_is_queued_again_by_an_add_and_fails_again() -> None:
    sandbox = Sandbox({"analysisTime": 10, "images": [{"tag": NGINX, "state": "analysis_failed"}]})
    assert (await sandbox.get("/v1/images"))[0]["analysis_status"] == "analysis_failed"

    assert (await sandbox.add(NGINX))["analysis_status"] == "not_analyzed"
    sandbox.clock.now += 10
    assert (await sandbox.get("/v1/images"))[0]["analysis_status"] == "analysis_failed"


async def test_only_force_repeats_a_finished_analysis() -> None:
    sandbox = Sandbox({"analysisTime": 10, "images": [{"tag": NGINX}]})
    first = await sandbox.add(NGINX)

    forced = await sandbox.add(NGINX, force="true")

    assert (first["analysis_status"], forced["analysis_status"]) == ("analyzed", "not_analyzed")
    assert forced["analyzed_at"] == first["analyzed_at"]
    assert forced["image_content"]["metadata"]["arch"] == "amd64"


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_an_analysis_may_have_ended_before_the_start(version: str) -> None:
    sandbox = Sandbox({"images": [{"tag": NGINX, "analyzedAt": "2026-01-31T13:00:00+01:00"}, {"tag": "redis:7"}]})
    listed = await sandbox.get(f"/{version}/images")
    images = listed if version == "v1" else listed["items"]
    analyzed = {image["image_detail"][0]["repo"]: image["analyzed_at"] for image in images}
    assert analyzed == {"library/nginx": "2026-01-31T12:00:00Z", "redis": rfc3339(START)}


async def test_a_seeded_state_stays_until_it_is_forced() -> None:
    sandbox = Sandbox({"analysisTime": 10, "images": [{"tag": NGINX, "state": "analyzing"}]})
    sandbox.clock.now += 1_000_000
    assert (await sandbox.add(NGINX))["analysis_status"] == "analyzing"

    await sandbox.add(NGINX, force="true")
    sandbox.clock.now += 10
    assert (await sandbox.add(NGINX))["analysis_status"] == "analyzed"


async def test_short_and_long_docker_hub_names_are_two_tags_of_one_digest() -> None:
    sandbox = Sandbox()
    short = await sandbox.add("nginx:1")
    status, _ = await sandbox.refused("GET", "/v1/images", params={"fulltag": "docker.io/library/nginx:1"})
    assert status == 404

    long = await sandbox.add("docker.io/library/nginx:1")

    assert short["imageDigest"] == long["imageDigest"]
    assert [d["fulltag"] for d in long["image_detail"]] == ["docker.io/library/nginx:1", "docker.io/nginx:1"]


async def test_the_newest_tag_row_wins_whenever_the_record_was_made() -> None:
    """A digest source with an old time does not take the tag; without one it does."""
    sandbox = Sandbox({"registry": [{"tag": "r.io/a:1", "digest": f"sha256:{'1' * 64}"}]})
    newest = await sandbox.add("r.io/a:1")
    old = {"pullstring": f"r.io/a@sha256:{'2' * 64}", "tag": "r.io/a:1"}
    override = {"creation_timestamp_override": "2020-01-01T00:00:00Z"}

    await sandbox.call("POST", "/v1/images", json={"source": {"digest": old | override}})
    assert (await sandbox.get("/v1/images", params={"fulltag": "r.io/a:1"}))[0]["imageDigest"] == newest["imageDigest"]

    other = {"pullstring": f"r.io/a@sha256:{'3' * 64}", "tag": "r.io/a:1"}
    await sandbox.call("POST", "/v1/images", json={"source": {"digest": other}})
    history = await sandbox.get("/v1/images", params={"fulltag": "r.io/a:1", "history": "true"})
    assert [image["imageDigest"][7] for image in history] == ["3", "1", "2"]


def _source(version: str, digest: str, tag: str, **more: str) -> dict[str, Any]:
    pull = {"v1": "pullstring", "v2": "pull_string"}[version]
    repository = tag.rpartition(":")[0]
    return {"source": {"digest": {pull: f"{repository}@{digest}", "tag": tag, **more}}}


LONG_AGO = "2000-01-01T00:00:00Z"
FULL_TAG = {"v1": "fulltag", "v2": "full_tag"}


async def _post(sandbox: Sandbox, version: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await sandbox.call("POST", f"/{version}/images", json=body)
    assert answer.status_code == 200, answer.text
    image: dict[str, Any] = answer.json()[0] if version == "v1" else answer.json()
    return image


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_new_digest_gets_the_time_of_its_add(version: str) -> None:
    """Engine 1.1.0, db_catalog_image.py, add_record: record and row are dated back, the detection is not."""
    sandbox = Sandbox()

    image = await _post(
        sandbox, version, _source(version, f"sha256:{D}", "r.io/a:1", creation_timestamp_override=LONG_AGO)
    )

    (row,) = image["image_detail"]
    assert (row[FULL_TAG[version]], row["created_at"]) == ("r.io/a:1", LONG_AGO)
    assert row["tag_detected_at"] == row["last_updated"] == "2026-11-23T11:49:36Z"
    assert image["created_at"] == LONG_AGO


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_known_digest_takes_a_tag_from_now_whatever_time_its_add_names(version: str) -> None:
    """Engine 1.1.0, db_catalog_image.py, update_record_image_detail: the time is dropped, so the tag moves."""
    clean, vulnerable = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
    sandbox = Sandbox({"images": [{"tag": "r.io/a:v1", "digest": clean}, {"tag": "r.io/a:v2", "digest": vulnerable}]})
    sandbox.clock.now += 60

    image = await _post(sandbox, version, _source(version, clean, "r.io/a:v2", creation_timestamp_override=LONG_AGO))

    first, second = image["image_detail"]
    assert [first[FULL_TAG[version]], second[FULL_TAG[version]]] == ["r.io/a:v1", "r.io/a:v2"]
    assert second["created_at"] == second["tag_detected_at"] == "2026-11-23T11:50:36Z"
    found = await sandbox.get(f"/{version}/images", params={FULL_TAG[version]: "r.io/a:v2"})
    (answered,) = found if version == "v1" else found["items"]
    assert answered == image


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_row_that_a_digest_already_has_keeps_its_time(version: str) -> None:
    sandbox = Sandbox({"images": [{"tag": "r.io/a:1", "digest": f"sha256:{D}"}]})
    sandbox.clock.now += 60

    for more in ({}, {"creation_timestamp_override": LONG_AGO}):
        image = await _post(sandbox, version, _source(version, f"sha256:{D}", "r.io/a:1", **more))
        (row,) = image["image_detail"]
        assert row["created_at"] == row["tag_detected_at"] == "2026-11-23T11:49:36Z"


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_digest_under_both_docker_hub_names_is_one_record_with_two_tags(version: str) -> None:
    """Neither name finds a tag that was added under the other."""
    sandbox = Sandbox()
    label, names = "sha256-aaaaaaaaaaaa", ("docker.io/nginx", "docker.io/library/nginx")

    await _post(sandbox, version, _source(version, f"sha256:{D}", f"{names[0]}:{label}"))
    params = {FULL_TAG[version]: f"{names[1]}:{label}"}
    refused = await sandbox.refused("GET", f"/{version}/images", params=params)
    image = await _post(sandbox, version, _source(version, f"sha256:{D}", f"{names[1]}:{label}"))

    assert refused[0] == 404
    rows = [(row["registry"], row["repo"], row["tag"]) for row in image["image_detail"]]
    assert rows == [("docker.io", "library/nginx", label), ("docker.io", "nginx", label)]


ANNOTATIONS = [
    ({"a": "1", "b": "null"}, {}, {"a": "1"}),
    ({"a": "1"}, {"b": "2"}, {"a": "1", "b": "2"}),
    ({"a": "1", "b": "2"}, {"a": "null", "b": "3"}, {"b": "3"}),
]


@pytest.mark.parametrize(("first", "second", "kept"), ANNOTATIONS)
async def test_annotations_are_merged(first: dict[str, str], second: dict[str, str], kept: dict[str, str]) -> None:
    sandbox = Sandbox()

    for annotations in (first, second):
        await sandbox.call("POST", "/v1/images", json={"tag": NGINX, "annotations": annotations})

    assert (await sandbox.get("/v1/images"))[0]["annotations"] == kept


BOTH = "Cannot use both source property and tag, digest, or dockerfile property at top level"
NEITHER = 'Must include either "tag", "tag" and "digest", or "source" property in body'
BY_DIGEST = f"a@sha256:{D}"
REFUSED_ADDS = [
    ("v1", {"source": {"tag": {"pullstring": "a"}}, "tag": "a"}, BOTH),
    ("v1", {"source": {}}, NEITHER),
    ("v1", {"source": {"tag": None}}, "Must have one source propery set"),
    ("v1", {"source": {"tag": {"pull_string": "a"}}}, "'pullstring' is a required property - 'source.tag'"),
    ("v1", {"source": {"digest": {"pullstring": BY_DIGEST}}}, "'tag' is a required property - 'source.digest'"),
    ("v1", {"source": {"digest": {"pullstring": "a:1", "tag": "a:1"}}}, "Must have digest-based pull string"),
    ("v1", {"source": {"digest": {"pullstring": BY_DIGEST, "tag": BY_DIGEST}}}, "Must have tag-based pull string"),
    ("v1", {"source": {"archive": {"digest": f"sha256:{D}"}}}, "the sandbox has no archive to add from"),
    ("v1", {"source": {"tag": {"pullstring": BY_DIGEST}}}, "Must have tag-based pull string"),
    ("v1", {"digest": f"sha256:{D}"}, "Could not validate request due to error"),
    ("v1", {"digest": BY_DIGEST, "tag": "a:1", "created_at": "yesterday"}, "Invalid formatted date"),
    ("v1", {"digest": BY_DIGEST, "tag": "a:1", "created_at": "0001-01-01T00:00:00+14:00"}, "Invalid formatted date"),
    ("v1", {"tag": "a:1", "annotations": []}, "[] is not of type 'object' - 'annotations'"),
    ("v1", [], "Could not validate request due to error"),
    ("v2", {"tag": "a:1"}, "'source' is a required property"),
    ("v2", {"source": {"tag": {"pullstring": "a"}}}, "'pull_string' is a required property - 'source.tag'"),
    ("v2", {"source": {"tag": "a:1"}}, "'a:1' is not of type 'object' - 'source.tag'"),
    ("v2", {"source": {"tag": {"pull_string": 5}}}, "5 is not of type 'string' - 'source.tag.pull_string'"),
]


@pytest.mark.parametrize(("version", "body", "message"), REFUSED_ADDS)
async def test_wrong_adds_are_rejected(version: str, body: Any, message: str) -> None:
    sandbox = Sandbox()

    assert await sandbox.refused("POST", f"/{version}/images", json=body) == (400, message)
    assert await sandbox.get("/v1/images") == []


@pytest.mark.parametrize(
    "body",
    [
        {"tag": "r.io/a:1", "digest": f"sha256:{D}"},
        {"tag": "r.io/a:1", "digest": f"r.io/a@sha256:{D}", "created_at": "2026-01-01T00:00:00Z"},
        {"source": {"digest": {"pullstring": f"other.io/b@sha256:{D}", "tag": "r.io/a:1"}}},
    ],
)
async def test_every_form_of_a_digest_add_keeps_the_tag_as_a_label(body: dict[str, Any]) -> None:
    sandbox = Sandbox()

    (image,) = (await sandbox.call("POST", "/v1/images", json=body)).json()

    assert image["imageDigest"] == f"sha256:{D}"
    assert image["image_detail"][0]["fulltag"] == "r.io/a:1"
    assert image["image_detail"][0]["fulldigest"] == f"r.io/a@sha256:{D}"


async def test_a_digest_cannot_be_forced_unless_its_image_exists() -> None:
    sandbox = Sandbox()
    body = {"tag": "r.io/a:1", "digest": f"sha256:{D}"}

    status, _ = await sandbox.refused("POST", "/v1/images", json=body, params={"force": "true"})
    assert status == 400

    await sandbox.call("POST", "/v1/images", json=body)
    forced = await sandbox.call("POST", "/v1/images", json=body, params={"force": "true"})
    assert forced.status_code == 200


async def test_a_dockerfile_for_a_known_image_needs_force() -> None:
    sandbox = Sandbox()
    await sandbox.add(NGINX)
    body = {"tag": NGINX, "dockerfile": "RlJPTSBzY3JhdGNo"}

    assert (await sandbox.refused("POST", "/v1/images", json=body))[0] == 400

    answer = await sandbox.call("POST", "/v1/images", json=body, params={"force": "true"})
    assert answer.json()[0]["image_detail"][0]["dockerfile"] == "RlJPTSBzY3JhdGNo"


REGISTRY_ERRORS = [
    ("r.io/secret:1", "REGISTRY_PERMISSION_DENIED"),
    ("r.io/gone:1", "REGISTRY_IMAGE_NOT_FOUND"),
    ("nowhere.io/a:1", "REGISTRY_IMAGE_NOT_FOUND"),
    (f"r.io/a@sha256:{D}", "REGISTRY_IMAGE_NOT_FOUND"),
]


@pytest.mark.parametrize(("pull", "code"), REGISTRY_ERRORS)
async def test_the_simulated_registry_rejects_as_a_real_one_does(pull: str, code: str) -> None:
    sandbox = Sandbox(
        {
            "unknownImages": "refuse",
            "registry": [
                {"tag": "r.io/secret:1", "error": "REGISTRY_PERMISSION_DENIED"},
                {"tag": ["r.io/gone:1", "r.io/gone:2"], "error": "REGISTRY_IMAGE_NOT_FOUND"},
            ],
        }
    )
    source = {"digest": {"pull_string": pull, "tag": "r.io/a:1"}} if "@" in pull else {"tag": {"pull_string": pull}}

    answer = await sandbox.call("POST", "/v2/images", json={"source": source})

    assert answer.status_code == 400
    assert answer.json()["message"] == "cannot fetch image digest/manifest from registry"
    assert answer.json()["detail"]["error_codes"] == [code]
    assert f"error_code={code}" in answer.json()["detail"]["raw_exception_message"]


async def test_the_list_is_newest_first_and_finds_by_digest_and_image_id() -> None:
    sandbox = Sandbox()
    one = await sandbox.add("r.io/one:1")
    two = await sandbox.add("r.io/two:1")
    image_id = one["image_detail"][0]["imageId"]

    listed = await sandbox.get("/v1/images")
    by_id = await sandbox.get("/v1/images", params={"fulltag": image_id})
    by_digest = await sandbox.get("/v1/images", params={"fulltag": f"r.io/two@{two['imageDigest']}"})
    ignored = await sandbox.get("/v1/images", params={"full_tag": "r.io/one:1"})
    path = await sandbox.get(f"/v1/images/by_id/{image_id}")

    assert [image["imageDigest"] for image in listed] == [two["imageDigest"], one["imageDigest"]]
    assert by_id == path == [one]
    assert by_digest == [two]
    assert ignored == listed
    assert (await sandbox.refused("GET", f"/v1/images/by_id/{'0' * 64}"))[0] == 404


async def test_a_deleted_image_disappears_after_a_while_or_returns_with_an_add() -> None:
    """Recordings 430 to 451."""
    sandbox = Sandbox({"analysisTime": 10, "images": [{"tag": NGINX}, {"tag": "r.io/a:1"}]})
    (nginx,) = await sandbox.get("/v1/images", params={"fulltag": NGINX})
    (other,) = await sandbox.get("/v1/images", params={"fulltag": "r.io/a:1"})
    for digest in (nginx["imageDigest"], other["imageDigest"]):
        answer = await sandbox.call("DELETE", f"/v1/images/{digest}")
        assert answer.json() == {"digest": digest, "status": "deleting", "detail": None}

    assert (await sandbox.get(f"/v1/images/{nginx['imageDigest']}"))[0]["image_status"] == "deleting"
    assert await sandbox.get("/v1/images") == []
    assert len(await sandbox.get("/v1/images", params={"image_status": "all"})) == 2
    assert (await sandbox.add(NGINX))["analysis_status"] == "not_analyzed"
    sandbox.clock.now += 60
    assert len(await sandbox.get("/v1/images", params={"image_status": "all"})) == 1
    missing = f"{other['imageDigest']},{nginx['imageDigest']}"
    answer = await sandbox.call("DELETE", "/v1/images", params={"imageDigests": missing})
    assert [deleted["status"] for deleted in answer.json()] == ["not_found", "deleting"]


async def test_the_sandbox_holds_a_bounded_number_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anchore_admission.sandbox.images.MAX_IMAGES", 2)
    sandbox = Sandbox()
    await sandbox.add("r.io/a:1")
    await sandbox.add("r.io/a:2")

    refused = await sandbox.refused("POST", "/v1/images", json={"tag": "r.io/a:3"})

    assert refused == (400, "the sandbox holds at most 2 images per account")


async def test_a_body_is_read_up_to_a_bound() -> None:
    sandbox = Sandbox()

    status, message = await sandbox.refused(
        "POST", "/v1/images", content=b" " * (8 * 1024 * 1024 + 1), headers={"content-type": "application/json"}
    )

    assert (status, message) == (413, "the sandbox reads at most 8388608 bytes")


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"tag": "\\ud800"}', b'{"tag": NaN}', b"{", b"\xff"])
async def test_values_that_json_cannot_hold_are_rejected(body: bytes) -> None:
    sandbox = Sandbox()

    refused = await sandbox.refused("POST", "/v1/images", content=body, headers={"content-type": "application/json"})

    assert refused == (400, "Request body is not valid JSON")
