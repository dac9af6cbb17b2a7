"""The values that keys of the configuration file choose from; the core works with them too."""

from enum import StrEnum


class ModeName(StrEnum):
    """How Anchore's facts about an image become a verdict; ``skip`` does not contact Anchore."""

    PASSIVE = "passive"
    ANALYSIS = "analysis"
    STRICT = "strict"
    SKIP = "skip"


class Enforcement(StrEnum):
    """The effect of a denial: deny the object, only warn, or only record it in the audit annotations."""

    DENY = "deny"
    WARN = "warn"
    AUDIT = "audit"


class OnError(StrEnum):
    """The effect of a missing verdict, for example while Anchore is unavailable."""

    DENY = "deny"
    WARN = "warn"
    ALLOW = "allow"


class Pin(StrEnum):
    """The rewriting of a tag to the judged digest in Pods: never, where it is possible, or else deny the Pod."""

    OFF = "off"
    BEST_EFFORT = "bestEffort"
    REQUIRED = "required"


class WorkloadHandling(StrEnum):
    """The effect of a denial on the kinds that are templates of Pods (Deployment, Job, …)."""

    FINAL = "final"
    DENY = "deny"
    WARN = "warn"
    OFF = "off"


class UnknownKinds(StrEnum):
    """The response to an object of a kind whose images cannot be found."""

    ALLOW = "allow"
    WARN = "warn"
    DENY = "deny"


class ApiVersion(StrEnum):
    """The version of Anchore's API to use; ``auto`` detects it."""

    AUTO = "auto"
    V1 = "v1"
    V2 = "v2"
