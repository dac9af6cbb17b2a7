# Warn about images whose analysis is older than 30 days, and deny those older than 90 days.
package anchore.admission

images[image.reference].deny contains message if {
	some image in input.images
	image.state == "analyzed"
	not analyzed_within(image, 90)
	message := sprintf("analyzed too long ago: %v, allowed are 90 days", [image.analyzedAt])
}

images[image.reference].warn contains message if {
	some image in input.images
	image.state == "analyzed"
	analyzed_within(image, 90)
	not analyzed_within(image, 30)
	message := sprintf("analyzed on %v: it will be denied 90 days after that", [image.analyzedAt])
}
