"""TLS handshakes without a network."""

import contextlib
import ssl


def handshake(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> str | None:
    """Run a handshake and return the negotiated TLS version."""
    _, server = connected(client_context, server_context)
    return server.version()


def connected(
    client_context: ssl.SSLContext, server_context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Return client and server after a handshake that may resume a session. Raises ssl.SSLError of either side."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname="localhost", session=session)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return client, server


def session_of(client: ssl.SSLObject, server: ssl.SSLObject) -> ssl.SSLSession | None:
    """Return the client's session for resumption; TLS 1.3 sends it before the first bytes."""
    server.write(b"x")
    client.read(1)
    return client.session
