"""Whole reviews, from the body of a call to the verdict, with everything around them faked."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from anchore_admission.core.facts import Finding, PolicyEvaluation
from anchore_admission.core.verdict import ReviewVerdict
from anchore_admission.models.configuration import Configuration
from anchore_admission.models.review import decode
from anchore_admission.ports.telemetry import Origin
from anchore_admission.services.reviews.review import Reviews, Rules
from support.evaluation_bench import DEADLINE, EvaluationBench
from support.fakes import ACTIVE_POLICY, digest_of

Json = dict[str, Any]
CONTROLLER = "system:serviceaccount:kube-system:replicaset-controller"
REGISTRY = "registry.example.com"
APP = f"{REGISTRY}/app:1"
BAD = f"{REGISTRY}/bad:1"


def containers(*images: str | None) -> list[Json]:
    return [{"name": f"c{number}", "image": image} for number, image in enumerate(images)]


def pod(*images: str | None, **spec: Any) -> Json:
    """A Pod; ``metadata`` and whatever else its spec holds can be given."""
    metadata = spec.pop("metadata", {})
    named = {"name": "web", "namespace": "shop", **metadata}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": named, "spec": {"containers": containers(*images), **spec}}


def template(kind: str, *images: str | None, group: str = "apps", **metadata: Any) -> Json:
    """A workload that carries a Pod template."""
    spec: Json = {"template": {"spec": {"containers": containers(*images)}}}
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": spec}}
    named = {"name": "web", "namespace": "shop", **metadata}
    return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": named, "spec": spec}


@dataclass
class ReviewBench(EvaluationBench):
    """``settings`` is what the configuration file says."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    reviews: Reviews = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        configuration = Configuration.model_validate(self.settings)
        self.reviews = Reviews(Rules.of(configuration), self.gathering, self.recorder)

    async def review(
        self,
        new: Any,
        *,
        old: Any = None,
        operation: str = "",
        subresource: str | None = None,
        user: str = "jane",
        groups: tuple[str, ...] = (),
        dry_run: bool = False,
        origin: Origin = Origin.ADMISSION,
    ) -> ReviewVerdict:
        """Review an object as the API server would send it; an old object makes it an UPDATE."""
        group, _, version = str(new["apiVersion"]).rpartition("/")
        request = {
            "uid": "3c9a",
            "kind": {"group": group, "version": version, "kind": new["kind"]},
            "subResource": subresource,
            "namespace": "shop",
            "operation": operation or ("UPDATE" if old else "CREATE"),
            "userInfo": {"username": user, "groups": list(groups)},
            "object": new,
            "oldObject": old,
            "dryRun": dry_run,
        }
        body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
        review = decode(json.dumps(body).encode())
        return await self.reviews.review(review.request, self.deadline(), origin=origin)

    def fail_policy(self, full_tag: str, *findings: Finding) -> None:
        """Let an image that is held fail the active policy."""
        found = findings or (Finding("dockerfile", "instruction", "x", "no HEALTHCHECK"),)
        for anchore in self.accounts.values():
            anchore.evaluate(digest_of(full_tag), PolicyEvaluation(False, ACTIVE_POLICY, findings=found))

    async def late_review(self, new: Any, seconds: float = DEADLINE) -> ReviewVerdict:
        """The verdict that comes when so much time has passed, and not before."""
        reviewing = asyncio.create_task(self.review(new))
        await self.clock.advance(seconds - 0.1)
        assert not reviewing.done()
        await self.clock.advance(0.1)
        assert reviewing.done()
        return await reviewing


def defaults(mode: str, **more: Any) -> Json:
    """A configuration without rules."""
    return {"defaults": {"mode": mode, **more}}
