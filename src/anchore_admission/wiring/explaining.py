"""Wire explanations: reviews by hand that follow the rules, but ask Anchore nothing and need no credentials."""

from collections.abc import Callable

from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.models.configuration import Configuration
from anchore_admission.ports.namespaces import Labels
from anchore_admission.services.reviews.cases import CaseLabels
from anchore_admission.services.reviews.fact_source import NoFacts
from anchore_admission.services.reviews.judging import Judging
from anchore_admission.services.reviews.manual import ManualReviews
from anchore_admission.services.reviews.review import Reviews
from anchore_admission.services.reviews.rules import CurrentRules, Rules
from anchore_admission.wiring.namespaces import NamespaceOptions, WiredNamespaces


def explaining_reviews(configuration: Configuration, namespaces: NamespaceOptions) -> ManualReviews:
    """Return reviews that explain every image. Their verdicts rest on no facts and mean nothing.

    Raises ConfigurationError if a rule needs the labels of namespaces and none are given.
    """
    rules, telemetry = CurrentRules(Rules.of(configuration)), Telemetry()
    known = WiredNamespaces(namespaces, telemetry, rules)
    known.require(rules.current)
    return ManualReviews(Reviews(rules, Judging(NoFacts(), known), telemetry)).explaining()


def reviews_for_cases(configuration: Configuration) -> Callable[[Labels | None], ManualReviews]:
    """Return a function that makes such reviews for one case, given the labels of its namespace."""
    rules, telemetry = CurrentRules(Rules.of(configuration)), Telemetry()

    def reviews(labels: Labels | None) -> ManualReviews:
        return ManualReviews(Reviews(rules, Judging(NoFacts(), CaseLabels(labels)), telemetry)).explaining()

    return reviews
