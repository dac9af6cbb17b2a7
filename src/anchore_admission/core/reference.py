"""Image references by the grammar and normalization of distribution/reference, and the spellings of Docker Hub."""

import ipaddress
import re

from msgspec import Struct

from anchore_admission.errors import InvalidImageReference

DOCKER_HUB = "docker.io"
# To distribution/reference, only the first two are the same registry. The other two serve the same images, so a rule
# for docker.io that did not hold for them could be evaded.
HUB_HOSTS = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
"""Every host under which Docker Hub serves images."""
DEFAULT_PORT = "443"
OFFICIAL = "library/"
MAX_TEXT = 1024
"""Characters of the longest text that is read as a reference. No image that can be pulled has a longer one: a host
name has 253 characters at most (RFC 1035), a port 6 with its colon, a path 256, a tag 129 and a digest 136."""
# The limit of distribution/reference. Since its version 0.6, the host does not count.
_MAX_PATH = 255

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
# The grammar has no zone ID in an IPv6 address: `[fe80::1%eth0]` is malformed.
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
# The grammar is wider than the digests in use: as in the Go library, `_check_digest` accepts only known algorithms.
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

_HOST_RE = re.compile(_HOST)
_COMPONENT_RE = re.compile(_COMPONENT)
_PATH_RE = re.compile(_PATH)
_END = rf"(?::({_TAG}))?(?:@({_DIGEST}))?"
_REST_RE = re.compile(rf"({_PATH}){_END}")
"""Path, tag and digest of a reference."""
_ANY_REST_RE = re.compile(rf"([^@]+?){_END}")
"""The same with any path, to tell whether the path is what is wrong."""
DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_HEX_RE = re.compile(r"[a-f0-9]+")


class ImageReference(Struct, frozen=True):
    """A parsed reference; ``host`` keeps its case, as runtimes do."""

    host: str
    path: str
    tag: str | None
    digest: str | None
    repositories: tuple[str, ...]
    """The repository with its registry in the one spelling that rules compare.

    Docker Hub's official images have two spellings: ``docker.io/library/nginx`` and, for short, ``docker.io/nginx``.
    """

    @property
    def repository(self) -> str:
        """``host/path`` of the canonical reference."""
        return f"{self.host}/{self.path}"


def parse(text: str) -> ImageReference:
    """Parse as containerd and the kubelet do (``ParseDockerRef``), default tag ``latest`` included.

    Raises InvalidImageReference. Source: github.com/distribution/reference, compared by table and by generated strings.
    """
    # Before any expression sees the text, because its author chooses its length.
    if len(text) > MAX_TEXT:
        raise InvalidImageReference(f"is not a valid image reference: it is longer than {MAX_TEXT} characters")
    if _is_hex_digest(text):
        raise InvalidImageReference("is an image ID, not a reference")
    host, rest = _split_host(text)
    is_host = host == DOCKER_HUB or _HOST_RE.fullmatch(host) is not None
    match = _REST_RE.fullmatch(rest)
    # Go's grammar reads a host with ``_`` as a part of the path, yet runtimes pull from it.
    if match is None or not (is_host or _COMPONENT_RE.fullmatch(host)):
        raise InvalidImageReference(f"is not a valid image reference{_fault(host, rest)}")
    path, tag, digest = match.groups()
    if host == DOCKER_HUB and "/" not in path:
        path = OFFICIAL + path
    if len(path if is_host else f"{host}/{path}") > _MAX_PATH:
        raise InvalidImageReference("is not a valid image reference: its repository name is longer than 255 characters")
    if digest is not None:
        _check_digest(digest)
    # A digest alone decides the pull, so it gets no default tag.
    return ImageReference(host, path, tag if tag or digest else "latest", digest, _repositories(host, path))


def names_host(first: str) -> bool:
    """Return whether the text before the first ``/`` of a reference is a registry's host and not a part of the path."""
    # Upper case makes a host: a repository's name is lower case, so the text cannot be a part of the path.
    return first == "localhost" or "." in first or ":" in first or first.lower() != first


