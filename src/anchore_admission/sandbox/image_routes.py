"""Images: list, get, add, delete and check."""

import re
from collections.abc import Iterable

from fastapi.responses import Response

from anchore_admission.sandbox.adding import add_image, delete_image, read_addition
from anchore_admission.sandbox.api import ImageView, view
from anchore_admission.sandbox.calls import Call, Operation, respond
from anchore_admission.sandbox.checks import Check
from anchore_admission.sandbox.evaluation import evaluate
from anchore_admission.sandbox.images import ImageRecord
from anchore_admission.sandbox.policies import StoredPolicy
from anchore_admission.sandbox.references import BadReference, Reference, parse
from anchore_admission.sandbox.registry import refusal
from anchore_admission.sandbox.responses import AnchoreError, ProblemError
from anchore_admission.sandbox.seed import State

_STATES = ("not_analyzed", "analyzed", "analyzing", "analysis_failed")
_STATUSES = ("all", "active", "deleting")
_NO_IMAGE = "image not found in DB"
_NO_TAG = "image data not found in DB"


def _view(call: Call, record: ImageRecord) -> ImageView:
    return view(record, call.world.clock(), call.world.analysis_time)


def _reference(text: str) -> Reference:
    try:
        return parse(text)
    except BadReference as error:
        raise AnchoreError(400, "cannot handle image input string", raw_exception_message=str(error)) from error


def _absent(call: Call, words: str = _NO_IMAGE) -> AnchoreError:
    other = call.world.messages.image_not_found if call.api.words_vary else None
    return AnchoreError(404, other or words)


def _unanalyzed(call: Call, state: State) -> AnchoreError:
    other = call.world.messages.not_analyzed if call.api.words_vary else None
    return AnchoreError(404, other or f"image is not analyzed - analysis_status: {state}")


def _digest(call: Call) -> str:
    """Return the digest of the path; v2 takes capitals, and then finds nothing, as v1 does (recording 477)."""
    digest, pattern = call.path("digest"), call.api.digest_pattern
    if pattern is not None and not re.fullmatch(pattern, digest):
        raise ProblemError(400, f"{digest!r} does not match '{pattern}'")
    return digest


def _record(call: Call) -> ImageRecord:
    """Return the image of the path, by its platform digest or that of its manifest list."""
    record = call.tenant.images.by_digest(_digest(call), call.world.clock())
    if record is None:
        raise _absent(call)
    return record


def _record_by_id(call: Call) -> ImageRecord:
    found = call.tenant.images.by_reference(Reference(None, None, image_id=call.path("image_id")), call.world.clock())
    if not found:
        raise _absent(call)
    return found[0]


def _filtered(call: Call, records: Iterable[ImageRecord]) -> list[ImageView]:
    state = call.choice("analysis_status", _STATES)
    status = call.choice("image_status", _STATUSES) or "active"
    since = call.time("analyzed_since") if call.api.filters_by_id_and_time else None
    views = (_view(call, record) for record in records)
    return [
        view
        for view in views
        if state in (None, view.state)
        and status in ("all", view.status)
        and (since is None or (view.analyzed_at is not None and view.analyzed_at >= since))
    ]


async def list_images(call: Call) -> Response:
    """List images; an empty filter lists all. Like Anchore, ignore the parameters of the other API."""
    text, history = call.query(call.api.full_tag), call.boolean("history")
    image_id = call.query("image_id") if call.api.filters_by_id_and_time else None
    images, now = call.tenant.images, call.world.clock()
    if not text and not image_id:
        return respond(call.api.images(_filtered(call, images.all(now))))
    known = images.by_reference(_reference(text), now) if text else images.all(now)
    found = _filtered(call, (record for record in known if image_id in (None, "", record.content.image_id)))
    # For a tag that it does not know, Anchore responds with 404, not with an empty list.
    if not found:
        raise _absent(call, _NO_TAG)
    # Without `history`, at most one image: the newest that the filters let through.
    return respond(call.api.images(found[:1] if text and not history else found))


