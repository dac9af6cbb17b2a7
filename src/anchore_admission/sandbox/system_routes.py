"""The service itself: version, health, status, services, feeds."""

from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from anchore_admission.sandbox.api import HOST, SANDBOX_MESSAGE, Api
from anchore_admission.sandbox.calls import OWN, Call, Endpoint, Operation, respond
from anchore_admission.sandbox.times import rfc3339

_SERVICES = {"simplequeue": 8283, "analyzer": 8284, "policy_engine": 8287, "catalog": 8282, "apiext": 8228}
_ERROR_CODES = {
    "REGISTRY_PERMISSION_DENIED": "The registry has reported permission denied for the requested registry resource",
    "REGISTRY_IMAGE_NOT_FOUND": "The requested image (tag, digest) cannot be found in the requested registry",
    "REGISTRY_NOT_ACCESSIBLE": "The registry is not accessible on the network from the anchore engine service",
    "REGISTRY_NOT_SUPPORTED": "Anchore cannot access the specified registry as supporting the v2 registry API",
    "SKOPEO_UNKNOWN_ERROR": "The skopeo command has failed due to an error that is not explicitly handled",
    "UNKNOWN": "An unknown error has occurred, please consult the anchore service logs for more information",
}


def open_endpoints(api: Api) -> dict[str, Endpoint]:
    """Return the routes that need no credentials."""

    async def root(_request: Request) -> Response:
        return JSONResponse(api.name)

    async def health(_request: Request) -> Response:
        return JSONResponse("ok")

    async def version(_request: Request) -> Response:
        return JSONResponse(api.version())

    async def swagger(_request: Request) -> Response:
        # anchore-cli reads only info.version, and sends tags in the query from 0.1.6 on
        return JSONResponse({"swagger": "2.0", "info": {"title": "anchore-admission sandbox", "version": "0.1.20"}})

    served: dict[str, Endpoint] = {"": root, "/health": health, "/version": version}
    return served | {"/swagger.json": swagger} if api.name == "v1" else served


def _status(api: Api) -> dict[str, Any]:
    version = api.version()
    return {
        "available": True,
        "busy": False,
        "up": True,
        "message": SANDBOX_MESSAGE,
        "version": version["service"]["version"],
        "db_version": version["db"]["schema_version"],
        "detail": {"sandbox": True},
    }


async def get_status(call: Call) -> Response:
    return respond(_status(call.api))


async def get_system(call: Call) -> Response:
    """Return the states of services. Like a real engine, report a service as up unless the catalog itself is down."""
    states = [
        call.api.service(
            name,
            HOST,
            {
                "base_url": f"http://127.0.0.1:{port}",
                "status": True,
                "status_message": "available",
                "version": call.api.name,
                "service_detail": _status(call.api),
            },
        )
        for name, port in _SERVICES.items()
    ]
    return respond({"service_states": [] if call.fault == "catalogDown" else states})


async def get_feeds(call: Call) -> Response:
    """Return one synchronized feed: ``anchore-cli system wait`` waits for it."""
    time = rfc3339(call.world.clock())
    group = {"name": "sandbox", "enabled": True, "last_sync": time, "record_count": 0, "created_at": time}
    feed = {"name": "vulnerabilities", "enabled": True, "last_full_sync": time, "created_at": time, "updated_at": time}
    return respond([{**feed, "groups": [group]}])


async def get_error_codes(_call: Call) -> Response:
    return respond([{"name": name, "description": text} for name, text in _ERROR_CODES.items()])


OPERATIONS = (
    Operation("GET", "/status", OWN, get_status),
    Operation("GET", "/system", OWN, get_system),
    Operation("GET", "/system/feeds", OWN, get_feeds),
    Operation("GET", "/system/error_codes", OWN, get_error_codes, only="v1"),
    Operation("GET", "/system/error-codes", OWN, get_error_codes, only="v2"),
)
