"""Steady dry runs at the API server with known outcomes, while the controller is disturbed."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import httpx

from e2e import calls
from e2e.cluster.api import Answer, Api
from e2e.cluster.waiting import until
from e2e.release import WEBHOOK
from e2e.things import FAILING, PASSING, thing

ASKERS: Final = 4
PAUSE: Final = 0.05
"""Seconds between two requests of a thread."""


@dataclass(slots=True)
class Load:
    """Steady load of dry runs: they reach the controller and leave nothing."""

    asked: int = 0
    failed: list[tuple[float, str]] = field(default_factory=list)
    """Time and message of every failed call of the API server to the webhook."""
    wrong: list[str] = field(default_factory=list)
    counted: dict[str, float] = field(default_factory=dict)
    """Failed calls that the API server had counted at the start."""
    _stopped: threading.Event = field(default_factory=threading.Event)

    def more(self, count: int = 100) -> None:
        """Wait for this many more responses."""
        goal = self.asked + count
        until(lambda: self.asked >= goal, f"{count} more answers")

    def missed(self) -> dict[str, float]:
        """Return the failed calls that the API server has counted since, of all clients."""
        with Api() as api:
            return calls.more(self.counted, calls.failed(api, WEBHOOK))

    def ask(self, namespace: str) -> None:
        with Api() as api:
            turn = 0
            while not self._stopped.wait(PAUSE):
                turn += 1
                image = (PASSING, FAILING)[turn % 2]
                try:
                    answer = api.create(namespace, thing("Pod", image, name=f"load-{turn}"), dry_run=True)
                except httpx.HTTPError as error:
                    self.failed.append((time.monotonic(), f"API server: {error!r}"))
                    continue
                self._judge(image, answer)

    def stop(self) -> None:
        self._stopped.set()

    def _judge(self, image: str, answer: Answer) -> None:
        self.asked += 1
        if answer.code >= 500:
            self.failed.append((time.monotonic(), answer.message))
        elif image == PASSING and answer.code != 201:
            self.wrong.append(answer.message)
        elif image == FAILING and "failed policy checks" not in answer.message:
            self.wrong.append(f"{answer.code} {answer.message or 'admitted'}")


@contextmanager
def steady(namespace: str) -> Iterator[Load]:
    with Api() as api:
        load = Load(counted=calls.failed(api, WEBHOOK))
    askers = [threading.Thread(target=load.ask, args=[namespace]) for _ in range(ASKERS)]
    for requester in askers:
        requester.start()
    try:
        load.more()
        yield load
    finally:
        load.stop()
        for requester in askers:
            requester.join()
