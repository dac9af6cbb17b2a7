"""Policies: list, get, add, activate, delete."""

from typing import Any

from fastapi.responses import Response

from anchore_admission.sandbox.api import Json
from anchore_admission.sandbox.calls import Call, Operation, respond
from anchore_admission.sandbox.policies import StoredPolicy
from anchore_admission.sandbox.policy_checks import policy_problems
from anchore_admission.sandbox.policy_dialects import read_policy
from anchore_admission.sandbox.policy_models import Document, Policy
from anchore_admission.sandbox.responses import AnchoreError, ProblemError
from anchore_admission.sandbox.v2_policy import check_record


def _shown(call: Call, stored: StoredPolicy, *, detail: bool) -> Json:
    active = call.tenant.policies.active_id == stored.policy.id
    return call.api.policy(call.account, stored, active=active, detail=detail)


def _written(call: Call, stored: StoredPolicy) -> Json:
    active = call.tenant.policies.active_id == stored.policy.id
    return call.api.written_policy(call.account, stored, active=active)


async def list_policies(call: Call) -> Response:
    detail = call.boolean("detail")
    stored = sorted(call.tenant.policies.stored.values(), key=lambda policy: policy.created_at)
    return respond([_shown(call, policy, detail=detail) for policy in stored])


async def get_policy(call: Call) -> Response:
    stored = call.tenant.policies.get(call.path("policy_id"))
    return respond(call.api.one(_shown(call, stored, detail=call.boolean("detail", default=True))))


async def post_policy(call: Call) -> Response:
    policy, document = _read(call, await call.body())
    if policy.id in call.tenant.policies.stored and not call.api.replaces_policies:
        raise AnchoreError(409, f"Policy {policy.id} already exists")
    stored = _put(call, policy, document)
    return respond(_written(call, stored))


async def put_policy(call: Call) -> Response:
    """Replace the policy's document if the record has one, and activate it if requested."""
    body = await call.body()
    if not call.api.takes_partial_records:
        check_record(body)
    record: dict[str, Any] = body if isinstance(body, dict) else {}
    known = call.tenant.policies.get(call.path("policy_id"))
    policy, document = known.policy, known.document
    if replacement := record.get(call.api.policy_document):
        policy, document = _read(call, replacement)
    if policy.id != known.policy.id:
        raise ProblemError(400, f"the policy's id {policy.id!r} is not {known.policy.id!r}")
    active = call.boolean("active") or record.get("active") is True
    stored = _put(call, policy, document, active=active)
    return respond(call.api.one(_written(call, stored)))


async def delete_policy(call: Call) -> Response:
    call.tenant.policies.delete(call.path("policy_id"))
    status, body = call.api.deleted()
    return respond(body, status)


def _put(call: Call, policy: Policy, document: Document, *, active: bool = False) -> StoredPolicy:
    """Store a policy, and announce what changes about the active one; no event is about any other policy."""
    tenant, now = call.world.claim(call.account), call.world.clock()
    policies, before = tenant.policies, tenant.policies.active_id
    known = policies.stored.get(policy.id)
    stored = policies.put(policy, document, now, active=active)
    if policies.active_id != before:
        tenant.events.announce_activation(before, policy.id, now)
    elif policy.id == before and known is not None and known.document != document:
        tenant.events.announce_content(policy.id, now)
    return stored


def _read(call: Call, body: object) -> tuple[Policy, Document]:
    if call.fault == "policyEngineDown":
        url = "http://127.0.0.1:8287/v1/validate_bundle"
        reason = f"Validation could not be performed: failed post url={url}"
        raise AnchoreError(500, f"Error response from policy service during bundle validation. {reason}")
    policy, document = read_policy(body, call.api.name)
    if problems := policy_problems(policy):
        raise AnchoreError(400, call.api.invalid_policy, validation_details=problems)
    return policy, document


OPERATIONS = (
    Operation("GET", "/policies", "listPolicies", list_policies),
    Operation("POST", "/policies", "createPolicy", post_policy),
    Operation("GET", "/policies/{policy_id}", "getPolicy", get_policy),
    Operation("PUT", "/policies/{policy_id}", "updatePolicy", put_policy),
    Operation("DELETE", "/policies/{policy_id}", "deletePolicy", delete_policy),
)
