"""Faults of the sandbox: calls that are slow, fail, hang, or need a part of Anchore that is down."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from anchore_admission.sandbox.seed import Fault, FaultMode

MAX_FAULTS = 100
_CATALOG = ("/images*", "/policies*", "/events", "/system")
# the calls that a part of Anchore takes down with it; the other modes take any call
_SCOPES: dict[FaultMode, tuple[tuple[str, str], ...]] = {
    "policyEngineDown": (("GET", "/images/*/check"), ("POST", "/policies"), ("PUT", "/policies/*")),
    "catalogDown": tuple((method, path) for method in ("GET", "POST", "PUT", "DELETE") for path in _CATALOG),
    "registryDown": (("POST", "/images"),),
}
_OPEN_PATHS = ("/", "/health", "/version", "/swagger.json")


@dataclass(slots=True)
class _Armed:
    fault: Fault
    left: int | None


@dataclass(slots=True)
class Faults:
    """The active faults; the first that matches a call applies to it."""

    _armed: list[_Armed] = field(default_factory=list)

    def replace(self, faults: Sequence[Fault]) -> None:
        self._armed = [_Armed(fault, fault.times) for fault in faults]

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault for one call and count it; ``path`` includes the version: ``/v1/images``."""
        for armed in self._armed:
            if armed.left == 0 or not _applies(armed.fault, method, path):
                continue
            if armed.left is not None:
                armed.left -= 1
            return armed.fault
        return None

    def shown(self) -> list[dict[str, object]]:
        """Return the faults with their remaining counts."""
        return [
            {**armed.fault.model_dump(mode="json", exclude_defaults=True), "mode": armed.fault.mode, "left": armed.left}
            for armed in self._armed
        ]


def _applies(fault: Fault, method: str, path: str) -> bool:
    neutral = path[3:] or "/"  # without /v1 or /v2
    if fault.methods and method not in fault.methods:
        return False
    if fault.paths and not any(_begins(p, pattern) for p in (path, neutral) for pattern in fault.paths):
        return False
    if fault.mode == "databaseDown":
        return neutral not in _OPEN_PATHS
    scope = _SCOPES.get(fault.mode)
    return scope is None or any(method == m and fnmatchcase(neutral, pattern) for m, pattern in scope)


def _begins(path: str, pattern: str) -> bool:
    """Match a prefix or a glob: ``/images`` and ``/images/*/check`` both match a check."""
    return path.startswith(pattern) or fnmatchcase(path, pattern)
