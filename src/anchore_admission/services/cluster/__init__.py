"""Reconcile the serving certificate and the webhook configuration."""
