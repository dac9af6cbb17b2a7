"""A program of the cluster that runs beside the tests."""

import signal
import subprocess
from collections.abc import Mapping, Sequence

from e2e.cluster.places import LOGS


class Daemon:
    """A daemon that can be restarted; its log is appended to."""

    def __init__(self, name: str, command: Sequence[object], environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._command = [str(part) for part in command]
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (LOGS / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - what the cluster consists of
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, how: signal.Signals = signal.SIGTERM, patience: float = 10) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def signal(self, which: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(which)

    def require(self) -> bool:
        """Return True while the daemon runs. Raises RuntimeError with the end of its log."""
        if not self.running:
            end = (LOGS / f"{self.name}.log").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self.name} has ended:\n{end}")
        return True
