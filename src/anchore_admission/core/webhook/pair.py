"""A serving certificate with its key, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

CA_BUNDLE: Final = "ca.crt"
CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
"""The keys of a Secret, named as cert-manager and ``kubectl create secret tls`` name them."""


@dataclass(frozen=True, slots=True)
class CertificatePair:
    """PEM: a serving certificate, with intermediates if there are any, its key, and the CAs that clients need."""

    certificate: bytes
    key: bytes = field(repr=False)
    ca_bundle: bytes = b""

    @classmethod
    def from_secret(cls, data: Mapping[str, bytes]) -> "CertificatePair":
        """Read the pair from a Secret; the parts that the Secret lacks are empty."""
        return cls(*(data.get(name, b"") for name in (CERTIFICATE, KEY, CA_BUNDLE)))

    def secret_data(self) -> dict[str, bytes]:
        """Return the pair as a Secret holds it."""
        return {CA_BUNDLE: self.ca_bundle, CERTIFICATE: self.certificate, KEY: self.key}


@dataclass(frozen=True, slots=True)
class CertificateDetails:
    """The contents of a serving certificate; ``ca`` is the PEM of the CA that signed it. Times are Unix time."""

    not_before: float
    not_after: float
    names: frozenset[str]
    ca: bytes
