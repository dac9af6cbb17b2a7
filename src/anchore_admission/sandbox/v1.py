"""The responses of API v1, as recorded from a real engine."""

import re
from collections.abc import Sequence
from typing import Any, Literal

from anchore_admission.sandbox.api import HOST, Api, ImageView, Json
from anchore_admission.sandbox.checks import Check, Checked
from anchore_admission.sandbox.evaluation import Row
from anchore_admission.sandbox.events import Event
from anchore_admission.sandbox.images import TagRow
from anchore_admission.sandbox.policies import StoredPolicy
from anchore_admission.sandbox.policy_dialects import v1_document, v1_rule
from anchore_admission.sandbox.policy_models import Document, ImageRule
from anchore_admission.sandbox.times import rfc3339, rfc3339_precise

_HEADER = (
    *("Image_Id", "Repo_Tag", "Trigger_Id", "Gate", "Trigger"),
    *("Check_Output", "Gate_Action", "Whitelisted", "Policy_Id"),
)
_REASONS = {"policy_evaluation": "policy_evaluation", "allowlisted": "whitelisted", "denylisted": "blacklisted"}


class V1(Api):
    name = "v1"
    service_version = "1.1.0"
    full_tag = "fulltag"
    policy_id = "policyId"
    pull_string = "pullstring"
    image_digests = "imageDigests"
    policy_document = "policybundle"
    takes_legacy_adds = True
    maps_by_tag_only = True
    digest_pattern = None
    takes_unknown_accounts = True
    filters_by_id_and_time = False
    deletes_unknown_images = True
    account_exists = 400
    replaces_policies = True
    takes_partial_records = True
    words_vary = False
    invalid_policy = "Bundle failed validation"

    def version(self) -> Json:
        service = {"version": self.service_version}
        return {"service": service, "api": {}, "db": {"schema_version": "0.0.16"}, "sandbox": True}

    def image(self, image: ImageView) -> Json:
        record = image.record
        return {
            "imageDigest": record.digest,
            "parentDigest": image.content.parent_digest,
            "userId": record.account,
            "analysis_status": image.state,
            "image_status": image.status,
            "image_type": "docker",
            "created_at": rfc3339(record.created_at),
            "last_updated": rfc3339(image.updated_at),
            "analyzed_at": None if image.analyzed_at is None else rfc3339(image.analyzed_at),
            "annotations": dict(record.annotations),
            "image_content": {"metadata": image.metadata()},
            "image_detail": [_detail(image, row) for row in record.rows()],
        }

    def images(self, images: Sequence[ImageView]) -> Json:
        return [self.image(image) for image in images]

    def one(self, item: Json) -> Json:
        return [item]

    def check(self, digest: str, checked: Checked, *, detail: bool) -> Json:
        return [
            {digest: {tag: [self._evaluation(c, detail=detail) for c in checks] for tag, checks in checked.items()}}
        ]

    def _evaluation(self, check: Check, *, detail: bool) -> Json:
        return {
            "policyId": check.policy.policy.id,
            "status": check.evaluation.status,
            "last_evaluation": rfc3339(check.at),
            "detail": {"policy": self.document(check.policy), "result": self._result(check)} if detail else {},
        }

    def _result(self, check: Check) -> Json:
        evaluation, content = check.evaluation, check.record.content
        rows = [_row(check, row) for row in evaluation.rows]
        table = {
            "final_action": evaluation.policy_action,
            "row_count": len(rows),
            "header": list(_HEADER),
            "rows": rows,
        }
        lists = {"policy_data": [], "whitelist_data": [], "policy_name": "", "whitelist_names": []}
        return {
            "user_id": check.record.account,
            "image_id": content.image_id,
            "image_digest": content.digest,
            "tag": check.tag.full_name,
            "status": evaluation.status,
            "final_action": evaluation.final_action,
            "final_action_reason": _REASONS[evaluation.reason],
            "matched_mapping_rule": _rule(evaluation.mapping),
            "matched_whitelisted_images_rule": _rule(evaluation.allowed_by),
            "matched_blacklisted_images_rule": _rule(evaluation.denied_by),
            "evaluation_problems": [
                {"severity": p.severity, "problem_type": p.problem_type, "details": p.details}
                for p in evaluation.problems
            ],
            "bundle": self.document(check.policy),
            "created_at": int(check.at),
            "last_modified": int(check.at),
            "result": {content.image_id: {"result": table}, **lists},
        }

    def policy(self, account: str, stored: StoredPolicy, *, active: bool, detail: bool) -> Json:
        return {
            "policyId": stored.policy.id,
            "name": stored.policy.name,
            "userId": account,
            "active": active,
            "policy_source": stored.source,
            "policybundle": self.document(stored) if detail else {},
            "policybundlemeta": {},
            "created_at": rfc3339(stored.created_at),
            "last_updated": rfc3339(stored.updated_at),
        }

    def written_policy(self, account: str, stored: StoredPolicy, *, active: bool) -> Json:
        shown = self.policy(account, stored, active=active, detail=True)
        del shown["policybundlemeta"]
        return shown

    def deleted(self) -> tuple[int, Json]:
        return 200, "deleted"

    def deletion(self, digest: str, *, found: bool) -> Json:
        status, detail = ("deleting", None) if found else ("not_found", "No image found with the digest")
        return {"digest": digest, "status": status, "detail": detail}

    def service(self, name: str, host: str, facts: Json) -> Json:
        return {"servicename": name, "hostid": host, **facts}

    def event(self, account: str, event: Event) -> Json:
        kind, identity = event.resource
        source = {"servicename": "catalog", "hostid": HOST, "base_url": "http://127.0.0.1:8282", "request_id": None}
        return {
            "generated_uuid": event.id,
            "created_at": rfc3339_precise(event.written_at),
            "event": {
                "type": event.type,
                "level": event.level,
                "message": event.message,
                "details": event.details,
                "timestamp": rfc3339_precise(event.at),
                "resource": {"user_id": account, "id": identity, "type": kind},
                "source": source,
            },
        }

    def matches_event(self, pattern: str, event_type: str) -> bool:
        """Match the whole type; only a star stands for anything (``db_events.py``, which turns it into SQL's LIKE)."""
        return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), event_type) is not None

    def document(self, stored: StoredPolicy) -> Document:
        return v1_document(stored.document)


def _detail(image: ImageView, row: TagRow) -> dict[str, Any]:
    digest, reference = image.record.digest, row.reference
    return {
        "registry": reference.registry,
        "repo": reference.repo,
        "tag": reference.tag,
        "fulltag": reference.full_tag,
        "digest": digest,
        "fulldigest": f"{reference.registry}/{reference.repo}@{digest}",
        "imageDigest": digest,
        "imageId": image.content.image_id,
        "userId": image.record.account,
        "dockerfile": row.dockerfile,
        "created_at": rfc3339(row.created_at),
        "last_updated": rfc3339(row.detected_at),
        "tag_detected_at": rfc3339(row.detected_at),
    }


def _rule(rule: ImageRule | None) -> Document | Literal[False]:
    return False if rule is None else v1_rule(rule)


def _row(check: Check, row: Row) -> list[Any]:
    whitelisted: Any = False
    if row.allowlist is not None and row.allowlist_item is not None:
        whitelisted = {
            "whitelist_name": row.allowlist.name,
            "whitelist_id": row.allowlist.id,
            "matched_rule_id": row.allowlist_item.id,
        }
    found = (row.match.trigger_id, row.rule.gate, row.rule.trigger, row.match.message)
    return [check.record.content.image_id, check.tag.full_name, *found, row.action, whitelisted, row.rule_set_id]
