package anchore.admission_test

test_registries_by_namespace[note] if {
	some note, [namespace, repository, allowed] in {
		"everywhere": ["shop", "registry.example.com/shop", true],
		"not there": ["shop", "docker.io/library/nginx", false],
		"there": ["dev-anna", "docker.io/library/nginx", true],
		"one team's": ["monitoring", "quay.io/prometheus/prometheus", true],
		"another team's": ["monitoring", "quay.io/other/prometheus", false],
		"begins alike": ["shop", "registry.example.com.evil.example/shop", false],
		"no reference": ["dev-anna", null, false],
	}
	document := object.union(with_image(clean, {"repository": repository}), {"request": {"namespace": namespace}})
	expected := [sprintf("not from a registry that is allowed in the namespace %q", [namespace]) | not allowed]
	denials(document) == expected
}

test_a_review_without_a_namespace_is_denied if {
	document := json.patch(
		with_image(clean, {"repository": "docker.io/library/nginx"}),
		[{"op": "remove", "path": "/request/namespace"}],
	)
	count(denials(document)) == 1
}

test_an_image_that_stays_is_allowed if {
	denials(with_image(clean, object.union(unchanged, {"repository": "docker.io/x"}))) == []
}
