"""The proxy for calls to a server, as the environment names it, and the hosts that bypass it."""

import logging
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import unquote, urlsplit

from anchore_admission.adapters.failures import cleaned
from anchore_admission.redaction import pair_forms, remember

logger = logging.getLogger("anchore_admission.anchore")
_PORTS: Final = {"http": 80, "https": 443}
_BETWEEN = re.compile(r"[,\s]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy's address without credentials, and the header with them (empty: none)."""

    url: str
    authorization: str = field(default="", repr=False)


def proxy_for(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for an address. Invalid variables are logged and ignored."""
    parts = urlsplit(url)
    for variable in (f"{parts.scheme}_proxy", "all_proxy"):
        name, value = _first(variable, environ)
        if not value:
            continue
        _remember(name, value)
        if _is_exempt(parts.hostname or "", parts.port or _PORTS[parts.scheme], environ):
            return None
        try:
            return _read(value)
        except ValueError as error:
            logger.warning("invalid %s: %s; the variable is ignored", name, error)
    return None


def _first(variable: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the name and value of a variable in the spelling that is set; lower case takes precedence, as in curl."""
    # curl ignores HTTP_PROXY, which a client of a CGI program can set by a header. This is no CGI program.
    for name in (variable, variable.upper()):
        if value := environ.get(name, "").strip():
            return name, value
    return variable.upper(), ""


def _remember(name: str, value: str) -> None:
    """Redact the password even of an invalid address: everything before the last @ may be one."""
    before, at, _ = value.rpartition("@")
    if at:
        username, _, password = _SCHEME.sub("", before, count=1).partition(":")
        texts = {(username, password), (unquote(username), unquote(password))}
        if not password:  # a token in place of the name
            texts |= {("", username), ("", unquote(username))}
        remember(f"proxy {name}", [form for pair in texts for form in pair_forms(*pair)])


def _read(value: str) -> Proxy:
    """Parse a proxy's address. Raises ValueError; its text repeats nothing of the address but the scheme."""
    if not _SCHEME.match(value):
        value = f"http://{value}"
    scheme, _, rest = value.partition("://")
    scheme = scheme.lower()
    if scheme.startswith("socks"):
        raise ValueError("SOCKS proxies are not supported; name an HTTP proxy")
    if scheme not in _PORTS:
        raise ValueError(f"{cleaned(scheme)} is not a proxy scheme; expected http://host:port")
    user_info, _, place = rest.rpartition("@")
    if any(mark in user_info for mark in "/?#"):
        raise ValueError("its user name or password holds /, ? or #; write them as %2F, %3F and %23")
    try:
        parts = urlsplit(f"{scheme}://{place}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or (port is None and urlsplit("//" + place.partition("/")[0]).netloc.endswith(":")):
        raise ValueError("expected http://host:port, with a number as the port")
    shown = f"[{host}]" if ":" in host else host
    address = f"{scheme}://{shown}:{port or _PORTS[scheme]}"
    if not user_info:
        return Proxy(address)
    username, _, password = user_info.partition(":")
    pair = f"{unquote(username)}:{unquote(password)}"
    return Proxy(address, f"Basic {b64encode(pair.encode()).decode()}")


def _is_exempt(host: str, port: int, environ: Mapping[str, str]) -> bool:
    name, value = _first("no_proxy", environ)
    return any(_matches(entry, host.rstrip(".").lower(), port, name) for entry in _BETWEEN.split(value) if entry)


def _matches(entry: str, host: str, port: int, name: str) -> bool:
    """Compare one entry of NO_PROXY: a host with its subdomains, an address, or a range; each may have a port."""
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        try:
            network = ip_network(entry.replace("[", "").replace("]", ""), strict=False)
        except ValueError:
            logger.warning("invalid entry in %s: %s; the entry is ignored", name, cleaned(entry))
            return False
        return address is not None and address in network
    pattern, wanted = _split(entry.lower())
    if wanted not in {"", str(port)}:
        return False
    if other := _address(pattern):
        return other == address
    suffix = pattern.removeprefix("*").removeprefix(".").rstrip(".")
    return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))


def _split(entry: str) -> tuple[str, str]:
    """Split host and port, whether or not an IPv6 address stands in brackets."""
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return host, rest.removeprefix(":")
    if entry.count(":") == 1:
        host, _, port = entry.partition(":")
        return host, port
    return entry, ""


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
