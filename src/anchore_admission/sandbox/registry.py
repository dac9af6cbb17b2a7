"""The simulated registry: the digests of tags, and the contents of images."""

import hashlib
from dataclasses import dataclass, field

from anchore_admission.sandbox.references import DIGEST, Reference, parse
from anchore_admission.sandbox.responses import AnchoreError
from anchore_admission.sandbox.seed import Finding, ImageContent, RegistryEntry, RegistryErrorCode
from anchore_admission.sandbox.times import rfc3339

MAX_ENTRIES = 10_000
Pulled = tuple[str, str, str]

_REASONS: dict[RegistryErrorCode, str] = {
    "REGISTRY_IMAGE_NOT_FOUND": "reading manifest: manifest unknown: manifest unknown",
    "REGISTRY_PERMISSION_DENIED": "reading manifest: unauthorized: authentication required",
    "REGISTRY_NOT_ACCESSIBLE": "pinging container registry: dial tcp: connect: connection refused",
    "REGISTRY_NOT_SUPPORTED": "pinging container registry: invalid status code from registry 404 (Not Found)",
    "SKOPEO_UNKNOWN_ERROR": "denied: requested access to the resource is denied",
}


@dataclass(frozen=True, slots=True)
class Content:
    """The contents of one platform digest, and the outcome of its analysis."""

    digest: str
    parent_digest: str
    image_id: str
    arch: str = "amd64"
    distro: str = "debian"
    distro_version: str = "12"
    findings: tuple[Finding, ...] = ()
    fails_analysis: bool = False


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def content_of(image: ImageContent, name: str, *, fails_analysis: bool = False) -> Content:
    """Return the content that a seed describes; a missing digest follows from the image's name."""
    digest = image.digest or f"sha256:{_hash(name)}"
    return Content(
        digest=digest,
        parent_digest=image.parent_digest or digest,
        image_id=_hash(f"config of {digest}"),
        arch=image.arch,
        distro=image.distro,
        distro_version=image.distro_version,
        findings=image.findings,
        fails_analysis=fails_analysis,
    )


def _pulled(reference: Reference) -> Pulled:
    return *reference.pulled_from, reference.tag or ""


def default_name(tag: str) -> str:
    """Return the name that a digest is derived from: the same for every spelling of a Docker Hub image."""
    registry, repo, label = _pulled(parse(tag))
    return f"{registry}/{repo}:{label}"


@dataclass(slots=True)
class Registry:
    """Tags and contents, changeable at run time so that a test can move a tag."""

    accepts_unknown: bool = True
    _tags: dict[Pulled, str] = field(default_factory=dict)
    _errors: dict[Pulled, RegistryErrorCode] = field(default_factory=dict)
    _contents: dict[str, Content] = field(default_factory=dict)
    _repositories: dict[str, set[tuple[str, str]]] = field(default_factory=dict)

    def put(self, entry: RegistryEntry) -> None:
        """Set the image or the error that tags resolve to."""
        if len(self._tags) + len(self._errors) + len(entry.tag) > MAX_ENTRIES:
            raise AnchoreError(400, f"the sandbox's registry holds at most {MAX_ENTRIES} tags")
        if entry.error is not None:
            for tag in entry.tag:
                self._tags.pop(_pulled(parse(tag)), None)
                self._errors[_pulled(parse(tag))] = entry.error
            return
        fails = entry.analysis == "analysis_failed"
        self.hold(entry.tag, content_of(entry, default_name(entry.tag[0]), fails_analysis=fails))

    def hold(self, tags: tuple[str, ...], content: Content) -> None:
        for tag in tags:
            key = _pulled(parse(tag))
            self._errors.pop(key, None)
            self._tags[key] = content.digest
            for digest in (content.digest, content.parent_digest):
                self._contents[digest] = content
                self._repositories.setdefault(digest, set()).add(key[:2])

    def tags(self) -> dict[str, str]:
        """Return every known tag with its digest or its error."""
        return {f"{k[0]}/{k[1]}:{k[2]}": v for k, v in sorted({**self._tags, **self._errors}.items())}

    def content(self, digest: str) -> Content | None:
        return self._contents.get(digest)

    def resolve(self, reference: Reference, now: float) -> Content:
        """Resolve a tag or digest as Anchore does on every add."""
        return self._by_digest(reference, now) if reference.digest else self._by_tag(reference, now)

    def _by_tag(self, reference: Reference, now: float) -> Content:
        key = _pulled(reference)
        if error := self._errors.get(key):
            raise refusal(error, reference, now)
        if digest := self._tags.get(key):
            return self._contents[digest]
        if not self.accepts_unknown:
            raise refusal("REGISTRY_IMAGE_NOT_FOUND", reference, now)
        return content_of(ImageContent(), "{}/{}:{}".format(*key))

    def _by_digest(self, reference: Reference, now: float) -> Content:
        digest = reference.digest or ""
        known = self._contents.get(digest)
        if known and (self.accepts_unknown or reference.pulled_from in self._repositories[digest]):
            return known
        if not self.accepts_unknown or not DIGEST.fullmatch(digest):
            raise refusal("REGISTRY_IMAGE_NOT_FOUND", reference, now)
        return content_of(ImageContent(digest=digest), digest)


def refusal(code: RegistryErrorCode, reference: Reference, now: float) -> AnchoreError:
    """Return the 400 for an image that cannot be fetched. Like Anchore, quote the command that failed."""
    time = rfc3339(now)
    name = reference.full_name
    command = f"/bin/sh -c skopeo   inspect --raw --tls-verify=false  docker://{name}"
    message = f'Error parsing image name \\\\"docker://{name}\\\\": {_REASONS[code]}'
    stderr = f'b\'time="{time}" level=fatal msg="{message}"\\n\''
    failure = f"rc=1, stdout=None, stderr={stderr}, error_code={code}"
    raw = f"Error encountered in skopeo operation. cmd={command}, {failure}"
    summary = "cannot fetch image digest/manifest from registry"
    return AnchoreError(400, summary, error_codes=[code], raw_exception_message=raw)
