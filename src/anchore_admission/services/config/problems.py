"""Describe mistakes in the configuration file in the file's own terms: paths of keys, allowed values, near misses."""

import difflib
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from anchore_admission.errors import Problem
from anchore_admission.models.configuration import Configuration
from anchore_admission.models.problems import path

Location = tuple[int | str, ...]

_KEY_HINTS = {
    # Renamed before version 1.0.
    "passive.refreshInterval": "renamed to tags.refreshInterval",
    "analysis": "renamed to submissions",
    "limits.answer": "renamed to limits.anchoreResponse",
    # Keys of anchore/kubernetes-admission-controller.
    "validator": "a key of the original controller; use defaults.requestAnalysis",
    "anchoreEndpoint": "a key of the original controller; use anchore.endpoint",
    "policySelectors": "a key of the original controller; use rules, or run config convert",
    "rules[].undecided": "config convert could not convert the selector exactly; check the rule, then remove this key",
    "rules[].selector": "a key of the original controller; use match",
    "rules[].policyReference": "a key of the original controller; use account and policy",
    "rules[].policyBundleId": "a key of the original controller; use policy",
    "users": "a key of the original controller; use accounts",
}
"""Keys that the file does not have, and what to write instead. ``[]`` stands for any entry of a list."""
_PUNCTUATION = re.compile(r"[^a-z0-9]")
_QUOTED = re.compile(r"'([^']{0,1000})'")
_SECRET = re.compile(r"user_?name|pass(word|wd)?$|secret|token|credential|api_?key|private_?key", re.IGNORECASE)
_UNITS = {"passive": "s", "sharedStore": "s", "tags": "s", "timeouts": "s", "limits": " bytes"}
_NAME = "expected letters, digits, '.', '_' and '-', at most 63, with a letter or digit at either end"
_URL = "expected an http or https address such as http://anchore-engine-api.anchore.svc:8228"
_MAPPING = "expected a mapping of keys to values; remove the key if it is empty"

_WORDS = {
    "missing": "is required",
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dict_type": _MAPPING,
    "list_type": "expected a list; remove the key if it is empty",
    "string_type": "expected text; put it in quotes",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty; leave the key out if anything may match",
    "string_pattern_mismatch": _NAME,
    "string_sub_type": "expected text; put it in quotes",
    "invalid_key": "a key must be text; put it in quotes",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_parsing_size": "expected a smaller number",
    "int_from_float": "expected a whole number",
    "url_type": _URL,
    "url_parsing": _URL,
    "url_syntax_violation": _URL,
    "url_scheme": _URL,
    "url_too_long": "is too long",
}
_TEMPLATES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "enum": lambda context: f"expected one of {_listed(context['expected'])}",
    "literal_error": lambda context: f"expected one of {_listed(context['expected'])}",
    "greater_than_equal": lambda context: f"expected at least {_number(context['ge'])}",
    "greater_than": lambda context: f"expected more than {_number(context['gt'])}",
    "less_than_equal": lambda context: f"expected at most {_number(context['le'])}",
    "too_long": lambda context: f"expected at most {context['max_length']} entries",
    "string_too_long": lambda context: f"expected at most {context['max_length']} characters",
    "value_error": lambda context: str(context["error"]),
}


def problems_of(error: ValidationError, file: type[BaseModel] = Configuration) -> list[Problem]:
    """Return every mistake, in the order of the file's sections; no text repeats the value found."""
    return [
        Problem(path(details["loc"]), _words(details["type"], details["loc"], details.get("ctx", {}), file))
        for details in error.errors(include_url=False, include_input=False)
    ]


def _words(kind: str, location: Location, context: Mapping[str, Any], file: type[BaseModel]) -> str:
    if kind == "extra_forbidden":
        return _unknown_key(location, file)
    if kind == "too_short" and location[-1] == "allowed":
        return "must list at least one value"
    if kind == "too_short" and location[-1] == "cases":
        return "must list at least one case"
    if kind in _TEMPLATES:
        bound = kind in {"greater_than_equal", "greater_than", "less_than_equal"}
        return _TEMPLATES[kind](context) + (_unit(location) if bound else "")
    return _WORDS.get(kind, "is not valid here")


def _unit(location: Location) -> str:
    return "" if location[-1] in {"images", "exemptionDays"} else _UNITS.get(str(location[0]), "")


def _unknown_key(location: Location, file: type[BaseModel]) -> str:
    key = str(location[-1])
    if hint := _hint(location):
        return hint
    known = {_plain(name): name for name in _keys(location[:-1], file)}
    close = difflib.get_close_matches(_plain(key), known, n=1)
    if _SECRET.search(key) and not (close and close[0] == _plain(key)):
        return "unknown key; secrets come from files (usernameFile, passwordFile, apiKeyFile) or the environment"
    return f"unknown key; did you mean {known[close[0]]}?" if close else "unknown key"


def _hint(location: Location) -> str:
    """Return the hint for a known wrong key. Case is ignored, as the original controller ignores it."""
    written = re.sub(r"\[\d{1,9}\]", "[]", path(location)).lower()
    return next((hint for key, hint in _KEY_HINTS.items() if key.lower() == written), "")


def _keys(location: Location, file: type[BaseModel]) -> list[str]:
    """Return the keys that the section at a path has."""
    model: type[BaseModel] | None = file
    for part in location:
        if isinstance(part, str) and model is not None:
            field = next((field for field in model.model_fields.values() if field.alias == part), None)
            model = _model_in(field.annotation) if field else None
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, typing.get_args(annotation))), None)


def _plain(key: str) -> str:
    return _PUNCTUATION.sub("", key.lower())


def _listed(expected: str) -> str:
    """Turn Pydantic's ``'a', 'b' or 'c'`` into ``a, b, c``."""
    return ", ".join(_QUOTED.findall(expected))


def _number(value: float) -> str:
    return f"{value:.12g}"
