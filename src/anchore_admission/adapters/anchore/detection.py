"""Detect the API version of an Anchore on the first call, and again when its paths are no longer served."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter

from anchore_admission.adapters.anchore.dialect import AnchoreApi
from anchore_admission.adapters.anchore.endpoint import Root
from anchore_admission.adapters.anchore.http import AnchoreHttp, Call
from anchore_admission.adapters.anchore.responses import AnchoreResponse, WrongPath, bad_request, parse
from anchore_admission.adapters.anchore.v1 import V1
from anchore_admission.adapters.anchore.v2 import V2
from anchore_admission.core.facts import AnalysisState, ImageRecord, PolicyEvaluation, PolicyVersion
from anchore_admission.core.hints import Events
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.errors import AnchoreResponseInvalid, DeadlineExceeded, EvaluationError
from anchore_admission.models.configuration import ApiVersion
from anchore_admission.ports.anchore import Anchore, Identity
from anchore_admission.ports.deadline import Clock, Deadline

T = TypeVar("T")

logger = logging.getLogger("anchore_admission.anchore")
_BACK_OFF = 1.0
_WRONG_PATHS = 3
_AT_V1, _AT_V2, _AT_ROOT = ("v1", "version"), ("v2", "version"), ("version",)
# Enterprise 4.9 serves both versions: prefer v2, unless the configured address ends in /v1.
_PROBES: tuple[tuple[str, ...], ...] = (_AT_V2, _AT_ROOT, _AT_V1)
_PROBES_OF_V1: tuple[tuple[str, ...], ...] = (_AT_V1, _AT_V2, _AT_ROOT)


class _Part(BaseModel):
    version: str | None = None


class _Versions(BaseModel):
    service: _Part | None = None
    api: _Part | None = None


_versions = TypeAdapter(_Versions)


class DetectingAnchore:
    """The port ``Anchore`` over the detected API version, or the one that the configuration sets."""

    def __init__(
        self,
        http: AnchoreHttp,
        root: Root,
        version: ApiVersion = ApiVersion.AUTO,
        *,
        keeps_warnings: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        self._http = http
        self._apis: dict[ApiVersion, Anchore] = {
            ApiVersion.V1: AnchoreApi(http, V1, keeps_warnings=keeps_warnings),
            ApiVersion.V2: AnchoreApi(http, V2, keeps_warnings=keeps_warnings),
        }
        self._probes = _PROBES_OF_V1 if root.hint is ApiVersion.V1 else _PROBES
        self._fixed = version is not ApiVersion.AUTO
        self._version = version
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._failure: EvaluationError | None = None
        self._not_before = 0.0
        self._wrong_paths = 0

    @property
    def version(self) -> ApiVersion:
        """The detected version; ``auto`` until then."""
        return self._version

    @property
    def identity(self) -> Identity:
        return self._http.identity

    async def detect(self, deadline: Deadline) -> ApiVersion:
        """Return the version; detect it if it is unknown. One caller does, the others wait until their own deadlines.

        Raises EvaluationError.
        """
        if self._version is ApiVersion.AUTO:
            async with deadline.bound(), self._one_at_a_time:
                if self._version is ApiVersion.AUTO:
                    self._version = await self._detected(deadline)
        return self._version

    async def by_tag(self, full_tag: str, deadline: Deadline) -> ImageRecord | None:
        return await self._call(deadline, lambda api: api.by_tag(full_tag, deadline))

    async def by_digest(self, digest: str, deadline: Deadline) -> ImageRecord | None:
        return await self._call(deadline, lambda api: api.by_digest(digest, deadline))

    async def check(
        self, digest: str, full_tag: str, policy: str | None, deadline: Deadline
    ) -> PolicyEvaluation | AnalysisState:
        return await self._call(deadline, lambda api: api.check(digest, full_tag, policy, deadline))

    async def submit(self, request: AnalysisRequest, deadline: Deadline) -> ImageRecord:
        return await self._call(deadline, lambda api: api.submit(request, deadline))

    async def policies(self, deadline: Deadline) -> tuple[PolicyVersion, ...]:
        return await self._call(deadline, lambda api: api.policies(deadline))

    async def events(self, since: str, deadline: Deadline) -> Events:
        return await self._call(deadline, lambda api: api.events(since, deadline))

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _call(self, deadline: Deadline, operation: Callable[[Anchore], Awaitable[T]]) -> T:
        version = await self.detect(deadline)
        try:
            result = await operation(self._apis[version])
        except WrongPath:
            self._doubt(version)
            raise
        self._wrong_paths = 0
        return result

    def _doubt(self, version: ApiVersion) -> None:
        """Detect the version again after several wrong paths: an upgrade from 4.8 to 5.x replaces v1 by v2."""
        # A call that began before the last detection says nothing about the version in use.
        if self._fixed or version is not self._version:
            return
        self._wrong_paths += 1
        if self._wrong_paths >= _WRONG_PATHS:
            self._wrong_paths = 0
            self._version = ApiVersion.AUTO

    async def _detected(self, deadline: Deadline) -> ApiVersion:
        if self._failure is not None and self._clock() < self._not_before:
            # A new error: raising the same one again would keep the frames of every caller alive.
            raise type(self._failure)(str(self._failure))
        try:
            version = await self._probe(deadline)
        except DeadlineExceeded:
            # The caller's time was short; that says nothing about Anchore, so the next caller may try at once.
            raise
        except EvaluationError as error:
            self._failure = error
            self._not_before = self._clock() + _BACK_OFF
            raise
        self._failure = None
        logger.info("detected Anchore's API version: %s", version)
        return version

    async def _probe(self, deadline: Deadline) -> ApiVersion:
        """Try one path after the other. Any failure but "not served" leaves the version unknown."""
        for path in self._probes:
            version = await self._http.call(Call("version", path, probe=True), deadline, _spoken)
            # At the path of v2, a response without a version proves nothing: try the other paths.
            if version is ApiVersion.V2 or (version is ApiVersion.V1 and path is not _AT_V2):
                return version
        raise AnchoreResponseInvalid("no Anchore API at this address; check the endpoint")


def _spoken(response: AnchoreResponse) -> ApiVersion | None:
    """Return the version that a response names, None if it is not Anchore's; API v1 leaves its version out."""
    if response.is_not_served:
        return None
    if not response.is_success:
        raise bad_request(response)
    versions = parse(_versions, response)
    match (versions.api.version if versions.api else None) or "":
        # The specification promises a semantic version; in responses it may be a plain 2.
        case text if text.startswith("2"):
            return ApiVersion.V2
        case "":
            return ApiVersion.V1 if versions.service and versions.service.version else None
        case text if text[0] in "01":
            return ApiVersion.V1
        case _:
            raise AnchoreResponseInvalid("Anchore speaks an API version that is not supported")
