"""The images of a request that are judged, each with its rule."""

from typing import Any

import pytest

from anchore_admission.core import workload
from anchore_admission.core.decision import Reason
from anchore_admission.core.facts import ImageFacts
from anchore_admission.core.images import JudgedImage, Uncheckable, circumstances_of, distinct_images, judged_images
from anchore_admission.core.judgement import judge
from anchore_admission.core.reference import ImageReference
from anchore_admission.core.requester import is_controller
from anchore_admission.core.rules.book import RuleBook, compile_rules
from anchore_admission.models.configuration import Configuration, WorkloadHandling
from anchore_admission.models.workload import Workload
from support import builders
from support.builders import DIGEST, pod_spec


def _book(*rules: dict[str, Any]) -> RuleBook:
    configuration = Configuration.model_validate({"rules": list(rules)})
    return compile_rules(configuration.rules, configuration.defaults)


def _subjects(body: Any, book: RuleBook | None = None, **changes: Any) -> list[JudgedImage]:
    request = builders.request(body, **changes)
    assert isinstance(request.object, Workload)
    view = workload.pod_view(request.kind, request.object)
    if not view:
        return []
    return [*judged_images((book or _book()).narrowed(circumstances_of(request, view)), distinct_images(request, view))]


def _pod(*images: str | None, **more: Any) -> dict[str, Any]:
    return builders.workload("Pod", pod_spec(*images, **more))


def _deployment(*images: str | None) -> dict[str, Any]:
    return builders.workload("Deployment", pod_spec(*images))


def test_each_text_once_with_all_its_places() -> None:
    body = _pod("redis", "nginx", "redis", initContainers=[{"name": "setup", "image": "redis"}])
    found = [(subject.text, [place.place for place in subject.places]) for subject in _subjects(body)]
    assert found == [
        ("redis", ['initContainers "setup"', 'containers "c1"', 'containers "c3"']),
        ("nginx", ['containers "c2"']),
    ]


@pytest.mark.parametrize(
    ("old", "new", "judged"),
    [
        (_pod("a"), _pod("a"), []),
        (_pod("a"), _pod("b"), ["b"]),
        (_pod("a"), _pod("a", ephemeralContainers=[{"name": "d", "image": "debug"}]), ["debug"]),
        (_pod("a", initContainers=[{"image": "b"}]), _pod("b"), []),
        (None, _pod("a"), ["a"]),
        ({"spec": {"containers": 1}}, _pod("a"), ["a"]),
        ({}, _pod("a"), ["a"]),
        (_deployment("a"), _deployment("a", "b"), ["b"]),
        (_deployment("a"), _deployment("a"), []),
    ],
    ids=["same", "changed", "ephemeral", "moved", "no old", "unreadable old", "empty old", "template", "same template"],
)
def test_an_update_judges_new_images(old: Any, new: dict[str, Any], judged: list[str]) -> None:
    assert [subject.text for subject in _subjects(new, operation="UPDATE", oldObject=old)] == judged


def test_a_create_judges_everything() -> None:
    assert [subject.text for subject in _subjects(_pod("a"), oldObject=_pod("a"))] == ["a"]


def _named(name: str, **rule: Any) -> dict[str, Any]:
    return {"name": name, **rule}


