"""The only code that talks to the outside: Anchore, the Kubernetes API, logs and metrics."""
