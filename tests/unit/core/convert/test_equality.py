"""What is converted selects as the Go controller does, for any Pod; what is not exact never admits more."""

import json
from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchore_admission.core.convert.conversion import convert
from anchore_admission.core.convert.original import Original, Selector, read_configuration, read_credentials
from anchore_admission.core.convert.patterns import image_patterns, searched, value_patterns
from anchore_admission.core.convert.selectors import Status
from anchore_admission.core.images import circumstances_of, distinct_images, judged_images
from anchore_admission.core.reference import parse, registry
from anchore_admission.core.rules.book import DEFAULTS_NAME, compile_rules
from anchore_admission.core.rules.index import MatchIndex
from anchore_admission.core.rules.match import Circumstances, image_names
from anchore_admission.core.workload import pod_view
from anchore_admission.errors import InvalidImageReference
from anchore_admission.models.configuration import Configuration, Match
from anchore_admission.models.workload import Workload
from anchore_admission.services.config.load import parse_configuration
from support.builders import DIGEST, pod, request
from support.go_selectors import ObjectMeta, match_string, new_configuration
from support.paths import DATA

Json = dict[str, Any]
RECORDED: Json = json.loads((DATA / "go-controller" / "selections.json").read_text())
ATOMS = (
    *("^", "$", "|", "(", ")", "?", "*", "+", "{2}", ".", r"\.", "/", ":", "@", ".*", ".+", "[a-z]+", "[^/]+", "[^:]*"),
    *("a", "ab", "r", r"r\.io", "r.io", "docker", "io", "library", "nginx", "latest", "1", "5000", "-", r"\d", r"\n"),
    *("(a|b)", "(?i)", "(?s)"),
)
expressions = st.lists(st.sampled_from(ATOMS), max_size=9).map("".join)
IMAGE_EXPRESSIONS = (
    *(".*", "", "^.*$", ".+", r"^r\.io/", r"^r\.io/a.*", r"^r\.io/.+", r"r\.io/", r"r\.io/a/b", r"^(a|r)\.io/"),
    *(
        r"^r\.io/a:1$",
        r"^r\.io/[a-z]+:\d$",
        r"^r\.io/[a-z]+:[a-z]+$",
        r"^[a-z]+\.r\.io/",
        r"^.*\.[a-z]\.io/",
        "^r:5000/",
    ),
    *(r"^r\.io/[^/]+/b", r"^r\.io/a:1", r"r\.io/a[:@]", r"^r\.io/a.b$", "[a-z]+/a", "io/a", "/a", "nginx", "^nginx$"),
    r"^docker\.io/",
)
KEYS = ["^app$", "^(app|env)$", "app", "name", "Name", "^name$", ".*", "", "^a.$", r"^r\.io/a$", "("]
VALUES = ["^a$", "^(a|b)$", "a", "^a", ".*", "", ".+", "^a.$", "(?s)^a.b$", "^.*$", "a$", "(?i)A", "^A_B$", "(?!a)"]
TYPES = ["resource", "namespace", "image", "Image", "pod", ""]


HOSTS = ("", "docker.io/", "r.io/", "a.io/", "b.r.io/", "r:5000/", "localhost/", "r.io.a/", "xr.io/")
PATHS = ("a", "ab", "nginx", "library/nginx", "library/a", "a/b", "a/b/ab", "r.io/a", "a/r.io/b", "docker/a")
ENDS = [f"{tag}{digest}" for tag in ("", ":1", ":latest", ":a", ":1-a") for digest in ("", f"@{DIGEST}")]
IMAGES = ["".join(parts) for parts in product(HOSTS, PATHS, ENDS)]
"""Images whose registry is written as rules compare it; Docker Hub's in every form."""
images = st.sampled_from(IMAGES)
texts = st.sampled_from(["", "a", "b", "ab", "A", "A_B", "a.b", "a-b", "xay", "axb", "true"])
keys = st.sampled_from(["app", "env", "name", "Name", "app.kubernetes.io/name", "r.io/a", "ab", "x"])
labels = st.dictionaries(keys, texts, max_size=3)
annotations = st.dictionaries(keys, texts | st.sampled_from(["a\nb", "\na", "a\n", "\n"]), max_size=3)
names = st.sampled_from(["a", "ab", "web-1", "a.b", "b-a", "app"])