_HUB, _OURS, _ANY = ({"images": [glob]} for glob in ("docker.io/*", "registry.example.com/*", "*"))


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([_named("hub", match=_HUB, mode="skip"), _named("rest", mode="strict")], "rest"),
        ([_named("hub", match=_HUB, mode="passive"), _named("ours", match=_OURS, mode="analysis")], "ours"),
        ([_named("ours", match=_OURS, mode="strict"), _named("rest", mode="passive")], "ours"),
        ([_named("tags", match={"images": ["*app:0*"]}, mode="skip"), _named("rest", mode="strict")], "rest"),
        # The author of a workload chooses the digits of an ID.
        ([_named("tags", match={"images": ["*:0*"]}, mode="skip"), _named("rest", mode="strict")], "rest"),
        ([_named("tags", match={"images": ["*:*"]}, mode="skip"), _named("rest", mode="strict")], "rest"),
        ([_named("name", match={"images": ["*0123*"]}, mode="skip"), _named("rest", mode="strict")], "rest"),
        ([_named("tags", match={"images": ["regex:.*:0.*"]}, mode="skip"), _named("rest", mode="strict")], "rest"),
        ([_named("ids", match={"images": ["regex:sha256:0.*"]}, mode="skip"), _named("rest", mode="strict")], "ids"),
        ([_named("ids", match={"images": ["sha256:*"]}, mode="skip"), _named("rest", mode="strict")], "ids"),
        ([_named("ids", match={"images": ["sha256:01*"]}, mode="skip"), _named("rest", mode="strict")], "ids"),
        ([_named("any", match=_ANY, mode="skip"), _named("rest", mode="strict")], "any"),
        ([_named("all", mode="skip"), _named("rest", mode="strict")], "all"),
        ([_named("other", match={"namespaces": ["x"]}, mode="strict"), _named("rest", mode="passive")], "rest"),
        (
            [_named("ours", match=_OURS, mode="strict", enforcement="warn"), _named("rest", mode="strict")],
            "rest",
        ),
        ([_named("ours", match=_OURS, mode="strict"), _named("rest", mode="strict")], "rest"),
    ],
)
@pytest.mark.parametrize("image", ["sha256:0123", f"sha256:0123{DIGEST[11:]}", f"0123{DIGEST[11:]}"])
def test_an_image_id_may_be_any_image_and_falls_under_the_strictest_rule(
    rules: list[dict[str, Any]], expected: str, image: str
) -> None:
    """The ID of a local image does not show its repository, so it must match no laxer rule."""
    if expected == "ids" and not image.startswith("sha256:"):
        expected = "rest"
    (subject,) = _subjects(_pod(image), _book(*rules))
    assert subject.rule.name == expected


@pytest.mark.parametrize(
    ("image", "reason", "problem"),
    [
        (None, Reason.NO_IMAGE, ""),
        ("", Reason.NO_IMAGE, ""),
        ("sha256:0123", Reason.IMAGE_ID, ""),
        (DIGEST, Reason.IMAGE_ID, ""),
        (
            "team/App",
            Reason.MALFORMED_REFERENCE,
            "is not a valid image reference: its repository name must be lower case",
        ),
        ("a\nb", Reason.MALFORMED_REFERENCE, "is not a valid image reference: its repository name is malformed"),
    ],
)
def test_a_text_that_anchore_cannot_check(image: str | None, reason: Reason, problem: str) -> None:
    [judged] = _subjects(_pod(image))
    assert judged.meaning == Uncheckable(reason, problem)
    assert judged.reference is None


_SHA512 = "sha512:" + "e" * 128
_SHA384 = "sha384:" + "e" * 96


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        ("[2001:db8::1]:5000/evil:1", "Anchore does not accept an IPv6 address as a registry; use a host name"),
        ("[::1]/app", "Anchore does not accept an IPv6 address as a registry; use a host name"),
        (f"[::ffff:c000:201]/app@{DIGEST}", "Anchore does not accept an IPv6 address as a registry; use a host name"),
        (f"r.example.com/a@{_SHA512}", "Anchore accepts only sha256 digests"),
        (f"r.example.com/a:1@{_SHA384}", "Anchore accepts only sha256 digests"),
        ("Myorg/app", "Anchore reads the registry as a part of the path; write the registry with its port"),
        (f"Myorg/app@{DIGEST}", "Anchore reads the registry as a part of the path; write the registry with its port"),
    ],
    ids=lambda value: value[:30],
)
def test_a_reference_that_anchore_cannot_read_is_recognized(image: str, problem: str) -> None:
    [subject] = _subjects(_pod(image))
    assert subject.meaning == Uncheckable(Reason.UNSUPPORTED_REFERENCE, problem)


@pytest.mark.parametrize("image", ["localhost/app", "Myorg:5000/app", "192.0.2.1/app", "a_b.example/app", "A.io/app"])
def test_a_reference_that_anchore_can_read_is_accepted(image: str) -> None:
    [subject] = _subjects(_pod(image))
    assert isinstance(subject.meaning, ImageReference)


