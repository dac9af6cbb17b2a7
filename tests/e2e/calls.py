"""The API server's own metrics of its calls to a webhook."""

from collections.abc import Mapping
from typing import Final

from e2e.cluster.api import Api, Sample

REJECTIONS: Final = "apiserver_admission_webhook_rejection_count"
_REQUESTS: Final = "apiserver_admission_webhook_request_total"
_LET_THROUGH: Final = "apiserver_admission_webhook_fail_open_count"
_ANSWERS: Final = {"200", "403"}
"""The code label of a denial."""


def _counted(api: Api, webhook: str) -> list[Sample]:
    found = api.metrics(_REQUESTS, REJECTIONS, _LET_THROUGH)
    return [sample for sample in found if sample.labels["name"] == webhook]


def answered(api: Api, webhook: str, code: str) -> float:
    return sum(sample.value for sample in _counted(api, webhook) if sample.labels.get("code") == code)


def failed(api: Api, webhook: str) -> dict[str, float]:
    """Return the number of calls that failed or were let through after a failure, by series."""
    return {_series(sample): sample.value for sample in _counted(api, webhook) if _is_failure(sample)}


def more(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return the increase of each series since then, without those that stayed equal."""
    grown = {series: value - before.get(series, 0) for series, value in after.items()}
    return {series: value for series, value in grown.items() if value}


def _is_failure(sample: Sample) -> bool:
    if sample.name == _REQUESTS:
        return sample.labels["code"] not in _ANSWERS
    return sample.name == _LET_THROUGH or sample.labels["error_type"] != "no_error"


def _series(sample: Sample) -> str:
    labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
    return f"{sample.name}{{{labels}}}"
