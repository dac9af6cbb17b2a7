"""Patterns of rules that can never match, as users write them, and the form that each error suggests."""

from typing import Any

import pytest

from anchore_admission.errors import ConfigurationError
from anchore_admission.services.config.load import parse_configuration
from anchore_admission.services.config.patterns import pattern_problems
from support.paths import DATA

_DATA = DATA / "patterns"
_NO_EXPRESSION_KIND = (
    "matches no kind that is judged: CronJob, DaemonSet, Deployment, EphemeralContainers, Job, Pod, PodTemplate, "
    "ReplicaSet, ReplicationController, StatefulSet"
)
_MISSPELT = "write regex: in lower case and without a space"
_SPELLING = "a registry is compared in one spelling: write "
_REGEX = "is a regular expression; write regex: in front of it, or a glob (* matches any text, ? one character)"
_KIND = "kinds are compared as Kubernetes writes them, without a version: write "
_TAG = "a tag has letters, digits, '_', '.' and '-', at most 128, and begins with neither of the last two"
_DIGEST = "a digest is sha256: and 64 hexadecimal digits; end a part of one with *"
_PART = "a sha256 digest has 64 hexadecimal digits; end a part of one with *"
_NAMESPACE = "a namespace has lower-case letters, digits and '-', at most 63"
_LOWER = "repository names are lower case: write "
_ACCOUNT = "expected the name of a service account, alone or as namespace/name"
_NO_KIND = (
    "is not a kind that is judged: expected one of CronJob, DaemonSet, Deployment, EphemeralContainers, Job, Pod, "
    "PodTemplate, ReplicaSet, ReplicationController, StatefulSet"
)
_INVALID = "is not a valid image reference: its "


def _problems(match: dict[str, Any]) -> list[str]:
    return [str(problem) for problem in pattern_problems({"rules": [{"name": "it", "match": match}]})]


