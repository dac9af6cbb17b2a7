#!/usr/bin/env python3
"""Make the image's root file system from the base image it runs in: ``root.py APPLICATION ROOT``.

Copies the interpreter, the parts of its standard library that a service uses, the application's virtual environment,
the shared libraries that these load, and the CA certificates; then strips debugging information. The Debian packages
that the files come from are recorded where vulnerability scanners look for them.
"""

import compileall
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from py_compile import PycInvalidationMode

import elf

USER = 65532
STANDARD_LIBRARY = (
    "__pycache__", "config-*", "dist-packages", "site-packages",  # compiled again below; for the linker; packages
    "ensurepip", "idlelib", "lib2to3", "pydoc_data", "sqlite3", "test", "tests", "tkinter", "turtledemo", "turtle.py",
    "_crypt.*", "_curses*", "_dbm.*", "_gdbm.*", "_sqlite3.*", "_test*", "_tkinter.*", "_xx*", "readline.*", "xx*",
)  # fmt: skip
APPLICATION = (
    "__pycache__", "[Aa]ctivate*", "tests",  # compiled again below; for shells; of the dependencies
    "*.pyi", "*.pyx", "*.pxd", "*.pxi", "*.c", "*.h",  # for type checkers and compilers
    "redoc.standalone.js",  # the documentation page is Swagger UI
)  # fmt: skip
LEXERS = ("__init__", "_mapping")
"""The modules kept of Pygments' 250 lexers: rich imports only their list."""
FILES = {
    "etc/passwd": f"root:x:0:0:root:/:/sbin/nologin\nnonroot:x:{USER}:{USER}:nonroot:/tmp:/sbin/nologin\n",
    "etc/group": f"root:x:0:\nnonroot:x:{USER}:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
CA_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def main(application: Path, root: Path) -> None:
    interpreter, library = Path(sys.executable).resolve(), Path(sysconfig.get_path("stdlib"))
    copy(application, library, root)
    kept = [interpreter, library / "os.py", Path("/etc/os-release"), CA_CERTIFICATES]
    links = [link.readlink() for link in (application / "bin").iterdir() if link.is_symlink()]
    extensions = [*library.rglob("*.so"), *application.rglob("*.so")]
    used = [file for file in extensions if below(root, file).exists()]
    kept += shared_libraries([interpreter, *used])
    for path in [*kept, *filter(Path.is_absolute, links), *Path("/etc").glob("ld.so.conf*")]:
        bring(path, root)
    for name, text in FILES.items():
        (root / name).write_text(text)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    elf.strip_all(root)
    run("ldconfig", "-r", str(root))
    record_packages({*owners(kept), "ca-certificates"}, root)
    compileall.compile_dir(
        root, quiet=1, stripdir=root, workers=0, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
    )


def copy(application: Path, library: Path, root: Path) -> None:
    """Copy the standard library and the application, without the parts that nothing uses."""
    for folder, left_out in ((library, STANDARD_LIBRARY), (application, APPLICATION)):
        shutil.copytree(folder, below(root, folder), symlinks=True, ignore=shutil.ignore_patterns(*left_out))
    for program in below(root, application / "bin").iterdir():  # of the dependencies
        if not program.name.startswith(("python", "anchore-admission")):
            program.unlink()
    for lexer in below(root, application).rglob("pygments/lexers/*.py"):  # the program highlights no source code
        if lexer.stem not in LEXERS:
            lexer.unlink()
    for top in ("/lib", "/lib64"):
        if Path(top).is_symlink():
            below(root, Path(top)).symlink_to(Path(top).readlink())


def below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def bring(path: Path, root: Path) -> None:
    """Copy a file or folder to the same place below the root; for a link, copy its target too."""
    here = path.parent.resolve() / path.name
    there = below(root, here)
    if there.is_symlink() or there.is_file():
        return
    there.parent.mkdir(parents=True, exist_ok=True)
    if here.is_symlink():
        there.symlink_to(here.readlink())
        bring(here.parent / here.readlink(), root)
    elif here.is_dir():
        shutil.copytree(here, there, symlinks=True, dirs_exist_ok=True)
    else:
        shutil.copy2(here, there)


def shared_libraries(programs: Iterable[Path]) -> Iterator[Path]:
    """Yield the libraries that the dynamic linker loads for these programs and modules, and the linker itself."""
    for program in programs:
        listing = run("ldd", str(program), check=False)
        if "not found" in listing:
            raise SystemExit(f"{program} needs a library that is missing:\n{listing}")
        for line in listing.splitlines():
            path = next((word for word in line.split() if word.startswith("/")), None)
            if path:
                yield Path(path)


def owners(paths: Iterable[Path]) -> Iterator[str]:
    """Yield the Debian packages that own these files; some list files of /usr/lib under /lib."""
    for path in {path.resolve() for path in paths}:
        found = run("dpkg-query", "-S", f"*{str(path).removeprefix('/usr')}", check=False)
        yield from (line.partition(":")[0] for line in found.splitlines()[:1])


def record_packages(names: Iterable[str], root: Path) -> None:
    """Write ``status.d``, which vulnerability scanners read, and copy the packages' licenses."""
    folder = root / "var/lib/dpkg/status.d"
    folder.mkdir(parents=True)
    for name in sorted(names):
        (folder / name).write_text(run("dpkg-query", "-s", name))
        bring(Path("/usr/share/doc", name, "copyright"), root)


def run(*command: str, check: bool = True) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=check).stdout  # noqa: S603 - of the base image


if __name__ == "__main__":
    os.umask(0o022)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
