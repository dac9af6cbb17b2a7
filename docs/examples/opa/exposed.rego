# Deny images with HIGH or CRITICAL findings where the Pod is exposed: privileged, in the host's network, or labeled so.
# Elsewhere, Anchore's policy decides alone.
package anchore.admission

images[image.reference].deny contains message if {
	some image in input.images
	severe := {finding.id | some finding in image.findings; finding.severity in {"CRITICAL", "HIGH"}}
	count(severe) > 0
	reason := exposure(pod(input.request.object))
	message := sprintf("not allowed in a Pod that is %s: %s", [reason, listed(severe)])
}

images[image.reference].deny contains message if {
	some image in input.images
	image.verdict.decision != "deny"
	not lists_all(image, {"CRITICAL", "HIGH"})
	reason := exposure(pod(input.request.object))
	message := sprintf("not allowed in a Pod that is %s: not all of its findings are known", [reason])
}

# Return the first reason why a Pod is exposed. Undefined if it is not.
exposure(pod) := "privileged" if {
	some container in containers(pod)
	container.securityContext.privileged == true
} else := "in the host's network" if {
	pod.spec.hostNetwork == true
} else := "exposed to the internet" if {
	pod.metadata.labels["example.com/exposure"] == "internet"
}
