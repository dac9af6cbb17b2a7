"""Loading a configuration file, and every mistake it can hold."""

import json
import re
from typing import Any

import jsonschema
import pytest

from anchore_admission.documents.reader import load_documents
from anchore_admission.errors import ConfigurationError
from anchore_admission.models.configuration import ApiVersion, Configuration, ModeName, OnError, WorkloadHandling
from anchore_admission.services.config.load import (
    configuration_schema,
    environment_name,
    fingerprint,
    parse_configuration,
)
from support.paths import ROOT

DOCS = ROOT / "docs"
EXAMPLE = (ROOT / "examples" / "configuration" / "every-key.yaml").read_text()
_ANCHORE = "anchore: {endpoint: 'http://anchore:8228'}\n"


def _parse(text: str | bytes) -> Configuration:
    return parse_configuration(text, "configuration.yaml")


_HOSTS = "a host has letters, digits, '.', '-' and '_'; variables are not expanded here"
_FILE = "the name of a file has no control characters"


def _problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        _parse(text)
    assert caught.value.source == "configuration.yaml"
    return [str(problem) for problem in caught.value.problems]


def test_the_shortest_file() -> None:
    configuration = _parse(_ANCHORE)
    assert str(configuration.anchore.endpoint) == "http://anchore:8228/"
    assert configuration.anchore.api_version is ApiVersion.AUTO
    assert configuration.defaults.mode is ModeName.PASSIVE
    assert configuration.defaults.on_error is OnError.DENY
    assert configuration.rules == []
    assert configuration.workloads is WorkloadHandling.FINAL


def test_the_example_has_the_documented_meaning() -> None:
    configuration = _parse(EXAMPLE)
    assert [rule.name for rule in configuration.rules] == [
        "cluster-components",
        "payments",
        "on-call",
        "production",
        "staging",
    ]
    assert configuration.rules[1].require_mapping is True
    assert configuration.accounts[1].api_version is ApiVersion.V2
    assert [exemption.name for exemption in configuration.exemptions] == ["log4j-hotfix"]
    others = {"anchore", "accounts", "rules", "exemptions"}
    assert configuration.model_dump(exclude=others) == Configuration().model_dump(exclude=others)


def test_json_is_read_too() -> None:
    [document] = load_documents(EXAMPLE, source="example", aliases=False)
    assert _parse(json.dumps(document).encode()) == _parse(EXAMPLE)


@pytest.mark.parametrize(
    ("text", "handling"),
    [("off", WorkloadHandling.OFF), ("'off'", WorkloadHandling.OFF), ("deny", WorkloadHandling.DENY)],
)
def test_workloads_off_needs_no_quotes(text: str, handling: WorkloadHandling) -> None:
    assert _parse(f"{_ANCHORE}workloads: {text}").workloads is handling


def test_quantities() -> None:
    text = "passive: {wait: 500ms}\ntags: {refreshInterval: 1h30m}\nlimits: {body: 512KiB}\ntimeouts: {read: 3}"
    configuration = _parse(_ANCHORE + text)
    assert configuration.passive.wait == 0.5
    assert configuration.tags.refresh_interval == 5400
    assert configuration.limits.body == 512 * 1024
    assert configuration.timeouts.read == 3


