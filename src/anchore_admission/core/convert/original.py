"""Read the files of the Go controller as its libraries do (viper and mapstructure): keys in any case, types by force.

Source: the `Unmarshal` of github.com/spf13/viper with `WeaklyTypedInput`, compared with the program itself by recorded
cases.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from anchore_admission.errors import Problem
from anchore_admission.text import shown

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"", "0", "f", "F", "FALSE", "false", "False"})
_KNOWN = {
    "": {"validator", "anchoreendpoint", "policyselectors"},
    "validator": {"requestanalysis"},
    "entry": {"selector", "policyreference", "mode"},
    "selector": {"resourcetype", "selectorkeyregex", "selectorvalueregex"},
    "policyreference": {"username", "policybundleid"},
    "user": {"username", "password"},
}
_START = "the Go controller does not start with it"


@dataclass(frozen=True, slots=True)
class Selector:
    """One entry of ``PolicySelectors``, as the Go controller reads it; ``path`` is its place in the file."""

    path: str
    resource_type: str
    key: str
    value: str
    username: str
    policy: str
    mode: str


@dataclass(frozen=True, slots=True)
class Original:
    """The Go controller's configuration. ``unused`` are keys without an effect."""

    endpoint: str
    request_analysis: bool
    selectors: tuple[Selector, ...]
    unused: tuple[str, ...]
    forced: tuple[tuple[str, str], ...]
    """Values that are not text, each with its path and the text that they are read as."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A user's name and password; the password is never shown."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credential({self.username!r})"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The users of ``credentials.json``, each once; ``repeated`` users and ``unused`` keys have no effect."""

    users: tuple[Credential, ...]
    repeated: tuple[str, ...]
    unused: tuple[str, ...]


class Rejected(Exception):
    """The Go controller does not start with this file, or what it does is left to chance."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(map(str, problems)))


def read_configuration(document: Any) -> Original:
    """Read the content of ``config.json``. Raises Rejected, with every problem."""
    reader = _Reader()
    root = reader.mapping(document, "")
    validator = reader.mapping(root.get("validator"), "Validator")
    original = Original(
        endpoint=reader.text(root.get("anchoreendpoint"), "AnchoreEndpoint"),
        request_analysis=reader.boolean(validator.get("requestanalysis"), "Validator.RequestAnalysis"),
        selectors=tuple(
            reader.selector(entry, f"PolicySelectors[{place}]")
            for place, entry in enumerate(reader.entries(root.get("policyselectors"), "PolicySelectors"))
        ),
        unused=tuple(reader.unused),
        forced=tuple(reader.forced),
    )
    reader.finish()
    return original


def read_credentials(document: Any) -> Credentials:
    """Read the content of ``credentials.json``. Raises Rejected, with every problem."""
    reader = _Reader()
    root = reader.mapping(document, "credentials", {"users"})
    users: dict[str, Credential] = {}
    repeated = []
    for place, entry in enumerate(reader.entries(root.get("users"), "users")):
        path = f"users[{place}]"
        user = reader.mapping(entry, path, _KNOWN["user"])
        found = Credential(
            reader.text(user.get("username"), f"{path}.username"), reader.text(user.get("password"), f"{path}.password")
        )
        # The first one counts.
        if users.setdefault(found.username, found) is not found:
            repeated.append(path)
    reader.finish()
    return Credentials(tuple(users.values()), tuple(repeated), tuple(reader.unused))


class _Reader:
    """Collects the problems of one document, and what has no effect in it."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.unused: list[str] = []
        self.forced: list[tuple[str, str]] = []

    def finish(self) -> None:
        if self.problems:
            raise Rejected(self.problems)

    def mapping(self, value: Any, path: str, known: set[str] | None = None) -> Mapping[str, Any]:
        """Return a mapping with its keys in lower case."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._reject(path, "expected a mapping")
            return {}
        found: dict[str, Any] = {}
        for key, entry in value.items():
            place = f"{path}.{shown(str(key))}" if path else shown(str(key))
            lower = str(key).lower()
            if lower in found:
                self.problems.append(Problem(place, "stands here twice in different case; chance decides which counts"))
            elif "." in lower and not path:
                self.problems.append(Problem(place, "is read as a path because of its dot; write it as nested keys"))
            found[lower] = entry
            if lower not in (known or _KNOWN.get(path.lower(), set())):
                self.unused.append(place)
        return found

    def entries(self, value: Any, path: str) -> list[Any]:
        """Return a list; a single mapping stands for a list of one."""
        if value is None or value in ("", {}):
            return []
        if isinstance(value, dict):
            return [value]
        if not isinstance(value, list):
            self._reject(path, "expected a list")
            return []
        return value

    def selector(self, value: Any, path: str) -> Selector:
        entry = self.mapping(value, path, _KNOWN["entry"])
        selector = self.mapping(entry.get("selector"), f"{path}.Selector", _KNOWN["selector"])
        reference = self.mapping(entry.get("policyreference"), f"{path}.PolicyReference", _KNOWN["policyreference"])
        return Selector(
            path=path,
            resource_type=self.text(selector.get("resourcetype"), f"{path}.Selector.ResourceType"),
            key=self.text(selector.get("selectorkeyregex"), f"{path}.Selector.SelectorKeyRegex"),
            value=self.text(selector.get("selectorvalueregex"), f"{path}.Selector.SelectorValueRegex"),
            username=self.text(reference.get("username"), f"{path}.PolicyReference.Username"),
            policy=self.text(reference.get("policybundleid"), f"{path}.PolicyReference.PolicyBundleId"),
            mode=self.text(entry.get("mode"), f"{path}.Mode"),
        )

    def text(self, value: Any, path: str) -> str:
        """Return a text; a truth value is 1 or 0, a number its digits."""
        if value is None or isinstance(value, str):
            return value or ""
        if isinstance(value, bool):
            text = str(int(value))
        elif isinstance(value, int | float):
            # Every number of a JSON document is a float64 to Go.
            text = format(Decimal(repr(float(value))), "f").removesuffix(".0")
        else:
            self._reject(path, "expected text")
            return ""
        self.forced.append((path, text))
        return text

    def boolean(self, value: Any, path: str) -> bool:
        if value is None or isinstance(value, bool | int | float):
            return bool(value)
        if isinstance(value, str) and value in _TRUE | _FALSE:
            return value in _TRUE
        self._reject(path, "expected true or false")
        return False

    def _reject(self, path: str, expected: str) -> None:
        self.problems.append(Problem(path, f"{expected}; {_START}"))