@st.composite
def selectors(draw: st.DrawFn) -> Json:
    kind = draw(st.sampled_from(TYPES))
    value = draw(st.sampled_from(VALUES if kind in {"resource", "namespace"} else IMAGE_EXPRESSIONS) | expressions)
    return {
        "Selector": {
            "ResourceType": kind,
            "SelectorKeyRegex": draw(st.sampled_from(KEYS) | expressions),
            "SelectorValueRegex": value,
        },
        "PolicyReference": {"Username": draw(st.sampled_from(["admin", "ops"])), "PolicyBundleId": "policy"},
        "Mode": draw(st.sampled_from(["policy", "analysis", "breakglass", "breakglass"])),
    }


@st.composite
def pods(draw: st.DrawFn) -> tuple[ObjectMeta, list[str]]:
    meta = ObjectMeta(draw(names), draw(names.filter(lambda name: "." not in name)), draw(labels), draw(annotations))
    return meta, draw(st.lists(images, min_size=1, max_size=3, unique=True))


def decided(document: list[Json]) -> Original:
    """Leave out the selectors that a person would have to decide about."""
    kept = [entry for entry in document if convert(read(entry), None, None).is_complete]
    return read(*kept)


def read(*entries: Json) -> Original:
    return read_configuration({"AnchoreEndpoint": "http://anchore", "PolicySelectors": list(entries)})


def chosen(configuration: Json, body: Json, namespace: ObjectMeta | None = None) -> Mapping[str, str]:
    """Return the name of the rule for each image of a Pod, chosen by our own code from a review's bytes."""
    sections = Configuration.model_validate(configuration)
    book = compile_rules(sections.rules, sections.defaults)
    metadata = body["metadata"]
    decoded = request(body, name=metadata["name"], namespace=metadata["namespace"])
    assert isinstance(decoded.object, Workload)
    view = pod_view(decoded.kind, decoded.object)
    assert view
    circumstances = circumstances_of(decoded, view, namespace.labels if namespace else None)
    judged = [*judged_images(book.narrowed(circumstances), distinct_images(decoded, view))]
    return {image.text: image.rule.name for image in judged}


def of(meta: ObjectMeta) -> Json:
    return {"name": meta.name, "namespace": meta.namespace, "labels": meta.labels, "annotations": meta.annotations}


def as_go(selector: Selector) -> Json:
    return {"type": selector.resource_type, "key": selector.key, "value": selector.value, "path": selector.path}


@given(st.lists(selectors(), min_size=1, max_size=4), pods(), labels, annotations)
def test_the_rules_select_as_the_go_controller_does(
    document: list[Json], workload: tuple[ObjectMeta, list[str]], of_namespace: dict[str, str], more: dict[str, str]
) -> None:
    meta, texts = workload
    original = decided(document)
    namespace = ObjectMeta(meta.namespace, "", {**of_namespace, "kubernetes.io/metadata.name": meta.namespace}, more)
    conversion = convert(original, None, None)
    stricter = {
        found.selector.path
        for found in conversion.selectors
        if found.status is Status.STRICTER and found.selector.mode == "breakglass"
    }
    paths_of = {rule["name"]: found.selector.path for found in conversion.selectors for rule in found.rules}
    ours = chosen(dict(conversion.configuration), pod(*texts, metadata=of(meta)), namespace)
    go = {
        image: new_configuration(meta, image, list(map(as_go, original.selectors)), {meta.namespace: namespace})
        for image in texts
    }
    expected = {image: found["path"] if found else DEFAULTS_NAME for image, found in go.items()}
    # A selector that admits without a check may be converted to less than it matches; never another one.
    compared = [image for image in texts if expected[image] not in stricter]
    assert {image: paths_of.get(ours[image], DEFAULTS_NAME) for image in compared} == {
        image: expected[image] for image in compared
    }


