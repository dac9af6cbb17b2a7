"""Error responses of Anchore: its own error, the framework's problem document, and a bare 401."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException


class AnchoreError(Exception):
    """Anchore's own error; ``detail`` is added to the list of error codes that it always carries."""

    def __init__(self, status: int, message: str, **detail: Any) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.detail: dict[str, Any] = {"error_codes": [], **detail}


class ProblemError(Exception):
    """A rejection by the web framework in front of Anchore, before any of Anchore's code runs."""

    def __init__(self, status: int, detail: str | None, title: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.title = title or HTTPStatus(status).phrase


class UnauthorizedError(Exception):
    """Wrong or missing credentials, or a database that cannot be read to check them."""


def anchore_error(error: AnchoreError) -> Response:
    body = {"message": error.message, "httpcode": error.status, "detail": error.detail}
    return JSONResponse(body, error.status)


def problem(error: ProblemError) -> Response:
    body = {"type": "about:blank", "title": error.title, "status": error.status, "detail": error.detail}
    return JSONResponse(body, error.status, media_type="application/problem+json")


def unauthorized() -> Response:
    # not JSON: the only body of Anchore's with the type text/html
    headers = {"WWW-Authenticate": 'basic realm="Authentication required"'}
    return Response("Unauthorized", 401, headers, media_type="text/html")


_DETAILS: Mapping[int, str] = {
    404: "The requested URL was not found on the server. "
    "If you entered the URL manually please check your spelling and try again.",
    405: "The method is not allowed for the requested URL.",
}


async def on_anchore_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, AnchoreError)  # noqa: S101 - the registration below guarantees it, mypy cannot see it
    return anchore_error(error)


async def on_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101 - as above
    return problem(error)


async def on_unauthorized(_request: Request, _error: Exception) -> Response:
    return unauthorized()


async def on_http_exception(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    return problem(ProblemError(error.status_code, _DETAILS.get(error.status_code, str(error.detail))))
