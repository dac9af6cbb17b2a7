"""What an image reference means, by the grammar and normalisation of distribution/reference."""

import re
from dataclasses import dataclass

from anchore_admission.errors import InvalidImageReference

DOCKER_HUB = "docker.io"
_OFFICIAL = "library/"
_MAX_PATH = 255

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

_HOST_RE = re.compile(_HOST)
_PATH_RE = re.compile(_PATH)
_SUFFIX_RE = re.compile(rf"(?P<name>[^@]+?)(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?")
_IMAGE_ID_RE = re.compile(r"[a-f0-9]{64}")
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_HEX_RE = re.compile(r"[a-f0-9]+")


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A parsed reference. ``text`` is what the workload says; ``host`` keeps its case, as runtimes do."""

    text: str
    host: str
    path: str
    tag: str | None
    digest: str | None

    @property
    def repository(self) -> str:
        """``host/path`` as it stands in the canonical reference."""
        return f"{self.host}/{self.path}"

    @property
    def official_name(self) -> str | None:
        """The short name of an official Docker Hub image (``nginx``), else None."""
        if self.host == DOCKER_HUB and self.path.startswith(_OFFICIAL):
            name = self.path.removeprefix(_OFFICIAL)
            return None if "/" in name else name
        return None


def parse(text: str) -> ImageReference:
    """Parse as containerd and the kubelet do (``ParseDockerRef``), default tag ``latest`` included.

    Raises InvalidImageReference. Source: github.com/distribution/reference, compared by table and by generated strings.
    """
    if _IMAGE_ID_RE.fullmatch(text):
        raise InvalidImageReference("is an image ID, not a reference")
    host, rest = _split_host(text)
    match = _SUFFIX_RE.fullmatch(rest)
    if match is None:
        raise InvalidImageReference("is not a valid image reference")
    path, tag, digest = match["name"], match["tag"], match["digest"]
    if host == DOCKER_HUB and "/" not in path:
        path = _OFFICIAL + path
    _check_name(host, path)
    if digest is not None:
        _check_digest(digest)
    return ImageReference(text, host, path, tag if tag or digest else "latest", digest)


def is_image_id(text: str) -> bool:
    """Whether a runtime may read the text as the ID of a local image, which no look-up can judge.

    containerd tries ``sha256:<hex>``, even shortened, as an image ID first (internal/cri, LocalResolve).
    """
    return text.startswith(("sha256:", "sha384:", "sha512:")) or _IMAGE_ID_RE.fullmatch(text) is not None


def _split_host(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash:
        return DOCKER_HUB, text
    if first == "index.docker.io":
        return DOCKER_HUB, rest
    if first == "localhost" or "." in first or ":" in first or first.lower() != first:
        return first, rest
    return DOCKER_HUB, text


def _check_name(host: str, path: str) -> None:
    if not _HOST_RE.fullmatch(host):
        raise InvalidImageReference("is not a valid image reference: its registry host is malformed")
    if not _PATH_RE.fullmatch(path):
        detail = "must be lower case" if _PATH_RE.fullmatch(path.lower()) else "is malformed"
        raise InvalidImageReference(f"is not a valid image reference: its repository name {detail}")
    if len(path) > _MAX_PATH:
        raise InvalidImageReference("is not a valid image reference: its repository name is longer than 255 characters")


def _check_digest(digest: str) -> None:
    algorithm, _, encoded = digest.partition(":")
    if _DIGEST_LENGTHS.get(algorithm) != len(encoded) or not _HEX_RE.fullmatch(encoded):
        raise InvalidImageReference("is not a valid image reference: its digest is malformed")
