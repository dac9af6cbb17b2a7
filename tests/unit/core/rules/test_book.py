"""The rule that applies to an image."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchore_admission.core.reference import parse
from anchore_admission.core.rules.book import Rule, RuleBook, compile_rules
from anchore_admission.core.rules.match import Circumstances, image_names, text_names
from anchore_admission.models.configuration import Configuration, Enforcement, ModeName, OnError
from support.builders import DIGEST

_IPV6 = "[2001:db8::1]:5000/team/app:1"


def _book(**document: Any) -> RuleBook:
    configuration = Configuration.model_validate({"anchore": {"endpoint": "http://anchore"}, **document})
    return compile_rules(configuration.rules, configuration.defaults)


def _selected(book: RuleBook, names: tuple[str, ...], circumstances: Circumstances) -> Rule:
    selection = book.narrowed(circumstances).select(names)
    assert selection.problem is None
    return selection.rule


def _matches(match: dict[str, Any], circumstances: Circumstances, image: str = "nginx") -> bool:
    book = _book(rules=[{"name": "it", "match": match}])
    return _selected(book, image_names(parse(image)), circumstances).name == "it"


@pytest.mark.parametrize(
    ("image", "names"),
    [
        (
            "nginx",
            [
                "docker.io/library/nginx",
                "docker.io/library/nginx:latest",
                "docker.io/nginx",
                "docker.io/nginx:latest",
            ],
        ),
        ("team/app:1", ["docker.io/team/app", "docker.io/team/app:1"]),
        ("quay.io/a/b:1", ["quay.io/a/b", "quay.io/a/b:1"]),
        (f"quay.io/a/b@{DIGEST}", ["quay.io/a/b", f"quay.io/a/b@{DIGEST}"]),
        (f"quay.io/a/b:1@{DIGEST}", ["quay.io/a/b", f"quay.io/a/b@{DIGEST}"]),
        ("Quay.IO:443/a/b", ["quay.io/a/b", "quay.io/a/b:latest"]),
        (_IPV6, ["[2001:db8::1]:5000/team/app", "[2001:db8::1]:5000/team/app:1"]),
    ],
)
def test_the_names_an_image_is_known_by(image: str, names: list[str]) -> None:
    assert list(image_names(parse(image))) == names


@pytest.mark.parametrize(
    ("glob", "image", "matches"),
    [
        ("*", "nginx", True),
        ("nginx", "nginx:1.27", True),
        ("nginx:*", "nginx:1.27", True),
        ("nginx:1.2?", "nginx:1.27", True),
        ("nginx:1.2?", "nginx:1.2", False),
        ("nginx:latest", "nginx", True),
        ("docker.io/nginx", "nginx", True),
        ("docker.io/library/nginx", "nginx", True),
        ("library/nginx", "nginx", True),
        ("docker.io/library/*", "library/nginx", True),
        ("nginx", "docker.io/library/nginx", True),
        ("nginx", "index.docker.io/nginx", True),
        ("nginx", "quay.io/nginx", False),
        ("ngin", "nginx", False),
        ("ginx", "nginx", False),
        ("team/*", "team/app", True),
        ("team/*", "team/deep/app", True),
        ("team/*", "quay.io/team/app", False),
        ("quay.io/*/app", "quay.io/a/b/app:1", True),
        ("quay.io/team/app", "Quay.IO/team/app", True),
        ("Quay.IO/team/app", "quay.io/team/app", True),
        ("QUAY.IO/team/app:V1", "quay.io/team/app:V1", True),
        ("quay.io/team/app:v1", "quay.io/team/app:V1", False),
        ("docker.io/*", "DOCKER.IO/nginx", True),
        ("quay.io/team/app:1", f"quay.io/team/app:1@{DIGEST}", False),
        # a star for the whole tag stands for every image of the repository: no digest leaves the rule
        ("quay.io/team/app:*", f"quay.io/team/app:1@{DIGEST}", True),
        ("quay.io/team/app:*", "quay.io/team/app", True),
        ("quay.io/team/app:*", f"quay.io/team/app-b@{DIGEST}", False),
        ("quay.io/team/app:*", "quay.io/team/app/b:1", False),
        ("quay.io/team/app:?*", f"quay.io/team/app@{DIGEST}", True),
        ("quay.io/team/app:??*", "quay.io/team/app:1", False),
        ("quay.io/team/app:?", f"quay.io/team/app@{DIGEST}", False),
        ("quay.io/team/app:?", "quay.io/team/app:1", True),
        ("quay.io/team/app:", "quay.io/team/app:1", False),
        ("quay.io/team/?pp:**", f"quay.io/team/app@{DIGEST}", True),
        ("*.corp.example/app:*", f"a.corp.example/app@{DIGEST}", True),
        ("nginx:*", f"nginx@{DIGEST}", True),
        ("*/app:*", f"quay.io/team/app@{DIGEST}", True),
        ("quay.io/team/app", f"quay.io/team/app:1@{DIGEST}", True),
        (f"quay.io/team/app@{DIGEST}", f"quay.io/team/app:1@{DIGEST}", True),
        ("*@sha256:aaa*", f"nginx@{DIGEST}", True),
        # a glob for tags matches no digest, whose first digits an author can choose
        ("quay.io/team/*:a*", f"quay.io/team/app@{DIGEST}", False),
        ("quay.io/team/*:a*", f"quay.io/team/app:a@{DIGEST}", False),
        ("quay.io/team/*:a*", "quay.io/team/app:a1", True),
        ("quay.io/team/*:?a*", f"quay.io/team/app@{DIGEST}", False),
        ("quay.io/*app*:a*", f"quay.io/team/app@{DIGEST}", False),
        ("quay.io/*app*:a*", "quay.io/team/app-b:a1", True),
        ("nginx*:a*", f"nginx@{DIGEST}", False),
        ("nginx*:a*", "nginx:a1", True),
        ("*:a*", f"quay.io/team/app@{DIGEST}", False),
        ("*:a*", "quay.io/team/app:a", True),
        ("*:*", f"quay.io/team/app@{DIGEST}", True),
        ("quay.io/team/*:*", f"quay.io/team/app@{DIGEST}", True),
        ("[2001:db8::1]:5000/*", _IPV6, True),
        ("[2001:DB8::1]:5000/team/app:1", _IPV6, True),
        ("quay.io/team/app", "quayxio.io/team/app", False),
        # a registry is the same under every spelling, in a glob as in an image
        ("docker.io/*", "registry-1.docker.io/team/app", True),
        ("docker.io/*", "REGISTRY.hub.docker.com/team/app", True),
        ("docker.io/*", "INDEX.docker.io/team/app", True),
        ("docker.io/*", "index.docker.io/team/app", True),
        ("docker.io/*", "docker.io:443/team/app", True),
        ("docker.io/*", "Docker.io:0443/team/app", True),
        ("docker.io/*", "registry-1.docker.io:443/team/app", True),
        ("docker.io/*", "docker.io:5000/team/app", False),
        ("docker.io/*", "docker.io.evil.example/team/app", False),
        ("docker.io/*", "evil.example/docker.io/team/app", False),
        ("docker.io/library/nginx:1", "registry-1.docker.io/nginx:1", True),
        ("nginx:1", "docker.io:443/library/nginx:1", True),
        ("nginx", "DOCKER.IO/nginx", True),
        ("team/app", "registry.hub.docker.com/team/app", True),
        ("index.docker.io/*", "nginx", True),
        ("registry-1.docker.io/team/*", "team/app", True),
        ("REGISTRY.HUB.docker.com:443/team/*", "team/app", True),
        ("*.docker.io/*", "team/app", True),
        ("docker.io:*/*", "team/app", True),
        ("docker.io:5000/*", "team/app", False),
        ("registry.example.com/*", "registry.example.com:443/app", True),
        ("registry.example.com/*", "Registry.Example.Com:00443/app", True),
        ("registry.example.com/*", "registry.example.com:80/app", False),
        ("registry.example.com/*", "registry.example.com:5000/app", False),
        ("registry.example.com:443/*", "registry.example.com/app", True),
        ("registry.example.com:443/*", "registry.example.com:443/app", True),
        ("registry.example.com:5000/*", "registry.example.com:5000/app", True),
        ("registry.example.com:*/*", "registry.example.com/app", True),
        ("registry.example.com:*/*", "registry.example.com:5000/app", True),
        ("registry.example.com:50??/*", "registry.example.com:5000/app", True),
        ("registry.example.com:50??/*", "registry.example.com/app", False),
        ("registry.example.com*/*", "registry.example.com:5000/app", True),
        ("LOCALHOST.example:443/*", "localhost.example/app", True),
        ("[2001:db8::1]:5000/*", "[2001:0DB8:0:0::1]:5000/app", True),
        ("[2001:db8:0:0:0:0:0:1]/*", "[2001:db8::1]:443/app", True),
        ("[2001:db8::1]/*", "[2001:db8::2]/app", False),
        ("[2001:db8:*]:5000/*", "[2001:db8::2]:5000/app", True),
        ("192.0.2.1:5000/*", "[::ffff:c000:201]:5000/app", True),
        # the registry's part of a glob is compared with registries alone
        ("registry.k8s.io/*", "registry.k8s.io/pause", True),
        ("registry.k8s.io/*", "docker.io/registry.k8s.io/evil", False),
        ("registry.k8s.io/evil", "docker.io/registry.k8s.io/evil", False),
        ("registry.k8s.io/*", "evil.example/registry.k8s.io/evil", False),
        ("registry.k8s.io/*", "registry.k8s.io.evil.example/pause", False),
        ("localhost/*", "docker.io/localhost/evil", False),
        ("localhost/*", "localhost/app", True),
        ("localhost:5000/*", "docker.io/localhost/evil", False),
        ("*.corp.example/*", "a.corp.example/team/app", True),
        ("*.corp.example/*", "a.b.corp.example:443/app", True),
        ("*.corp.example/*", "corp.example/app", False),
        ("*.corp.example/*", "evil.example/x.corp.example/app", False),
        ("*.corp.example/*", "docker.io/x.corp.example/app", False),
        ("*corp.example/*", "evil.example/corp.example/app", False),
        ("*corp.example/*", "corp.example/app", True),
        ("*.*.example/*", "evil.test/a.b.example/app", False),
        ("*:5000/*", "registry.example.com:5000/app", True),
        ("*:5000/*", "registry.example.com/app", False),
        ("?uay.io/*", "quay.io/app", True),
        ("quay.?o/*", "quay.io/app", True),
        ("quay.io?/*", "quay.io/x/app", False),
        ("Myorg/*", "Myorg/app", True),
        ("Myorg/*", "myorg/app", False),
        ("myorg/*", "Myorg/app", False),
        # without a registry: Docker Hub, as in an image; with a star in front: every registry
        ("nginx*", "nginx.evil.example/app", False),
        ("team*", "team.evil.example/app", False),
        ("team-?/*", "team-a/app", True),
        ("team-*/app", "team-a/app", True),
        ("team-*/app", "team-a.evil.example/app", False),
        ("team/app", "evil.example/team/app", False),
        ("library/*", "nginx", True),
        ("library/*", "team/app", False),
        ("?ginx", "nginx", True),
        ("*nginx", "quay.io/team/nginx:1", True),
        ("*nginx*", "quay.io/team/nginx-x:1", True),
        ("*/nginx", "nginx", True),
        ("*/nginx", "quay.io/nginx", True),
        ("*/team/*", "team/app", True),
        ("*/team/*", "quay.io/team/app", True),
        ("*/team/*", "quay.io/x/team/app", True),
        ("**", "quay.io/team/app", True),
        ("*:latest", "quay.io/team/app", True),
        ("*:latest", f"quay.io/team/app:latest@{DIGEST}", False),
        ("*a*" * 300 + "z", "quay.io/" + "a" * 240, False),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_image_globs(glob: str, image: str, matches: bool) -> None:
    assert _matches({"images": [glob]}, Circumstances(), image) is matches


_HERE = Circumstances(
    namespace="shop-prod",
    kinds=("Deployment", "apps/Deployment"),
    user="system:serviceaccount:ci:builder",
    groups=("system:authenticated", "dev"),
    service_accounts=("runner", "shop-prod/runner"),
    labels={"app": "shop", "tier": "", "env": "prod"},
    annotations={"team": "payments", "ticket/id": "SEC-12", "empty": ""},
)


@pytest.mark.parametrize(
    ("match", "matches"),
    [
        ({}, True),
        ({"namespaces": ["shop-prod"]}, True),
        ({"namespaces": ["shop-*"]}, True),
        ({"namespaces": ["*-test", "*-prod"]}, True),
        ({"namespaces": ["shop"]}, False),
        ({"namespaces": ["Shop-Prod"]}, False),
        ({"kinds": ["Deployment"]}, True),
        ({"kinds": ["apps/*"]}, True),
        ({"kinds": ["Pod", "batch/Job"]}, False),
        ({"users": ["system:serviceaccount:ci:*"]}, True),
        ({"users": ["ci:builder"]}, False),
        ({"groups": ["dev"]}, True),
        ({"groups": ["d?v"]}, True),
        ({"groups": ["ops"]}, False),
        ({"serviceAccounts": ["runner"]}, True),
        ({"serviceAccounts": ["shop-prod/*"]}, True),
        ({"serviceAccounts": ["other/runner"]}, False),
        ({"images": ["nginx"]}, True),
        ({"images": ["quay.io/*"]}, False),
        ({"annotations": {"team": ["pay*"]}}, True),
        ({"annotations": {"team": ["ops", "payments"]}}, True),
        ({"annotations": {"team": ["pay"]}}, False),
        ({"annotations": {"absent": ["*"]}}, False),
        ({"annotations": {"empty": ["*"]}}, True),
        ({"annotations": {"team": ["*"], "ticket/id": ["SEC-*"]}}, True),
        ({"annotations": {"team": ["*"], "ticket/id": ["OPS-*"]}}, False),
        ({"namespaces": ["shop-*"], "kinds": ["Deployment"], "images": ["nginx"]}, True),
        ({"namespaces": ["shop-*"], "kinds": ["Pod"], "images": ["nginx"]}, False),
    ],
)
def test_keys_are_all_needed_and_of_a_list_any_entry(match: dict[str, Any], matches: bool) -> None:
    assert _matches(match, _HERE) is matches


@pytest.mark.parametrize(
    "match",
    [
        {"namespaces": ["?*"]},
        {"users": ["?*"]},
        {"groups": ["*"]},
        {"kinds": ["*"]},
        {"serviceAccounts": ["*"]},
        {"objectSelector": {"matchLabels": {"app": ""}}},
        {"annotations": {"app": ["*"]}},
    ],
)
def test_an_absent_value_matches_nothing(match: dict[str, Any]) -> None:
    assert _matches(match, Circumstances()) is False


@pytest.mark.parametrize(
    ("labels", "expressions", "matches"),
    [
        ({"app": "shop"}, [], True),
        ({"app": "shop", "env": "prod"}, [], True),
        ({"app": "shop", "env": "test"}, [], False),
        ({"app": "sh*"}, [], False),
        ({"tier": ""}, [], True),
        ({"absent": ""}, [], False),
        ({}, [("app", "In", ["shop", "cart"])], True),
        ({}, [("app", "In", ["cart"])], False),
        ({}, [("absent", "In", [""])], False),
        ({}, [("app", "NotIn", ["cart"])], True),
        ({}, [("app", "NotIn", ["shop"])], False),
        ({}, [("absent", "NotIn", ["shop"])], True),
        ({}, [("tier", "Exists", [])], True),
        ({}, [("absent", "Exists", [])], False),
        ({}, [("absent", "DoesNotExist", [])], True),
        ({}, [("tier", "DoesNotExist", [])], False),
        ({}, [("app", "Exists", []), ("env", "In", ["test"])], False),
        ({"app": "shop"}, [("env", "In", ["prod"])], True),
        ({"app": "cart"}, [("env", "In", ["prod"])], False),
    ],
)
def test_label_selectors_as_in_kubernetes(
    labels: dict[str, str], expressions: list[tuple[str, str, list[str]]], matches: bool
) -> None:
    written = [{"key": key, "operator": operator, "values": values} for key, operator, values in expressions]
    selector = {"matchLabels": labels, "matchExpressions": written}
    assert _matches({"objectSelector": selector}, _HERE) is matches


def test_the_first_rule_that_matches_decides() -> None:
    rules = [
        {"name": "one", "match": {"images": ["quay.io/*"]}},
        {"name": "two", "match": {"images": ["*"], "namespaces": ["shop"]}},
        {"name": "three", "match": {"images": ["nginx"]}},
        {"name": "four"},
    ]
    book = _book(rules=rules)
    shop, other = Circumstances(namespace="shop"), Circumstances(namespace="other")
    chosen = [
        _selected(book, image_names(parse(image)), circumstances).name
        for image, circumstances in [("quay.io/a/b", shop), ("nginx", shop), ("nginx", other), ("redis", other)]
    ]
    assert chosen == ["one", "two", "three", "four"]


def test_where_no_rule_matches_the_defaults_decide() -> None:
    defaults = {"mode": "strict", "policy": "p", "onError": "warn", "enforcement": "audit", "requireMapping": True}
    rule = _selected(_book(defaults=defaults), ("nginx",), Circumstances())
    assert rule.name == "defaults"
    assert (rule.mode, rule.account, rule.policy) == (ModeName.STRICT, "default", "p")
    assert (rule.enforcement, rule.on_error) == (Enforcement.AUDIT, OnError.WARN)
    assert (rule.request_analysis, rule.require_mapping) == (True, True)


@pytest.mark.parametrize(
    ("written", "field", "value"),
    [
        ({}, "mode", ModeName.STRICT),
        ({"mode": "skip"}, "mode", ModeName.SKIP),
        ({}, "account", "central"),
        ({"account": "team"}, "account", "team"),
        ({}, "policy", "base"),
        ({"policy": "own"}, "policy", "own"),
        ({"policy": None}, "policy", None),
        ({}, "enforcement", Enforcement.WARN),
        ({"enforcement": None}, "enforcement", Enforcement.WARN),
        ({"enforcement": "deny"}, "enforcement", Enforcement.DENY),
        ({}, "on_error", OnError.ALLOW),
        ({"onError": "deny"}, "on_error", OnError.DENY),
        ({}, "request_analysis", False),
        ({"requestAnalysis": True}, "request_analysis", True),
        ({}, "require_mapping", True),
        ({"requireMapping": False}, "require_mapping", False),
    ],
)
def test_fields_that_a_rule_omits_come_from_the_defaults(written: dict[str, Any], field: str, value: object) -> None:
    defaults: dict[str, Any] = {
        "mode": "strict",
        "account": "central",
        "policy": "base",
        "enforcement": "warn",
        "onError": "allow",
    }
    defaults |= {"requestAnalysis": False, "requireMapping": True}
    book = _book(defaults=defaults, rules=[{"name": "it", **written}])
    assert getattr(_selected(book, ("nginx",), Circumstances()), field) == value


@pytest.mark.parametrize(
    ("glob", "text", "matches"),
    [
        ("nginx", "nginx:1:2", False),
        ("quay.io/*", "Quay.IO:443/Team/App", True),
        ("docker.io/*", "index.docker.io/Team", True),
        ("*", "a b", True),
        ("quay.io/*", "quay.io.evil.example/Team", False),
    ],
)
def test_a_text_that_is_no_reference_is_matched_like_one(glob: str, text: str, *, matches: bool) -> None:
    book = _book(rules=[{"name": "it", "match": {"images": [glob]}}])
    assert (_selected(book, text_names(text), Circumstances()).name == "it") is matches


_HUB = ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"]
_NAMES = st.sampled_from(["nginx", "team/app", "registry.k8s.io/evil", "x.corp.example/app", "localhost/app"])
_GLOBS = st.sampled_from(
    [
        *("*", "nginx", "team/*", "docker.io/*", "*.docker.io/*", "registry.k8s.io/*", "*.corp.example/*", "*/app"),
        *("localhost/*", "library/*", "docker.io:443/*", "registry*.docker.com/*", "docker.io/library/*", "?*/app"),
    ]
)


@given(data=st.data(), path=_NAMES, glob=_GLOBS)
def test_docker_hub_is_one_registry_under_every_spelling(data: st.DataObject, path: str, glob: str) -> None:
    host = data.draw(st.sampled_from(_HUB))
    flags = data.draw(st.lists(st.booleans(), min_size=len(host), max_size=len(host)))
    spelled = "".join(c.upper() if flag else c for c, flag in zip(host, flags, strict=True))
    port = data.draw(st.sampled_from(["", ":443", ":0443"]))
    assert _matches({"images": [glob]}, Circumstances(), f"{spelled}{port}/{path}") is _matches(
        {"images": [glob]}, Circumstances(), f"docker.io/{path}"
    )
