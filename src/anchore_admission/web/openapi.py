"""The OpenAPI document of the webhook port: ``openapi.yaml`` with the version and the examples of this release."""

from importlib.resources import files
from typing import Any

from pydantic_core import to_json

from anchore_admission import __version__
from anchore_admission.documents.reader import load_documents
from anchore_admission.web import examples

_JSON = "application/json"
_FILE = "openapi.yaml"


def openapi_document() -> bytes:
    """Return the document as JSON."""
    text = files("anchore_admission.web").joinpath(_FILE).read_bytes()
    (document,) = load_documents(text, source=_FILE, aliases=True)
    document["info"]["version"] = __version__
    validate, mutate, review = (document["paths"][path]["post"] for path in ("/validate", "/mutate", "/review"))
    _request(validate)[_JSON]["examples"] = examples.REVIEWS
    _response(validate)[_JSON]["examples"] = examples.RESPONSES
    _request(mutate)[_JSON]["examples"] = examples.PINNABLE
    _response(mutate)[_JSON]["examples"] = examples.PINNED
    for media_type, offered in examples.SUBJECTS.items():
        _request(review)[media_type]["examples"] = offered
    _response(review)[_JSON]["example"] = examples.SUMMARY
    return to_json(document)


def _request(operation: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = operation["requestBody"]["content"]
    return content


def _response(operation: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = operation["responses"]["200"]["content"]
    return content
