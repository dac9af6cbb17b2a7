"""The page for trying the routes: Swagger UI from bundled assets, allowed to load nothing from elsewhere."""

import base64
import hashlib
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import request_response
from starlette.staticfiles import StaticFiles

from anchore_admission.web.openapi import openapi_document
from anchore_admission.web.routing import Route
from anchore_admission.web.safe_headers import NOTHING

PAGE: Final = "/docs"
DOCUMENT: Final = "/openapi.json"
_ADDRESS: Final = "static-offline-docs"
_ASSETS: Final = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")


def documentation() -> dict[str, Route]:
    """Return the routes of the page, the document that it shows, and its assets."""
    document = Response(openapi_document(), media_type="application/json")
    assets = StaticFiles(directory=_folder())
    return {
        PAGE: Route("GET", _page()),
        DOCUMENT: Route("GET", document),
        **{f"/{_ADDRESS}/{name}": Route("GET", request_response(partial(_asset, assets, name))) for name in _ASSETS},
    }


def _folder() -> Path:
    """Return the folder of the assets without importing their package, which would load all of FastAPI."""
    spec = find_spec("fastapi_offline")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("fastapi-offline, which holds the assets of the documentation page, is not installed")
    return Path(spec.submodule_search_locations[0], "static")


async def _asset(assets: StaticFiles, name: str, request: Request) -> Response:
    # A fixed name: nothing of a request reaches the file system.
    return await assets.get_response(name, request.scope)


def _page() -> HTMLResponse:
    """Build the page. Its addresses are relative, so that it works behind the path of a proxy."""
    page = HTMLResponse(Path(__file__).with_name("documentation.html").read_bytes())
    # An inline script starts Swagger UI. Its hash allows this script and no other (CSP Level 2).
    inline = [after.partition(b"</script>")[0] for after in bytes(page.body).split(b"<script>")[1:]]
    scripts = " ".join(f"'sha256-{_digest(script)}'" for script in inline)
    page.headers["Content-Security-Policy"] = (
        f"{NOTHING}; connect-src 'self'; img-src 'self' data:; script-src 'self' {scripts}; style-src 'self'"
    )
    return page


def _digest(script: bytes) -> str:
    return base64.b64encode(hashlib.sha256(script).digest()).decode()
