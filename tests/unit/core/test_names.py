"""Names under which Anchore is queried, and references that are submitted."""

import pytest

from anchore_admission.core.facts import AnalysisState, ImageRecord, ResolvedTag, Selector
from anchore_admission.core.names import (
    AnalysisRequest,
    analysis_request,
    anchore_repositories,
    check_tags,
    distinguishes,
    is_label,
    lookup_tags,
    newest,
    shared_digest,
)
from anchore_admission.core.reference import parse
from support.builders import DIGEST, OTHER_DIGEST, record

_LABEL = DIGEST.replace(":", "-")
_EARLY, _LATE = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


@pytest.mark.parametrize(
    ("image", "names", "tags"),
    [
        (
            "nginx",
            ("docker.io/library/nginx", "docker.io/nginx"),
            ("docker.io/library/nginx:latest", "docker.io/nginx:latest"),
        ),
        (
            "docker.io/library/nginx:1",
            ("docker.io/library/nginx", "docker.io/nginx"),
            ("docker.io/library/nginx:1", "docker.io/nginx:1"),
        ),
        ("team/app:1", ("docker.io/team/app",), ("docker.io/team/app:1",)),
        ("library/deep/app", ("docker.io/library/deep/app",), ("docker.io/library/deep/app:latest",)),
        ("quay.io/library/app:1", ("quay.io/library/app",), ("quay.io/library/app:1",)),
        ("Quay.IO:443/a/b:1", ("quay.io/a/b", "Quay.IO:443/a/b"), ("quay.io/a/b:1", "Quay.IO:443/a/b:1")),
        (
            "registry-1.docker.io/library/nginx:1",
            ("docker.io/library/nginx", "docker.io/nginx", "registry-1.docker.io/library/nginx"),
            ("docker.io/library/nginx:1", "docker.io/nginx:1", "registry-1.docker.io/library/nginx:1"),
        ),
        ("localhost:5000/a:1", ("localhost:5000/a",), ("localhost:5000/a:1",)),
        (f"nginx@{DIGEST}", ("docker.io/library/nginx", "docker.io/nginx"), ()),
        (f"quay.io/a/b:1@{DIGEST}", ("quay.io/a/b",), ()),
    ],
)
def test_the_names_to_look_up(image: str, names: tuple[str, ...], tags: tuple[str, ...]) -> None:
    assert anchore_repositories(parse(image)) == names
    assert lookup_tags(parse(image)) == tags


@pytest.mark.parametrize(
    ("image", "request_", "repository"),
    [
        ("ubuntu", AnalysisRequest("docker.io/ubuntu:latest"), "docker.io/ubuntu"),
        ("docker.io/library/ubuntu:24.04", AnalysisRequest("docker.io/ubuntu:24.04"), "docker.io/ubuntu"),
        ("team/app", AnalysisRequest("docker.io/team/app:latest"), "docker.io/team/app"),
        ("localhost:5000/app:1", AnalysisRequest("localhost:5000/app:1"), "localhost:5000/app"),
        ("Quay.IO:443/a/b:1", AnalysisRequest("Quay.IO:443/a/b:1"), "Quay.IO:443/a/b"),
        (f"ubuntu@{DIGEST}", AnalysisRequest(f"docker.io/ubuntu:{_LABEL}", DIGEST), "docker.io/ubuntu"),
        (f"quay.io/a/b:1@{DIGEST}", AnalysisRequest(f"quay.io/a/b:{_LABEL}", DIGEST), "quay.io/a/b"),
        (
            "quay.io/a/b@sha512:" + "c" * 128,
            AnalysisRequest("quay.io/a/b:sha512-" + "c" * 128, "sha512:" + "c" * 128),
            "quay.io/a/b",
        ),
    ],
)
def test_the_submitted_reference_follows_the_image(image: str, request_: AnalysisRequest, repository: str) -> None:
    assert analysis_request(parse(image)) == request_
    assert request_.repository == repository


