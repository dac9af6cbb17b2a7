"""Anchore over HTTP, API v1 and v2."""

from anchore_admission.adapters.anchore.connect import connect
from anchore_admission.adapters.anchore.credentials import Credentials, CredentialSource
from anchore_admission.adapters.anchore.detection import DetectingAnchore
from anchore_admission.adapters.anchore.endpoint import AnchoreEndpoint, Bounds

__all__ = ["AnchoreEndpoint", "Bounds", "CredentialSource", "Credentials", "DetectingAnchore", "connect"]
