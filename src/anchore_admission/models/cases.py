"""Cases that test a configuration: an image or object and its circumstances, and the rule that has to apply."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from anchore_admission.models.configuration import Enforcement, ModeName, OnError, Pin
from anchore_admission.models.configuration.base import Name, Section, Text, off_in

MAX_CASES = 10_000
_NAMESPACE = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")


class Expectation(Section):
    """The outcome of a case; keys that are left out are not compared."""

    rule: Name | None = None
    """The name of the rule; defaults if none matches."""
    mode: ModeName | None = None
    account: Name | None = None
    policy: Text | None = None
    """The policy; null is the account's active one."""
    enforcement: Enforcement | None = None
    on_error: OnError | None = None
    pin: Annotated[Pin | None, off_in(Pin)] = None
    exemption: Name | None = None
    """An exemption that applies if the image is denied; null if there is none."""
    problem: bool = False
    """True if the rule is not certain, or Anchore cannot check the image."""

    @model_validator(mode="after")
    def _expects_something(self) -> "Expectation":
        if not self.model_fields_set:
            raise ValueError("expected at least one key, such as rule or mode")
        return self


def _namespace(name: str) -> str:
    if not _NAMESPACE.fullmatch(name):
        raise ValueError("expected the name of a namespace")
    return name


class Case(Section):
    """One case. With ``object`` and ``image``, only that image of the object counts."""

    name: Text | None = None
    """The case's name in the output."""
    image: Annotated[str, StringConstraints(max_length=4096)] | None = None
    """The image of a Pod, or one of the object's images."""
    manifest: Annotated[dict[str, Any] | None, Field(alias="object", title="object")] = None
    """A Kubernetes object, as in a manifest."""
    namespace: Annotated[str, AfterValidator(_namespace)] = "default"
    """The namespace of an image, or of an object that names none."""
    namespace_labels: dict[str, str] | None = None
    """The labels of the namespace; without this key they are not known."""
    user: str = ""
    """The user who creates the object."""
    groups: list[str] = Field([])
    """The groups of the user."""
    expect: Expectation
    """The outcome; of every image of the object."""

    @model_validator(mode="after")
    def _is_about_something(self) -> "Case":
        if self.image is None and self.manifest is None:
            raise ValueError("give image or object")
        return self


class Cases(Section):
    """A file of cases."""

    cases: Annotated[list[Case], Field(min_length=1, max_length=MAX_CASES)]
