import json
from typing import Any

import pytest

from anchore_admission.errors import ConfigurationError
from anchore_admission.ports.deadline import Deadline
from anchore_admission.services.cluster.known_namespaces import (
    NAME_LABEL,
    KnownNamespaces,
    declared_namespaces,
    parse_namespace_labels,
)
from support.paths import DOCS


def namespace(name: Any, labels: Any = None) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


SHOP = {NAME_LABEL: "shop", "env": "prod"}
BANK = {NAME_LABEL: "bank"}


@pytest.mark.parametrize(
    "document",
    [
        {"shop": {"env": "prod"}, "bank": {}},
        {"shop": {"env": "prod", NAME_LABEL: "bank"}, "bank": None},
        {"apiVersion": "v1", "kind": "List", "items": [namespace("shop", {"env": "prod"}), namespace("bank")]},
        {
            "apiVersion": "v1",
            "kind": "NamespaceList",
            "items": [{"metadata": {"name": "bank"}}, namespace("shop", SHOP)],
        },
    ],
)
def test_labels_are_read(document: Any) -> None:
    assert parse_namespace_labels(json.dumps(document), "labels.yaml") == {"shop": SHOP, "bank": BANK}


def test_the_documentation_shows_such_a_file() -> None:
    _, block = (DOCS / "configuration.md").read_text().split("```yml\n")
    assert list(parse_namespace_labels(block.partition("```")[0], "labels.yaml")) == ["shop", "shop-test"]


def test_several_documents_are_read_together() -> None:
    text = "---\n".join(f"{json.dumps(it)}\n" for it in (namespace("shop", {"env": "prod"}), namespace("bank")))
    assert parse_namespace_labels(text, "labels.yaml") == {"shop": SHOP, "bank": BANK}


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", [": names no namespace"]),
        ("{}", [": names no namespace"]),
        ("[shop]", [": expected a mapping of namespaces to their labels, or Namespace objects"]),
        ("kind: Pod\napiVersion: v1", [": expected a mapping of namespaces to their labels, or Namespace objects"]),
        ("Shop: {}\nbank: [a]", ["Shop: expected the name", "bank: expected a mapping of labels to their values"]),
        ("shop: {env: true, tier: 1}", ["shop.env: expected a text; put", "shop.tier: expected a text; put"]),
        ("shop: {a: b", [": "]),
        ("shop: {}\nshop: {}", [": "]),
    ],
)
def test_all_problems_are_reported_without_values(text: str, problems: list[str]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_namespace_labels(text, "labels.yaml")
    assert raised.value.source == "labels.yaml"
    found = [f"{problem.path}: {problem.message}" for problem in raised.value.problems]
    assert len(found) == len(problems)
    assert all(begin in text for text, begin in zip(found, problems, strict=True))


@pytest.mark.parametrize(
    ("documents", "names"),
    [
        ([namespace("shop", {"env": "prod"})], ["shop"]),
        ([{"apiVersion": "v1", "kind": "List", "items": [namespace("a"), namespace("b")]}], ["a", "b"]),
        ([{"apiVersion": "example.com/v1", "kind": "Namespace", "metadata": {"name": "a"}}], []),
        ([namespace("../a"), namespace(5), namespace("a", {"env": True}), namespace("a", [])], []),
        ([{"apiVersion": "v1", "kind": "Namespace"}, {"apiVersion": "v1", "kind": "Namespace", "metadata": 5}], []),
        (["text", None, 5, [], {}], []),
    ],
)
def test_valid_namespace_objects_are_found_among_manifests(documents: list[Any], names: list[str]) -> None:
    assert list(declared_namespaces(documents)) == names


def test_the_last_object_of_a_name_counts() -> None:
    documents = [namespace("shop", {"env": "test"}), namespace("shop", {"env": "prod"})]
    assert declared_namespaces(documents) == {"shop": SHOP}


@pytest.mark.parametrize("may_ask", [True, False])
async def test_other_namespaces_are_not_known(*, may_ask: bool) -> None:
    known = KnownNamespaces({"shop": SHOP})
    assert await known.labels_of("shop", Deadline.after(1), may_ask=may_ask) == SHOP
    assert await known.labels_of("bank", Deadline.after(1), may_ask=may_ask) is None
    known.replace({"bank": BANK})
    assert await known.labels_of("bank", Deadline.after(1), may_ask=may_ask) == BANK
