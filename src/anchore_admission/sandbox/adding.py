"""Add images: read the body, resolve the reference in the registry, and update the record."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from anchore_admission.sandbox.api import Api
from anchore_admission.sandbox.images import ImageRecord, Images
from anchore_admission.sandbox.references import BadReference, Reference, parse
from anchore_admission.sandbox.responses import AnchoreError, ProblemError
from anchore_admission.sandbox.times import epoch
from anchore_admission.sandbox.world import World

_STRINGS = ("tag", "digest", "dockerfile", "created_at", "image_type")
_OBJECTS = ("source", "annotations")
_NO_SOURCE = 'Must include either "tag", "tag" and "digest", or "source" property in body'


@dataclass(frozen=True, slots=True)
class Addition:
    """The image to pull, and the tag to store it under."""

    pull: Reference
    tag: Reference
    created_at: float | None
    dockerfile: str | None
    annotations: Mapping[str, str]


def read_addition(body: Any, api: Api) -> Addition:
    """Read either form of the body; v2 has only ``source``."""
    if not isinstance(body, dict) or not body:
        raise _invalid("Invalid request object, must be a valid json object")
    _check_types(body, "")
    source = _source(body, api)
    kind = next((k for k in ("digest", "tag", "archive", "import") if source.get(k)), None)
    if kind is None:
        raise AnchoreError(400, "Must have one source propery set")  # the engine's own spelling
    if kind in ("archive", "import"):
        raise AnchoreError(400, f"the sandbox has no {kind} to add from")
    return _addition(kind, source[kind], body.get("annotations") or {}, api)


def _check_types(body: Mapping[str, Any], path: str) -> None:
    for key, kind, name in (*((k, str, "string") for k in _STRINGS), *((k, dict, "object") for k in _OBJECTS)):
        if key in body and not isinstance(body[key], kind) and body[key] is not None:
            raise ProblemError(400, f"{body[key]!r} is not of type '{name}' - '{path}{key}'")


def _source(body: Mapping[str, Any], api: Api) -> Mapping[str, Any]:
    if source := body.get("source"):
        if api.takes_legacy_adds and any(body.get(key) is not None for key in ("tag", "digest", "dockerfile")):
            message = "Cannot use both source property and tag, digest, or dockerfile property at top level"
            raise AnchoreError(400, message)
        _check_source(source, api)
        return source  # type: ignore[no-any-return]  # _check_types has verified it
    if not api.takes_legacy_adds:
        raise ProblemError(400, "'source' is a required property")
    return _from_legacy(body)


def _check_source(source: Mapping[str, Any], api: Api) -> None:
    for kind, keys in (("tag", (api.pull_string,)), ("digest", (api.pull_string, "tag"))):
        part = source.get(kind)
        if part is None:
            continue
        if not isinstance(part, dict):
            raise ProblemError(400, f"{part!r} is not of type 'object' - 'source.{kind}'")
        for key in keys:
            if key not in part:
                raise ProblemError(400, f"'{key}' is a required property - 'source.{kind}'")
            if not isinstance(part[key], str):
                raise ProblemError(400, f"{part[key]!r} is not of type 'string' - 'source.{kind}.{key}'")


def _from_legacy(body: Mapping[str, Any]) -> Mapping[str, Any]:
    tag, digest = body.get("tag"), body.get("digest")
    common = {"dockerfile": body.get("dockerfile")}
    if not digest:
        if not tag:
            raise AnchoreError(400, _NO_SOURCE)
        return {"tag": {"pullstring": tag, **common}}
    if digest.startswith("sha256:"):
        if not tag:
            raise _invalid("For a digest-based analysis, the tag property must also be populated")
        named = _parsed(tag)
        digest = f"{named.registry}/{named.repo}@{digest}"
    if tag is None:
        about = "None is not of type 'string'\n\nFailed validating 'type' in schema['properties']['tag']"
        raise AnchoreError(400, "Validation error", validation_error=about)
    override = {"creation_timestamp_override": body.get("created_at")}
    return {"digest": {"pullstring": digest, "tag": tag, **override, **common}}


def _addition(kind: str, part: Mapping[str, Any], annotations: Mapping[str, Any], api: Api) -> Addition:
    pull = _parsed(part[api.pull_string])
    tag = pull if kind == "tag" else _parsed(part["tag"])
    if kind == "digest" and pull.digest is None:
        raise AnchoreError(400, "Must have digest-based pull string", invalid_value=part[api.pull_string])
    if tag.tag is None:
        value = part[api.pull_string] if kind == "tag" else part["tag"]
        raise AnchoreError(400, "Must have tag-based pull string", invalid_value=value)
    if kind == "digest":
        # Anchore pulls the digest from the tag's repository.
        pull = Reference(tag.registry, tag.repo, digest=pull.digest)
    created_at = _time(part.get("creation_timestamp_override"))
    return Addition(pull, tag, created_at, part.get("dockerfile"), {k: str(v) for k, v in annotations.items()})


def _parsed(text: str) -> Reference:
    try:
        return parse(text)
    except BadReference as error:
        raise _invalid(f"Error parsing pullstring {text}") from error


def _time(text: Any) -> float | None:
    if text is None:
        return None
    try:
        return epoch(text)
    except (TypeError, ValueError) as error:
        raise AnchoreError(400, "Invalid formatted date", invalid_value=text) from error


def _invalid(reason: str) -> AnchoreError:
    return AnchoreError(400, "Could not validate request due to error", validation_error=reason)


def add_image(world: World, account: str, addition: Addition, *, force: bool) -> ImageRecord:
    """Resolve the reference, then create, keep or queue again the record of its digest.

    As in Engine 1.1.0, the time that an add asks for counts only for a record that it creates (``add_record`` in
    db_catalog_image.py): a tag added to a known digest is as old as the call (``update_record_image_detail``).
    """
    now = world.clock()
    # For every add, also of a known tag: only the registry knows where the tag points now.
    content = world.registry.resolve(addition.pull, now)
    tenant = world.claim(account)
    images = tenant.images
    record = images.exact(content.digest, now)
    if record is None:
        if force and addition.pull.digest:
            raise AnchoreError(400, "a digest can be forced only when the image exists")
        created_at = now if addition.created_at is None else addition.created_at
        record = ImageRecord(account, content, created_at, world.next_sequence(), now, now)
        images.add(record)
    else:
        created_at = now
        # Before a new analysis hides that the last one has ended.
        tenant.events.announce_analyses([record], now, world.analysis_time)
        # Anchore keeps the parent of the first add, whatever the list is that the digest is in now.
        record.content = replace(content, parent_digest=record.content.parent_digest)
        _touch(record, addition, now, world.analysis_time, force=force)
    record.annotate(dict(addition.annotations))
    row = record.add_tag(addition.tag, created_at, now, world.next_sequence())
    if addition.dockerfile:
        row.dockerfile = addition.dockerfile
    return record


def _touch(record: ImageRecord, addition: Addition, now: float, analysis_time: float, *, force: bool) -> None:
    """Queue a known image again if forced, after a failed analysis, or if it is being deleted."""
    if addition.dockerfile and not force:
        raise AnchoreError(400, "Cannot provide dockerfile content for an image that exists, without force")
    state = record.state(now, analysis_time)
    if force or state == "analysis_failed" or record.deleted_at is not None:
        record.requeue(now, analysis_time)


def delete_image(images: Images, digest: str, now: float) -> bool:
    """Mark an image for deletion, which follows a while later; return whether it exists."""
    record = images.by_digest(digest, now)
    if record is not None and record.deleted_at is None:
        record.deleted_at = now
    return record is not None
