"""Image archives for the nodes: made without any builder, and repackaged under other names."""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

PAUSE: Final = "ci.local/pause:1"
SLEEPING: Final = tuple(
    f"docker.io/library/{name}" for name in ("alpine:3.20", "nginx:1.25", "redis:7", "ubuntu:latest")
)
"""The nodes know these names; each is busybox that sleeps."""
LINKS: Final = {f"bin/{name}": "busybox" for name in ("sh", "sleep", "nslookup", "cat")}
"""The programs of busybox that the images have."""
SLEEP: Final = ("/bin/sleep", "1000000")
USER: Final = "65532"
PAUSE_SOURCE: Final = """package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM)
	<-c
}
"""


def write(
    archive: Path,
    tags: Sequence[str],
    entrypoint: Sequence[str],
    files: Mapping[str, Path],
    links: Mapping[str, str] | None = None,
) -> None:
    """An image of one layer that holds these files."""
    layer = pack({path: file.read_bytes() for path, file in files.items()}, links or {})
    digest = hashlib.sha256(layer).hexdigest()
    configuration = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint), "Env": ["PATH=/bin"], "User": USER},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    _archive(archive, json.dumps(configuration).encode(), tags, {f"{digest}/layer.tar": layer})


def repackage(source: Path, archive: Path, tag: str, label: str) -> None:
    """The same image under another name, with another digest: as a new version would be."""
    with tarfile.open(source) as image, tarfile.open(archive, "w") as copy:
        manifest = json.loads(_read(image, "manifest.json"))[0]
        configuration = json.loads(_read(image, manifest["Config"]))
        configuration["config"].setdefault("Labels", {})["e2e.repackaged"] = label
        text = json.dumps(configuration).encode()
        name = f"{hashlib.sha256(text).hexdigest()}.json"
        for layer in manifest["Layers"]:
            member = image.getmember(layer)
            copy.addfile(member, image.extractfile(member))
        _add(copy, name, text)
        entry = {"Config": name, "RepoTags": [tag], "Layers": manifest["Layers"]}
        _add(copy, "manifest.json", json.dumps([entry]).encode())


def pack(files: Mapping[str, bytes], links: Mapping[str, str]) -> bytes:
    """Return a layer that holds these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)):
            _add(layer, folder, type=tarfile.DIRTYPE, mode=mode)
        for path, data in files.items():
            _add(layer, path, data, mode=0o755)
        for path, target in links.items():
            _add(layer, path, type=tarfile.SYMTYPE, linkname=target)
    return buffer.getvalue()


def _archive(archive: Path, configuration: bytes, tags: Sequence[str], layers: Mapping[str, bytes]) -> None:
    name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": list(tags), "Layers": list(layers)}]
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_suffix(".part")
    with tarfile.open(part, "w") as tar:
        for path, data in ((name, configuration), *layers.items(), ("manifest.json", json.dumps(manifest).encode())):
            _add(tar, path, data)
    shutil.move(part, archive)


def _add(tar: tarfile.TarFile, path: str, data: bytes = b"", **fields: Any) -> None:
    info = tarfile.TarInfo(path)
    info.size = len(data)
    for name, value in fields.items():
        setattr(info, name, value)
    tar.addfile(info, io.BytesIO(data))


def _read(tar: tarfile.TarFile, path: str) -> bytes:
    found = tar.extractfile(path)
    if found is None:
        raise LookupError(f"{path} is no file of the archive")
    return found.read()