_MAPPING = "expected a mapping of keys to values; remove the key if it is empty"
_LIST = "expected a list; remove the key if it is empty"
_URL = "expected an http or https address such as http://anchore-engine-api.anchore.svc:8228"
_SECRETS = "unknown key; secrets come from files (usernameFile, passwordFile, apiKeyFile) or the environment"
_NAME = "expected letters, digits, '.', '_' and '-', at most 63, with a letter or digit at either end"
_RE2 = "is not an expression that RE2 can read"
_LITERAL = "labels are compared as they are written, without globs: list the values in matchExpressions (In)"
_LABEL_VALUE = "no label has this value: they have at most 63 letters, digits, '-', '_' and '.'"
_KIND = "kinds are compared as Kubernetes writes them, without a version: write Pod"
_SELECTOR = "rules[0].match.objectSelector"
_DURATION = "expected a duration such as 500ms, 8s or 10m"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rule: []", "rule: unknown key; did you mean rules?"),
        ("unknown_kinds: warn", "unknown_kinds: unknown key; did you mean unknownKinds?"),
        ("Defaults: {}", "Defaults: unknown key; did you mean defaults?"),
        ("zzz: 1", "zzz: unknown key"),
        ("'a b': 1", "['a b']: unknown key"),
        ("defaults: {onerror: deny}", "defaults.onerror: unknown key; did you mean onError?"),
        ("defaults: {match: {}}", "defaults.match: unknown key"),
        ("accounts: [{name: a, usernamFile: u}]", "accounts[0].usernamFile: unknown key; did you mean usernameFile?"),
        ("accounts: [{name: a, password: hunter2}]", f"accounts[0].password: {_SECRETS}"),
        ("accounts: [{name: a, username: hunter2}]", f"accounts[0].username: {_SECRETS}"),
        ("accounts: [{name: a, apiKey: hunter2}]", f"accounts[0].apiKey: {_SECRETS}"),
        ("accounts: [{name: a, api_key_file: f}]", "accounts[0].api_key_file: unknown key; did you mean apiKeyFile?"),
        ("token: hunter2", f"token: {_SECRETS}"),
        ("rules: [{name: a, match: {image: [x]}}]", "rules[0].match.image: unknown key; did you mean images?"),
        ("exemptions: {}", "exemptions: expected a list; remove the key if it is empty"),
        ("limits: {exemptionDays: 0}", "limits.exemptionDays: expected at least 1"),
        (
            "rules: [{name: a, match: {namespaceSelector: {}}}]",
            "rules[0].match.namespaceSelector: give matchLabels or matchExpressions",
        ),
        (
            "rules: [{name: a, match: {namespaceSelector: {matchLabels: {env: 'p*'}}}}]",
            f"rules[0].match.namespaceSelector.matchLabels.env: {_LITERAL}",
        ),
        (
            "rules: [{name: a, match: {names: [Web]}}]",
            "rules[0].match.names[0]: the name of an object has lower-case letters, digits, '-' and '.', at most 253",
        ),
        (
            "rules: [{name: a, match: {except: {}}}]",
            "rules[0].match.except: must not be empty; leave the key out if there is no exception",
        ),
        (
            "rules: [{name: a, match: {except: {except: {names: [a]}}}}]",
            "rules[0].match.except.except: unknown key",
        ),
        (
            "rules: [{name: a, match: {except: {image: [a]}}}]",
            "rules[0].match.except.image: unknown key; did you mean images?",
        ),
        (
            "rules: [{name: a, match: {except: {kinds: [pod]}}}]",
            f"rules[0].match.except.kinds[0]: {_KIND}",
        ),
        (
            "rules: [{name: a, match: {images: ['regex:(']}}]",
            f"rules[0].match.images[0]: {_RE2}: missing ): (",
        ),
        (
            "rules: [{name: a, match: {users: ['regex:a{1001}']}}]",
            f"rules[0].match.users[0]: {_RE2}: invalid repetition size: {{1001}}",
        ),
        (
            "rules: [{name: a, match: {annotations: {a/b: ['regex:(?=x)']}}}]",
            f"rules[0].match.annotations['a/b'][0]: {_RE2}: invalid perl operator: (?=",
        ),
        (
            "rules: [{name: a, match: {groups: ['regex:(((a{1,100}){1,100}){1,100})']}}]",
            f"rules[0].match.groups[0]: {_RE2}: invalid repetition size: {{1,100}}",
        ),
        ("rules: [{name: a, match: {names: ['regex:']}}]", "rules[0].match.names[0]: must not be empty after regex:"),
        (
            "rules: [{name: a, match: {images: ['regex:nginx/.*']}}]",
            "rules[0].match.images[0]: an image's name begins with its registry: write regex:docker\\.io/nginx/.*",
        ),
        (
            "rules: [{name: a, policyFrom: {allowed: {a: b}}}]",
            "rules[0].policyFrom: give exactly one of namespaceLabel, label and annotation",
        ),
        (
            "rules: [{name: a, policyFrom: {label: x, annotation: z, allowed: {a: b}}}]",
            "rules[0].policyFrom: give exactly one of namespaceLabel, label and annotation",
        ),
        (
            "rules: [{name: a, policyFrom: {label: x, allowed: {}}}]",
            "rules[0].policyFrom.allowed: must list at least one value",
        ),
        ("rules: [{name: a, modeFrom: {label: x}}]", "rules[0].modeFrom.allowed: is required"),
        (
            "rules: [{name: a, modeFrom: {label: x, allowed: {a: strikt}}}]",
            "rules[0].modeFrom.allowed.a: expected one of passive, analysis, strict, skip",
        ),
        (
            "rules: [{name: a, mode: strict, modeFrom: {label: x, allowed: {a: skip}}}]",
            "rules[0].modeFrom: expected without mode, which it replaces",
        ),
        (
            "rules: [{name: a, accountFrom: {label: x, allowed: {a: other}}}]",
            "rules[0].accountFrom.allowed.a: names an account that is not in accounts",
        ),
        (
            "rules: [{name: a, policyFrom: {namespaceLabel: x y, allowed: {a: b}}}]",
            "rules[0].policyFrom.namespaceLabel: expected a key such as app or example.com/team",
        ),
        (
            "rules: [{name: a, policyFrom: {label: x, allowed: {'a b': p}}}]",
            f"rules[0].policyFrom.allowed['a b']: {_LABEL_VALUE}",
        ),
        (
            "rules: [{name: a, mode: skip, pin: bestEffort}]",
            "rules[0]: pin needs a mode that judges the image, not skip",
        ),
        (
            "rules: [{name: a, mode: passive, pin: required}]",
            "rules[0]: pin: required needs the mode analysis or strict, because passive always admits",
        ),
        (
            "defaults: {mode: passive, pin: required}",
            "defaults: pin: required needs the mode analysis or strict, because passive always admits",
        ),
        (
            "rules: [{name: a, pin: bestEffort, requestAnalysis: false}]",
            "rules[0]: pin: bestEffort needs requestAnalysis, because submitting a tag tells where it points",
        ),
        ("rules: [{name: a, pin: sometimes}]", "rules[0].pin: expected one of off, bestEffort, required"),
        ("rules: [{name: a, pin: null}]", "rules[0].pin: has no value; give one, or remove the key"),
        ("names: []", "names: unknown key"),
        ("passive: {refreshInterval: 10m}", "passive.refreshInterval: renamed to tags.refreshInterval"),
        ("analysis: {concurrency: 3}", "analysis: renamed to submissions"),
        ("limits: {answer: 4MiB}", "limits.answer: renamed to limits.anchoreResponse"),
        (
            "Validator: {Enabled: true}",
            "Validator: a key of the original controller; use defaults.requestAnalysis",
        ),
        ("anchoreEndpoint: 'http://a'", "anchoreEndpoint: a key of the original controller; use anchore.endpoint"),
        (
            "policySelectors: []",
            "policySelectors: a key of the original controller; use rules, or run config convert",
        ),
        (
            "rules: [{name: a, Selector: {}}]",
            "rules[0].Selector: a key of the original controller; use match",
        ),
        (
            "rules: [{name: a, policyReference: {}}]",
            "rules[0].policyReference: a key of the original controller; use account and policy",
        ),
        (
            "rules: [{name: a, policyBundleId: p}]",
            "rules[0].policyBundleId: a key of the original controller; use policy",
        ),
        ("users: []", "users: a key of the original controller; use accounts"),
        ("defaults: {mode: hunter2}", "defaults.mode: expected one of passive, analysis, strict, skip"),
        ("defaults: {mode: null}", "defaults.mode: expected one of passive, analysis, strict, skip"),
        ("defaults: {enforcement: off}", "defaults.enforcement: expected one of deny, warn, audit"),
        ("rules: [{name: a, onError: fail}]", "rules[0].onError: expected one of deny, warn, allow"),
        ("workloads: on", "workloads: expected one of final, deny, warn, off"),
        ("unknownKinds: off", "unknownKinds: expected one of allow, warn, deny"),
        ("defaults: {policy: 123}", "defaults.policy: expected text; put it in quotes"),
        ("defaults: {policy: ''}", "defaults.policy: must not be empty"),
        ("defaults: {requireMapping: maybe}", "defaults.requireMapping: expected true or false"),
        ("defaults: {requireMapping: []}", "defaults.requireMapping: expected true or false"),
        ("rules: [{mode: skip}]", "rules[0].name: is required"),
        ("rules: [{name: 'a b'}]", f"rules[0].name: {_NAME}"),
        ('rules: [{name: "a\\n"}]', f"rules[0].name: {_NAME}"),
        ("rules: [{name: é}]", f"rules[0].name: {_NAME}"),
        ("rules: {a: 1}", f"rules: {_LIST}"),
        ("rules:", f"rules: {_LIST}"),
        ("rules: [x]", f"rules[0]: {_MAPPING}"),
        ("rules: [{name: a, match: {images: x}}]", f"rules[0].match.images: {_LIST}"),
        (
            "rules: [{name: a, match: {images: []}}]",
            "rules[0].match.images: must not be empty; leave the key out if anything may match",
        ),
        ("rules: [{name: a, match: {images: ['']}}]", "rules[0].match.images[0]: must not be empty"),
        (
            f"rules: [{{name: a, match: {{images: [{'x' * 1025}]}}}}]",
            "rules[0].match.images[0]: expected at most 1024 characters",
        ),
        (
            "rules: [{name: a, match: {annotations: {}}}]",
            "rules[0].match.annotations: must not be empty; leave the key out if anything may match",
        ),
        (
            "rules: [{name: a, match: {objectSelector: {}}}]",
            "rules[0].match.objectSelector: give matchLabels or matchExpressions",
        ),
        (
            "rules: [{name: a, match: {objectSelector: {matchLabels: {version: 1}}}}]",
            "rules[0].match.objectSelector.matchLabels.version: expected text; put it in quotes",
        ),
        (
            "rules: [{name: a, match: {objectSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}}}]",
            f"{_SELECTOR}.matchExpressions[0].operator: expected one of In, NotIn, Exists, DoesNotExist",
        ),
        (
            "rules: [{name: a, match: {objectSelector: {matchExpressions: [{key: a, operator: In}]}}}]",
            f"{_SELECTOR}.matchExpressions[0]: In and NotIn need values, Exists and DoesNotExist take none",
        ),
        (
            "accounts: [{name: a, usernameFile: u}]",
            "accounts[0]: usernameFile and passwordFile belong together",
        ),
        (
            "accounts: [{name: a, usernameFile: u, passwordFile: p, apiKeyFile: k}]",
            "accounts[0]: give either apiKeyFile or usernameFile and passwordFile, not both",
        ),
        ("accounts: [{name: a, endpoint: 'ftp://x'}]", f"accounts[0].endpoint: {_URL}"),
        ("accounts: [{name: a, endpoint: 'anchore:8228'}]", f"accounts[0].endpoint: {_URL}"),
        ("accounts: [{name: a, endpoint: 8228}]", f"accounts[0].endpoint: {_URL}"),
        (
            "accounts: [{name: a, endpoint: 'http://u:hunter2@x'}]",
            "accounts[0].endpoint: must be a plain http(s) address; credentials belong into files or the environment",
        ),
        (
            "accounts: [{name: a, endpoint: 'http://u:2026/hunter2@x'}]",
            "accounts[0].endpoint: must be a plain http(s) address; credentials belong into files or the environment",
        ),
        ("passive: {wait: 5 minutes}", f"passive.wait: {_DURATION}"),
        ("passive: {wait: .nan}", f"passive.wait: {_DURATION}"),
        ("tags: {refreshInterval: 500ms}", "tags.refreshInterval: expected at least 1s"),
        ("timeouts: {read: 0}", "timeouts.read: expected more than 0s"),
        ("timeouts: {margin: 48h}", "timeouts.margin: expected at most 86400s"),
        ("limits: {body: 8MB}", "limits.body: expected a size such as 512KiB or 8MiB"),
        ("limits: {body: 10}", "limits.body: expected at least 1024 bytes"),
        ("limits: {anchoreResponse: 1024MiB}", "limits.anchoreResponse: expected at most 268435456 bytes"),
        ("lookups: {concurrency: 0}", "lookups.concurrency: expected at least 1"),
        ("lookups: {concurrency: many}", "lookups.concurrency: expected a whole number"),
        ("lookups: {concurrency: yes}", "lookups.concurrency: expected a whole number"),
        ("messages: {maxFindings: on}", "messages.maxFindings: expected a whole number"),
        ('accounts: [{name: a, apiKeyFile: "a\\0"}]', f"accounts[0].apiKeyFile: {_FILE}"),
        ('accounts: [{name: a, caFile: "a\\n"}]', f"accounts[0].caFile: {_FILE}"),
        *(
            (f"accounts: [{{name: a, endpoint: 'http://{host}:8228'}}]", f"accounts[0].endpoint: {_HOSTS}")
            for host in ("${HOST}", "$(HOST)")
        ),
        ("lookups: {concurrency: null}", "lookups.concurrency: expected a whole number"),
        ("messages: {maxFindings: 1.5}", "messages.maxFindings: expected a whole number"),
        ("submissions: null", f"submissions: {_MAPPING}"),
        ("workloads: final\nworkloads: off", 'line 3, column 1: duplicate key "workloads"'),
        ("a: *b", "line 2, column 4: an alias must stand after the end of what it repeats"),
        ("---\nrules: []", "expected one document; leave the line --- out"),
        # between the parts of the file
        ("rules: [{name: a}, {name: b}, {name: a}]", "rules[2].name: is already the name of rules[0]"),
        ("rules: [{name: defaults}]", "rules[0].name: the name defaults is reserved for the defaults"),
        (
            "accounts: [{name: a-b}, {name: A.b}]",
            "accounts[1].name: is already the name of accounts[0]: their environment variables would be the same",
        ),
        ("rules: [{name: a, account: b}]", "rules[0].account: names an account that is not in accounts"),
        ("defaults: {account: b}", "defaults.account: names an account that is not in accounts"),
    ],
)
def test_one_mistake(text: str, problem: str) -> None:
    problems = _problems(_ANCHORE + text)
    assert problems == [problem]
    assert "hunter2" not in str(problems)


