"""Wire formats: AdmissionReview, Kubernetes workloads, the configuration file."""
