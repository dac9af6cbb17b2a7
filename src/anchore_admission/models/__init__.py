"""Shapes of what arrives and leaves: AdmissionReview, Kubernetes workloads, the configuration file."""
