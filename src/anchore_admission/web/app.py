"""The application on the webhook port: admission, reviews by hand, and their documentation with bundled assets."""

from collections.abc import Awaitable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from anchore_admission import __version__
from anchore_admission.errors import MethodNotAllowed, NotServed
from anchore_admission.web import schema
from anchore_admission.web.admission import AdmissionEndpoint
from anchore_admission.web.body import status_document
from anchore_admission.web.documentation import SafeHeaders, documented_app
from anchore_admission.web.manual import ManualEndpoint

VALIDATE = "/validate"
REVIEW = "/review"
_DESCRIPTION = """
Asks [Anchore](https://anchore.com) about every container image before it runs.

* **`POST /validate`** is what a Kubernetes API server calls: an AdmissionReview in, the same answered.
* **`POST /review`** is for people: a bare object, a List or a list of images in, one verdict per image out.
  It changes nothing and asks Anchore for no analysis.

Open a route below, pick an example and press *Execute*.
"""


@dataclass(frozen=True, slots=True)
class Surfaces:
    """What the webhook port offers; ``manual`` None switches reviews by hand and the documentation off."""

    admission: AdmissionEndpoint
    manual: ManualEndpoint | None


@dataclass(frozen=True, slots=True)
class WebhookApp:
    """Answers admission reviews ahead of FastAPI, whose middleware and router cost a third of a whole review."""

    admission: ASGIApp
    rest: ASGIApp

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """No coroutine of its own: it only chooses."""
        is_review = scope["type"] == "http" and scope["path"] == VALIDATE and scope["method"] == "POST"
        return (self.admission if is_review else self.rest)(scope, receive, send)


def create_app(surfaces: Surfaces) -> WebhookApp:
    return WebhookApp(surfaces.admission, SafeHeaders(_documented(surfaces)))


def _documented(surfaces: Surfaces) -> FastAPI:
    """Every route with its documentation."""
    options: dict[str, Any] = {
        "title": "Anchore admission controller",
        "version": __version__,
        "description": _DESCRIPTION,
        "redirect_slashes": False,
    }
    app = documented_app(**options) if surfaces.manual else FastAPI(**options, openapi_url=None)
    app.add_exception_handler(HTTPException, _failed)

    @app.post(VALIDATE, summary="Judge an AdmissionReview", tags=["admission"], openapi_extra=schema.VALIDATE)
    async def validate() -> None:
        """What the API server asks. `timeout` is how long it waits; the answer comes before that.

        A refused workload is HTTP 200 with `allowed: false`, `status.code` 403 and the reasons in `status.message`.
        """
        # For the documentation. WebhookApp has answered this path already, so this is one that only looks like it.
        raise HTTPException(HTTPStatus.NOT_FOUND)

    if surfaces.manual:

        @app.post(REVIEW, summary="Review by hand", tags=["review"], openapi_extra=schema.REVIEW)
        async def review() -> None:
            """One verdict per image. `namespace` and `user` stand in where the object does not say."""

        _serve_by(app, REVIEW, surfaces.manual)
    return app


async def _failed(request: Request, error: Exception) -> Response:
    """Answer for a path that is not served, or not with this method, as the Kubernetes API does."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = [method for method in ("GET", "POST") if _serves(request, method)]
        headers = {"allow": ", ".join(allowed)}
        return Response(status_document(MethodNotAllowed(*allowed)), status, headers, "application/json")
    served = [f"POST {VALIDATE}"]
    if any(getattr(route, "path", "") == REVIEW for route in request.app.routes):
        served += [f"POST {REVIEW}", "GET /docs", "GET /openapi.json"]
    text = f"nothing is served at this path; there is {', '.join(served)}"
    return Response(status_document(NotServed(text)), HTTPStatus.NOT_FOUND, media_type="application/json")


def _serves(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)


def _serve_by(app: FastAPI, path: str, endpoint: ASGIApp) -> None:
    """Let a route be answered by an ASGI application that works on bytes; FastAPI keeps its documentation.

    FastAPI's own handling would cost as much again as the whole review.
    """
    route = next(route for route in app.routes if isinstance(route, APIRoute) and route.path == path)
    route.app = endpoint
