"""Read policies from v1 bundles or v2 documents, and write them for either API."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from anchore_admission.sandbox.policy_models import Document, ImageRule, Policy
from anchore_admission.sandbox.responses import ProblemError
from anchore_admission.sandbox.seed import ApiName
from anchore_admission.sandbox.v2_policy import check_document

_V2_NAMES = {
    "policies": "rule_sets",
    "whitelists": "allowlists",
    "whitelisted_images": "allowlisted_images",
    "blacklisted_images": "denylisted_images",
    "policy_ids": "rule_set_ids",
    "whitelist_ids": "allowlist_ids",
    "comment": "description",
}
_V1_NAMES = {v2: v1 for v1, v2 in _V2_NAMES.items()}
_REQUIRED_BY_V1 = ("id", "version", "policies", "mappings")


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return the document under the other API's key names."""
    if isinstance(value, dict):
        return {(k if (n := names.get(k, k)) in value else n): renamed(v, names) for k, v in value.items()}
    return [renamed(item, names) for item in value] if isinstance(value, list) else value


def v1_document(document: Document) -> Document:
    shown: Document = renamed(document, _V1_NAMES)
    if "version" in shown:
        shown["version"] = "1_0"
    for mapping in shown.get("mappings", ()):
        mapping.setdefault("whitelist_ids", [])
    return shown


def v2_document(document: Document) -> Document:
    shown: Document = renamed(document, {})
    if "version" in shown:
        shown["version"] = "2"
    for mapping in shown.get("mappings", ()):
        v2_mapping(mapping)
    return shown


def v1_rule(rule: ImageRule) -> Document:
    shown: Document = renamed(rule.document(), _V1_NAMES)
    return shown


def v2_mapping(mapping: Document) -> Document:
    """Convert a mapping rule to v2's form, which lists several rule sets."""
    if (policy_id := mapping.pop("policy_id", None)) is not None:
        mapping["rule_set_ids"] = [policy_id]
    mapping.setdefault("allowlist_ids", [])
    return mapping


def dialect(document: Document) -> ApiName:
    """Return the API that a policy document was written for."""
    return "v2" if "rule_sets" in document else "v1"


def read_policy(document: object, api: ApiName) -> tuple[Policy, Document]:
    """Return a typed policy and its document under v2's names. Raises ProblemError for a schema mistake."""
    if not isinstance(document, dict):
        raise ProblemError(400, f"{document!r} is not of type 'object'")
    if api == "v2":
        check_document(document)
    elif missing := [key for key in _REQUIRED_BY_V1 if key not in document]:
        raise ProblemError(400, f"'{missing[0]}' is a required property")
    internal: Document = renamed(document, _V2_NAMES) if api == "v1" else document
    try:
        return Policy.model_validate(internal), internal
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise ProblemError(400, f"{first['msg']} - '{path}'") from error
