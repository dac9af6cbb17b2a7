# A stricter policy for containers that may run as root: deny what Anchore's policy only warns about.
package anchore.admission

images[image.reference].deny contains message if {
	some image in input.images
	runs_as_root(image)
	denied := {finding.id | some finding in image.findings; denied_for_root(finding)}
	count(denied) > 0
	message := sprintf("not allowed in a container that may run as root: %s", [listed(denied)])
}

images[image.reference].deny contains message if {
	some image in input.images
	image.verdict.decision != "deny"
	runs_as_root(image)
	not lists_all(image, {"CRITICAL", "HIGH", ""})
	message := "not allowed in a container that may run as root: not all of its findings are known"
}

denied_for_root(finding) if finding.severity in {"CRITICAL", "HIGH"}

denied_for_root(finding) if {
	some gate, triggers in {"files": {"suid_or_guid_set"}, "secret_scans": {"content_regex_checks"}}
	finding.gate == gate
	finding.trigger in triggers
}

# True unless every container of the image promises another user.
runs_as_root(image) if {
	some container in containers(pod(input.request.object))
	container.image == image.reference
	not other_user(container)
}

# What a container says counts, then what the Pod says.
other_user(container) if setting(container, "runAsNonRoot") == true
other_user(container) if setting(container, "runAsUser") > 0

setting(container, key) := value if {
	value := container.securityContext[key]
} else := pod(input.request.object).spec.securityContext[key]