@pytest.mark.parametrize("tail", ["/a" * 200_000, "\n" * 200_000, "@" * 400_000, ":" * 400_000])
def test_a_text_too_long_for_an_image_is_cut_before_anything_looks_at_it(tail: str) -> None:
    body = _pod(f"r.example.com{tail}")
    body["spec"]["containers"][0]["name"] = "n" * 100_000
    [subject] = _subjects(body)
    assert isinstance(subject.meaning, Uncheckable)
    assert subject.meaning.reason is Reason.MALFORMED_REFERENCE
    assert len(subject.text) == 1025
    judged = judge(subject, ImageFacts(), WorkloadHandling.DENY)
    assert len(judged.verdict.message) < 700


def test_a_template_may_leave_an_image_out() -> None:
    assert [subject.text for subject in _subjects(_deployment(None, "", "nginx"))] == ["nginx"]


def test_a_reference_is_parsed() -> None:
    [subject] = _subjects(_pod("nginx"))
    assert isinstance(subject.meaning, ImageReference)
    assert subject.meaning.repository == "docker.io/library/nginx"
    assert subject.rule.name == "defaults"


_POD = builders.workload(
    "Pod", pod_spec("nginx"), metadata={"labels": {"app": "own", "none": None}, "annotations": {"note": "own"}}
)


@pytest.mark.parametrize(
    ("image", "name", "reason"),
    [
        ("team/app", "severe", Reason.NAMESPACE_UNKNOWN),
        # Its author caused that it cannot be checked, so no onError applies.
        ("[::1]/team/app", "strict", Reason.UNSUPPORTED_REFERENCE),
        ("team/App", "strict", Reason.MALFORMED_REFERENCE),
        ("sha256:01", "strict", Reason.IMAGE_ID),
    ],
)
def test_while_labels_are_not_known_an_image_that_cannot_be_checked_has_the_strictest_rule(
    image: str, name: str, reason: Reason
) -> None:
    prod = {"namespaceSelector": {"matchLabels": {"env": "prod"}}}
    severe = _named("severe", mode="analysis", enforcement="warn", onError="warn")
    (subject,) = _subjects(_pod(image), _book(_named("strict", match=prod, mode="strict", onError="allow"), severe))
    assert subject.rule.name == name
    assert isinstance(subject.meaning, Uncheckable)
    assert subject.meaning.reason is reason


_POD_OF_BUILDER = _pod("nginx", serviceAccount="builder")
_POD_OF_TWO = _pod("nginx", serviceAccountName="runner", serviceAccount="builder")
_DEPLOYMENT = builders.workload(
    "Deployment",
    pod_spec("nginx", serviceAccountName="runner"),
    metadata={"labels": {"app": "own", "only": "own"}, "annotations": {"note": "own"}},
    pod_metadata={"labels": {"app": "pod"}, "annotations": {"note": "pod"}},
)


@pytest.mark.parametrize(
    ("body", "match", "matches"),
    [
        (_POD, {"namespaces": ["shop"]}, True),
        (_POD, {"kinds": ["Pod"]}, True),
        (_POD, {"kinds": ["*/Pod"]}, False),
        (_POD, {"users": ["alice"]}, True),
        (_POD, {"groups": ["system:authenticated"]}, True),
        (_POD, {"serviceAccounts": ["default"]}, True),
        (_POD, {"serviceAccounts": ["shop/default"]}, True),
        (_POD, {"objectSelector": {"matchLabels": {"app": "own"}}}, True),
        (_POD, {"objectSelector": {"matchLabels": {"none": ""}}}, True),
        (_POD, {"annotations": {"note": ["own"]}}, True),
        (_POD_OF_BUILDER, {"serviceAccounts": ["builder"]}, True),
        (_POD_OF_BUILDER, {"serviceAccounts": ["shop/builder"]}, True),
        (_POD_OF_BUILDER, {"serviceAccounts": ["default"]}, False),
        (_pod("nginx", serviceAccountName="ci/builder"), {"serviceAccounts": ["ci/builder"]}, False),
        (_POD_OF_TWO, {"serviceAccounts": ["runner"]}, True),
        (_POD_OF_TWO, {"serviceAccounts": ["builder"]}, False),
        (_DEPLOYMENT, {"kinds": ["Deployment"]}, True),
        (_DEPLOYMENT, {"kinds": ["apps/Deployment"]}, True),
        (_DEPLOYMENT, {"serviceAccounts": ["shop/runner"]}, True),
        (_DEPLOYMENT, {"objectSelector": {"matchLabels": {"app": "pod", "only": "own"}}}, True),
        (_DEPLOYMENT, {"objectSelector": {"matchLabels": {"app": "own"}}}, False),
        (_DEPLOYMENT, {"annotations": {"note": ["pod"]}}, True),
        (_DEPLOYMENT, {"annotations": {"note": ["own"]}}, False),
    ],
)
def test_rules_see_these_attributes_of_a_request(body: dict[str, Any], match: dict[str, Any], matches: bool) -> None:
    [subject] = _subjects(body, _book({"name": "it", "match": match}))
    assert (subject.rule.name == "it") is matches


