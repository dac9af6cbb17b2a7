package anchore.admission_test

high := with_findings(clean, [finding("CVE-2026-1", "HIGH", "3.0.1")])

privileged := {"spec": {"containers": [{
	"name": "app",
	"image": image.reference,
	"securityContext": {"privileged": true},
}]}}

test_a_high_finding_alone_is_allowed if {
	denials(high) == []
}

test_an_exposed_pod_alone_is_allowed if {
	denials(with_pod(clean, privileged)) == []
}

test_a_high_finding_is_denied_where_the_pod_is_exposed[note] if {
	some note, [changes, reason] in {
		"privileged": [privileged, "privileged"],
		"host network": [{"spec": {"hostNetwork": true}}, "in the host's network"],
		"label": [{"metadata": {"labels": {"example.com/exposure": "internet"}}}, "exposed to the internet"],
		"init container": [
			{"spec": {"initContainers": [{"name": "i", "securityContext": {"privileged": true}}]}},
			"privileged",
		],
		"ephemeral container": [
			{"spec": {"ephemeralContainers": [{"name": "e", "securityContext": {"privileged": true}}]}},
			"privileged",
		],
	}
	expected := [sprintf("not allowed in a Pod that is %s: CVE-2026-1", [reason])]
	every kind in kinds {
		denials(as_kind(kind, with_pod(high, changes))) == expected
	}
}

test_other_pods_are_not_exposed[note] if {
	some note, changes in {
		"not privileged": {"spec": {"containers": [{"name": "a", "securityContext": {"privileged": false}}]}},
		"own network": {"spec": {"hostNetwork": false}},
		"another label": {"metadata": {"labels": {"example.com/exposure": "cluster"}}},
	}
	denials(with_pod(high, changes)) == []
}

test_a_medium_finding_is_allowed if {
	document := with_findings(clean, [finding("CVE-2026-1", "MEDIUM", "3.0.1")])
	denials(with_pod(document, {"spec": {"hostNetwork": true}})) == []
}

test_findings_that_are_not_known_are_denied_where_the_pod_is_exposed if {
	every facts in unknown {
		document := with_image(clean, facts)
		denials(document) == []
		count(denials(with_pod(document, {"spec": {"hostNetwork": true}}))) == 1
	}
}

test_an_image_that_is_denied_anyway_needs_no_second_reason if {
	denials(with_pod(with_image(clean, denied), {"spec": {"hostNetwork": true}})) == []
}
