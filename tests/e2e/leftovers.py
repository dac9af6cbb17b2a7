"""All objects in the cluster, of every type, before a release and after it."""

from collections.abc import Set as AbstractSet
from typing import Final

from e2e.cluster.kubectl import Kubectl
from e2e.cluster.waiting import until

_PASSING_BY: Final = {"events", "events.events.k8s.io"}
"""Types of events; Kubernetes writes them by itself and they expire."""
_NAMES: Final = '{{range .items}}{{.kind}} {{.metadata.namespace}}/{{.metadata.name}}{{"\\n"}}{{end}}'


def everything(kubectl: Kubectl) -> set[str]:
    """Every object of every type that can be listed."""
    types = set(kubectl("api-resources", "--verbs=list", "-o", "name").split()) - _PASSING_BY
    return set(kubectl("get", ",".join(sorted(types)), "-A", "-o", f"go-template={_NAMES}").splitlines())


def beginning(kubectl: Kubectl, namespace: str) -> set[str]:
    """Everything, once a new namespace has what Kubernetes puts into it."""
    until(lambda: f"ConfigMap {namespace}/kube-root-ca.crt" in everything(kubectl), f"{namespace} is complete")
    return everything(kubectl)


def await_only(kubectl: Kubectl, before: AbstractSet[str]) -> None:
    """Wait until nothing is left but what was there before."""

    def nothing_left() -> bool:
        left = everything(kubectl) - before
        assert not left, sorted(left)
        return True

    until(nothing_left, "the cluster is as it was", 180, every=1)
