"""The OpenAPI document of the port for facts: ``facts_openapi.yaml`` with the schemas of the models."""

import inspect
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from anchore_admission.documents.reader import load_documents
from anchore_admission.models import image_report, provider

_FILE: Final = "facts_openapi.yaml"
_RESPONSES: Final = (
    provider.ImagesResponse,
    provider.ProviderResponse,
    provider.Answer,
    image_report.ImageReport,
    image_report.ReportedEvaluation,
)
"""The models with members that have a default; each is sent nevertheless."""


@cache
def facts_document() -> dict[str, Any]:
    """Return the document."""
    text = files("anchore_admission.web").joinpath(_FILE).read_bytes()
    document: dict[str, Any]
    (document,) = load_documents(text, source=_FILE, aliases=True)
    models = (provider.ImagesRequest, provider.ImagesResponse, provider.ProviderResponse)
    _, schemas = msgspec.json.schema_components(models, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        schema["description"] = inspect.cleandoc(schema["description"])
    for model in _RESPONSES:
        _describe(schemas[model.__name__], model)
    schemas["ImagesRequest"]["properties"]["images"] |= {"minItems": 1, "maxItems": provider.MOST_IMAGES}
    document["components"]["schemas"] |= schemas
    return document


def _describe(schema: dict[str, Any], model: type[msgspec.Struct]) -> None:
    """Require all members of a response, and call them in the description as JSON does."""
    schema["required"] = list(schema["properties"])
    for each in schema["properties"].values():
        each.pop("default", None)
    for member in msgspec.structs.fields(model):
        schema["description"] = schema["description"].replace(f"``{member.name}``", f"``{member.encode_name}``")