_TWO_ACCOUNTS = "accounts: [{name: a, endpoint: 'http://a'}, {name: b}]\ndefaults: {account: a}"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["anchore.endpoint: is required: account default has no endpoint of its own"]),
        ("# nothing", ["anchore.endpoint: is required: account default has no endpoint of its own"]),
        ("defaults: {mode: skip}", []),
        ("accounts: [{name: default, endpoint: 'http://a'}]", []),
        ("accounts: [{name: a, endpoint: 'http://a'}]\ndefaults: {account: a}", []),
        (
            f"{_TWO_ACCOUNTS}\nrules: [{{name: r, account: b}}]",
            ["anchore.endpoint: is required: account b has no endpoint of its own"],
        ),
        (
            f"{_TWO_ACCOUNTS}\nrules: [{{name: r, account: b, mode: skip}}]",
            [],
        ),
        (
            "defaults: {mode: skip}\nrules: [{name: r, mode: strict}]",
            ["anchore.endpoint: is required: account default has no endpoint of its own"],
        ),
        ("defaults: {mode: skip}\nrules: [{name: r}]", []),
    ],
)
def test_an_endpoint_for_every_account_in_use(text: str, problems: list[str]) -> None:
    if problems:
        assert _problems(text) == problems
    else:
        assert isinstance(_parse(text), Configuration)


