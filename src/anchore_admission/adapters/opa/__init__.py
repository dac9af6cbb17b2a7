"""Open Policy Agent over HTTP, by address or Unix socket. Imported only if one is configured."""
