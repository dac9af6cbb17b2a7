"""The webhook configuration and the serving certificate, as pure values."""
