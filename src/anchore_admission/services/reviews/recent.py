"""A bounded record of submissions: when each image was submitted last, and Anchore's response."""

import asyncio
from collections import OrderedDict
from collections.abc import ItemsView, Sequence
from dataclasses import dataclass, field, replace

from anchore_admission.core.facts import ResolvedTag, Submission, SubmissionState
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.core.tags import LastSubmission

REMEMBERED = 10_000
"""Images whose latest submission is kept; the least recently used are forgotten first."""

Key = tuple[str, AnalysisRequest]
"""An account and the image that is submitted in it."""


@dataclass(slots=True)
class Entry:
    """The latest submission of one image in one account, and its progress."""

    last: LastSubmission = field(default_factory=LastSubmission)
    looked_up: str | None = None
    """The digest that a look-up found before the submission; empty: none, None: there was no look-up."""
    attempts: int = 0
    active: bool = False
    """True from the request until its final outcome; then it may be forgotten."""
    _ends: asyncio.Event | None = None
    """Set at the end of the attempt that is queued or under way; None without one, since an event takes 700 bytes."""

    def begin(self) -> None:
        """Note that an attempt is queued."""
        self._ends = self._ends or asyncio.Event()

    def end(self) -> None:
        """Note that no attempt is queued or under way, and let those go on that wait for it."""
        if self._ends is not None:
            self._ends.set()
            self._ends = None

    async def ended(self) -> None:
        """Wait while an attempt is queued or under way."""
        if self._ends is not None:
            await self._ends.wait()


class Recent:
    """The latest submission of each image, for ``most`` images."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._entries: OrderedDict[Key, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, key: Key) -> Entry:
        return self._entries[key]

    def items(self) -> ItemsView[Key, Entry]:
        return self._entries.items()

    def use(self, key: Key) -> Entry | None:
        """Return the entry, if there is one, and mark it as the most recently used."""
        entry = self._entries.get(key)
        if entry:
            self._entries.move_to_end(key)
        return entry

    def keep(self, key: Key, entry: Entry) -> None:
        """Add an entry. If there are too many, forget the least recently used one that is not active."""
        self._entries[key] = entry
        if len(self._entries) > self._most:
            # An active entry stays: its key is in the queue or in a retry, and the worker looks the entry up by it.
            oldest = next((key for key, entry in self._entries.items() if not entry.active), None)
            if oldest is not None:
                del self._entries[oldest]

    def remove(self, key: Key) -> None:
        """Forget one submission."""
        del self._entries[key]

    def forget(self) -> None:
        """Forget every response. What is under way stays, as if it were the first submission of its image."""
        self._entries = OrderedDict((key, entry) for key, entry in self._entries.items() if entry.active)
        for entry in self._entries.values():
            entry.last = replace(entry.last, submission=Submission(SubmissionState.REQUESTED), resolved=None)

    def resolved(self, account: str, names: Sequence[str]) -> ResolvedTag | None:
        """Return the latest digest that Anchore resolved a tag to, submitted under any of its names."""
        entries = (self._entries.get((account, AnalysisRequest(name))) for name in names)
        found = [entry.last.resolved for entry in entries if entry and entry.last.resolved]
        return max(found, key=lambda resolved: resolved.at, default=None)
