#!/usr/bin/env python3
"""Ask the installed webhook about a Pod, as an API server does. Run by `helm test`; standard library only."""

import base64
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

NAME, NAMESPACE = os.environ.get("WEBHOOK", ""), os.environ.get("NAMESPACE", "")
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
IMAGE = "docker.io/library/busybox:latest"
PATIENCE = 120.0
"""Seconds for a fresh release to come up and register itself."""


def call(url: str, authority: str, token: str | None = None, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """JSON from an address; without proxies, which API servers do not use either."""
    context = ssl.create_default_context(cadata=authority)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # authorities without a key usage, as API servers take them
    trust = urllib.request.HTTPSHandler(context=context)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - https, from the release's own names
    with urllib.request.build_opener(urllib.request.ProxyHandler({}), trust).open(request, timeout=12) as answer:
        result: dict[str, Any] = json.load(answer)
        return result


def registered_authority() -> str:
    """The authority that API servers trust: a file, or what the controller has registered."""
    if "AUTHORITY" in os.environ:
        return Path(os.environ["AUTHORITY"]).read_text()
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    server = f"[{host}]" if ":" in host else host
    path = f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{NAME}"
    url = f"https://{server}:{os.environ['KUBERNETES_SERVICE_PORT']}{path}"
    live = call(url, (ACCOUNT / "ca.crt").read_text(), (ACCOUNT / "token").read_text())
    for webhook in live.get("webhooks", ()):
        if webhook["name"] == f"{NAME}.admission.anchore.io" and webhook["clientConfig"].get("caBundle"):
            return base64.b64decode(webhook["clientConfig"]["caBundle"]).decode()
    raise LookupError(f"ValidatingWebhookConfiguration {NAME} is not filled in yet")


def question(uid: str) -> dict[str, Any]:
    """A dry run: nothing is submitted to Anchore."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "helm-test", "namespace": "helm-test"},
        "spec": {"containers": [{"name": "main", "image": IMAGE}]},
    }
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "helm-test",
            "namespace": "helm-test",
            "operation": "CREATE",
            "userInfo": {"username": "helm-test", "groups": ["system:authenticated"]},
            "object": pod,
            "dryRun": True,
        },
    }


def ask() -> dict[str, Any]:
    """The webhook's answer to one question."""
    uid = str(uuid.uuid4())
    url = f"https://{NAME}.{NAMESPACE}.svc:443/validate?timeout=10s"
    answer = call(url, registered_authority(), body=question(uid))["response"]
    if answer["uid"] != uid or not isinstance(answer["allowed"], bool):
        raise ValueError(f"not an answer to the question: {answer}")
    return dict(answer)


def asked_until(end: float) -> dict[str, Any] | None:
    """The first answer, or none by then."""
    while True:
        try:
            return ask()
        except (OSError, LookupError, ValueError) as error:
            detail = error.read().decode(errors="replace")[:500] if isinstance(error, urllib.error.HTTPError) else ""
            sys.stdout.write(f"no answer: {error} {detail}\n")
        if time.monotonic() > end:
            return None
        time.sleep(2)


def told(answer: dict[str, Any]) -> str:
    """Describe an answer in words; a denial's Status would say "Failure" in a test that succeeds."""
    verdict = answer.get("auditAnnotations", {}).get("verdict", "no verdict given")
    reason = answer.get("status", {}).get("message") or "; ".join(answer.get("warnings", ()))
    effect = "admitted" if answer["allowed"] else "denied"
    return f"a Pod with image {IMAGE} would be {effect} ({verdict})" + (f": {reason}" if reason else "")


def main() -> int:
    """Exit 0 for an answer with a verdict, 1 for one without, 2 for none."""
    answer = asked_until(time.monotonic() + PATIENCE)
    if answer is None:
        sys.stdout.write("The webhook gave no answer through its Service.\n")
        return 2
    sys.stdout.write(f"The webhook answers: {told(answer)}\n")
    if answer.get("auditAnnotations", {}).get("verdict") == "no_verdict":
        sys.stdout.write("It gets no verdict from Anchore: look at the controller's log.\n")
        return 1
    sys.stdout.write("It is reached through its Service and judges: this is what the test is about, not the image.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
