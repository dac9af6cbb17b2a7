"""Which authorities a TLS client of ours believes."""

import ssl


def trusting(*, cafile: str | None = None, cadata: str | None = None) -> ssl.SSLContext:
    """Believe these authorities, or the system's without any. Raises OSError, ssl.SSLError."""
    return lenient(ssl.create_default_context(cafile=cafile, cadata=cadata))


def lenient(context: ssl.SSLContext) -> ssl.SSLContext:
    """Take authorities without a key usage, as API servers do.

    From Python 3.13 on they are refused by default, and what a plain ``openssl req -x509`` makes is such a one.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