@pytest.mark.parametrize(
    ("key", "glob", "problem"),
    [
        ("images", "^nginx.*", f"{_REGEX}: write nginx*"),
        ("images", "nginx.*", f"{_REGEX}: write nginx*"),
        ("images", ".*", f"{_REGEX}: write *"),
        (
            "images",
            "https://registry.example.com/*",
            "an image reference does not begin with https://: write registry.example.com/*",
        ),
        ("images", "docker://nginx", "an image reference does not begin with docker://: write nginx"),
        ("images", "http://nginx", "an image reference does not begin with http://: write nginx"),
        ("images", "nginx$", f"{_REGEX}: write nginx"),
        ("images", "^nginx$", f"{_REGEX}: write nginx"),
        ("images", "registry\\.example\\.com/.*", f"{_REGEX}: write registry.example.com/*"),
        ("images", "registry.example.com/.*", f"{_REGEX}: write registry.example.com/*"),
        ("images", "(nginx|redis)", _REGEX),
        ("images", "nginx|redis", _REGEX),
        ("images", "[a-z]*", _REGEX),
        ("images", "ngin[x]", _REGEX),
        ("images", " nginx", "an image has no spaces: write nginx"),
        ("images", "nginx ", "an image has no spaces: write nginx"),
        ("images", "a b", "an image has no spaces"),
        ("images", "nginx,redis", "expected one glob for each entry of the list"),
        ("images", "!nginx", "a glob cannot be negated; put a rule for these images above this one"),
        ("images", ":latest", "expected a repository in front, or * for any: write *:latest"),
        (
            "images",
            "@sha256:" + "a" * 64,
            f"expected a repository in front, or * for any: write *@sha256:{'a' * 64}",
        ),
        (
            "images",
            "registry.example.com",
            "names no repository: write registry.example.com/* for all of a registry",
        ),
        ("images", "*.example.com", "names no repository: write *.example.com/* for all of a registry"),
        (
            "images",
            "registry.example.com:5000",
            "names no repository: write registry.example.com:5000/* for all of a registry",
        ),
        (
            "images",
            "registry.example.com*",
            "names no repository: write registry.example.com/* for all of a registry",
        ),
        ("images", "localhost", "names no repository: write localhost/* for all of a registry"),
        ("images", "registry.example.com/", "a part of the path is empty: write registry.example.com/*"),
        ("images", "/nginx", "a part of the path is empty"),
        ("images", "a//b", "a part of the path is empty"),
        ("images", "Team/app", f"{_LOWER}team/app"),
        ("images", "quay.io/Team/app", f"{_LOWER}quay.io/team/app"),
        ("images", "Nginx", f"{_LOWER}nginx"),
        ("images", "quay.io/team/App:1", f"{_LOWER}quay.io/team/app:1"),
        (
            "images",
            "nginx:1@sha256:" + "a" * 64,
            f"the tag of tag@digest matches nothing: write nginx@sha256:{'a' * 64}",
        ),
        ("images", "quay.io/a/b:*@sha256:*", "the tag of tag@digest matches nothing: write quay.io/a/b@sha256:*"),
        ("images", "nginx@sha256:abc", _PART),
        ("images", "nginx@sha256", _PART),
        ("images", "nginx@abc*", "write the algorithm, too: sha256:abc*"),
        ("images", "nginx@sha256:" + "A" * 64, "a digest has lower-case hexadecimal digits"),
        ("images", "nginx@sha256:" + "a" * 65, _PART),
        ("images", "nginx@md5:" + "a" * 32, _DIGEST),
        ("images", "nginx:.*", f"{_REGEX}: write nginx:*"),
        ("images", "nginx:", _TAG),
        ("images", "nginx:1:2", f"{_INVALID}repository name is malformed"),
        ("images", "nginx:-1", _TAG),
        ("images", "quay.io/team/.*:.*", f"{_REGEX}: write quay.io/team/*:*"),
        ("images", "nginx@sha256:" + "g" * 64, _DIGEST),
        ("images", "quay.io/_app", f"{_INVALID}repository name is malformed"),
        ("images", "a..b/c", f"{_INVALID}registry host is malformed"),
        ("images", "x" * 300, f"{_INVALID}repository name is longer than 255 characters"),
        ("images", "quay.io/é", "holds a character that no image reference has"),
        ("images", "example.com./app", f"{_INVALID}registry host is malformed"),
        ("images", "nginx.+", f"{_REGEX}: write nginx*"),
        ("images", "^.*$", f"{_REGEX}: write *"),
        ("images", ".+", f"{_REGEX}: write *"),
        ("images", "my_registry:5000/app", f"{_INVALID}registry host is malformed"),
        ("images", "docker.io", "names no repository: write docker.io/* for all of a registry"),
        ("images", "*.*", f"{_REGEX}: write **"),
        ("namespaces", "^shop$", f"{_REGEX}: write shop"),
        ("namespaces", "shop.*", f"{_REGEX}: write shop*"),
        ("namespaces", "Shop", "namespaces are lower case: write shop"),
        ("namespaces", "shop/web", _NAMESPACE),
        ("namespaces", "shop_web", _NAMESPACE),
        ("namespaces", "a.b", _NAMESPACE),
        ("namespaces", "x" * 64, _NAMESPACE),
        ("namespaces", "a,b", "expected one glob for each entry of the list"),
        ("namespaces", "kube-system ", _NAMESPACE),
        ("namespaces", "^kube-.*", f"{_REGEX}: write kube-*"),
        ("kinds", "pod", f"{_KIND}Pod"),
        ("kinds", "deployment", f"{_KIND}Deployment"),
        ("kinds", "deployments", f"{_KIND}Deployment"),
        ("kinds", "Deployments", f"{_KIND}Deployment"),
        ("kinds", "apps/v1/Deployment", f"{_KIND}apps/Deployment"),
        ("kinds", "v1/Pod", f"{_KIND}Pod"),
        ("kinds", "Deployment.apps", f"{_KIND}apps/Deployment"),
        ("kinds", "deployments.apps", f"{_KIND}apps/Deployment"),
        ("kinds", "deploy", f"{_KIND}Deployment"),
        ("kinds", "sts", f"{_KIND}StatefulSet"),
        ("kinds", "Rollout", _NO_KIND),
        ("kinds", "argoproj.io/Rollout", _NO_KIND),
        ("kinds", "^Pod$", f"{_REGEX}: write Pod"),
        ("kinds", "(Pod|Job)", _REGEX),
        ("kinds", "batch/v1beta1/CronJob", f"{_KIND}batch/CronJob"),
        ("kinds", "core/Pod", f"{_KIND}Pod"),
        ("kinds", "*Set.apps", _NO_KIND),
        ("kinds", "Pod.*", f"{_REGEX}: write Pod*"),
        ("kinds", ".*", f"{_REGEX}: write *"),
        ("kinds", "*/Pod", f"{_KIND}Pod"),
        ("serviceAccounts", "system:serviceaccount:shop:web", "write shop/web; the long form is for users"),
        ("serviceAccounts", "shop:web", "expected a name, or a namespace and a name: write shop/web"),
        ("serviceAccounts", "Shop/Web", "service accounts are lower case: write shop/web"),
        ("serviceAccounts", "a/b/c", _ACCOUNT),
        ("serviceAccounts", "^builder$", f"{_REGEX}: write builder"),
        ("serviceAccounts", "builder.*", f"{_REGEX}: write builder*"),
        ("serviceAccounts", "ns/name@x", _ACCOUNT),
        ("serviceAccounts", "system:serviceaccount:shop:*", "write shop/*; the long form is for users"),
        ("users", "^jane$", f"{_REGEX}: write jane"),
        ("users", "^system:.*", f"{_REGEX}: write system:*"),
        ("users", "system:serviceaccount:ci:.*", f"{_REGEX}: write system:serviceaccount:ci:*"),
        (
            "users",
            "system:serviceaccount:shop/web",
            "the user of a service account has colons: write system:serviceaccount:shop:web",
        ),
        ("users", ".*", f"{_REGEX}: write *"),
        ("users", ".*@example\\.com", f"{_REGEX}: write *@example.com"),
        ("groups", "^dev$", f"{_REGEX}: write dev"),
        ("groups", ".*", f"{_REGEX}: write *"),
        ("groups", " dev", "begins or ends with a space"),
        ("users", "jane ", "begins or ends with a space"),
        ("users", "regexp:team-.*", _MISSPELT),
        ("groups", "Regex:team-.*", _MISSPELT),
        ("names", " regex:team-.*", _MISSPELT),
        ("namespaces", "regex :team-.*", _MISSPELT),
        ("images", "REGEX:quay", _MISSPELT),
        ("groups", "regex: dev", "expected no space after regex:"),
        ("kinds", "regex:(Deploy|Replica)", _NO_EXPRESSION_KIND),
        ("kinds", "regex:pod", _NO_EXPRESSION_KIND),
        ("namespaces", "regex:Prod-.*", "none begins with Prod-"),
        ("namespaces", "regex:team/.*", "none begins with team/"),
        ("names", "regex:Web.*", "none begins with Web"),
        ("serviceAccounts", "regex:system:serviceaccount:ci:.*", "none begins with system:serviceaccount:ci:"),
        ("images", r"regex:Quay\.io/.*", f"{_SPELLING}quay.io/"),
        ("images", r"regex:\QQuay.IO\E/.*", f"{_SPELLING}quay.io/"),
        ("images", r"regex:^quay\.io:443/.*", f"{_SPELLING}quay.io/"),
        ("images", r"regex:index\.docker\.io/.*", f"{_SPELLING}docker.io/"),
        ("images", r"regex:\[2001:db8:0::1\]/.*", f"{_SPELLING}[2001:db8::1]/"),
        ("images", r"regex:https://quay\.io/.*", "an image reference does not begin with https://"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_pattern_that_can_never_match(key: str, glob: str, problem: str) -> None:
    assert _problems({key: ["*", glob]}) == [f"rules[0].match.{key}[1]: {problem}"]


@pytest.mark.parametrize(
    ("key", "glob"),
    [
        ("images", "*"),
        ("images", "nginx"),
        ("images", "nginx:*"),
        ("images", "nginx:1.*"),
        ("images", "nginx:1.2*"),
        ("images", "nginx:1.2?"),
        ("images", "registry.example.com/*"),
        ("images", "*.corp.example/*"),
        ("images", "*/team/*"),
        ("images", "team/*"),
        ("images", "library/*"),
        ("images", "docker.io/library/nginx:1.27"),
        ("images", "nginx@sha256:" + "a" * 64),
        ("images", "*@sha256:aaa*"),
        ("images", "*@*"),
        ("images", "[2001:db8::1]:5000/*"),
        ("images", "[2001:DB8::1]:5000/team/app:1"),
        ("images", "quay.io/*/app"),
        ("images", "registry.*/app"),
        ("images", "*:5000/*"),
        ("images", "localhost:5000/*"),
        ("images", "localhost/*"),
        ("images", "sha256:*"),
        ("images", "sha256:0123"),
        ("images", "*nginx*"),
        ("images", "*:latest"),
        ("images", "Quay.IO/team/app"),
        ("images", "QUAY.IO/team/app:V1"),
        ("images", "?uay.io/*"),
        ("images", "docker.io:443/*"),
        ("images", "quay.io/team/app:v1.0-rc.1"),
        ("images", "registry*/app"),
        ("images", "team-*/app"),
        ("images", "my_registry.example.com/app"),
        ("images", "**"),
        ("images", "*nginx.conf*"),
        ("images", "quay.io*/x"),
        ("images", "quay.io/a.b/c"),
        ("images", "nginx@sha256:aaaaaaaa*"),
        ("images", "registry.example.com:*/*"),
        ("images", "*-*/x"),
        ("images", "gcr.io/*/sub.path/*"),
        ("images", "*.io/*"),
        ("namespaces", "*"),
        ("namespaces", "kube-*"),
        ("namespaces", "*-prod"),
        ("namespaces", "shop"),
        ("namespaces", "?*"),
        ("namespaces", "a" * 32 + "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("kinds", "Pod"),
        ("kinds", "Deployment"),
        ("kinds", "apps/Deployment"),
        ("kinds", "*"),
        ("kinds", "apps/*"),
        ("kinds", "*/Deployment"),
        ("kinds", "*Set"),
        ("kinds", "Deploy*"),
        ("kinds", "batch/Job"),
        ("kinds", "EphemeralContainers"),
        ("kinds", "extensions/Deployment"),
        ("kinds", "?od"),
        ("serviceAccounts", "builder"),
        ("serviceAccounts", "ci/builder"),
        ("serviceAccounts", "*"),
        ("serviceAccounts", "ci/*"),
        ("serviceAccounts", "*/builder"),
        ("serviceAccounts", "b?ilder"),
        ("serviceAccounts", "my.account"),
        ("users", "*"),
        ("users", "jane"),
        ("users", "system:serviceaccount:ci:builder"),
        ("users", "system:serviceaccount:ci:*"),
        ("users", "CORP\\jane"),
        ("users", "jane.*@example.com"),
        ("users", "O'Brien"),
        ("users", "system:node:*"),
        ("users", "https://idp.example.com#jane"),
        ("groups", "system:*"),
        ("groups", "dev"),
        ("groups", "org/team"),
        ("groups", "oidc:dev"),
        ("groups", "regexes"),
        ("groups", "regex:dev ops"),
        ("images", r"regex:quay\.io/.*"),
        ("kinds", "regex:(Deploy.*|ReplicaSet)"),
        ("kinds", "regex:apps/.*"),
        ("namespaces", "regex:(?i)Prod-.*"),
        ("namespaces", "regex:prod-[0-9]+|test"),
        ("names", r"regex:web-\d+\.example"),
        ("serviceAccounts", "regex:(ci|cd)/build-.*"),
        ("serviceAccounts", "regex:ci/build-.*"),
        ("users", "regex:Jane.*"),
        ("images", r"regex:quay.io:5000/.*"),
        ("images", r"regex:localhost/.*"),
        ("images", r"regex:\[2001:db8::1\]:5000/.*"),
        ("images", r"regex:(?i)Quay\.io/.*"),
        ("images", r"regex:(index\.)?docker\.io/.*"),
        ("images", r"regex:[^/]*/team/.*"),
        ("images", "regex:.*"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_pattern_that_can_match(key: str, glob: str) -> None:
    assert _problems({key: [glob]}) == []


_LABELS = "labels are compared as they are written, without globs: list the values in matchExpressions (In)"
_VALUE = "expected at most 63 letters, digits, '-', '_' and '.', with a letter or digit at either end"
_KEY = "expected a key such as app or example.com/team"
_IN = {"key": "app", "operator": "In"}


@pytest.mark.parametrize(
    ("match", "problem"),
    [
        ({"objectSelector": {"matchLabels": {"app": "demo*"}}}, f"objectSelector.matchLabels.app: {_LABELS}"),
        ({"objectSelector": {"matchLabels": {"app": "demo.*"}}}, f"objectSelector.matchLabels.app: {_LABELS}"),
        ({"objectSelector": {"matchLabels": {"app": "^demo$"}}}, f"objectSelector.matchLabels.app: {_LABELS}"),
        ({"objectSelector": {"matchLabels": {"app": "a b"}}}, f"objectSelector.matchLabels.app: {_VALUE}"),
        ({"objectSelector": {"matchLabels": {"app": "-a"}}}, f"objectSelector.matchLabels.app: {_VALUE}"),
        ({"objectSelector": {"matchLabels": {"app": "a" * 64}}}, f"objectSelector.matchLabels.app: {_VALUE}"),
        ({"objectSelector": {"matchLabels": {"a b": "c"}}}, f"objectSelector.matchLabels['a b']: {_KEY}"),
        ({"objectSelector": {"matchLabels": {"A.io/a/b": "c"}}}, f"objectSelector.matchLabels['A.io/a/b']: {_KEY}"),
        (
            {"objectSelector": {"matchLabels": {"app*": "c"}}},
            "objectSelector.matchLabels['app*']: a key is compared as written; only values of annotations are globs",
        ),
        (
            {"objectSelector": {"matchExpressions": [{**_IN, "values": ["shop", "demo*"]}]}},
            f"objectSelector.matchExpressions[0].values[1]: {_LABELS}",
        ),
        (
            {"objectSelector": {"matchExpressions": [{"key": "a/b/c", "operator": "Exists"}]}},
            f"objectSelector.matchExpressions[0].key: {_KEY}",
        ),
        ({"annotations": {"a b": ["*"]}}, f"annotations['a b']: {_KEY}"),
        ({"annotations": {"team": ["x", ".*"]}}, f"annotations.team[1]: {_REGEX}: write *"),
        ({"annotations": {"team": ["^pay.*"]}}, f"annotations.team[0]: {_REGEX}: write pay*"),
    ],
    ids=str,
)
def test_selector_that_can_never_match(match: dict[str, Any], problem: str) -> None:
    assert _problems(match) == [f"rules[0].match.{problem}"]


@pytest.mark.parametrize(
    "match",
    [
        {"objectSelector": {"matchLabels": {"app": "", "example.com/Team_1": "A_b.c-1"}}},
        {"objectSelector": {"matchExpressions": [{**_IN, "values": ["", "a"]}]}},
        {"annotations": {"example.com/team": ["pay*", "a b", "US$", "(x)"]}},
        {},
        {"images": 1, "kinds": [1, None], "objectSelector": [], "annotations": []},
    ],
    ids=str,
)
def test_selector_that_can_match(match: dict[str, Any]) -> None:
    assert _problems(match) == []


def test_every_pattern_is_reported_at_once_beside_other_mistakes() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_configuration((_DATA / "never-match.yaml").read_text(), "configuration.yaml")
    assert [problem.path for problem in caught.value.problems] == [
        "rules[8].mode",
        "rules[0].match.images[0]",
        "rules[1].match.namespaces[0]",
        "rules[2].match.objectSelector.matchLabels.app",
        "rules[3].match.objectSelector.matchExpressions[0].values[0]",
        "rules[4].match.kinds[0]",
        "rules[5].match.kinds[0]",
        "rules[6].match.images[0]",
        "rules[7].match.serviceAccounts[0]",
    ]
