"""An Anchore Enterprise that the test plays, in API v2."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from anchore_admission.core.names import AnalysisRequest
from anchore_admission.errors import EvaluationError
from anchore_admission.models.configuration import ApiVersion
from anchore_admission.ports.anchore import Anchore
from support.anchore_calls import DIGEST, TAG, Played, answering, client, deadline, playing

OLD, NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


def asking(answer: httpx.Response | Any, *, keeps_warnings: bool = False) -> tuple[Anchore, Played]:
    played = playing(answer) if isinstance(answer, httpx.Response) else Played(answering(answer))
    return client(played.transport(), ApiVersion.V2, keeps_warnings=keeps_warnings), played


def image(digest: str = DIGEST, *tags: tuple[str, str], **more: Any) -> dict[str, Any]:
    details = [{"full_tag": tag, "tag_detected_at": time} for tag, time in tags or ((TAG, OLD),)]
    return {"image_digest": digest, "analysis_status": "analyzed", "image_detail": details, **more}


async def refusal(answer: httpx.Response | Any, operation: str) -> EvaluationError:
    anchore, _ = asking(answer)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "by_tag": lambda: anchore.by_tag(TAG, deadline()),
        "by_digest": lambda: anchore.by_digest(DIGEST, deadline()),
        "check": lambda: anchore.check(DIGEST, TAG, "p", deadline()),
        "submit": lambda: anchore.submit(AnalysisRequest(TAG), deadline()),
    }
    with pytest.raises(EvaluationError) as caught:
        await calls[operation]()
    return caught.value
