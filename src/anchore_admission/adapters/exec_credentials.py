"""Credential plugins of a kubeconfig (``exec``), as kubectl runs them: EKS, GKE, AKS and OpenID Connect need one.

See https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins.
"""

import asyncio
import os
import signal
import ssl
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import httpx2
import msgspec
from lightkube.core.exceptions import ConfigError

from anchore_admission.redaction import cut, remember

API: Final = "client.authentication.k8s.io"
PLUGIN_SECONDS: Final = 30.0
"""Limit of one run. A plugin that waits for a person has none to wait for: it is told that there is no terminal."""
FAILURE_SECONDS: Final = 10.0
"""Seconds for which a failure counts before the plugin runs again: a command lists several kinds one by one."""
_MAX_OUTPUT: Final = 1024 * 1024
_MAX_REASON: Final = 300
_UNAUTHORIZED: Final = 401


class Variable(msgspec.Struct, frozen=True):
    """An environment variable of a plugin."""

    name: str
    value: str = ""


class Plugin(msgspec.Struct, frozen=True, rename="camel"):
    """The entry ``exec`` of a kubeconfig's user."""

    command: str
    api_version: Literal[
        "client.authentication.k8s.io/v1",
        "client.authentication.k8s.io/v1beta1",
        "client.authentication.k8s.io/v1alpha1",
    ]
    args: tuple[str, ...] | None = None
    env: tuple[Variable, ...] | None = None
    install_hint: str | None = None
    interactive_mode: str | None = None
    provide_cluster_info: bool = False


class _Credential(msgspec.Struct, frozen=True, rename="camel"):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: datetime | None = None


