"""The sandbox's web application."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from anchore_admission.sandbox import (
    account_routes,
    event_routes,
    image_routes,
    policy_routes,
    responses,
    system_routes,
)
from anchore_admission.sandbox.api import Api
from anchore_admission.sandbox.calls import endpoint
from anchore_admission.sandbox.control_routes import control_endpoints
from anchore_admission.sandbox.default_seed import DEFAULT_SEED
from anchore_admission.sandbox.front import Front
from anchore_admission.sandbox.seed import ApiName, Seed
from anchore_admission.sandbox.v1 import V1
from anchore_admission.sandbox.v2 import V2
from anchore_admission.sandbox.world import World, world_from

_APIS: dict[ApiName, Api] = {"v1": V1(), "v2": V2()}
_OPERATIONS = (
    *system_routes.OPERATIONS,
    *account_routes.OPERATIONS,
    *policy_routes.OPERATIONS,
    *image_routes.OPERATIONS,
    *event_routes.OPERATIONS,
)
logger = logging.getLogger("anchore_admission.sandbox")


def create_sandbox(
    seed: Seed | None = None,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> FastAPI:
    """Create a simulated Anchore with the state of a seed, or of the built-in one.

    ``clock`` determines the progress of analyses; a slow call waits by ``sleep``.
    """
    seed = seed or DEFAULT_SEED
    world = world_from(seed, clock)
    # no generated documentation: the paths are Anchore's, and the page would load assets from a CDN
    app = FastAPI(title="anchore-admission sandbox", openapi_url=None, redirect_slashes=False)
    for name in seed.api_versions:
        _serve(app, _APIS[name], world)
    for (method, path), serve in control_endpoints(world, seed.api_versions).items():
        app.add_api_route(path, serve, methods=[method])
    app.add_exception_handler(responses.AnchoreError, responses.on_anchore_error)
    app.add_exception_handler(responses.ProblemError, responses.on_problem)
    app.add_exception_handler(responses.UnauthorizedError, responses.on_unauthorized)
    app.add_exception_handler(HTTPException, responses.on_http_exception)
    app.add_middleware(Front, api_versions=seed.api_versions, faults=world.faults, sleep=sleep)
    versions = ", ".join(seed.api_versions)
    logger.warning("This is a sandbox, not Anchore: API %s, %d images from its seed", versions, world.image_count())
    return app


def _serve(app: FastAPI, api: Api, world: World) -> None:
    for path, serve in system_routes.open_endpoints(api).items():
        app.add_api_route(f"/{api.name}{path}", serve, methods=["GET"])
    for operation in (o for o in _OPERATIONS if o.only in (None, api.name)):
        serve = endpoint(operation, api, world)
        app.add_api_route(f"/{api.name}{operation.path}", serve, methods=[operation.method])
