"""What the documentation page offers to try with reviews by hand, and what they answer."""

from textwrap import indent

DIGEST = "sha256:" + "3" * 64
_WEB = "docker.io/library/nginx:1.25"
_IMAGES = ["ubuntu", _WEB]
_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "example"},
    "spec": {"containers": [{"name": "example", "image": "ubuntu"}]},
}
_DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "shop", "namespace": "strict"},
    "spec": {"template": {"spec": {"containers": [{"name": "web", "image": _WEB}]}}},
}
_POD_YAML = """apiVersion: v1
kind: Pod
metadata:
  name: example
spec:
  containers:
    - name: example
      image: ubuntu
"""
_DEPLOYMENT_YAML = f"""apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
  namespace: strict
spec:
  template:
    spec:
      containers:
        - name: web
          image: {_WEB}
"""


def _item(text: str) -> str:
    """An element of a list in YAML."""
    return f"- {indent(text, '  ').lstrip()}"


SUBJECTS = {
    "pod": ("A Pod", _POD, _POD_YAML),
    "deployment": ("A Deployment", _DEPLOYMENT, _DEPLOYMENT_YAML),
    "several": (
        "Several objects",
        {"apiVersion": "v1", "kind": "List", "items": [_POD, _DEPLOYMENT]},
        f"apiVersion: v1\nkind: List\nitems:\n{_item(_POD_YAML)}{_item(_DEPLOYMENT_YAML)}",
    ),
    "images": ("A list of images", _IMAGES, "".join(f"- {image}\n" for image in _IMAGES)),
}
"""The same in both media types: the page keeps an example by its name when the media type changes."""
_VERDICT = {
    "image": "ubuntu",
    "digest": DIGEST,
    "object": {"kind": "Pod", "namespace": "strict", "name": "example"},
    "places": ['containers "example"'],
    "rule": "strict",
    "mode": "strict",
    "verdict": "deny",
    "reason": "policy_failed",
    "effect": "deny",
    "message": f"Image ubuntu with digest {DIGEST} failed policy checks for policy bundle admissionpolicy",
    "findings": ["HIGH CVE-2021-3711 in openssl, fixed in 1.1.1k-r0"],
}
SUMMARY = {
    "allowed": False,
    "images": [_VERDICT],
    "warnings": [],
    "errors": [],
    "notChecked": [],
    "objects": {"reviewed": 1, "withoutImages": 0, "notChecked": 0, "unread": 0},
}
