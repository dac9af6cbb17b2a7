"""Answers of Anchore as bytes, for the entries of the shared store."""

import hashlib
import json
from typing import Final

from pydantic import TypeAdapter, ValidationError

from anchore_admission.core.answers import Value
from anchore_admission.core.facts import AnalysisState, ImageRecord, PolicyEvaluation

_MEANING: Final = 1
"""Raised when a field of an answer keeps its name and type, but means something else."""
_RECORD: Final = TypeAdapter(ImageRecord)
_EVALUATION: Final = TypeAdapter(PolicyEvaluation)
_ADAPTERS: Final[dict[bytes, TypeAdapter[ImageRecord] | TypeAdapter[PolicyEvaluation]]] = {
    b"r": _RECORD,
    b"e": _EVALUATION,
}
SCHEMA: Final = hashlib.sha256(
    json.dumps([_MEANING, _RECORD.json_schema(), _EVALUATION.json_schema()], sort_keys=True).encode()
).hexdigest()
"""Part of every key in the store: releases whose answers differ in form do not see each other's entries."""
_LEAST_FINDING: Final = len('{"gate":"","trigger":"","trigger_id":"","message":"","recommendation":"","action":""}')


def encode(value: Value, limit: int) -> bytes | None:
    """Return the answer as bytes; None if it is not final, so that others must ask, or larger than ``limit``."""
    if isinstance(value, ImageRecord) and value.state is AnalysisState.ANALYZED:
        data = b"r" + _RECORD.dump_json(value)
    # An evaluation may have thousands of findings: do not write those that cannot fit.
    elif isinstance(value, PolicyEvaluation) and _rows(value) * _LEAST_FINDING <= limit:
        data = b"e" + _EVALUATION.dump_json(value)
    else:
        return None
    return data if len(data) <= limit else None


def _rows(evaluation: PolicyEvaluation) -> int:
    return len(evaluation.findings) + len(evaluation.warnings)


def decode(data: bytes) -> ImageRecord | PolicyEvaluation | None:
    """Return the answer; None if the bytes are not exactly what ``encode`` writes."""
    adapter = _ADAPTERS.get(data[:1])
    if adapter is None:
        return None
    try:
        value = adapter.validate_json(data[1:], strict=True)
    except ValidationError:
        return None
    # pydantic ignores unknown members and fills in absent ones.
    return value if encode(value, len(data)) == data else None
