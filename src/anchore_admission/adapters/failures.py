"""Name the causes of failed connections in plain words: the errors of httpx, aiohttp and OpenSSL are nested."""

import re
import ssl
from collections.abc import Iterator
from typing import Final

import aiohttp

from anchore_admission.redaction import cut
from anchore_admission.text import joined_lines, shortened

_SHORT: Final = 200
_USER_INFO = re.compile(r"//[^/@\s]{1,1000}@")
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"})
"""OpenSSL's reasons for a first response that is not TLS."""
_CERTIFICATE_FAULTS = {
    9: "it is not valid yet; compare the clocks",
    10: "it has expired",
    18: "it is self-signed and not in {ca_file}",
    19: "its CA is not in {ca_file} or among the system's",
    20: "its CA is not in {ca_file} or among the system's, or an intermediate certificate is missing",
    62: "it is for another host name than {address}'s",
    64: "it is for another IP address than {address}'s",
}
"""Explanations by OpenSSL's verification code (x509_vfy.h)."""


def cleaned(text: str, limit: int = _SHORT) -> str:
    """Return one printable line of bounded length, without secrets and without credentials in addresses.

    Every text of a server passes through here before it reaches a message or the log.
    """
    line = joined_lines(cut(text, 4 * limit))
    if "@" in line:
        line = _USER_INFO.sub("//", line)
    return shortened(line, limit)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, with the system's errors that aiohttp keeps."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        for inner in (getattr(cause, "certificate_error", None), getattr(cause, "os_error", None)):
            if isinstance(inner, BaseException):
                yield inner
        cause = cause.__cause__ or cause.__context__


def tls_error(error: BaseException) -> ssl.SSLError | None:
    """Return OpenSSL's error among the causes of an error.

    aiohttp's own errors are SSLErrors, too, but without OpenSSL's reason; the original follows in the chain.
    """
    for cause in causes(error):
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, aiohttp.ClientError):
            return cause
    return None


def is_unconnected(error: BaseException) -> bool:
    """Return False if the connection was lost after it was made: to httpx, a reset is a failure to connect, too."""
    cause = error.__cause__
    if not isinstance(cause, aiohttp.ClientError):
        return True
    return isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


def why_tls_failed(error: ssl.SSLError, *, ca_file: str, address: str) -> str:
    """Return why a TLS connection failed; ``ca_file`` and ``address`` name the keys that a user may have to correct."""
    if isinstance(error, ssl.SSLCertVerificationError):
        known = _CERTIFICATE_FAULTS.get(error.verify_code)
        why = known.format(ca_file=ca_file, address=address) if known else cleaned(error.verify_message or "")
        return f"its TLS certificate is not trusted: {why}"
    if error.reason in _NOT_TLS:
        return f"it speaks plain HTTP at an https:// address; write http:// in {address}, or name the TLS port"
    return f"the TLS handshake failed: {cleaned(error.reason or str(error))}"
