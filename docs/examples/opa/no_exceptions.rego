# Deny in some namespaces what is admitted as an exception: by an exemption, or by an old answer while Anchore is down.
package anchore.admission

# The namespaces without exceptions.
without_exceptions(namespace) if namespace in {"payments", "identity"}

# Return the age in seconds above which an answer of Anchore does not stand in during an outage.
oldest_answer := 120

images[image.reference].deny contains message if {
	without_exceptions(object.get(input.request, "namespace", ""))
	some image in input.images
	some exemption in image.exemptions
	exemption.applied
	message := sprintf("no exemptions in this namespace, but the image needs %s", [exemption.name])
}

images[image.reference].deny contains message if {
	without_exceptions(object.get(input.request, "namespace", ""))
	some image in input.images
	image.stale
	image.answerAge > oldest_answer
	message := sprintf("Anchore cannot be asked, and its answer of %d s ago is too old in this namespace", [image.answerAge])
}
