package anchore.admission_test

exempt(applied) := {"name": "legacy", "limited": true, "applied": applied}

test_exemptions_by_namespace[note] if {
	some note, [namespace, exemptions, denied] in {
		"none": ["payments", [], false],
		"applied": ["payments", [exempt(true)], true],
		"holds, but Anchore admits the image": ["payments", [exempt(false)], false],
		"elsewhere": ["shop", [exempt(true)], false],
		"unchanged image": ["payments", null, false],
	}
	expected := ["no exemptions in this namespace, but the image needs legacy" | denied]
	denials(in_namespace(with_image(clean, {"exemptions": exemptions}), namespace)) == expected
}

test_old_answers_by_namespace[note] if {
	some note, [namespace, stale, age, denied] in {
		"fresh": ["payments", false, 300, false],
		"stands in, young": ["payments", true, 120, false],
		"stands in, old": ["payments", true, 121, true],
		"elsewhere": ["shop", true, 500, false],
		"no answer": ["payments", null, null, false],
	}
	document := in_namespace(with_image(clean, {"stale": stale, "answerAge": age}), namespace)
	count(denials(document)) == 1 == denied
}

test_a_review_without_a_namespace_is_not_concerned if {
	document := json.patch(
		with_image(clean, {"exemptions": [exempt(true)]}),
		[{"op": "remove", "path": "/request/namespace"}],
	)
	denials(document) == []
}

in_namespace(document, namespace) := object.union(document, {"request": {"namespace": namespace}})