async def get_image(call: Call) -> Response:
    return respond(call.api.one(call.api.image(_view(call, _record(call)))))


async def get_image_by_id(call: Call) -> Response:
    return respond(call.api.one(call.api.image(_view(call, _record_by_id(call)))))


async def post_image(call: Call) -> Response:
    addition = read_addition(await call.body(), call.api)
    if call.fault == "registryDown":
        raise refusal("REGISTRY_NOT_ACCESSIBLE", addition.pull, call.world.clock())
    record = add_image(call.world, call.account, addition, force=call.boolean("force"))
    return respond(call.api.one(call.api.image(_view(call, record))))


async def remove_image(call: Call) -> Response:
    digest = _digest(call)
    found = delete_image(call.tenant.images, digest, call.world.clock())
    if not found and not call.api.deletes_unknown_images:
        raise _absent(call)
    return respond(call.api.deletion(digest, found=found))


async def remove_images(call: Call) -> Response:
    text = call.query(call.api.image_digests)
    if text is None:
        raise ProblemError(400, f"Missing query parameter '{call.api.image_digests}'")
    images, now = call.tenant.images, call.world.clock()
    digests = [digest for digest in text.split(",") if digest]
    return respond([call.api.deletion(digest, found=delete_image(images, digest, now)) for digest in digests])


async def check_image(call: Call) -> Response:
    return _checked(call, _record(call))


async def check_image_by_id(call: Call) -> Response:
    return _checked(call, _record_by_id(call))


def _checked(call: Call, record: ImageRecord) -> Response:
    text = call.query("tag")
    if text is None:
        raise ProblemError(400, "Missing query parameter 'tag'")
    history, detail = call.boolean("history"), call.boolean("detail", default=True)
    interactive = call.boolean("interactive")
    state = record.state(call.world.clock(), call.world.analysis_time)
    if state != "analyzed":
        raise _unanalyzed(call, state)
    policy = _policy(call)
    tags = [_reference(text)] if text else [row.reference for row in record.rows()]
    # A real engine reports a failed evaluation as 404, too; only the message tells it from an unknown image.
    if call.fault == "policyEngineDown":
        raise AnchoreError(404, "could not find any evaluations for input images")
    # Anchore stores an evaluation only if it was not interactive.
    checks = [_check(call, record, tag, policy, keep=not interactive) for tag in tags]
    checked = {check.tag.full_name: call.world.history.of(check) if history else (check,) for check in checks}
    return respond(call.api.check(record.digest, checked, detail=detail))


def _policy(call: Call) -> StoredPolicy:
    policies = call.tenant.policies
    policy_id = call.query(call.api.policy_id) or policies.active_id
    if policy_id is None:
        raise AnchoreError(404, f"user has no active policy to evaluate: {call.account}")
    return policies.get(policy_id)


def _check(call: Call, record: ImageRecord, tag: Reference, policy: StoredPolicy, *, keep: bool) -> Check:
    now = call.world.clock()
    # the registry's entry, so that new findings reach an image that is already analyzed
    content = call.world.registry.content(record.digest) or record.content
    evaluation = evaluate(policy.policy, content, tag, now, by_tag_only=call.api.maps_by_tag_only)
    check = Check(record, tag, policy, evaluation, now)
    if keep and (before := call.world.history.remember(check)):
        call.tenant.events.announce_result(before, check)
    return check


OPERATIONS = (
    Operation("GET", "/images", "listImages", list_images),
    Operation("POST", "/images", "createImage", post_image),
    Operation("DELETE", "/images", "deleteImage", remove_images),
    Operation("GET", "/images/by_id/{image_id}", "getImage", get_image_by_id, only="v1"),
    Operation("GET", "/images/by_id/{image_id}/check", "getImageEvaluation", check_image_by_id, only="v1"),
    Operation("GET", "/images/{digest}", "getImage", get_image),
    Operation("DELETE", "/images/{digest}", "deleteImage", remove_image),
    Operation("GET", "/images/{digest}/check", "getImageEvaluation", check_image),
)
