"""The user who sends a request: a person, or a component of the cluster."""

from anchore_admission.models.review import AdmissionRequest

# Kubernetes reserves `system:` for its own users (RBAC). The name `system:admin`, which people use, is not among these.
_COMPONENTS = ("system:serviceaccount:", "system:node:", "system:kube-")


def is_controller(request: AdmissionRequest) -> bool:
    """Return whether the request comes from a component of the cluster, where no human sees warnings."""
    user = (request.userInfo.username if request.userInfo else None) or ""
    return user.startswith(_COMPONENTS)
