"""The values that a match is compared with: the names of an image, and everything else about its request."""

from collections.abc import Mapping

from msgspec import Struct

from anchore_admission.core.reference import DOCKER_HUB, ImageReference, names_host, registry


class Circumstances(Struct, frozen=True):
    """Everything except the image that a rule may match. ``namespace_labels`` is None while they are not known."""

    namespace: str = ""
    namespace_labels: Mapping[str, str] | None = None
    kinds: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    user: str = ""
    groups: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


def image_names(reference: ImageReference) -> tuple[str, ...]:
    """Return the texts an image glob is tried on: the repository alone, with its tag or with its digest.

    All begin with the registry in its one spelling. The tag of ``tag@digest`` is left out because anyone can write it.
    """
    suffix = f"@{reference.digest}" if reference.digest else f":{reference.tag}"
    return tuple(f"{repository}{end}" for repository in reference.repositories for end in ("", suffix))


def text_names(text: str) -> tuple[str, ...]:
    """Return the texts an image glob is tried on for an invalid reference, whose registry is read as in a glob."""
    host, slash, rest = text.partition("/")
    return (f"{registry(host)}/{rest}" if slash and names_host(host) else f"{DOCKER_HUB}/{text}",)
