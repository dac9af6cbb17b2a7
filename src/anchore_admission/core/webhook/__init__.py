"""The webhook's own entry in the cluster and its certificate, as pure values."""