@pytest.mark.parametrize("text", ["- a", "text", "[]", "false"])
def test_a_file_that_is_no_mapping(text: str) -> None:
    assert _problems(text) == [_MAPPING]


def test_every_mistake_at_once() -> None:
    text = """
anchore: {verifyTls: maybe, password: hunter2}
accounts: [{name: a}, {name: a, usernameFile: x}]
defaults: {mode: hunter2, account: gone}
rules:
  - {match: {images: []}, account: gone, policy: 3}
  - x
exemptions: {}
"""
    assert _problems(text) == [
        "anchore.verifyTls: expected true or false",
        f"anchore.password: {_SECRETS}",
        "accounts[1]: usernameFile and passwordFile belong together",
        "defaults.mode: expected one of passive, analysis, strict, skip",
        "rules[0].policy: expected text; put it in quotes",
        "rules[0].name: is required",
        "rules[0].match.images: must not be empty; leave the key out if anything may match",
        f"rules[1]: {_MAPPING}",
        "exemptions: expected a list; remove the key if it is empty",
        "accounts[1].name: is already the name of accounts[0]: their environment variables would be the same",
        "defaults.account: names an account that is not in accounts",
        "rules[0].account: names an account that is not in accounts",
    ]


@pytest.mark.parametrize(
    "key",
    [
        *("mode", "account", "enforcement", "onError", "requestAnalysis", "requireMapping", "policyFrom", "breakGlass"),
        *("match.images", "match.namespaces", "match.namespaceSelector", "match.objectSelector", "match.annotations"),
        *("match.except", "match.except.images", "match.except.annotations"),
    ],
)
def test_a_key_of_a_rule_without_a_value_does_not_count_as_left_out(key: str) -> None:
    rule: Any = None
    for part in reversed(key.split(".")):
        rule = {part: rule}
    text = json.dumps({"anchore": {"endpoint": "http://a"}, "rules": [{"name": "it", **rule}]})
    assert _problems(text) == [f"rules[0].{key}: has no value; give one, or remove the key"]


