package anchore.admission_test

as_root := {"spec": {"securityContext": {"runAsNonRoot": false}}}

test_what_anchore_warns_about_is_denied_for_root[note] if {
	some note, warned in {
		"severe": finding("CVE-2026-4", "HIGH", "3.0.1"),
		"suid": other_finding("files", "suid_or_guid_set"),
		"secret": other_finding("secret_scans", "content_regex_checks"),
	}
	document := with_findings(clean, [warned])
	denials(document) == []
	expected := [sprintf("not allowed in a container that may run as root: %s", [warned.id])]
	every kind in kinds {
		denials(as_kind(kind, with_pod(document, as_root))) == expected
	}
}

test_other_warnings_are_allowed_for_root[note] if {
	some note, warned in {
		"medium": finding("CVE-2026-4", "MEDIUM", ""),
		"dockerfile": other_finding("dockerfile", "instruction"),
	}
	denials(with_pod(with_findings(clean, [warned]), as_root)) == []
}

test_the_container_may_run_as_root[note] if {
	some note, [of_pod, of_container, root] in {
		"nothing said": [{}, {}, true],
		"by the Pod": [{"runAsNonRoot": true}, {}, false],
		"user of the Pod": [{"runAsUser": 1000}, {}, false],
		"root of the Pod": [{"runAsUser": 0}, {}, true],
		"container overrides": [{"runAsNonRoot": true}, {"runAsNonRoot": false}, true],
		"container restricts": [{"runAsUser": 0}, {"runAsUser": 1000}, false],
		"container is root": [{"runAsUser": 1000}, {"runAsUser": 0}, true],
		"another setting": [{"runAsNonRoot": true}, {"privileged": false}, false],
	}
	document := with_object(with_findings(clean, [finding("CVE-2026-4", "HIGH", "")]), {"spec": {
		"securityContext": of_pod,
		"containers": [{"name": "app", "image": image.reference, "securityContext": of_container}],
	}})
	count(denials(document)) == count([1 | root])
}

test_any_container_of_the_image_counts[note] if {
	some note in ["initContainers", "ephemeralContainers"]
	root := {"name": "r", "image": image.reference, "securityContext": {"runAsNonRoot": false}}
	other := object.union(root, {"image": "registry.example.com/tools:1"})
	document := with_findings(clean, [finding("CVE-2026-4", "HIGH", "")])
	count(denials(with_pod(document, {"spec": {note: [root]}}))) == 1
	denials(with_pod(document, {"spec": {note: [other]}})) == []
}

test_findings_that_are_not_known_are_denied_for_root if {
	every facts in unknown {
		document := with_image(clean, facts)
		denials(document) == []
		count(denials(with_pod(document, as_root))) == 1
	}
	denials(with_pod(with_image(clean, denied), as_root)) == []
}
