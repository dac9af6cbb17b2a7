"""Certificates and the webhook's registration, kept as they should be."""
