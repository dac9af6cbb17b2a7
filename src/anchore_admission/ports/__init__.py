"""Protocols that the services call and the adapters implement."""