class _Response(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str
    kind: Literal["ExecCredential"]
    status: _Credential


def plugin_of(content: object, folder: Path) -> Plugin:
    """Read the entry ``exec`` of a kubeconfig in ``folder``. Raises ConfigError."""
    try:
        plugin = msgspec.convert(content, Plugin)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the kubeconfig's credential plugin (exec) is invalid: {error}") from error
    if plugin.interactive_mode == "Always":
        why = "needs a terminal (interactiveMode: Always), which it has only in kubectl"
        raise ConfigError(f"credential plugin {plugin.command} {why}; use a user with a token or a certificate")
    # A name alone is looked up in PATH.
    if os.sep in plugin.command:
        return msgspec.structs.replace(plugin, command=str(folder.absolute() / plugin.command))
    return plugin


class ExecAuth(httpx2.Auth):
    """Authentication by the credential that a plugin returns, until it expires or the API server rejects it.

    A client certificate is added to ``context``, the TLS context of the client, and counts for new connections.
    ``cluster`` is what a plugin with ``provideClusterInfo`` is told.
    """

    def __init__(
        self,
        plugin: Plugin,
        context: ssl.SSLContext,
        cluster: Mapping[str, Any] | None = None,
        *,
        seconds: float = PLUGIN_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._plugin, self._context, self._cluster = plugin, context, cluster
        self._seconds, self._clock = seconds, clock
        self._credential: _Credential | None = None
        self._failure: tuple[float, str] = (0.0, "")
        self._lock = asyncio.Lock()

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        before = self._credential
        used = await self._current(None)
        self._authorize(request, used)
        response = yield request
        # A credential from just now is not better the second time.
        if response.status_code == _UNAUTHORIZED and used is before:
            self._authorize(request, await self._current(used))
            yield request

    def _authorize(self, request: httpx2.Request, credential: _Credential) -> None:
        if credential.token:
            request.headers["Authorization"] = f"Bearer {credential.token}"

    async def _current(self, rejected: _Credential | None) -> _Credential:
        """Return a credential that is neither expired nor ``rejected``. Requests at the same time run one plugin."""
        async with self._lock:
            known, now = self._credential, self._clock()
            if known and known is not rejected:
                expires = known.expiration_timestamp
                if expires is None or expires.timestamp() > now:
                    return known
            until, reason = self._failure
            if now < until:
                raise ConfigError(reason)
            try:
                self._credential = await self._asked()
            except ConfigError as error:
                self._failure = (now + FAILURE_SECONDS, str(error))
                raise
            return self._credential

    async def _asked(self) -> _Credential:
        """Run the plugin, and use its certificate. Raises ConfigError."""
        name = self._plugin.command
        output = await _output(self._plugin, _environment(self._plugin, self._cluster), self._seconds)
        try:
            found = msgspec.json.decode(output, type=_Response)
        except msgspec.MsgspecError as error:
            # The reason names a place, never a value.
            raise ConfigError(f"credential plugin {name}: its output is no ExecCredential: {error}") from error
        credential = found.status
        secrets = (credential.token or "", credential.client_key_data or "")
        remember("the credential plugin", secrets)
        if found.api_version != self._plugin.api_version:
            why = f"its output has the apiVersion {found.api_version}, and the kubeconfig {self._plugin.api_version}"
            raise ConfigError(f"credential plugin {name}: {cut(why, _MAX_REASON)}; they must be the same")
        if bool(credential.client_certificate_data) != bool(credential.client_key_data):
            raise ConfigError(f"credential plugin {name}: a certificate and its key belong together, one is missing")
        if not (credential.token or credential.client_key_data):
            raise ConfigError(f"credential plugin {name}: its output has neither a token nor a certificate")
        if credential.token and not (credential.token.isascii() and credential.token.isprintable()):
            raise ConfigError(f"credential plugin {name}: its token has characters that no header may hold")
        if credential.client_certificate_data and credential.client_key_data:
            await asyncio.to_thread(self._present, credential.client_certificate_data, credential.client_key_data)
        return credential

    def _present(self, certificate: str, key: str) -> None:
        """Present a client certificate. The module ssl reads it from files only; the folder is for this user alone."""
        with tempfile.TemporaryDirectory(prefix="anchore-admission-") as folder:
            path = Path(folder, "pair.pem")
            path.write_text(f"{key}\n{certificate}\n")
            try:
                self._context.load_cert_chain(path)
            except (ssl.SSLError, ValueError) as error:
                why = "its certificate and key are no PEM, or do not belong together"
                raise ConfigError(f"credential plugin {self._plugin.command}: {why}") from error


class AuthTransport(httpx2.AsyncBaseTransport):
    """Authentication below a client that takes none, such as lightkube's."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, auth: ExecAuth) -> None:
        self._inner, self._auth = inner, auth

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        flow = self._auth.async_auth_flow(request)
        try:
            response = await self._inner.handle_async_request(await anext(flow))
            try:
                again = await flow.asend(response)
            except StopAsyncIteration:
                return response
            await response.aclose()
            return await self._inner.handle_async_request(again)
        finally:
            await flow.aclose()

    async def aclose(self) -> None:
        await self._inner.aclose()


def _environment(plugin: Plugin, cluster: Mapping[str, Any] | None) -> dict[str, str]:
    told: dict[str, Any] = {"interactive": False}
    if plugin.provide_cluster_info and cluster is not None:
        told["cluster"] = cluster
    info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": told}
    given = {variable.name: variable.value for variable in plugin.env or ()}
    return {**os.environ, **given, "KUBERNETES_EXEC_INFO": msgspec.json.encode(info).decode()}


async def _output(plugin: Plugin, environment: Mapping[str, str], seconds: float) -> bytes:
    """Run the plugin in a process group of its own, which ends with the limit. Raises ConfigError."""
    name = plugin.command
    pipe, none = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            name, *(plugin.args or ()), env=environment, stdin=none, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except FileNotFoundError as error:
        hint = f"; {cut(' '.join(plugin.install_hint.split()), _MAX_REASON)}" if plugin.install_hint else ""
        raise ConfigError(f"credential plugin {name} is not installed{hint}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"credential plugin {name} cannot be run: {error}") from error
    output, complaints = bytearray(), bytearray()
    pipes = ((process.stdout, output), (process.stderr, complaints))
    reading = [asyncio.create_task(_read(stream, into, name)) for stream, into in pipes]
    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(*reading)
            code = await process.wait()
    except BaseException as error:
        await _ended(process, reading)
        if isinstance(error, TimeoutError):
            why = f"no output within {seconds:g} s{_said(complaints)}"
            raise ConfigError(f"credential plugin {name}: {why}") from error
        raise
    if code:
        raise ConfigError(f"credential plugin {name} failed with exit code {code}{_said(complaints)}")
    return bytes(output)


async def _ended(process: asyncio.subprocess.Process, reading: Sequence[asyncio.Task[None]]) -> None:
    """Kill the plugin and its children, and close the pipes that they held."""
    for task in reading:
        task.cancel()
    await asyncio.wait(reading)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            for stream in (process.stdout, process.stderr):
                while stream and await stream.read(65536):
                    pass
            await process.wait()


async def _read(stream: asyncio.StreamReader | None, into: bytearray, name: str) -> None:
    while stream and (chunk := await stream.read(65536)):
        into += chunk
        if len(into) > _MAX_OUTPUT:
            raise ConfigError(f"credential plugin {name}: its output is larger than {_MAX_OUTPUT // 1024} KiB")


def _said(complaints: bytearray) -> str:
    """Return the plugin's messages on one line; known secrets are redacted from them."""
    text = " ".join(complaints.decode(errors="replace").split())
    return f": {cut(text, _MAX_REASON)}" if text else ""
