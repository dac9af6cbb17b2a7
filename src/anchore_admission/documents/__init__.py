"""Read YAML and JSON texts, and find the Kubernetes objects in them."""
