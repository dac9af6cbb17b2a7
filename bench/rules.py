"""Rules: the time to choose among 10 to 1,000 of them for one image, in the process itself."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

from anchore_admission.core.reference import parse
from anchore_admission.core.rules.book import RuleBook, compile_rules
from anchore_admission.core.rules.match import Circumstances, image_names
from anchore_admission.models.configuration import Configuration
from bench.figures import Figure

_CIRCUMSTANCES = Circumstances(
    namespace="shop",
    namespace_labels={"team": "shop", "env": "prod", "kubernetes.io/metadata.name": "shop"},
    kinds=("Pod",),
    names=("web-7d4b9-",),
    user="system:serviceaccount:kube-system:replicaset-controller",
    groups=("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"),
    service_accounts=("web", "shop/web"),
    labels={"app": "web", "pod-template-hash": "7d4b9"},
    annotations={"example.com/profile": "small", "prometheus.io/scrape": "true"},
)
# Under 1,000 rules with a star at the beginning, an author's text can cost most: it holds many of their literal parts.
_HOSTILE = "docker.io/" + "/".join(f"team-{number}" for number in range(0, 1000, 9))


async def measure(*, quick: bool) -> list[Figure]:
    rounds = 20 if quick else 200
    figures = []
    for count in (10, 1000):
        microseconds = _choosing(_book(_rules(count)), "registry.example.com/shop/app", rounds)
        about = f"choosing among {count:,} rules, for an image"
        figures.append(Figure(f"rules.{count}", about, microseconds, "us", goal=100, steady=False))
    began = time.perf_counter()
    _book(_rules(1000))
    took = (time.perf_counter() - began) * 1000
    figures.append(Figure("rules.compile", "reading and compiling 1,000 rules", took, "ms", goal=1000, steady=False))
    starred = _book({"name": f"r{n}", "match": {"images": [f"*/team-{n}/x*y"]}} for n in range(1000))
    microseconds = _choosing(starred, _HOSTILE[:250], rounds)
    about = "1,000 rules that begin with a star, for an image meant to hurt"
    figures.append(Figure("rules.hostile", about, microseconds, "us", goal=2000, steady=False))
    return figures


def _book(rules: Iterator[dict[str, Any]] | Any) -> RuleBook:
    configuration = Configuration.model_validate({"rules": list(rules)})
    return compile_rules(configuration.rules, configuration.defaults)


def _rules(count: int) -> Iterator[dict[str, Any]]:
    """Yield rules of every kind, none of which matches: all of them have to be passed over."""
    for n in range(count):
        matches: list[dict[str, Any]] = [
            {"namespaces": [f"team-{n}-*"], "images": [f"registry.example.com/team-{n}/*"]},
            {"namespaceSelector": {"matchLabels": {"team": f"team-{n}"}}},
            {"objectSelector": {"matchLabels": {"app": f"app-{n}"}}, "except": {"images": [f"quay.io/team-{n}/*"]}},
            {"users": [f"regex:system:serviceaccount:ci-{n}:.*"], "serviceAccounts": [f"ci/builder-{n}"]},
            {"annotations": {"example.com/profile": [f"profile-{n}-*"]}, "kinds": ["Pod", "Deployment"]},
        ]
        yield {"name": f"rule-{n}", "match": matches[n % len(matches)]}


def _choosing(book: RuleBook, repository: str, rounds: int) -> float:
    """Return the microseconds of narrowing and selecting for an object with one image, each time another one."""
    names = [image_names(parse(f"{repository}-{n}:1.2")) for n in range(50)]
    samples = []
    for _ in range(rounds):
        began = time.perf_counter()
        for each in names:
            book.narrowed(_CIRCUMSTANCES).select(each)
        samples.append((time.perf_counter() - began) / len(names) * 1e6)
    return statistics.median(samples)
