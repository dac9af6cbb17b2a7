"""Wire the decision hook to its files and its server; its client is loaded only if one is configured."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anchore_admission.adapters.proxies import proxy_for
from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.adapters.transport import PooledTransport
from anchore_admission.adapters.trust import system_trust
from anchore_admission.models.configuration import Configuration
from anchore_admission.models.configuration.opa import OpaSection
from anchore_admission.ports.hook import DecisionHook
from anchore_admission.ports.telemetry import WatchedSource
from anchore_admission.watched import Watched

if TYPE_CHECKING:
    from anchore_admission.adapters.opa.files import OpaTls


@dataclass(frozen=True, slots=True)
class WiredHook:
    """The hook, and the files to be read again; the replica is ready without them."""

    hook: DecisionHook
    watched: Sequence[Watched[Any]]


def decision_hook(
    configuration: Configuration,
    telemetry: Telemetry,
    environ: Mapping[str, str] = os.environ,
    *,
    wait_until_valid: bool = False,
) -> WiredHook | None:
    """Build the configured hook; None if there is none. Nothing is sent yet.

    Raises ConfigurationError for files that cannot be used. With ``wait_until_valid``, invalid contents may still be
    corrected; until then, the hook is unavailable.
    """
    section = configuration.opa
    if section is None:
        return None
    # Most installations have no OPA and should not load its client.
    from anchore_admission.adapters.opa.files import OpaToken  # noqa: PLC0415
    from anchore_admission.adapters.opa.hook import OpaHook, Target  # noqa: PLC0415

    tls = _tls(section, wait_until_valid=wait_until_valid)
    token = OpaToken(Path(section.token_file), wait_until_valid=wait_until_valid) if section.token_file else None
    watched: list[Watched[Any]] = [files.watched for files in (tls, token) if files]
    for each in watched:
        telemetry.watch_unusable(WatchedSource.OPA, each.is_unusable)
    address = section.url.rstrip("/")
    # A request to a Unix socket has the form of one to a host, which OPA ignores.
    base = address if section.socket is None else "http://localhost"
    transport = PooledTransport(
        tls.current if tls else system_trust if base.startswith("https:") else None,
        proxy_for(base, environ) if section.socket is None else None,
        socket=section.socket,
        tell_reuse=True,
    )
    target = Target(address, base, section.path)
    hook = OpaHook(transport, target, timeout=section.timeout, token=token.current if token else None)
    return WiredHook(hook, watched)


def _tls(section: OpaSection, *, wait_until_valid: bool) -> "OpaTls | None":
    """Follow the CA file and the client certificate, if there are any."""
    from anchore_admission.adapters.opa.files import OpaTls  # noqa: PLC0415 - as above

    files = [Path(name) if name else None for name in (section.ca_file, section.certificate_file, section.key_file)]
    return OpaTls(*files, wait_until_valid=wait_until_valid) if any(files) else None
