"""Access to an API server: the Pod's service account, else kubeconfig files, with their credential plugins.

lightkube reads one file and runs plugins of ``v1beta1`` without time limit. Here, KUBECONFIG may name several files, as
for kubectl, and :mod:`.exec_credentials` runs plugins of every version.
"""

import base64
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import msgspec
import yaml
from lightkube import KubeConfig, SingleConfig
from lightkube.config.client_adapter import user_auth, verify_cluster
from lightkube.config.kubeconfig import DEFAULT_KUBECONFIG
from lightkube.core.exceptions import ConfigError

from anchore_admission.adapters.exec_credentials import ExecAuth, plugin_of
from anchore_admission.adapters.trust import lenient
from anchore_admission.errors import ConfigurationError, Problem

_LISTS: Final = {"clusters": "cluster", "contexts": "context", "users": "user"}
"""The named entries of a kubeconfig, and the key of their content."""
_PATHS: Final = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
"""Keys of entries that name a file, relative to the kubeconfig."""


@dataclass(frozen=True, slots=True)
class Access:
    """The address of an API server, and what a client presents to it."""

    config: SingleConfig
    """Without the credential plugin, which lightkube must not run."""
    verify: ssl.SSLContext
    """The cluster's CAs and the user's certificate."""
    auth: httpx2.Auth | None

    @property
    def address(self) -> str:
        return self.config.cluster.server


@contextmanager
def access(context: str | None = None, *, source: str = "service account") -> Iterator[Access]:
    """Find the Pod's service account, else the kubeconfig, for the block, which makes a client of it.

    ``context`` is one of the kubeconfig. Raises ConfigurationError without access, or if the client cannot be made.
    """
    try:
        yield _found(context)
    except (ConfigError, LookupError, OSError, ValueError, TypeError, AttributeError) as error:
        why = f"no access to a Kubernetes API: {str(error) or type(error).__name__}"
        raise ConfigurationError("cluster", [Problem(source, why)]) from error


def _found(context: str | None) -> Access:
    try:
        found = KubeConfig.from_service_account()
    except ConfigError:
        return _of_files(context)
    config = _selected(found, context)
    return Access(config, _trust(config), user_auth(config.user))


def _of_files(context: str | None) -> Access:
    """Merge the files of KUBECONFIG as kubectl does: of two entries with one name, the first counts."""
    named = [Path(name).expanduser() for name in os.environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    paths = [path for path in named if path.is_file()] if len(named) > 1 else named
    if named and not paths:
        raise ConfigError(f"none of the files of KUBECONFIG exists: {', '.join(map(str, named))}")
    merged: dict[str, Any] = {key: [] for key in _LISTS}
    for path in paths or [Path(DEFAULT_KUBECONFIG).expanduser()]:
        content = _content(path)
        if current := content.get("current-context"):
            merged.setdefault("current-context", current)
        for key, inner in _LISTS.items():
            known = {entry["name"] for entry in merged[key]}
            added = _entries(path, content.get(key), inner)
            merged[key] += [{**entry, "file": path} for entry in added if entry["name"] not in known]
    config = _selected(KubeConfig.from_dict(merged), context)
    user = config.user
    if user is None or user.exec is None or user.token or user.token_file:
        return Access(config, _trust(config), user_auth(user))
    entries = {key: {entry["name"]: entry for entry in merged[key]} for key in _LISTS}
    entry = entries["users"][config.context.user or ""]
    plugin = plugin_of(entry["user"]["exec"], entry["file"].parent)
    told = _cluster(entries["clusters"][config.context.cluster]["cluster"]) if plugin.provide_cluster_info else None
    config = config._replace(user=msgspec.structs.replace(user, exec=None))
    verify = _trust(config)
    return Access(config, verify, ExecAuth(plugin, verify, told))


def _trust(config: SingleConfig) -> ssl.SSLContext:
    """Trust the configuration's CAs and present its client certificate. CAs of older clusters have no identifiers."""
    if config.user is None:
        raise ConfigError("the kubeconfig's current context names no user")
    return lenient(verify_cluster(config.cluster, config.user, config.abs_file))


def _content(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"the kubeconfig {path} does not exist") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        # The text of the error repeats lines of the file, which may be credentials.
        raise ConfigError(f"the kubeconfig {path} is no YAML") from error
    if not isinstance(content, dict):
        raise ConfigError(f"the kubeconfig {path} is no kubeconfig: expected a mapping")
    return content


def _entries(path: Path, entries: object, inner: str) -> Iterator[dict[str, Any]]:
    """Yield named entries, with the files that they name as absolute paths."""
    for number, entry in enumerate(entries if isinstance(entries, list) else []):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise ConfigError(f"the kubeconfig {path}: {inner}s[{number}] has no name")
        content = entry.get(inner)
        if not isinstance(content, dict):
            content = {}
        files = {key: str(path.absolute().parent / content[key]) for key in _PATHS if content.get(key)}
        yield {"name": entry["name"], inner: {**content, **files}}


def _selected(config: KubeConfig, context: str | None) -> SingleConfig:
    name = context or config.current_context
    if not name:
        raise ConfigError("the kubeconfig has no current context; choose one with kubectl config use-context")
    if name not in config.contexts:
        raise ConfigError(f"the kubeconfig has no context {name}")
    chosen = config.contexts[name]
    for kind, wanted, known in (("cluster", chosen.cluster, config.clusters), ("user", chosen.user, config.users)):
        if wanted and wanted not in known:
            raise ConfigError(f"the kubeconfig's context {name} names the {kind} {wanted}, which does not exist")
    user = config.users[chosen.user] if chosen.user else None
    return SingleConfig(name, chosen, config.clusters[chosen.cluster], user, config.fname)


def _cluster(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a plugin is told about the cluster: the content of CA files instead of their names."""
    told: dict[str, Any] = {"server": content.get("server", ""), "config": None}
    for key in ("tls-server-name", "insecure-skip-tls-verify", "proxy-url", "certificate-authority-data"):
        if content.get(key):
            told[key] = content[key]
    if path := content.get("certificate-authority"):
        told["certificate-authority-data"] = base64.b64encode(Path(path).read_bytes()).decode()
    for extension in content.get("extensions") or ():
        if extension.get("name") == "client.authentication.k8s.io/exec":
            told["config"] = extension.get("extension")
    return told
