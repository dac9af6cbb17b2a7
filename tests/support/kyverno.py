"""As much of Kyverno as the example policy needs: the context of a rule, substitution, and conditions."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jmespath

_VARIABLE = re.compile(r"\{\{ (.+?) \}\}")
Json = Any
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "AnyNotIn": lambda key, value: any(each not in value for each in key),
    "GreaterThan": operator.gt,
    "Equals": operator.eq,
}


class CallFailed(Exception):
    """A service call without an answer of status 2xx in JSON: an error of the rule, which denies."""


@dataclass
class KyvernoRule:
    """A validation rule of a ClusterPolicy. ``call`` sends the body of a service call and returns the answer."""

    rule: Mapping[str, Any]
    call: Callable[[Json], Json]
    values: dict[str, Any] = field(default_factory=dict)

    def denials(self, request: Mapping[str, Any]) -> list[str]:
        """Return the messages of the conditions that deny a request; none if the rule does not apply."""
        self.values = {"request": request}
        for entry in self.rule["context"]:
            if "variable" in entry:
                found = jmespath.search(entry["variable"]["jmesPath"], self.values)
                self.values[entry["name"]] = entry["variable"].get("default") if found is None else found
        if not all(self._holds(condition) for condition in self.rule["preconditions"]["all"]):
            return []
        (entry,) = (entry for entry in self.rule["context"] if "apiCall" in entry)
        body = {item["key"]: self._substituted(item["value"]) for item in entry["apiCall"]["data"]}
        self.values[entry["name"]] = self.call(body)
        conditions = self.rule["validate"]["deny"]["conditions"]["any"]
        return [self._substituted(each["message"]) for each in conditions if self._holds(each)]

    def _holds(self, condition: Mapping[str, Any]) -> bool:
        key, value = self._substituted(condition["key"]), self._substituted(condition["value"])
        return _OPERATORS[condition["operator"]](key, value)

    def _substituted(self, text: Json) -> Json:
        """Return the value of a text that is one variable, or the text with its variables replaced."""
        if not isinstance(text, str):
            return text
        if whole := _VARIABLE.fullmatch(text):
            return jmespath.search(whole[1], self.values)
        return _VARIABLE.sub(lambda found: str(jmespath.search(found[1], self.values)), text)
