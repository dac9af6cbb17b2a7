"""Which answers are forgotten when there are too many."""

from anchore_admission.core.answers import ByTag
from anchore_admission.core.facts import AnalysisState, Finding, ImageRecord, PolicyEvaluation, TagRow
from anchore_admission.core.freshness import Answer, Lifetimes, answer
from anchore_admission.ports.anchore import Identity
from anchore_admission.services.reviews.remembered import Key, Remembered, size_of
from support.fakes import ACTIVE_POLICY, digest_of


def key(name: str) -> Key:
    return Key("default", Identity("fake"), ByTag(f"registry.example.com/{name}:1"), None)


def known(name: str, at: float = 0.0, *, tags: int = 1) -> Answer:
    rows = tuple(TagRow(f"registry.example.com/{name}:{number}") for number in range(tags))
    return answer(ByTag(name), ImageRecord(digest_of(name), AnalysisState.ANALYZED, rows), at, Lifetimes())


def keep(remembered: Remembered, owner: str, *names: str, at: float = 0.0, tags: int = 1) -> None:
    for name in names:
        remembered.keep(key(name), known(name, at, tags=tags), owner=owner)


def names_left(remembered: Remembered, *names: str) -> list[str]:
    return [name for name in names if remembered.get(key(name))]


def test_the_namespace_with_the_most_answers_loses_its_least_recently_used() -> None:
    remembered = Remembered(4, 1_000_000)
    keep(remembered, "shop", "s1")
    keep(remembered, "mail", "m1", "m2", "m3")
    assert remembered.get(key("m1"))
    keep(remembered, "bank", "b1")

    assert names_left(remembered, "s1", "m1", "m2", "m3", "b1") == ["s1", "m1", "m3", "b1"]


def test_the_namespace_with_the_most_bytes_loses_its_answers() -> None:
    remembered = Remembered(1000, 40_000)
    keep(remembered, "shop", *(f"s{number}" for number in range(10)))
    keep(remembered, "mail", "m1", "m2", "m3", tags=40)

    assert len(names_left(remembered, *(f"s{number}" for number in range(10)))) == 10
    assert names_left(remembered, "m1", "m2", "m3") == ["m2", "m3"]
    assert remembered.bytes <= 40_000


def test_what_is_too_old_to_be_used_is_forgotten_first() -> None:
    remembered = Remembered(3, 1_000_000)
    keep(remembered, "idle", "i1", at=0)
    keep(remembered, "shop", "s1", "s2", at=700)
    assert remembered.keep(key("s3"), known("s3", 700), owner="shop", dead_before=100) == 1

    assert names_left(remembered, "i1", "s1", "s2", "s3") == ["s1", "s2", "s3"]


def test_an_answer_stays_with_the_namespace_that_brought_it() -> None:
    """A refresh beside the reviews, or another namespace's question, does not change whose it is."""
    remembered = Remembered(3, 1_000_000)
    keep(remembered, "shop", "s1", at=0)
    remembered.keep(key("s1"), known("s1", 10))
    keep(remembered, "mail", "m1", "m2", "m3", at=10)

    assert names_left(remembered, "s1", "m1", "m2", "m3") == ["s1", "m2", "m3"]


def test_the_size_is_counted_once_and_given_back() -> None:
    remembered = Remembered(10, 1_000_000)
    for at in range(5):
        keep(remembered, "shop", "s1", "s2", at=at)
    assert remembered.bytes == sum(size_of(known(name), key(name)) for name in ("s1", "s2"))
    remembered.clear()
    keep(remembered, "shop", "s1")
    assert remembered.bytes == size_of(known("s1"), key("s1"))


def test_unusual_characters_count_as_many_bytes_as_they_take() -> None:
    def failed(message: str) -> Answer:
        finding = Finding("files", "content_match", "x", message)
        return answer(ByTag("x"), PolicyEvaluation(False, ACTIVE_POLICY, findings=(finding,)), 0, Lifetimes())

    assert size_of(failed("🐳" * 1000)) - size_of(failed("x" * 1000)) > 2900


def test_findings_that_warn_count_like_the_others() -> None:
    findings = tuple(Finding("files", "content_match", str(number), "x" * 100) for number in range(10))
    size, others = (
        size_of(answer(ByTag("x"), evaluation, 0, Lifetimes()))
        for evaluation in (
            PolicyEvaluation(False, ACTIVE_POLICY, findings=findings),
            PolicyEvaluation(False, ACTIVE_POLICY, warnings=findings),
        )
    )
    assert size == others