def registry(host: str) -> str:
    """Return the spelling of a registry's host that rules compare.

    Runtimes reach the same registry in upper or lower case, with its default port or without, and by every form of an
    IPv6 address; Docker Hub has several names.
    """
    host = host.lower()
    if ":" not in host:
        return DOCKER_HUB if host in HUB_HOSTS else host
    name, port = split_port(host)
    if name in HUB_HOSTS and port == DEFAULT_PORT:
        return DOCKER_HUB
    name = _address(name) if name.startswith("[") else name
    return name if port in {"", DEFAULT_PORT} else f"{name}:{port}"


def split_port(host: str) -> tuple[str, str]:
    """Return the host's name and its port without leading zeros; the port is empty if there is none."""
    name, colon, port = host.rpartition(":")
    # Without a port, the last colon of an IPv6 host is the address's own.
    if not colon or "]" in port:
        return host, ""
    return name, port.lstrip("0") or port


def _address(name: str) -> str:
    try:
        address = ipaddress.IPv6Address(name[1:-1])
    except ValueError:
        return name
    # `[::ffff:10.0.0.1]` and `10.0.0.1` are the same machine.
    return str(address.ipv4_mapped) if address.ipv4_mapped else f"[{address.compressed}]"


def is_image_id(text: str) -> bool:
    """Return whether a runtime may read the text as the ID of a local image, which no look-up can judge.

    containerd tries ``sha256:<hex>``, even shortened, as an image ID first (internal/cri, LocalResolve).
    """
    return text.startswith(("sha256:", "sha384:", "sha512:")) or _is_hex_digest(text)


def _is_hex_digest(text: str) -> bool:
    return len(text) == DIGEST_LENGTHS["sha256"] and _HEX_RE.fullmatch(text) is not None


def not_for_anchore(reference: ImageReference) -> str:
    """Return why Anchore cannot check an image that a runtime may pull; empty if it can.

    Anchore's parser rejects ``[`` and ``:`` of IPv6 addresses and reads a host that has neither a dot nor a port as a
    part of the path on Docker Hub. Its API v2 accepts only sha256 digests.
    """
    host = reference.host
    if host.startswith("["):
        return "Anchore does not accept an IPv6 address as a registry; use a host name"
    if host != "localhost" and "." not in host and ":" not in host:
        return "Anchore reads the registry as a part of the path; write the registry with its port"
    if reference.digest and not reference.digest.startswith("sha256:"):
        return "Anchore accepts only sha256 digests"
    return ""


def _repositories(host: str, path: str) -> tuple[str, ...]:
    host, name = registry(host), path.removeprefix(OFFICIAL)
    if host == DOCKER_HUB and "/" not in name:
        return f"{host}/{OFFICIAL}{name}", f"{host}/{name}"
    return (f"{host}/{path}",)


def _split_host(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash:
        return DOCKER_HUB, text
    # As in the Go library, only this spelling: `index.docker.io:443` stays a host of its own here; rules compare hosts
    # by `registry`.
    if first == "index.docker.io":
        return DOCKER_HUB, rest
    return (first, rest) if names_host(first) else (DOCKER_HUB, text)


def _fault(host: str, rest: str) -> str:
    """Tell which part of a malformed reference is at fault; return an empty text if it is neither host nor path."""
    match = _ANY_REST_RE.fullmatch(rest)
    if match is None:
        return ""
    if not _HOST_RE.fullmatch(host) and not _COMPONENT_RE.fullmatch(host):
        return ": its registry host is malformed"
    return f": its repository name {'must be lower case' if _PATH_RE.fullmatch(match[1].lower()) else 'is malformed'}"


def _check_digest(digest: str) -> None:
    algorithm, _, encoded = digest.partition(":")
    # Upper-case digits would be a second spelling of the same digest; the Go library rejects them, too.
    if DIGEST_LENGTHS.get(algorithm) != len(encoded) or not _HEX_RE.fullmatch(encoded):
        raise InvalidImageReference("is not a valid image reference: its digest is malformed")
