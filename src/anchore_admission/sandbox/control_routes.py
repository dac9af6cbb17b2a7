"""The sandbox's own control routes, without credentials: description, faults, contents of the registry."""

from collections.abc import Sequence
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import TypeAdapter, ValidationError

from anchore_admission.models.problems import path
from anchore_admission.sandbox.calls import Endpoint, read_json
from anchore_admission.sandbox.faults import MAX_FAULTS
from anchore_admission.sandbox.seed import ApiName, Fault, RegistryEntry
from anchore_admission.sandbox.world import World

_FAULTS: TypeAdapter[tuple[Fault, ...]] = TypeAdapter(tuple[Fault, ...])
_ENTRIES: TypeAdapter[tuple[RegistryEntry, ...]] = TypeAdapter(tuple[RegistryEntry, ...])
T = TypeVar("T")


class _Unreadable(Exception):
    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


async def _items(request: Request, adapter: TypeAdapter[tuple[T, ...]], most: int) -> tuple[T, ...]:
    """Read a list from the body, or one item of it."""
    body: Any = await read_json(request)
    try:
        items = adapter.validate_python(body if isinstance(body, list) else [body])
    except ValidationError as error:
        problems = [f"{path(e['loc'])}: {e['msg']}" for e in error.errors(include_url=False)]
        raise _Unreadable(problems) from error
    if len(items) > most:
        raise _Unreadable([f"at most {most} items at a time"])
    return items


def _guarded(serve: Endpoint) -> Endpoint:
    async def guarded(request: Request) -> Response:
        try:
            return await serve(request)
        except _Unreadable as error:
            return JSONResponse({"message": "cannot be read", "problems": error.problems}, 400)

    return guarded


def control_endpoints(world: World, api_versions: Sequence[ApiName]) -> dict[tuple[str, str], Endpoint]:
    async def describe(_request: Request) -> Response:
        about = "This is anchore-admission's sandbox, not Anchore. It analyzes nothing: its findings come from a seed."
        facts = {"apiVersions": list(api_versions), "accounts": list(world.directory.accounts)}
        counts = {"images": world.image_count(), "faults": world.faults.shown()}
        return JSONResponse({"sandbox": True, "about": about, "analysisTime": world.analysis_time, **facts, **counts})

    async def get_faults(_request: Request) -> Response:
        return JSONResponse({"faults": world.faults.shown()})

    async def put_faults(request: Request) -> Response:
        world.faults.replace(await _items(request, _FAULTS, MAX_FAULTS))
        return JSONResponse({"faults": world.faults.shown()})

    async def delete_faults(_request: Request) -> Response:
        world.faults.replace(())
        return JSONResponse({"faults": []})

    async def get_registry(_request: Request) -> Response:
        return JSONResponse({"tags": world.registry.tags()})

    async def put_registry(request: Request) -> Response:
        for entry in await _items(request, _ENTRIES, MAX_FAULTS):
            world.registry.put(entry)
        return JSONResponse({"tags": world.registry.tags()})

    return {
        ("GET", "/sandbox"): describe,
        ("GET", "/sandbox/faults"): get_faults,
        ("PUT", "/sandbox/faults"): _guarded(put_faults),
        ("DELETE", "/sandbox/faults"): delete_faults,
        ("GET", "/sandbox/registry"): get_registry,
        ("PUT", "/sandbox/registry"): _guarded(put_registry),
    }