def _found(name: str, **tags: str) -> ImageRecord:
    return record(
        tags={f"docker.io/{tag.replace('__', '/')}:1": at for tag, at in tags.items()}, digest=f"sha256:{name}"
    )


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], None),
        ([_found("a", nginx=_EARLY)], "sha256:a"),
        ([_found("a", nginx=_EARLY), _found("b", library__nginx=_LATE)], "sha256:b"),
        ([_found("a", nginx=_LATE), _found("b", library__nginx=_EARLY)], "sha256:a"),
        ([_found("a", library__nginx=_EARLY, redis=_LATE), _found("b", nginx=_LATE)], "sha256:b"),
        ([_found("a", library__nginx=_EARLY, nginx=_LATE), _found("b", nginx=_EARLY)], "sha256:a"),
        ([_found("a", nginx=""), _found("b", nginx=_EARLY)], "sha256:b"),
        ([_found("a"), _found("b", nginx=_EARLY)], "sha256:b"),
        ([_found("a", redis=_LATE)], "sha256:a"),
    ],
    ids=[
        "none",
        "one",
        "long form newer",
        "short form newer",
        "another tag does not count",
        "both forms on one record",
        "no time loses",
        "no tag loses",
        "alone without the tag",
    ],
)
def test_the_record_whose_tag_was_seen_last_wins(records: list[ImageRecord], expected: str | None) -> None:
    chosen = newest(records, parse("nginx:1"))
    assert (chosen.digest if chosen else None) == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, "docker.io/nginx:1"),
        ({"docker.io/nginx:1": _EARLY}, "docker.io/nginx:1"),
        ({"docker.io/library/nginx:1": _EARLY}, "docker.io/library/nginx:1"),
        ({"docker.io/library/nginx:1": _LATE, "docker.io/nginx:1": _EARLY}, "docker.io/library/nginx:1"),
        ({"docker.io/library/nginx:1": _EARLY, "docker.io/nginx:1": _LATE}, "docker.io/nginx:1"),
        ({"docker.io/library/nginx:2": _EARLY}, "docker.io/nginx:1"),
        ({"quay.io/nginx:1": _EARLY}, "docker.io/nginx:1"),
    ],
)
def test_a_tag_is_submitted_under_the_name_that_anchore_has(tags: dict[str, str], expected: str) -> None:
    assert analysis_request(parse("nginx:1"), record(tags=tags)) == AnalysisRequest(expected)


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        (_LABEL, True),
        ("sha256-0123456789ab", True),
        ("sha256-0123456789abc", False),
        (f"{_LABEL}.sig", False),
        ("SHA256-0123456789ab", False),
        ("1.25", False),
    ],
)
def test_tags_that_are_labels_are_recognized(tag: str, expected: bool) -> None:
    assert is_label(tag) is expected


@pytest.mark.parametrize("tag", ["", ":1", ":latest", ":sha256-aaaaaaaaaaaa"])
def test_a_digest_is_submitted_under_its_own_label_whatever_is_written_before_it(tag: str) -> None:
    held = record(tags={f"quay.io/a/b{tag or ':1'}": _EARLY})
    for found in (None, held):
        assert analysis_request(parse(f"quay.io/a/b{tag}@{DIGEST}"), found).full_tag == f"quay.io/a/b:{_LABEL}"


_HUB = ("docker.io/library/nginx:1", "docker.io/nginx:1")


@pytest.mark.parametrize(
    ("image", "tags", "expected"),
    [
        ("nginx:1", {"docker.io/nginx:1": _EARLY}, _HUB[::-1]),
        ("nginx:1", {"docker.io/library/nginx:1": _EARLY}, _HUB),
        ("nginx:1", {"docker.io/library/nginx:1": _LATE, "docker.io/nginx:1": _EARLY}, _HUB),
        ("nginx:1", {"docker.io/nginx:2": _LATE}, _HUB),
        ("nginx:1", {}, _HUB),
        ("nginx:1", {"quay.io/other:1": _LATE}, _HUB),
        ("quay.io/a/b", {"quay.io/a/b:latest": _EARLY, "quay.io/a/b:9": _LATE}, ("quay.io/a/b:latest",)),
        (f"quay.io/a/b:1@{DIGEST}", {"quay.io/a/b:1": _EARLY, "quay.io/a/b:2": _LATE}, ("quay.io/a/b:1",)),
        (f"quay.io/a/b:1@{DIGEST}", {"quay.io/a/b:2": _EARLY, "quay.io/a/b:3": _LATE}, ("quay.io/a/b:3",)),
        (f"quay.io/a/b@{DIGEST}", {"quay.io/a/b:2": _LATE, "quay.io/a/b:3": _EARLY}, ("quay.io/a/b:2",)),
        (f"quay.io/a/b@{DIGEST}", {"quay.io/trusted/b:1": _LATE}, (f"quay.io/a/b:{_LABEL}",)),
        (f"quay.io/a/b:1@{DIGEST}", {"quay.io/trusted/b:1": _LATE}, (f"quay.io/a/b:{_LABEL}",)),
        (f"quay.io/a/b:1@{DIGEST}", {}, (f"quay.io/a/b:{_LABEL}",)),
        (
            f"nginx@{DIGEST}",
            {"docker.io/library/nginx:1": _EARLY, "docker.io/nginx:2": _LATE},
            ("docker.io/nginx:2", "docker.io/library/nginx:2"),
        ),
        (f"nginx:1@{DIGEST}", {"docker.io/library/nginx:1": _EARLY, "docker.io/nginx:2": _LATE}, _HUB),
        (f"nginx@{DIGEST}", {}, (f"docker.io/library/nginx:{_LABEL}", f"docker.io/nginx:{_LABEL}")),
        ("localhost:5000/app:1", {"localhost:5000/app:1": _EARLY}, ("localhost:5000/app:1",)),
        (f"localhost:5000/app@{DIGEST}", {"localhost:5000/app:7": ""}, ("localhost:5000/app:7",)),
    ],
)
def test_a_policy_is_checked_for_a_tag_under_each_name_of_the_workloads_own_repository(
    image: str, tags: dict[str, str], expected: tuple[str, ...]
) -> None:
    assert check_tags(record(tags=tags, digest=OTHER_DIGEST), parse(image)) == expected


