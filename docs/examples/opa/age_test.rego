package anchore.admission_test

test_the_age_of_an_analysis[note] if {
	some note, [time, warned, denied] in {
		"new": ["2026-06-30T11:00:00Z", 0, 0],
		"ahead of the clock": ["2026-06-30T12:00:05Z", 0, 0],
		"29 days": ["2026-06-01T12:00:00Z", 0, 0],
		"31 days": ["2026-05-30T12:00:00Z", 1, 0],
		"91 days": ["2026-03-31T12:00:00Z", 0, 1],
		"another offset": ["2026-05-31T14:00:00+02:00", 1, 0],
		"not known": [null, 0, 1],
	}
	document := with_image(clean, {"analyzedAt": time})
	[count(warnings(document)), count(denials(document))] == [warned, denied]
}

test_an_image_that_is_not_analyzed_is_left_to_the_mode if {
	denials(with_image(clean, denied)) == []
	denials(with_image(clean, unknown[0])) == []
}
