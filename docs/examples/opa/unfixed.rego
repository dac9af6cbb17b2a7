# Allow CRITICAL vulnerabilities without a fix for 14 days after the analysis of the image, and deny them then.
package anchore.admission

images[image.reference].deny contains message if {
	some image in input.images
	unfixed := {finding.id | some finding in image.findings; finding.severity == "CRITICAL"; finding.fix == ""}
	count(unfixed) > 0
	not analyzed_within(image, 14)
	message := sprintf("critical and without a fix, and the analysis is not of the last 14 days: %s", [listed(unfixed)])
}

images[image.reference].deny contains message if {
	some image in input.images
	image.evaluation != null
	not lists_all(image, {"CRITICAL"})
	not analyzed_within(image, 14)
	message := "not all critical findings are known, and the analysis is not of the last 14 days"
}

images[image.reference].warn contains message if {
	some image in input.images
	unfixed := {finding.id | some finding in image.findings; finding.severity == "CRITICAL"; finding.fix == ""}
	count(unfixed) > 0
	analyzed_within(image, 14)
	message := sprintf("critical and without a fix, denied 14 days after the analysis: %s", [listed(unfixed)])
}
