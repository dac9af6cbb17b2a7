# What all policies of this folder use. Load it with any of them.
package anchore.admission

# A document that is no review of ours, or of a later version, is denied rather than admitted unread.
deny contains "the policies read version 1 of the input" if not input.anchoreAdmission.input == 1

# Return the Pod that an object is, or the template of the Pods that it creates.
pod(object) := object if {
	object.spec.containers
} else := object.spec.template if {
	object.spec.template.spec.containers
} else := object.spec.jobTemplate.spec.template if {
	object.spec.jobTemplate.spec.template.spec.containers
} else := object.template if {
	object.template.spec.containers
}

# Return all containers of a Pod: init and ephemeral containers, too.
containers(pod) := [container |
	some name in ["initContainers", "containers", "ephemeralContainers"]
	some container in pod.spec[name]
]

# True if the report of an image lists all its findings of these severities, which must be the worst: findings are
# listed worst first, up to a limit. The severity of findings about anything else than vulnerabilities is "".
lists_all(image, _) if count(image.findings) == image.findingsTotal

lists_all(image, severities) if {
	image.findingsTotal != null
	some finding in image.findings
	not finding.severity in severities
}

# True if Anchore analyzed the image within the last days. Not true if the time is not known.
analyzed_within(image, days) if {
	image.analyzedAt != null
	time.now_ns() - time.parse_rfc3339_ns(image.analyzedAt) < ((days * 24) * 3600) * 1000000000
}

# Return a set of findings as a text, shortened: a message has room for 1,024 characters.
listed(findings) := sprintf("%d findings: %s, …", [count(findings), concat(", ", array.slice(sort(findings), 0, 3))]) if {
	count(findings) > 3
} else := concat(", ", sort(findings))
