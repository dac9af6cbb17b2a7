"""The most frequent reasons for denials: findings such as a CVE, and reasons such as an image that is not analyzed."""

from collections import defaultdict
from dataclasses import dataclass

from anchore_admission.core.facts import Finding
from anchore_admission.services.replay.outcomes import Outcome

_MOST = 100_000


@dataclass(frozen=True, slots=True, order=True)
class Blocker:
    """A finding (``name`` is its CVE, or its gate and trigger) or a reason that denies images."""

    name: str
    check: str = ""


@dataclass(frozen=True, slots=True)
class Blocked:
    """The images that a blocker denies; ``alone`` counts the images that nothing else blocks."""

    blocker: Blocker
    objects: int
    images: int
    alone: int


class Blockers:
    """Counts what blocks how many images and objects.

    An image's blockers are kept once for all of its objects: a common base image may have hundreds of them.
    """

    def __init__(self) -> None:
        self._known: dict[Blocker, Blocker] = {}
        self._objects: dict[tuple[int, frozenset[Blocker]], set[int]] = defaultdict(set)

    def add(self, outcome: Outcome, image: int, owner: int) -> None:
        found = {_blocker(finding) for finding in outcome.findings} or {Blocker(outcome.reason)}
        kept = frozenset(self._known.setdefault(b, b) for b in found if b in self._known or len(self._known) < _MOST)
        self._objects[image, kept].add(owner)

    def most(self) -> list[Blocked]:
        """Return all blockers, those of most objects first."""
        by_blocker: dict[Blocker, list[tuple[int, bool, set[int]]]] = defaultdict(list)
        for (image, found), owners in self._objects.items():
            for blocker in found:
                by_blocker[blocker].append((image, len(found) == 1, owners))
        blocked = [_blocked(blocker, where) for blocker, where in by_blocker.items()]
        return sorted(blocked, key=lambda b: (-b.objects, -b.images, -b.alone, b.blocker))


def _blocked(blocker: Blocker, where: list[tuple[int, bool, set[int]]]) -> Blocked:
    images = {image for image, _, _ in where}
    alone = {image for image, is_alone, _ in where if is_alone}
    return Blocked(blocker, len(set().union(*(owners for _, _, owners in where))), len(images), len(alone))


def _blocker(finding: Finding) -> Blocker:
    check = f"{finding.gate}:{finding.trigger}"
    # Behind the plus stands the package, which differs from image to image: `CVE-2021-3711+openssl`.
    identifier, plus, _ = finding.trigger_id.partition("+")
    return Blocker(identifier, check) if finding.gate == "vulnerabilities" and plus else Blocker(check)
