"""Reports about images as policy engines get them, and Pods with images."""

from typing import Any

import msgspec

from anchore_admission.models.image_report import ImageReport, ReportedFinding, ReportedVerdict

APP, INIT = "registry.example.com/app:1", "registry.example.com/init:1"
WARNED = ReportedFinding("vulnerabilities", "package", "CVE-2026-1", "HIGH", "openssl-3.0", "", "warn", "HIGH …")
"""A finding that the policy only warns about."""


def report(image: str = APP, **fields: Any) -> dict[str, Any]:
    """Return a report as JSON: of an image that passes, if no fields say otherwise."""
    known: dict[str, Any] = {
        "verdict": ReportedVerdict("admit", "policy_passed"),
        "findings_total": len(fields.get("findings", ())),
    }
    built: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(ImageReport(reference=image, **(known | fields))))
    return built


def pod(*images: str, **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": f"c{n}", "image": image} for n, image in enumerate(images)], **spec}}
