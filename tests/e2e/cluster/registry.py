"""A container registry beside the API server, from which the nodes pull, and the small images that tests push to it."""

import contextlib
import gzip
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
import yaml

from e2e.cluster import images, packages
from e2e.cluster.daemon import Daemon
from e2e.cluster.places import REGISTRY, REGISTRY_ADDRESS, STATE
from e2e.cluster.waiting import until

ARCHITECTURES: Final = ("amd64", "arm64")
"""The first one is that of the nodes."""
VERSION: Final = "version"
"""The file of an image that tells it from others."""
_DOCKER: Final = "application/vnd.docker"
_MANIFEST: Final = f"{_DOCKER}.distribution.manifest.v2+json"
_LIST: Final = f"{_DOCKER}.distribution.manifest.list.v2+json"
_FOLDER: Final = STATE / "registry"
_CONFIGURATION: Final = {
    "version": "0.1",
    "log": {"level": "warn"},
    "storage": {"filesystem": {"rootdirectory": str(_FOLDER)}},
    "http": {"addr": REGISTRY_ADDRESS, "secret": "of-the-registry"},
}


@dataclass(frozen=True, slots=True)
class Pushed:
    """An image in the registry, under its tag and under its digest."""

    tag: str
    digest: str
    """The digest of the manifest list; of the manifest if there is only one."""
    platform_digest: str
    """The digest of the manifest for the nodes' platform."""

    @property
    def pinned(self) -> str:
        return f"{self.tag}@{self.digest}"

    @property
    def known_to_anchore(self) -> Mapping[str, str]:
        """Return the image as an entry of the sandbox's registry."""
        return {"tag": self.tag, "digest": self.platform_digest, "parentDigest": self.digest}


class Registry:
    """A running registry. It accepts every push."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._programs = images.pack({"bin/busybox": packages.BUSYBOX.read_bytes()}, images.LINKS)

    def push(self, name: str, version: str, *, architectures: Sequence[str] = ARCHITECTURES) -> Pushed:
        """Push an image that sleeps, with its version in a file. Its tag moves if the registry has it already."""
        repository, _, tag = name.partition(":")
        manifests = [self._manifest(repository, version, each) for each in architectures]
        blobs = [json.dumps(manifest).encode() for manifest in manifests]
        if len(blobs) == 1:
            digest = platform_digest = self._put(repository, tag, _MANIFEST, blobs[0])
        else:
            digests = [self._put(repository, _digest(blob), _MANIFEST, blob) for blob in blobs]
            children = [
                {**_described(_MANIFEST, blob), "platform": {"architecture": architecture, "os": "linux"}}
                for blob, architecture in zip(blobs, architectures, strict=True)
            ]
            listed = {"schemaVersion": 2, "mediaType": _LIST, "manifests": children}
            platform_digest = digests[0]
            digest = self._put(repository, tag, _LIST, json.dumps(listed).encode())
        return Pushed(f"{REGISTRY}/{repository}:{tag}", digest, platform_digest)

    def _manifest(self, repository: str, version: str, architecture: str) -> dict[str, Any]:
        layers = [self._programs, images.pack({VERSION: version.encode()}, {})]
        configuration = json.dumps(
            {
                "architecture": architecture,
                "os": "linux",
                "config": {
                    "Entrypoint": images.SLEEP,
                    "Env": ["PATH=/bin"],
                    "Labels": {"repository": repository},  # so that no two of them share a digest
                    "User": images.USER,
                },
                "rootfs": {"type": "layers", "diff_ids": [_digest(layer) for layer in layers]},
            }
        ).encode()
        packed = [gzip.compress(layer, mtime=0) for layer in layers]
        for blob in (configuration, *packed):
            self._upload(repository, blob)
        layer_type = f"{_DOCKER}.image.rootfs.diff.tar.gzip"
        return {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _described(f"{_DOCKER}.container.image.v1+json", configuration),
            "layers": [_described(layer_type, blob) for blob in packed],
        }

    def _upload(self, repository: str, blob: bytes) -> None:
        if self._client.head(f"/v2/{repository}/blobs/{_digest(blob)}").is_success:
            return
        begun = self._client.post(f"/v2/{repository}/blobs/uploads/").raise_for_status()
        place = httpx.URL(begun.headers["location"]).copy_add_param("digest", _digest(blob))
        self._client.put(place, content=blob).raise_for_status()

    def _put(self, repository: str, reference: str, kind: str, manifest: bytes) -> str:
        path = f"/v2/{repository}/manifests/{reference}"
        answer = self._client.put(path, content=manifest, headers={"content-type": kind}).raise_for_status()
        return str(answer.headers["docker-content-digest"])


@contextlib.contextmanager
def serving() -> Iterator[Registry]:
    """A registry that is empty at first. The cluster's end removes what it holds."""
    shutil.rmtree(_FOLDER, ignore_errors=True)
    _FOLDER.mkdir()
    file = _FOLDER / "configuration.yaml"
    file.write_text(yaml.safe_dump(_CONFIGURATION))
    daemon = Daemon("registry", [packages.REGISTRY, "serve", file])
    daemon.start()
    with httpx.Client(base_url=f"http://{REGISTRY_ADDRESS}", timeout=60, trust_env=False) as client:
        try:
            until(lambda: daemon.require() and client.get("/v2/").is_success, "the registry answers")
            yield Registry(client)
        finally:
            daemon.stop()


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _described(kind: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "size": len(blob), "digest": _digest(blob)}
