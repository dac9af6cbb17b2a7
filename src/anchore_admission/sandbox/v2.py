"""The responses of API v2, by Anchore Enterprise's published description."""

from collections.abc import Sequence
from typing import Any

from anchore_admission.sandbox.accounts import Account, User
from anchore_admission.sandbox.api import HOST, Api, ImageView, Json
from anchore_admission.sandbox.checks import Check, Checked
from anchore_admission.sandbox.evaluation import Row
from anchore_admission.sandbox.events import Event
from anchore_admission.sandbox.images import TagRow
from anchore_admission.sandbox.policies import StoredPolicy
from anchore_admission.sandbox.policy_dialects import v2_document, v2_mapping
from anchore_admission.sandbox.policy_models import Document, ImageRule, MappingRule
from anchore_admission.sandbox.times import rfc3339, rfc3339_precise


class V2(Api):
    name = "v2"
    service_version = "5.0.0"
    full_tag = "full_tag"
    policy_id = "policy_id"
    pull_string = "pull_string"
    image_digests = "image_digests"
    policy_document = "policy"
    takes_legacy_adds = False
    maps_by_tag_only = False
    digest_pattern = r"^sha256:[a-fA-F0-9]{64}$"
    takes_unknown_accounts = False
    filters_by_id_and_time = True
    deletes_unknown_images = False
    account_exists = 409
    replaces_policies = False
    takes_partial_records = False
    words_vary = True
    invalid_policy = "Policy failed validation"

    def version(self) -> Json:
        service, api = {"version": self.service_version}, {"version": "2"}
        return {"service": service, "api": api, "db": {"schema_version": "500"}, "sandbox": True}

    def image(self, image: ImageView) -> Json:
        record = image.record
        return {
            "image_digest": record.digest,
            "parent_digest": image.content.parent_digest,
            "account_name": record.account,
            "analysis_status": image.state,
            "image_status": image.status,
            "image_type": "docker",
            "record_version": "",
            "created_at": rfc3339(record.created_at),
            "last_updated": rfc3339(image.updated_at),
            "analyzed_at": None if image.analyzed_at is None else rfc3339(image.analyzed_at),
            "annotations": dict(record.annotations),
            "image_content": {"metadata": image.metadata()},
            "image_detail": [_detail(image, row) for row in record.rows()],
        }

    def images(self, images: Sequence[ImageView]) -> Json:
        return {"items": [self.image(image) for image in images]}

    def one(self, item: Json) -> Json:
        return item

    def check(self, digest: str, checked: Checked, *, detail: bool) -> Json:
        checks = next(iter(checked.values()))  # a response of v2 has room for one tag
        return {
            "policy_id": checks[0].policy.policy.id,
            "image_digest": digest,
            "evaluated_tag": checks[0].tag.full_name,
            "evaluations": [self._evaluation(check, detail=detail) for check in checks],
        }

    def _evaluation(self, check: Check, *, detail: bool) -> Json:
        evaluation = check.evaluation
        findings = [_finding(row) for row in evaluation.rows]
        details = {"policy": self.document(check.policy), "findings": findings, "remediations": []}
        return {
            "status": evaluation.status,
            "final_action": evaluation.final_action,
            "final_action_reason": evaluation.reason,
            "evaluation_time": rfc3339(check.at),
            "evaluation_problems": [
                {"severity": p.severity, "problem_type": p.problem_type, "details": p.details}
                for p in evaluation.problems
            ],
            "number_of_findings": len(findings),
            "image_allowlisted": evaluation.allowed_by is not None,
            "image_denylisted": evaluation.denied_by is not None,
            "image_mapped_to_rule": evaluation.mapping is not None,
            "matched_allowlisted_images_rule": _rule(evaluation.allowed_by),
            "matched_denylisted_images_rule": _rule(evaluation.denied_by),
            "matched_mapping_rule": _rule(evaluation.mapping),
            "comparison_image_digest": None,
            "details": {**details, "policy_action": evaluation.policy_action} if detail else None,
        }

    def policy(self, account: str, stored: StoredPolicy, *, active: bool, detail: bool) -> Json:
        return {
            "policy_id": stored.policy.id,
            "name": stored.policy.name,
            "description": stored.policy.description,
            "account_name": account,
            "active": active,
            "policy_source": stored.source,
            "policy": self.document(stored) if detail else None,
            "created_at": rfc3339(stored.created_at),
            "last_updated": rfc3339(stored.updated_at),
        }

    def deleted(self) -> tuple[int, Json]:
        return 204, None

    def deletion(self, digest: str, *, found: bool) -> Json:
        status, detail = ("deleting", "Image is marked for deletion") if found else ("not_found", "Image not found")
        return {"image_digest": digest, "status": status, "detail": detail}

    def service(self, name: str, host: str, facts: Json) -> Json:
        return {"service_name": name, "host_id": host, **facts}

    def account(self, account: Account) -> Json:
        """Return an account; a missing email is left out, since null is not a string."""
        return {key: value for key, value in account.shown().items() if value is not None}

    def user(self, user: User) -> Json:
        changed = rfc3339(user.password_changed_at)
        return {**user.shown(), "account_name": user.account, "idp_name": None, "password_last_updated": changed}

    def event(self, account: str, event: Event) -> Json:
        kind, identity = event.resource
        source = {"service_name": "catalog", "host_id": HOST, "base_url": "http://127.0.0.1:8282", "request_id": None}
        return {
            "event_id": event.id,
            "created_at": rfc3339_precise(event.written_at),
            "event": {
                "type": event.type,
                "category": event.type.split(".")[0],
                "level": event.level,
                "message": event.message,
                "details": event.details,
                "timestamp": rfc3339_precise(event.at),
                "resource": {"account_name": account, "id": identity, "type": kind},
                "source": source,
            },
        }

    def matches_event(self, pattern: str, event_type: str) -> bool:
        """Match the beginning of the type, as the description says; it mentions no meaning of a star."""
        return event_type.startswith(pattern)

    def document(self, stored: StoredPolicy) -> Document:
        return v2_document(stored.document)


def _detail(image: ImageView, row: TagRow) -> dict[str, Any]:
    digest, reference = image.record.digest, row.reference
    return {
        "registry": reference.registry,
        "repo": reference.repo,
        "tag": reference.tag,
        "full_tag": reference.full_tag,
        "digest": digest,
        "full_digest": f"{reference.registry}/{reference.repo}@{digest}",
        "image_digest": digest,
        "image_id": image.content.image_id,
        "account_name": image.record.account,
        "dockerfile": row.dockerfile,
        "created_at": rfc3339(row.created_at),
        "last_updated": rfc3339(row.detected_at),
        "tag_detected_at": rfc3339(row.detected_at),
    }


def _rule(rule: ImageRule | None) -> Document | None:
    if rule is None:
        return None
    return v2_mapping(rule.document()) if isinstance(rule, MappingRule) else rule.document()


def _finding(row: Row) -> dict[str, Any]:
    match: Any = None
    if row.allowlist is not None and row.allowlist_item is not None:
        match = {"id": row.allowlist.id, "name": row.allowlist.name, "matched_rule_id": row.allowlist_item.id}
    return {
        "trigger_id": row.match.trigger_id,
        "gate": row.rule.gate,
        "trigger": row.rule.trigger,
        "message": row.match.message,
        "action": row.action,
        "policy_id": row.rule_set_id,
        "rule_id": row.rule.id,
        "recommendation": row.rule.recommendation,
        "allowlisted": match is not None,
        "allowlist_match": match,
        "inherited_from_base": None,
    }
