"""The policy every account starts with: the vulnerability rules of Anchore's own default."""

from typing import Any

from anchore_admission.sandbox.policies import DEFAULT_ID


def _severity_rule(rule_id: str, comparison: str, action: str) -> dict[str, Any]:
    params = {"package_type": "all", "severity_comparison": comparison, "severity": "medium"}
    return {
        "id": rule_id,
        "gate": "vulnerabilities",
        "trigger": "package",
        "action": action,
        "params": [{"name": name, "value": value} for name, value in params.items()],
    }


DEFAULT_POLICY: dict[str, Any] = {
    "id": DEFAULT_ID,
    "version": "1_0",
    "name": "Default bundle",
    "comment": "Default bundle (sandbox)",
    "policies": [
        {
            "id": "48e6f7d6-1765-11e8-b5f9-8b6f228548b6",
            "version": "1_0",
            "name": "DefaultPolicy",
            "comment": "System default policy",
            "rules": [
                _severity_rule("6063fdde-b1c5-46af-973a-915739451ac4", "=", "WARN"),
                _severity_rule("b30e8abc-444f-45b1-8a37-55be1b8c8bb5", ">", "STOP"),
            ],
        }
    ],
    "whitelists": [
        {
            "id": "37fd763e-1765-11e8-add4-3b16c029ac5c",
            "version": "1_0",
            "name": "Global Whitelist",
            "comment": "Default global whitelist",
            "items": [],
        }
    ],
    "mappings": [
        {
            "id": "c4f9bf74-dc38-4ddf-b5cf-00e9c0074611",
            "name": "default",
            "registry": "*",
            "repository": "*",
            "image": {"type": "tag", "value": "*"},
            "policy_id": "48e6f7d6-1765-11e8-b5f9-8b6f228548b6",
            "whitelist_ids": ["37fd763e-1765-11e8-add4-3b16c029ac5c"],
        }
    ],
    "whitelisted_images": [],
    "blacklisted_images": [],
}