@pytest.mark.parametrize("image", ["nginx", f"nginx@{DIGEST}", f"quay.io/a/b:1@{DIGEST}"])
@pytest.mark.parametrize("state", AnalysisState)
def test_a_digest_never_stands_for_a_tag(image: str, state: AnalysisState) -> None:
    tags = check_tags(record(state), parse(image))
    assert tags
    for tag in tags:
        assert "@" not in tag
        assert parse(tag).digest is None


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], False),
        (["*"], False),
        (["*nginx"], False),
        (["redis", "team/*", "library/redis"], False),
        (["Library/*"], False),
        (["library/*"], True),
        (["library/nginx"], True),
        (["nginx"], True),
        (["*", "n*"], True),
        (["*/nginx"], True),
        (["[nl]*"], False),
        (["?????"], False),
    ],
)
def test_policies_may_distinguish_the_two_names_of_docker_hub(patterns: list[str], expected: bool) -> None:
    selectors = [Selector("*", pattern) for pattern in patterns]
    assert distinguishes(selectors, _HUB) is expected
    assert not distinguishes(selectors, _HUB[:1])


@pytest.mark.parametrize(
    ("registry", "expected"),
    [("*", False), ("quay.io", True), ("Quay.IO:443", True), ("*.example.com", False), ("*quay*", True)],
)
def test_policies_may_distinguish_spellings_of_a_registry(registry: str, expected: bool) -> None:
    assert distinguishes([Selector(registry, "*")], lookup_tags(parse("Quay.IO:443/a/b:1"))) is expected


_LIST = "sha256:" + "c" * 64


@pytest.mark.parametrize(
    ("image", "listed_by", "of_list", "of_single"),
    [
        ("team/app:1", ("docker.io/team/app:1",), _LIST, DIGEST),
        ("team/app:1", ("docker.io/team/app:2",), _LIST, DIGEST),
        ("nginx:1", ("docker.io/nginx:1",), _LIST, DIGEST),
        ("docker.io/nginx:1", ("docker.io/library/nginx:1",), _LIST, DIGEST),
        ("Quay.IO:443/a/b:1", ("quay.io/a/b:1",), _LIST, DIGEST),
        ("quay.io/a/b:1", ("Quay.IO:443/a/b:1",), _LIST, DIGEST),
        # A copy in another repository may be in another list, or alone, and the first list is not there.
        ("mirror.example.com/nginx:1", ("docker.io/library/nginx:1",), None, None),
        ("team/app:1", ("docker.io/evil/app:1",), None, None),
        ("team/app:1", (f"docker.io/evil/app:{_LABEL}",), None, None),
        # Two tags of the same second: either may be the first.
        ("team/app:1", ("docker.io/team/app:1", "docker.io/evil/app:1"), None, None),
        # Lists are often made of tags for each platform.
        ("team/app:1", ("docker.io/team/app:1-amd64",), _LIST, None),
        ("team/app:1", ("docker.io/team/app:Linux_X86_64.1",), _LIST, None),
        ("team/app:1-amd64", ("docker.io/team/app:1-amd64",), _LIST, DIGEST),
        ("team/app:1", ("docker.io/team/app:armada",), _LIST, DIGEST),
        ("team/app:1", (), None, None),
        ("team/app:1", ("",), None, None),
        ("team/app:1", ("Not A Tag",), None, None),
    ],
)
def test_a_list_counts_in_its_own_repository(
    image: str, listed_by: tuple[str, ...], of_list: str | None, of_single: str | None
) -> None:
    for digest, expected in ((_LIST, of_list), (DIGEST, of_single)):
        held = ImageRecord(DIGEST, AnalysisState.ANALYZED, list_digest=digest, listed_by=listed_by)
        assert shared_digest(held, parse(image)) == expected
        assert shared_digest(ResolvedTag(DIGEST, 0.0, None, digest, listed_by), parse(image)) == expected
    assert shared_digest(ImageRecord(DIGEST, AnalysisState.ANALYZED, listed_by=listed_by), parse(image)) is None