@pytest.mark.parametrize("key", ["excuses", "excuses.cves", "match.images", "ticket"])
def test_a_key_of_an_exemption_without_a_value_does_not_count_as_left_out(key: str) -> None:
    exemption: dict[str, Any] = {
        "name": "it",
        "match": {"namespaces": ["a"]},
        "reason": "r",
        "owner": "o",
        "expires": "2020-01-01",
        "excuses": {"findings": ["a:b"]},
    }
    first, _, second = key.partition(".")
    exemption[first] = {**exemption[first], second: None} if second else None
    text = json.dumps({"anchore": {"endpoint": "http://a"}, "exemptions": [exemption]})
    assert _problems(text) == [f"exemptions[0].{key}: has no value; give one, or remove the key"]


def test_the_active_policy_is_null() -> None:
    rule = {"name": "a", "policy": None}
    chosen = {"name": "b", "policyFrom": {"label": "a", "allowed": {"b": None}}}
    _parse(json.dumps({"anchore": {"endpoint": "http://a"}, "rules": [rule, chosen]}))


@pytest.mark.parametrize(("account", "name"), [("default", "DEFAULT"), ("team-a.eu", "TEAM_A_EU"), ("A_1", "A_1")])
def test_environment_name(account: str, name: str) -> None:
    assert environment_name(account) == name


