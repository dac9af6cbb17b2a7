"""What is in the image, and what is not."""

import json
import tarfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import PurePath
from typing import IO, Any

import pytest

from image.conftest import Tell
from image.containers import ARCHIVE

NOT_THERE = (
    *("*/bin/sh", "*/bin/bash", "*/bin/busybox", "*/bin/perl*", "*/apt*", "*/bin/dpkg*", "*/bin/gcc*", "*/bin/ld"),
    *("*/pip", "*/pip/*", "*/pip-*", "*/ensurepip/*", "*/setuptools/*", "*/hatchling/*", "*/wheel/*", "*/uv"),
    *(
        "*/test/*",
        "*/tests/*",
        "*/idlelib/*",
        "*/tkinter/*",
        "*.pyx",
        "*.c",
        "*.h",
        "*.a",
        "*redoc*",
        "*/pygments/lexers/python.py",
        "src/*",
        "root/*",
    ),
)


@pytest.fixture(scope="module")
def archive() -> Iterator[tarfile.TarFile]:
    with tarfile.open(ARCHIVE) as archive:
        yield archive


@pytest.fixture(scope="module")
def manifest(archive: tarfile.TarFile) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.load(part(archive, "manifest.json"))
    return found[0]


@pytest.fixture(scope="module")
def files(archive: tarfile.TarFile, manifest: dict[str, Any]) -> list[tarfile.TarInfo]:
    found: list[tarfile.TarInfo] = []
    for name in manifest["Layers"]:
        with tarfile.open(fileobj=part(archive, name)) as layer:
            found += layer.getmembers()
    return found


@pytest.fixture(scope="module")
def configuration(archive: tarfile.TarFile, manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.load(part(archive, manifest["Config"]))["config"]
    return found


def part(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    assert found
    return found


def test_there_is_nothing_to_build_or_break_with(files: list[tarfile.TarInfo]) -> None:
    assert [file.name for file in files if any(fnmatch(f"/{file.name}", pattern) for pattern in NOT_THERE)] == []


def test_nothing_lends_rights_and_everything_belongs_to_root(files: list[tarfile.TarInfo]) -> None:
    assert [file.name for file in files if file.mode & 0o6000] == []
    assert [file.name for file in files if not file.issym() and file.mode & 0o022] == ["tmp"]
    assert {(file.uid, file.gid) for file in files} == {(0, 0)}


def test_modules_are_compiled_because_a_read_only_root_cannot_keep_what_a_start_compiles(
    files: list[tarfile.TarInfo],
) -> None:
    sources = {PurePath(file.name) for file in files if file.name.endswith(".py")}
    compiled = {PurePath(file.name) for file in files if file.name.endswith(".pyc")}
    of = {path.parent.parent / f"{path.name.split('.')[0]}.py" for path in compiled}
    assert sources - of == set()


def test_it_says_what_it_is_and_how_it_is_run(configuration: dict[str, Any]) -> None:
    assert configuration["User"] == "65532:65532"
    assert configuration["Entrypoint"] == ["anchore-admission"]
    assert configuration["Cmd"] == ["serve"]
    assert configuration["Healthcheck"]["Test"] == ["CMD", "anchore-admission", "health"]
    labels = {name.rpartition(".")[2]: value for name, value in configuration["Labels"].items() if "image" in name}
    assert labels["title"] == "anchore-admission"
    assert labels["licenses"] == "Apache-2.0"
    assert labels.keys() >= {"description", "version", "revision"}


def test_the_bill_of_materials_names_what_is_locked_and_what_is_of_debian(
    components: list[dict[str, Any]], tell: Tell
) -> None:
    kinds = {
        name: {part["name"] for part in components if part.get("purl", "").startswith(f"pkg:{name}/")}
        for name in ("pypi", "deb")
    }
    assert {"fastapi", "cryptography", "uvloop", "anchore-admission"} <= kinds["pypi"]
    assert {"libc6", "libssl3", "ca-certificates"} <= kinds["deb"]
    tell("bill of materials", f"{len(kinds['pypi'])} Python packages, {len(kinds['deb'])} Debian packages")


def test_it_is_small(files: list[tarfile.TarInfo], tell: Tell) -> None:
    size = sum(file.size for file in files) // 2**20
    tell("size, unpacked", f"{size} MiB in {len(files)} files")
    assert size < 200
