"""YAML and JSON texts, and the Kubernetes objects in them."""
