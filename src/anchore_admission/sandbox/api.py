"""The differences between the two APIs: names, and the shapes of responses."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from anchore_admission.sandbox.accounts import Account, User
from anchore_admission.sandbox.checks import Checked
from anchore_admission.sandbox.events import Event
from anchore_admission.sandbox.images import ImageRecord
from anchore_admission.sandbox.policies import StoredPolicy
from anchore_admission.sandbox.policy_models import Document
from anchore_admission.sandbox.registry import Content
from anchore_admission.sandbox.seed import ApiName, State

Json = Any
HOST = "anchore-admission-sandbox"
SANDBOX_MESSAGE = "all good (sandbox)"


@dataclass(frozen=True, slots=True)
class ImageView:
    """An image record at one moment."""

    record: ImageRecord
    state: State
    analyzed_at: float | None
    updated_at: float

    @property
    def content(self) -> Content:
        return self.record.content

    @property
    def status(self) -> str:
        return "active" if self.record.deleted_at is None else "deleting"

    def metadata(self) -> dict[str, Any]:
        """Return the metadata; all null until the first successful analysis."""
        known = self.analyzed_at is not None
        mode = "Actual" if any(row.dockerfile for row in self.record.tags.values()) else "Guessed"
        facts = {
            "arch": self.content.arch,
            "distro": self.content.distro,
            "distro_version": self.content.distro_version,
            "dockerfile_mode": mode,
            "image_size": 1_000_000,
            "layer_count": 1,
        }
        return facts if known else dict.fromkeys(facts)


def view(record: ImageRecord, now: float, analysis_time: float) -> ImageView:
    analyzed_at = record.analyzed_at(now, analysis_time)
    state = record.state(now, analysis_time)
    updated_at = max(record.added_at, record.queued_at)
    return ImageView(record, state, analyzed_at, analyzed_at if state == "analyzed" and analyzed_at else updated_at)


class Api(ABC):
    """One API version; its methods only shape what they are given."""

    name: ClassVar[ApiName]
    service_version: ClassVar[str]
    full_tag: ClassVar[str]
    policy_id: ClassVar[str]
    pull_string: ClassVar[str]
    image_digests: ClassVar[str]
    policy_document: ClassVar[str]
    takes_legacy_adds: ClassVar[bool]
    maps_by_tag_only: ClassVar[bool]
    digest_pattern: ClassVar[str | None]
    takes_unknown_accounts: ClassVar[bool]
    filters_by_id_and_time: ClassVar[bool]
    deletes_unknown_images: ClassVar[bool]
    account_exists: ClassVar[int]
    replaces_policies: ClassVar[bool]
    takes_partial_records: ClassVar[bool]
    words_vary: ClassVar[bool]
    invalid_policy: ClassVar[str]

    @abstractmethod
    def version(self) -> Json: ...

    @abstractmethod
    def image(self, image: ImageView) -> Json: ...

    @abstractmethod
    def images(self, images: Sequence[ImageView]) -> Json: ...

    @abstractmethod
    def check(self, digest: str, checked: Checked, *, detail: bool) -> Json: ...

    @abstractmethod
    def policy(self, account: str, stored: StoredPolicy, *, active: bool, detail: bool) -> Json: ...

    def written_policy(self, account: str, stored: StoredPolicy, *, active: bool) -> Json:
        """Return the response to adding or changing a policy."""
        return self.policy(account, stored, active=active, detail=True)

    @abstractmethod
    def one(self, item: Json) -> Json:
        """Return a single image or policy: v1 wraps it in a list."""

    @abstractmethod
    def deleted(self) -> tuple[int, Json]: ...

    @abstractmethod
    def deletion(self, digest: str, *, found: bool) -> Json:
        """Return the response to the deletion of one image."""

    @abstractmethod
    def service(self, name: str, host: str, facts: Json) -> Json:
        """Return one service of ``/system``."""

    @abstractmethod
    def event(self, account: str, event: Event) -> Json: ...

    @abstractmethod
    def matches_event(self, pattern: str, event_type: str) -> bool:
        """Return whether the filter ``event_type`` lets an event's type through."""

    def account(self, account: Account) -> Json:
        return account.shown()

    def user(self, user: User) -> Json:
        return user.shown()

    @abstractmethod
    def document(self, stored: StoredPolicy) -> Document: ...
