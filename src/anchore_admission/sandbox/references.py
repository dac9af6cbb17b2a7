"""Image references as Anchore parses them, which differs from Docker."""

import re
from dataclasses import dataclass

DOCKER_HUB = "docker.io"
_ALIASES = frozenset({"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
_LOCAL_HOSTS = frozenset({"localhost", "localhost.localdomain", "localbuild"})
_BAD_CHARACTER = re.compile(r"[^a-zA-Z0-9@:/_.\-]")
_IMAGE_ID = re.compile(r"[0-9a-fA-F]{64}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class BadReference(ValueError):
    """A reference with characters that Anchore rejects."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One parsed reference; members that its form does not have are None."""

    registry: str | None
    repo: str | None
    tag: str | None = None
    digest: str | None = None
    image_id: str | None = None

    @property
    def full_tag(self) -> str | None:
        return f"{self.registry}/{self.repo}:{self.tag}" if self.tag else None

    @property
    def full_name(self) -> str:
        """The normalized reference: the key of a check's response, by tag or, without one, by digest."""
        return self.full_tag or f"{self.registry}/{self.repo}@{self.digest}"

    @property
    def pulled_from(self) -> tuple[str, str]:
        """Registry and repository to pull from: Docker Hub's short names and host aliases are resolved.

        Anchore keeps the names apart in its records but pulls the same image for all of them.
        """
        registry, repo = self.registry or DOCKER_HUB, self.repo or ""
        if registry in _ALIASES:
            registry = DOCKER_HUB
        if registry == DOCKER_HUB and "/" not in repo:
            repo = f"library/{repo}"
        return registry, repo


def parse(text: str) -> Reference:
    """Read a reference with the quirks of Anchore's parser, taking ``repo:tag`` before ``@`` for a repository."""
    bad = list(dict.fromkeys(_BAD_CHARACTER.findall(text)))
    if bad or not text:
        raise BadReference(f"bad character(s) {bad} in dockerimage string input ({text})")
    if text.startswith("sha256:"):
        return Reference(DOCKER_HUB, None, digest=text)
    if _IMAGE_ID.fullmatch(text):
        return Reference(None, None, image_id=text)
    registry, rest = _split_host(text)
    if "@" in rest:
        repo, digest = rest.rsplit("@", 1)
        return Reference(registry, repo, digest=digest)
    repo, colon, tag = rest.rpartition(":")
    return Reference(registry, repo, tag=tag or "latest") if colon else Reference(registry, rest, tag="latest")


def _split_host(text: str) -> tuple[str, str]:
    head, slash, rest = text.partition("/")
    if not slash:
        return DOCKER_HUB, text
    host, colon, port = head.partition(":")
    if colon:
        return (f"{host}:{port}" if port else host), rest
    return (head, rest) if "." in head or head in _LOCAL_HOSTS else (DOCKER_HUB, text)
