"""Objects of every kind, complete enough for an API server; their Pods are not scheduled unless requested."""

from typing import Any, Final

Json = dict[str, Any]

PASSING: Final = "alpine:3.20"
FAILING: Final = "nginx:1.25"
PENDING: Final = "postgres:16"
BROKEN: Final = "broken:1"
REFUSED: Final = "private:1"
"""Images of the sandbox's built-in seed: passing, failing, being analyzed, not analyzable, not pullable."""

TEMPLATES: Final = (
    *("PodTemplate", "ReplicationController", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"),
    *("Job", "CronJob"),
)
KINDS: Final = ("Pod", *TEMPLATES)
NOWHERE: Final = {"e2e": "nowhere"}
_VERSIONS: Final = {"Job": "batch/v1", "CronJob": "batch/v1"} | dict.fromkeys(
    ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"), "apps/v1"
)


def pod_spec(*images: str, runs: bool = False, **more: Any) -> Json:
    """Containers named c1, c2, …; the real images would end at once or do what they are for."""
    running: Json = {"command": ["sleep", "1000000"]} if runs else {}
    containers = [{"name": f"c{number}", "image": image, **running} for number, image in enumerate(images, 1)]
    place: Json = {} if runs else {"nodeSelector": NOWHERE}
    return {"containers": containers, "terminationGracePeriodSeconds": 0, **place, **more}


def thing(kind: str, *images: str, name: str = "thing", runs: bool = False, replicas: int = 1, **spec: Any) -> Json:
    """An object whose Pods have these images; ``spec`` goes into the Pod's."""
    labels = {"app": name}
    pods = pod_spec(*images, runs=runs, **spec)
    if kind in {"Job", "CronJob"}:
        pods["restartPolicy"] = "Never"
    template = {"metadata": {"labels": labels}, "spec": pods}
    inner: Json = {"spec": {"template": template}}
    match kind:
        case "Pod":
            inner = {"spec": pods}
        case "PodTemplate":
            inner = {"template": template}
        case "ReplicationController":
            inner["spec"] |= {"replicas": replicas, "selector": labels}
        case "Deployment" | "ReplicaSet" | "StatefulSet":
            inner["spec"] |= {"replicas": replicas, "selector": {"matchLabels": labels}}
        case "DaemonSet":
            inner["spec"] |= {"selector": {"matchLabels": labels}}
        case "Job":
            inner["spec"] |= {"suspend": not runs}
        case _:
            inner = {"spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}}}
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": _VERSIONS.get(kind, "v1"), "kind": kind, "metadata": metadata, **inner}


def images_of(found: Json) -> list[str]:
    return [container["image"] for container in found["spec"]["containers"]]
