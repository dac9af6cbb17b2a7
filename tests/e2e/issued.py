"""Certificates that cert-manager issues for the release: their Secrets, renewal and publication."""

import base64
from typing import Final

from cryptography.x509 import Certificate, load_pem_x509_certificate

from e2e.cluster.api import Api
from e2e.cluster.waiting import until
from e2e.release import NAME, REGISTRATIONS
from e2e.things import Json

SERVING: Final = NAME
CA: Final = f"{NAME}-ca"
SECRETS: Final = {SERVING: f"{NAME}-certificate", CA: f"{NAME}-ca"}
"""Secrets of the two Certificates."""
_CERTIFICATES: Final = f"/apis/cert-manager.io/v1/namespaces/{NAME}/certificates"


def secret(api: Api, certificate: str = SERVING) -> Json:
    """Raises LookupError when there is none."""
    return api.get(f"/api/v1/namespaces/{NAME}/secrets/{SECRETS[certificate]}")


def content(api: Api, certificate: str = SERVING) -> dict[str, str]:
    found: dict[str, str] = secret(api, certificate).get("data", {})
    return found


def is_issued(api: Api, certificate: str = SERVING) -> bool:
    """Return whether a Certificate is ready and not being renewed."""
    conditions = {it["type"]: it["status"] for it in api.get(f"{_CERTIFICATES}/{certificate}")["status"]["conditions"]}
    return conditions.get("Ready") == "True" and conditions.get("Issuing", "False") == "False"


def renew(api: Api, certificate: str = SERVING) -> None:
    """Renew as ``cmctl renew`` does, and wait until the Secret holds another certificate."""
    before = content(api, certificate)["tls.crt"]

    def asked() -> bool:
        found = api.get(f"{_CERTIFICATES}/{certificate}")
        issuing = {
            "type": "Issuing",
            "status": "True",
            "reason": "ManuallyTriggered",
            "message": "Certificate re-issuance manually triggered",
            "lastTransitionTime": found["metadata"]["creationTimestamp"],
            "observedGeneration": found["metadata"]["generation"],
        }
        found["status"]["conditions"].append(issuing)
        return api.call("PUT", f"{_CERTIFICATES}/{certificate}/status", found).allowed

    until(asked, f"{certificate} is to be renewed")
    until(lambda: content(api, certificate)["tls.crt"] != before and is_issued(api, certificate), "it is renewed")


def remove_secret(api: Api) -> None:
    """Delete the Secret to force a renewal, and wait until it exists again."""
    before = secret(api)["metadata"]["uid"]
    deleted = api.call("DELETE", f"/api/v1/namespaces/{NAME}/secrets/{SECRETS[SERVING]}")
    assert deleted.allowed, deleted.message
    until(lambda: secret(api)["metadata"]["uid"] != before and is_issued(api), "the Secret is made anew")


def in_use(api: Api) -> Certificate:
    """The Secret's certificate."""
    return load_pem_x509_certificate(base64.b64decode(content(api)["tls.crt"]))


def publisher(api: Api) -> str:
    """Return the field manager of the caBundle in the registration."""
    managers = api.get(f"{REGISTRATIONS}/{NAME}")["metadata"]["managedFields"]
    found = [it["manager"] for it in managers if "f:caBundle" in str(it["fieldsV1"])]
    assert len(found) == 1, found
    return str(found[0])
