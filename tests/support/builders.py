"""Short ways to write what tests are about: workloads, reviews, rules, facts, verdicts."""

import json
from collections.abc import Mapping
from typing import Any

from anchore_admission.core.decision import Decision, Effect, Reason
from anchore_admission.core.facts import AnalysisState, Finding, ImageFacts, ImageRecord, PolicyEvaluation, TagRow
from anchore_admission.core.images import JudgedImage
from anchore_admission.core.reference import parse
from anchore_admission.core.rules.book import Rule
from anchore_admission.core.rules.exemptions import Use
from anchore_admission.core.verdict import ImageVerdict, Verdict
from anchore_admission.core.workload import ContainerImage
from anchore_admission.models.configuration import Enforcement, ModeName, OnError, Pin
from anchore_admission.models.examples import example_review
from anchore_admission.models.review import AdmissionRequest, AdmissionReview, decode
from anchore_admission.models.workload import Unreadable

DIGEST = "sha256:" + "a" * 64
OTHER_DIGEST = "sha256:" + "b" * 64
UID = "3c9a"

Json = dict[str, Any]

_GROUPS = {"Deployment": "apps", "ReplicaSet": "apps", "StatefulSet": "apps", "DaemonSet": "apps"}
_GROUPS |= {"Job": "batch", "CronJob": "batch"}


def containers(*images: str | None) -> list[Json]:
    """Containers named c1, c2, …; None for a container without an image."""
    return [
        {"name": f"c{number}"} | ({} if image is None else {"image": image}) for number, image in enumerate(images, 1)
    ]


def pod_spec(*images: str | None, **more: Any) -> Json:
    return {"containers": containers(*images), **more}


def pod(*images: str | None, metadata: Any = None, **spec: Any) -> Json:
    return workload("Pod", pod_spec(*images, **spec), metadata=metadata)


def template(kind: str, *images: str | None, metadata: Json | None = None) -> Json:
    """A workload that carries a Pod template."""
    return workload(kind, pod_spec(*images), metadata=metadata)


def workload(kind: str, spec: Json, *, metadata: Json | None = None, pod_metadata: Json | None = None) -> Json:
    """An object of a kind around a Pod spec."""
    template = {"metadata": pod_metadata or {}, "spec": spec}
    inner: Json
    match kind:
        case "Pod":
            inner = {"spec": spec}
        case "PodTemplate":
            inner = {"template": template}
        case "CronJob":
            inner = {"spec": {"jobTemplate": {"spec": {"template": template}}}}
        case _:
            inner = {"spec": {"template": template}}
    group = _GROUPS.get(kind, "")
    return {
        "apiVersion": f"{group}/v1" if group else "v1",
        "kind": kind,
        "metadata": {"name": "demo", **(metadata or {})},
        **inner,
    }


def review(body: Any, **changes: Any) -> Json:
    """An AdmissionReview about an object, its kind taken from the object; changes go into the request."""
    body_kind = body.get("kind", "Pod") if isinstance(body, dict) else "Pod"
    version = body.get("apiVersion", "v1") if isinstance(body, dict) else "v1"
    group, slash, number = str(version).rpartition("/")
    written_kind = {"group": group if slash else "", "version": number, "kind": body_kind}
    resource = {"group": group if slash else "", "version": number, "resource": f"{str(body_kind).lower()}s"}
    about = {"kind": written_kind, "requestKind": written_kind, "resource": resource, "requestResource": resource}
    named = {"name": "demo", "namespace": "shop", "object": body}
    user = {"username": "alice", "groups": ["system:authenticated"]}
    return example_review(None, **{**about, **named, "userInfo": user, **changes})


def request(body: Any, **changes: Any) -> AdmissionRequest:
    """A review's request as the webhook decodes it."""
    return decode(json.dumps(review(body, **changes)).encode()).request


def reason_of(decoded: AdmissionReview) -> str:
    """Return the reason why the object of a review cannot be read, or an empty string."""
    value = decoded.request.object
    return value.reason if isinstance(value, Unreadable) else ""


def rule(
    name: str = "production",
    *,
    mode: ModeName = ModeName.STRICT,
    account: str = "default",
    policy: str | None = None,
    enforcement: Enforcement = Enforcement.DENY,
    on_error: OnError = OnError.DENY,
    request_analysis: bool = True,
    require_mapping: bool = False,
    break_glass: str | None = None,
    pin: Pin = Pin.OFF,
) -> Rule:
    return Rule(
        name,
        mode,
        account,
        policy,
        enforcement,
        on_error,
        request_analysis,
        require_mapping,
        break_glass=break_glass,
        pin=pin,
    )


def record(
    state: AnalysisState = AnalysisState.ANALYZED, *, tags: Mapping[str, str] | None = None, digest: str = DIGEST
) -> ImageRecord:
    """``tags`` maps full tags to the moment they were detected."""
    return ImageRecord(digest, state, tuple(TagRow(tag, detected) for tag, detected in (tags or {}).items()))


def vulnerability(
    identifier: str = "CVE-2021-3711", package: str = "openssl", *, severity: str = "HIGH", fix: str = "1.1.1k-r0"
) -> Finding:
    """A finding of the vulnerabilities gate, in Anchore's words."""
    message = f"{severity} Vulnerability found in os package type (APKG) - {package} (fixed in: {fix})({identifier})"
    return Finding("vulnerabilities", "package", f"{identifier}+{package}", message)


def failed(*findings: Finding, policy: str = "admissionpolicy") -> PolicyEvaluation:
    return PolicyEvaluation(passed=False, policy=policy, findings=findings)


def image_verdict(
    verdict: Verdict | None = None,
    *,
    image: str = "ubuntu",
    by: Rule | None = None,
    facts: ImageFacts | None = None,
    effect: Effect = Effect.DENY,
    exemptions: tuple[Use, ...] = (),
) -> ImageVerdict:
    """A verdict on the image of one container, a refusal where nothing else is said."""
    return ImageVerdict(
        JudgedImage(image, (ContainerImage("containers", "c1", image),), parse(image), by or rule()),
        facts=facts or ImageFacts(),
        verdict=verdict or Verdict(Decision.DENY, Reason.POLICY_FAILED, f"Image {image} failed"),
        effect=effect,
        exemptions=exemptions,
    )
