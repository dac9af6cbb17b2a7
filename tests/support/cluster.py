"""A cluster in memory: one Secret, one Lease, the webhook configurations, and their errors."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from anchore_admission.core.webhook.entry import WebhookKind
from anchore_admission.errors import ClusterConflict, ClusterError, ClusterNotFound, ProbeFailed
from anchore_admission.ports.cluster import LeaseState, SecretContent, WebhookConfiguration

NAME = "anchore-admission"
T = TypeVar("T")


class InMemoryCluster:
    """The ``Cluster`` of tests. ``failing`` holds the errors of operations that fail for now.

    ``failing_kinds`` holds those of writing the webhook configurations of one kind.
    """

    def __init__(self) -> None:
        self._versions = itertools.count(1)
        self.secret: SecretContent | None = SecretContent({}, self._version())
        self.lease: LeaseState | None = LeaseState("", 0, 0, self._version())
        self.registered: dict[str, WebhookConfiguration] = {NAME: WebhookConfiguration("uid-1", ())}
        self.mutating: dict[str, WebhookConfiguration] = {}
        self.applied: list[WebhookKind] = []
        self.failing: dict[str, ClusterError] = {}
        self.failing_kinds: dict[WebhookKind, ClusterError] = {}
        self.operations: list[str] = []
        self.taken: list[bool] = []
        self.before: dict[str, Callable[[], None]] = {}

    async def read_secret(self) -> SecretContent:
        self._begin("read_secret")
        return _found(self.secret)

    async def write_secret(self, data: Mapping[str, bytes], version: str) -> SecretContent:
        self._begin("write_secret")
        before = _found(self.secret)
        _expect(before.version == version)
        self.secret = SecretContent({**before.data, **data}, self._version())
        return self.secret

    async def read_lease(self) -> LeaseState:
        self._begin("read_lease")
        return _found(self.lease)

    async def write_lease(self, lease: LeaseState, *, taken: bool) -> LeaseState:
        self._begin("write_lease")
        _expect(_found(self.lease).version == lease.version)
        self.lease = replace(lease, version=self._version())
        self.taken.append(taken)
        return self.lease

    async def read_webhooks(self, name: str, kind: WebhookKind = WebhookKind.VALIDATING) -> WebhookConfiguration:
        self._begin("read_webhooks")
        return _found(self._configurations(kind).get(name))

    async def apply_webhooks(
        self,
        name: str,
        uid: str,
        webhooks: Sequence[Mapping[str, Any]],
        kind: WebhookKind = WebhookKind.VALIDATING,
    ) -> WebhookConfiguration:
        self._begin("apply_webhooks")
        if kind in self.failing_kinds:
            raise self.failing_kinds[kind]
        registered = self._configurations(kind)
        live = registered.get(name)
        _expect(live is not None and live.uid == uid)
        kept = [entry for entry in _found(live).webhooks if entry["name"] not in {each["name"] for each in webhooks}]
        registered[name] = WebhookConfiguration(uid, [*kept, *webhooks])
        self.applied.append(kind)
        return registered[name]

    def _configurations(self, kind: WebhookKind) -> dict[str, WebhookConfiguration]:
        return self.mutating if kind is WebhookKind.MUTATING else self.registered

    def fill(self, data: Mapping[str, bytes]) -> None:
        """Write the Secret as another client."""
        self.secret = SecretContent(data, self._version())

    def renew(self, holder: str, seconds: int = 15, transitions: int = 1) -> None:
        """Write the Lease as another client."""
        self.lease = LeaseState(holder, seconds, transitions, self._version())

    def entries(self) -> Sequence[Mapping[str, Any]]:
        return self.registered[NAME].webhooks

    def _begin(self, operation: str) -> None:
        self.operations.append(operation)
        self.before.pop(operation, lambda: None)()
        if operation in self.failing:
            raise self.failing[operation]

    def _version(self) -> str:
        return str(next(self._versions))


def _found(thing: T | None) -> T:
    if thing is None:
        raise ClusterNotFound("not found")
    return thing


def _expect(holds: bool) -> None:
    if not holds:
        raise ClusterConflict("the object has been modified")


@dataclass
class Webhook:
    """The ``Probe`` of tests: succeeds or fails, and keeps its calls."""

    answers: bool = True
    asked: list[tuple[str, bytes | None]] = field(default_factory=list)

    async def check(self, url: str, ca_bundle: bytes | None) -> None:
        self.asked.append((url, ca_bundle))
        if not self.answers:
            raise ProbeFailed("no response")
