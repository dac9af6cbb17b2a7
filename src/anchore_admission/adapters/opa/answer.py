"""Read OPA's answer: a decision in exactly the expected form, or an error; never "no objection" by accident."""

import json
from collections.abc import Iterator
from typing import Any, Final

from anchore_admission.adapters.failures import cleaned
from anchore_admission.core.hook import HookDecision, ImageOpinion
from anchore_admission.errors import HookFailed, HookInvalid, HookUndefined
from anchore_admission.redaction import cut
from anchore_admission.text import joined_lines, shortened

LARGEST_ANSWER: Final = 256 * 1024
"""Bytes that are read of an answer. It holds every rule of the package, also one that repeats a part of the input."""
MOST_MESSAGES: Final = 64
"""Messages that are kept of one rule; the others are counted."""
LONGEST_MESSAGE: Final = 1024
_REPEATS: Final = "move rules that repeat the input to another package"
"""Advice about an answer that its policy lets the author of the object make too large."""
NO_TEXT: Final = "an objection without a text"
_LONGEST_ID = 100
_KINDS = {dict: "an object", list: "an array", str: "a text", bool: "true or false", type(None): "null"}


def decision_of(body: bytes, policy: str) -> HookDecision:
    """Return the decision in the body of a successful response; ``policy`` is the path that was asked for.

    Raises HookUndefined, HookInvalid, HookFailed.
    """
    if len(body) > LARGEST_ANSWER:
        raise HookFailed(f"OPA's answer is larger than {LARGEST_ANSWER // 1024} KiB; {_REPEATS}")
    answer = _parsed(body)
    if "warning" in answer:
        # OPA evaluates a policy without an input, too, and then finds nothing to deny.
        raise HookInvalid("OPA did not receive the input; look for a proxy that drops the body of requests")
    if "result" not in answer:
        raise HookUndefined(f"OPA has no policy {policy}: it is not loaded, or opa.path names another package")
    result = answer["result"]
    if not isinstance(result, dict):
        why = f"{policy} is {_kind(result)}, not a package; opa.path names the package, not one of its rules"
        raise HookInvalid(f"OPA's answer is not a decision: {why}")
    if "deny" not in result:
        hint = "; a rule allow has no effect" if "allow" in result else ""
        raise HookUndefined(f"the policy {policy} has no rule deny{hint}")
    decision_id = answer.get("decision_id")
    return HookDecision(
        deny=_messages(result["deny"], "deny"),
        warn=_messages(result.get("warn", []), "warn"),
        images=tuple(_opinions(result.get("images", {}))),
        decision_id=cleaned(decision_id, _LONGEST_ID) if isinstance(decision_id, str) else "",
    )


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        # Decoded here: the module json would also read UTF-16 and UTF-32.
        answer = _decoder.decode(body.decode())
    except RecursionError as error:
        raise HookFailed(f"OPA's answer is nested too deeply; {_REPEATS}") from error
    except ValueError as error:
        raise HookInvalid("OPA's answer is not valid JSON") from error
    if not isinstance(answer, dict):
        raise HookInvalid(f"OPA's answer is {_kind(answer)}, not an object")
    return answer


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object has two members of the same name")
    return members


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


_decoder: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_number)


def _messages(value: Any, place: str) -> tuple[str, ...]:
    """Return the messages of a rule in the order of their texts: OPA sends a set in no order."""
    if not isinstance(value, list):
        raise HookInvalid(f"OPA's answer is not a decision: {place} is {_kind(value)}, not a set of messages")
    texts = sorted({_message(entry, place) for entry in value})
    # Too many messages are still a denial: the author of an object must not be able to turn it into a missing decision.
    more = len(texts) - MOST_MESSAGES
    return tuple(texts) if more <= 0 else (*texts[:MOST_MESSAGES], f"{more} more messages of the policy")


def _message(entry: Any, place: str) -> str:
    text = entry.get("msg") if isinstance(entry, dict) else entry
    if not isinstance(text, str):
        wanted = "expected texts, or objects with a text msg"
        raise HookInvalid(f"OPA's answer is not a decision: an entry of {place} has no text; {wanted}")
    # Empty or invisible where the policy quotes an annotation, for example: a denial all the same.
    return _line(text) or NO_TEXT


def _line(text: str) -> str:
    """Return one printable line: policies quote what the author of the object wrote."""
    return shortened(joined_lines(cut(text, 4 * LONGEST_MESSAGE)).strip(), LONGEST_MESSAGE)


def _opinions(value: Any) -> Iterator[ImageOpinion]:
    if not isinstance(value, dict):
        raise HookInvalid(f"OPA's answer is not a decision: images is {_kind(value)}, not an object")
    for reference, opinion in sorted(value.items()):
        if not isinstance(opinion, dict):
            raise HookInvalid(f"OPA's answer is not a decision: an image's entry is {_kind(opinion)}, not an object")
        deny, warn = (_messages(opinion.get(key, []), f"{key} of an image") for key in ("deny", "warn"))
        yield ImageOpinion(reference, deny, warn)


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a number")
