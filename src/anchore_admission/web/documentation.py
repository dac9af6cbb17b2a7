"""The page on which people try the routes: Swagger UI from bundled assets, allowed to load nothing from elsewhere."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi_offline import FastAPIOffline
from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ASSETS = "static-offline-docs"
_USER_INTERFACE: dict[str, Any] = {
    "defaultModelsExpandDepth": -1,  # no list of schemas: every route shows its own
    "deepLinking": True,
    "displayRequestDuration": True,
    "syntaxHighlight": False,
    "tryItOutEnabled": True,
}
_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_SAFE_HEADERS = {
    "Content-Security-Policy": _NOTHING,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def documented_app(**options: Any) -> FastAPI:
    """An application that describes itself at ``/docs`` and ``/openapi.json``."""
    app: FastAPI = FastAPIOffline(docs_url=None, redoc_url=None, static_url=f"/{_ASSETS}", **options)
    page = _page(app.title)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return page

    return app


@dataclass(frozen=True, slots=True)
class SafeHeaders:
    """Tells browsers to take every answer for what it is, and nothing else along with it."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_safely)


def _page(title: str) -> HTMLResponse:
    """Its addresses are relative, so that it works behind a path of whatever stands in front."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=title,
        swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{_ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{_ASSETS}/favicon.png",
        swagger_ui_parameters=_USER_INTERFACE,
    )
    inline = [after.partition(b"</script>")[0] for after in bytes(page.body).split(b"<script>")[1:]]
    scripts = " ".join(f"'sha256-{_digest(script)}'" for script in inline)
    page.headers["Content-Security-Policy"] = (
        f"{_NOTHING}; connect-src 'self'; img-src 'self' data:; script-src 'self' {scripts}; style-src 'self'"
    )
    return page


def _digest(script: bytes) -> str:
    return base64.b64encode(hashlib.sha256(script).digest()).decode()