def test_the_namespace_of_the_request_counts_not_the_one_written_in_the_object() -> None:
    body = builders.workload("Pod", pod_spec("nginx"), metadata={"namespace": "trusted"})
    [subject] = _subjects(body, _book({"name": "it", "match": {"namespaces": ["trusted"]}}))
    assert subject.rule.name == "defaults"


def test_images_of_one_pod_may_fall_under_different_rules() -> None:
    book = _book({"name": "own", "match": {"images": ["registry.example.com/*"]}}, {"name": "rest"})
    found = _subjects(_pod("registry.example.com/a", "nginx", "sha256:0123"), book)
    assert [subject.rule.name for subject in found] == ["own", "rest", "rest"]


@pytest.mark.parametrize(
    ("user", "controller"),
    [
        ({"username": "system:serviceaccount:kube-system:replicaset-controller"}, True),
        ({"username": "system:node:node-1"}, True),
        ({"username": "system:kube-controller-manager"}, True),
        ({"username": "alice"}, False),
        ({"username": "kubernetes-admin"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_controllers_are_recognized_by_their_user(user: dict[str, Any] | None, controller: bool) -> None:
    assert is_controller(builders.request(_POD, userInfo=user)) is controller


def test_an_image_is_identified_by_its_place() -> None:
    (first,) = _subjects(_pod("sha256:01"))
    (second,) = _subjects(_pod(initContainers=[{"name": "setup", "image": "sha256:01"}]))
    assert [place.place for image in (first, second) for place in image.places] == [
        'containers "c1"',
        'initContainers "setup"',
    ]


_PROD = {"namespaceSelector": {"matchLabels": {"env": "prod"}}}


def test_a_reference_is_not_judged_while_its_rule_is_not_known() -> None:
    (judged,) = _subjects(_pod("nginx"), _book({"name": "prod", "match": _PROD, "mode": "strict"}))
    assert judged.meaning == Uncheckable(
        Reason.NAMESPACE_UNKNOWN, "the labels of namespace shop are not known", by_author=False
    )
    assert (judged.rule.name, judged.reference) == ("prod", None)


@pytest.mark.parametrize("text", ["Team/App:bad:", "ubuntu:@", ""])
def test_a_malformed_reference_stays_one_while_its_rule_is_not_known(text: str) -> None:
    (judged,) = _subjects(_pod(text), _book({"name": "prod", "match": _PROD, "mode": "strict", "onError": "allow"}))
    assert isinstance(judged.meaning, Uncheckable)
    assert judged.meaning.by_author


@pytest.mark.parametrize(
    ("metadata", "name", "matches"),
    [
        ({"name": "web-1"}, "web-1", True),
        ({"generateName": "web-"}, None, True),
        ({"name": "web-1"}, None, True),
        ({"generateName": "db-"}, None, False),
        ({"name": "db", "generateName": "web-"}, None, False),
        ({}, None, False),
    ],
)
def test_rules_match_the_name_or_the_beginning_of_it(
    metadata: dict[str, Any], name: str | None, *, matches: bool
) -> None:
    body = {"metadata": metadata, "spec": pod_spec("nginx")}
    (judged,) = _subjects(body, _book({"name": "it", "match": {"names": ["web-*"]}}), name=name)
    assert (judged.rule.name == "it") is matches
