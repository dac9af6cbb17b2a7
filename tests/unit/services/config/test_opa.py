"""The section opa and the key opa of rules: what they accept, and every mistake in them."""

import json
from typing import Any

import pytest

from anchore_admission.core.rules.book import compile_rules
from anchore_admission.errors import ConfigurationError
from anchore_admission.models.configuration import Configuration
from anchore_admission.models.configuration.opa import HookRequests, Omitted, OpaSection
from anchore_admission.services.config.load import parse_configuration
from anchore_admission.services.config.warnings import warnings_about

SOCKET = "unix:///run/opa/opa.sock"
_URL = "opa.url: expected unix:///run/opa/opa.sock, or an address such as https://opa.opa.svc:8181"
_PATH = "opa.path: expected the path of a package, such as anchore/admission"
_PLAIN = "opa.tokenFile: needs an https:// address: without TLS, an attacker on the path reads the token"


def parse(**document: Any) -> Configuration:
    text = json.dumps({"anchore": {"endpoint": "http://anchore:8228"}, **document})
    return parse_configuration(text, "configuration.yaml")


def section(**keys: Any) -> OpaSection:
    found = parse(opa={"url": SOCKET, **keys}).opa
    assert found
    return found


def problems(**keys: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        section(**keys)
    return [str(problem) for problem in caught.value.problems]


def test_the_least_section() -> None:
    found = section()
    assert (found.path, found.timeout, found.socket) == ("anchore/admission", 1.0, "/run/opa/opa.sock")
    assert (found.requests, found.omit, found.asks_always) == ([HookRequests.IMAGES], [Omitted.ENV], False)
    assert parse().opa is None


@pytest.mark.parametrize(
    "url", ["http://opa", "http://opa.opa.svc:8181/", "https://[2001:db8::1]:8181", "http://127.0.0.1:8181", SOCKET]
)
def test_addresses(url: str) -> None:
    assert section(url=url).url == url


@pytest.mark.parametrize("path", ["anchore/admission", "/anchore/admission/", "v1/data/anchore/admission"])
def test_paths(path: str) -> None:
    assert section(path=path).path == "anchore/admission"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"url": "opa:8181"}, _URL),
        ({"url": "unix://run/opa.sock"}, _URL),
        ({"url": "unix:///run/opa\n.sock"}, _URL),
        ({"url": "ftp://opa"}, _URL),
        ({"url": "http://opa:0"}, _URL),
        ({"url": "http://opa:65536"}, _URL),
        ({"url": "http://opa/v1/data"}, _URL),
        ({"url": "http://me:secret@opa"}, "opa.url: must be a plain address; credentials belong into tokenFile"),
        ({"path": "data.anchore"}, _PATH),
        ({"path": "../config"}, _PATH),
        ({"path": "a/../b"}, _PATH),
        ({"path": "a?b"}, _PATH),
        ({"path": "/"}, _PATH),
        ({"path": "a" * 201}, _PATH),
        ({"caFile": "/ca.crt"}, "opa.caFile: needs an https:// address"),
        ({"url": "http://opa", "caFile": "/ca.crt"}, "opa.caFile: needs an https:// address"),
        ({"url": "http://opa", "tokenFile": "/token"}, _PLAIN),
        ({"url": "http://127.evil.example", "tokenFile": "/token"}, _PLAIN),
        ({"url": "https://opa", "keyFile": "/key"}, "opa: certificateFile and keyFile belong together"),
        ({"onError": "ignore"}, "opa.onError: expected one of deny, warn, allow"),
        ({"omit": ["annotations"]}, "opa.omit[0]: expected one of env, managedFields, oldObject"),
        ({"policy": "x"}, "opa.policy: unknown key"),
    ],
)
def test_mistakes(keys: dict[str, Any], expected: str) -> None:
    found = problems(**keys)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_a_certificate_without_its_key() -> None:
    assert problems(url="https://opa", certificateFile="/tls.crt") == [
        "opa: certificateFile and keyFile belong together"
    ]


@pytest.mark.parametrize("url", ["https://opa", "http://localhost:8181", "http://[::1]:8181", SOCKET])
def test_a_token_needs_a_connection_that_nobody_reads(url: str) -> None:
    assert section(url=url, tokenFile="/token").token_file == "/token"


@pytest.mark.parametrize(
    ("defaults", "rule", "expected"),
    [({}, {}, True), ({"opa": False}, {}, False), ({"opa": False}, {"opa": True}, True), ({}, {"opa": False}, False)],
)
def test_a_rule_may_leave_the_policy_out(defaults: dict[str, Any], rule: dict[str, Any], expected: bool) -> None:
    found = parse(defaults=defaults, rules=[{"name": "a", **rule}])
    [compiled] = compile_rules(found.rules, found.defaults).rules
    assert compiled.uses_hook is expected


@pytest.mark.parametrize(
    ("default", "rule", "is_asked"), [(False, False, False), (False, True, True), (True, False, True)]
)
def test_a_policy_that_is_never_asked_is_pointed_out(*, default: bool, rule: bool, is_asked: bool) -> None:
    found = parse(
        defaults={"mode": "strict", "opa": default},
        rules=[{"name": "a", "match": {"namespaces": ["b"]}, "opa": rule}],
        opa={"url": SOCKET},
    )
    warning = "opa: no policy is asked: defaults.opa is false, and no rule sets opa: true"
    assert [str(problem) for problem in warnings_about(found, 0)] == ([] if is_asked else [warning])


def test_a_rule_that_asks_for_nothing() -> None:
    guarded = {"name": "a", "match": {"namespaces": ["b"]}, "opa": True}
    rules = {"defaults": {"mode": "strict"}, "rules": [guarded]}
    assert [str(problem) for problem in warnings_about(parse(**rules), 0)] == [
        "rules[0].opa: a asks no policy, because there is no section opa"
    ]
    assert list(warnings_about(parse(**rules, opa={"url": SOCKET}), 0)) == []
