# Deny images whose registry is not allowed in the namespace.
package anchore.admission

# The repositories of each namespace begin with one of these. Patterns of namespaces add up.
registries := {
	"*": ["registry.example.com/", "registry.k8s.io/"],
	"dev-*": ["docker.io/", "ghcr.io/"],
	"monitoring": ["quay.io/prometheus/"],
}

images[image.reference].deny contains message if {
	some image in input.images
	not image.unchanged
	namespace := object.get(input.request, "namespace", "")
	not from_registry(image, namespace)
	message := sprintf("not from a registry that is allowed in the namespace %q", [namespace])
}

from_registry(image, namespace) if {
	image.repository != null
	some pattern, prefixes in registries
	glob.match(pattern, [], namespace)
	some prefix in prefixes
	startswith(image.repository, prefix)
}
