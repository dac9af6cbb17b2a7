"""Convert the configuration of anchore/kubernetes-admission-controller, the Go controller, into ours."""
