"""TLS handshakes without a network."""

import contextlib
import ssl


def handshake(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> str | None:
    """Both sides in turn, without a network: the version they agree on."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return server.version()
