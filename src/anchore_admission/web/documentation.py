"""The page for trying the routes: Swagger UI from bundled assets, allowed to load nothing from elsewhere."""

import base64
import hashlib
from functools import partial
from pathlib import Path
from typing import Any, Final

import fastapi_offline
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import request_response
from starlette.staticfiles import StaticFiles

from anchore_admission.web.openapi import openapi_document
from anchore_admission.web.routing import Route
from anchore_admission.web.safe_headers import NOTHING

PAGE: Final = "/docs"
DOCUMENT: Final = "/openapi.json"
_TITLE: Final = "Anchore admission controller"
_FOLDER: Final = Path(fastapi_offline.__file__).parent / "static"
_ADDRESS: Final = "static-offline-docs"
_SCRIPT, _STYLE, _ICON = "swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"
_USER_INTERFACE: dict[str, Any] = {
    "defaultModelsExpandDepth": -1,  # no list of schemas: every route shows its own
    "deepLinking": True,
    "displayRequestDuration": True,
    "syntaxHighlight": False,
    "tryItOutEnabled": True,
}


def documentation() -> dict[str, Route]:
    """Return the routes of the page, the document that it shows, and its assets."""
    document = Response(openapi_document(), media_type="application/json")
    assets = StaticFiles(directory=_FOLDER)
    return {
        PAGE: Route("GET", _page()),
        DOCUMENT: Route("GET", document),
        **{
            f"/{_ADDRESS}/{name}": Route("GET", request_response(partial(_asset, assets, name)))
            for name in (_SCRIPT, _STYLE, _ICON)
        },
    }


async def _asset(assets: StaticFiles, name: str, request: Request) -> Response:
    # A fixed name: nothing of a request reaches the file system.
    return await assets.get_response(name, request.scope)


def _page() -> HTMLResponse:
    """Build the page. Its addresses are relative, so that it works behind the path of a proxy."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=_TITLE,
        swagger_js_url=f"{_ADDRESS}/{_SCRIPT}",
        swagger_css_url=f"{_ADDRESS}/{_STYLE}",
        swagger_favicon_url=f"{_ADDRESS}/{_ICON}",
        swagger_ui_parameters=_USER_INTERFACE,
    )
    # FastAPI's page starts Swagger UI in an inline script. Its hash allows this script and no other (CSP Level 2).
    inline = [after.partition(b"</script>")[0] for after in bytes(page.body).split(b"<script>")[1:]]
    scripts = " ".join(f"'sha256-{_digest(script)}'" for script in inline)
    page.headers["Content-Security-Policy"] = (
        f"{NOTHING}; connect-src 'self'; img-src 'self' data:; script-src 'self' {scripts}; style-src 'self'"
    )
    return page


def _digest(script: bytes) -> str:
    return base64.b64encode(hashlib.sha256(script).digest()).decode()
