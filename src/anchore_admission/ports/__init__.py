"""Protocols: what the services need of the world."""
