"""The contents of the image."""

import json
import struct
import tarfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import PurePath
from typing import IO, Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from image.conftest import Report
from image.containers import ARCHIVE
from support.paths import ROOT

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
LITTLE = 8 * 1024
"""Largest size of the section table that a stripped file may have behind its segments."""


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


def part(archive: tarfile.TarFile, name: str | tarfile.TarInfo) -> IO[bytes]:
    found = archive.extractfile(name)
    assert found
    return found


def test_there_is_nothing_to_build_or_break_with(files: list[tarfile.TarInfo]) -> None:
    assert [file.name for file in files if any(fnmatch(f"/{file.name}", pattern) for pattern in NOT_THERE)] == []


def test_nothing_lends_rights_and_everything_belongs_to_root(files: list[tarfile.TarInfo]) -> None:
    assert [file.name for file in files if file.mode & 0o6000] == []
    assert [file.name for file in files if not file.issym() and file.mode & 0o022] == ["tmp"]
    assert {(file.uid, file.gid) for file in files} == {(0, 0)}


def test_modules_are_compiled_because_a_read_only_root_cannot_cache_bytecode(
    files: list[tarfile.TarInfo],
) -> None:
    sources = {PurePath(file.name) for file in files if file.name.endswith(".py")}
    compiled = {PurePath(file.name) for file in files if file.name.endswith(".pyc")}
    of = {path.parent.parent / f"{path.name.split('.')[0]}.py" for path in compiled}
    assert sources - of == set()


def test_programs_and_libraries_come_without_debugging_information(
    archive: tarfile.TarFile, manifest: dict[str, Any]
) -> None:
    shown = {}
    for name in manifest["Layers"]:
        with tarfile.open(fileobj=part(archive, name)) as layer:
            for file in filter(tarfile.TarInfo.isreg, layer):
                content = part(layer, file).read()
                if content.startswith(b"\x7fELF"):
                    shown[file.name] = len(content) - end_of_segments(content)
    assert any(name.endswith(".so") for name in shown)
    assert {name: behind for name, behind in shown.items() if behind > LITTLE} == {}


def end_of_segments(content: bytes) -> int:
    """Return the end of the last segment of a 64-bit little-endian ELF file."""
    (place,), (count,) = struct.unpack_from("<Q", content, 32), struct.unpack_from("<H", content, 56)
    segments = struct.iter_unpack("<IIQQQQQQ", content[place : place + 56 * count])
    return max(int(offset + length) for _, _, offset, _, _, length, _, _ in segments)


def test_its_metadata_describes_it_and_how_to_run_it(configuration: dict[str, Any]) -> None:
    assert configuration["User"] == "65532:65532"
    assert configuration["Entrypoint"] == ["anchore-admission"]
    assert configuration["Cmd"] == ["serve"]
    assert configuration["Healthcheck"]["Test"] == ["CMD", "anchore-admission", "health"]
    labels = {name.rpartition(".")[2]: value for name, value in configuration["Labels"].items() if "image" in name}
    assert labels["title"] == "anchore-admission"
    assert labels["licenses"] == "Apache-2.0"
    assert labels.keys() >= {"description", "version", "revision"}


def test_the_bill_of_materials_names_locked_and_debian_packages(
    components: list[dict[str, Any]], report_number: Report
) -> None:
    generic, dependencies, debian = (packages(components, kind) for kind in ("generic", "pypi", "deb"))
    python = generic["python"]
    del dependencies["anchore-admission"]
    assert dependencies == dict(locked(python))
    assert any(name.startswith("libssl3") for name in debian)
    assert {"libc6", "ca-certificates"} <= debian.keys()
    report_number(
        "bill of materials", f"Python {python}, {len(dependencies)} dependencies, {len(debian)} Debian packages"
    )


def packages(components: list[dict[str, Any]], kind: str) -> dict[str, str]:
    """Names and versions."""
    of_kind = (it for it in components if it.get("purl", "").startswith(f"pkg:{kind}/"))
    return {canonicalize_name(it["name"]): it["version"] for it in of_kind}


def locked(python: str) -> Iterator[tuple[str, str]]:
    """Return the requirements of the lock file for Linux and this version of Python."""
    environment = {
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "sys_platform": "linux",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if line[0] not in " #":
            found = Requirement(line.removesuffix("\\"))
            if found.marker is None or found.marker.evaluate(environment):
                yield canonicalize_name(found.name), str(found.specifier).removeprefix("==")


def test_it_is_small(files: list[tarfile.TarInfo], report_number: Report) -> None:
    size = sum(file.size for file in files) // 2**20
    report_number("size, unpacked", f"{size} MiB in {len(files)} files")
    assert size < 150
