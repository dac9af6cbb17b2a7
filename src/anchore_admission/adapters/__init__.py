"""What speaks to the world outside: Anchore, files, logs and metrics."""
