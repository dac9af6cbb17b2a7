package anchore.admission_test

unfixed := with_findings(clean, [finding("CVE-2026-2", "CRITICAL", "")])

test_a_critical_finding_without_a_fix_is_allowed_for_14_days if {
	recent := with_image(unfixed, {"analyzedAt": "2026-06-16T12:00:01Z"})
	denials(recent) == []
	warnings(recent) == ["critical and without a fix, denied 14 days after the analysis: CVE-2026-2"]
}

test_a_critical_finding_without_a_fix_is_denied_after_14_days[note] if {
	some note, time in {"14 days": "2026-06-16T12:00:00Z", "not known": null}
	old := with_image(unfixed, {"analyzedAt": time})
	expected := "critical and without a fix, and the analysis is not of the last 14 days: CVE-2026-2"
	expected in denials(old)
	warnings(old) == []
}

test_other_findings_are_left_to_anchore if {
	findings := [finding("CVE-2026-2", "CRITICAL", "3.0.1"), finding("CVE-2026-3", "HIGH", "")]
	denials(with_image(with_findings(clean, findings), {"analyzedAt": "2026-06-01T12:00:00Z"})) == []
}

test_findings_that_are_not_known_are_denied_after_14_days if {
	document := with_image(clean, {"findingsTotal": null})
	denials(document) == []
	count(denials(with_image(document, {"analyzedAt": "2026-06-01T12:00:00Z"}))) == 1
}