def test_the_rules_select_as_the_go_controller_itself_did() -> None:
    """Compare with what the program answered, for images whose registry is written as rules compare it."""
    read_by_go = [row for row in RECORDED["configurations"] if "read" in row]
    assert sum(map(compare_with_recorded, read_by_go)) > 200


def compare_with_recorded(row: Json) -> int:
    """Compare what is exact, and return in how many cases."""
    conversion = convert(read_configuration(row["config"]), read_credentials(row.get("credentials")), None)
    if not {found.status for found in conversion.selectors} <= {Status.EXACT, Status.UNUSED}:
        return 0
    configuration = {**conversion.configuration, "anchore": {"endpoint": "http://anchore"}}
    outcomes = {
        rule["name"]: [found.selector.mode, found.selector.username, found.selector.policy, ""]
        for found in conversion.selectors
        for rule in found.rules
    }
    compared = 0
    for (place, image), recorded in zip(row["cases"], row["outcomes"], strict=True):
        meta = ObjectMeta(**RECORDED["objects"][place])
        if is_plain(image) and meta.namespace in RECORDED["namespaces"]:
            namespace = ObjectMeta(meta.namespace, **RECORDED["namespaces"][meta.namespace])
            rule = chosen(configuration, pod(image, metadata=of(meta)), namespace)[image]
            assert outcomes.get(rule) == recorded
            compared += 1
    return compared


def is_plain(image: str) -> bool:
    try:
        reference = parse(image)
    except InvalidImageReference:
        return False
    return registry(reference.host) == reference.host


def wrongly_matched(expression: str, texts: list[str]) -> list[str]:
    """Return the images about which the Go controller and the converted expression disagree; none if it is not."""
    found = searched(expression)
    patterns = None if found.problem else image_patterns(found)
    if patterns is None:
        return []
    match = Match.model_validate({"images": patterns} if patterns else {})
    narrowed = MatchIndex.of([match]).narrowed(Circumstances())
    holds = {image: bool(narrowed.holding(image_names(parse(image))).certain) for image in texts}
    return [image for image in texts if holds[image] != match_string(expression, image)]


@given(expressions, st.lists(images, min_size=1, max_size=30))
def test_a_pattern_for_images_matches_where_the_expression_is_found(expression: str, written: list[str]) -> None:
    assert wrongly_matched(expression, written) == []


@pytest.mark.parametrize("expression", IMAGE_EXPRESSIONS)
def test_a_pattern_for_images_matches_every_spelling(expression: str) -> None:
    assert wrongly_matched(expression, IMAGES) == []


@given(expressions | st.sampled_from(VALUES), st.text("ab.r\n1io/:-A", max_size=6))
def test_a_pattern_for_values_matches_where_the_expression_is_found(expression: str, value: str) -> None:
    found = searched(expression)
    for one_line in (False, True):
        patterns = None if found.problem or (one_line and "\n" in value) else value_patterns(found, one_line=one_line)
        if patterns is not None:
            configuration = {"rules": [{"name": "it", "match": {"annotations": {"key": patterns}}}]}
            meta = ObjectMeta("it", "it", annotations={"key": value})
            rule = chosen(configuration, pod("nginx", metadata=of(meta)))["nginx"]
            assert (rule == "it") == match_string(expression, value)


@given(st.lists(selectors(), max_size=4))
def test_the_configuration_is_valid_once_everything_is_decided(document: list[Json]) -> None:
    """Accepting every proposal is enough: no pattern that is written is one that our file rejects."""
    configuration = dict(convert(read(*document), None, None).configuration)
    rules = [{key: rule[key] for key in rule if key != "undecided"} for rule in configuration["rules"]]
    parse_configuration(json.dumps({**configuration, "rules": rules}), "converted")