def test_the_committed_schema_is_current() -> None:
    """Write it anew with ``json.dumps(configuration_schema(), indent=2)`` and a newline."""
    committed = (DOCS / "configuration.schema.json").read_text()
    assert committed == json.dumps(configuration_schema(), indent=2) + "\n"


def test_the_schema_accepts_the_example_and_rejects_mistakes() -> None:
    schema = configuration_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    [document] = load_documents(EXAMPLE, source="example", aliases=False)
    validator.validate(document)
    wrong: list[dict[str, Any]] = [
        {"rule": []},
        {"workloads": "never"},
        {"passive": {"wait": "5 minutes"}},
        {"rules": [{"mode": "skip"}]},
    ]
    assert [validator.is_valid({**document, **mistake}) for mistake in wrong] == [False] * len(wrong)


def test_every_key_has_a_description_and_is_documented() -> None:
    text = (DOCS / "configuration.md").read_text()
    sections = [("", configuration_schema()), *configuration_schema()["$defs"].items()]
    found = [(name, *item) for name, section in sections for item in section.get("properties", {}).items()]
    assert found
    for name, key, value in found:
        assert f"`{key}`" in text or f".{key}`" in text or f"{key}:" in text, f"{name}.{key} is not documented"
        assert "description" in value or "$ref" in value, f"{name}.{key} has no description"


def test_the_documentation_shows_the_example() -> None:
    text = (DOCS / "configuration.md").read_text()
    blocks = [block.partition("```")[0] for block in text.split("```yaml\n")[1:]]
    assert blocks[0] == EXAMPLE
    for block in blocks:
        _parse(block if "anchore:" in block else f"anchore: {{endpoint: 'http://a'}}\n{block}")


def test_a_fingerprint_depends_on_effective_values_and_not_on_spelling() -> None:
    written = parse_configuration("anchore: {endpoint: 'http://a'}\ndefaults: {mode: strict}", "a")
    again = parse_configuration(
        "# a comment\ndefaults:\n  mode: strict\n  onError: deny\nanchore: {endpoint: http://a/}", "b"
    )
    assert fingerprint(written) == fingerprint(again)
    assert re.fullmatch("[0-9a-f]{12}", fingerprint(written))
    other = parse_configuration("anchore: {endpoint: 'http://a'}\ndefaults: {mode: analysis}", "c")
    registered = [{"name": "gate", "failurePolicy": "Fail"}]
    ignored = [{"failurePolicy": "Ignore", "name": "gate"}]
    different = {
        fingerprint(written),
        fingerprint(other),
        fingerprint(written, registered),
        fingerprint(written, ignored),
    }
    assert len(different) == 4
    assert fingerprint(written, registered) == fingerprint(written, [dict(reversed(registered[0].items()))])
    assert fingerprint(_parse(EXAMPLE))
