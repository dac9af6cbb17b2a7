"""Routes by path and method; any other request gets a metav1.Status, as the Kubernetes API sends to its own callers."""

from collections.abc import Awaitable, Iterable, Mapping
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from anchore_admission.errors import MethodNotAllowed, NotServed
from anchore_admission.web.body import send_error


class Route(NamedTuple):
    """An ASGI application for one path. One for GET serves HEAD, too."""

    method: str
    app: ASGIApp


class Routes:
    """An ASGI application that looks the path up in a table. ``listed`` names the paths in the text of a 404.

    The middleware and the router of a framework would cost a third of a whole review.
    """

    def __init__(
        self, routes: Mapping[str, Route], *, listed: str, error_headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        self._routes = routes
        self._not_served = f"path not found; this port serves {listed}"
        self._error_headers = tuple(error_headers)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Return the endpoint's awaitable directly; an ``async def`` would add a frame per request."""
        route = self._routes.get(scope["path"])
        if route is None:
            return send_error(send, NotServed(self._not_served), more=self._error_headers)
        # uvicorn leaves the body out of a response to HEAD, as RFC 9110, section 9.3.2, requires.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        if method != route.method:
            return send_error(send, MethodNotAllowed(route.method), more=self._error_headers)
        return route.app(scope, receive, send)
