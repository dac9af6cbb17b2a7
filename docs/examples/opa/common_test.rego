# What all tests of this folder use, and the tests of the helpers. Run them with `opa test FOLDER`.
package anchore.admission_test

import data.anchore.admission

now := time.parse_rfc3339_ns("2026-06-30T12:00:00Z")

# A document that no policy of this folder objects to, with the fields that the controller sends.
clean := {
	"anchoreAdmission": {"input": 1},
	"images": [image],
	"request": {"namespace": "shop", "object": {"metadata": {"labels": {"app": "shop"}}, "spec": {
		"securityContext": {"runAsNonRoot": true},
		"containers": [{"name": "app", "image": "registry.example.com/shop:1"}],
	}}},
}

image := {
	"reference": "registry.example.com/shop:1",
	"repository": "registry.example.com/shop",
	"tag": "1",
	"digest": "sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
	"unchanged": false,
	"rule": "defaults",
	"mode": "strict",
	"state": "analyzed",
	"analyzedAt": "2026-06-29T12:00:00Z",
	"evaluation": {"policy": "production", "action": "go", "reason": "policy_evaluation", "mapped": true, "problems": []},
	"findings": [],
	"findingsTotal": 0,
	"verdict": {"decision": "admit", "reason": "policy_passed"},
	"error": null,
	"answerAge": 12,
	"stale": false,
	"exemptions": [],
}

# A vulnerability about which Anchore's policy warns.
finding(id, severity, fix) := {
	"gate": "vulnerabilities",
	"trigger": "package",
	"id": id,
	"severity": severity,
	"package": "openssl-3.0",
	"fix": fix,
	"action": "warn",
	"message": "",
}

# Another finding about which it warns.
other_finding(gate, trigger) := object.union(
	finding("3bdbc3ab9b41f2e3d2f1c3a8a1e5a6f1", "", ""),
	{"gate": gate, "trigger": trigger, "package": ""},
)

# Facts of an image that the rule admits although Anchore did not respond, was not asked, or told only a part.
unknown := [
	{"state": null, "analyzedAt": null, "evaluation": null, "findingsTotal": null, "verdict": {"decision": "no_verdict"}},
	{"mode": "analysis", "evaluation": null, "findingsTotal": null},
	{"findingsTotal": null},
]

# Facts of an image that the rule denies.
denied := {
	"state": "analyzing",
	"analyzedAt": null,
	"evaluation": null,
	"findingsTotal": null,
	"verdict": {"decision": "deny", "reason": "not_analyzed"},
}

# Facts of an image that an update leaves as it is. A message about it has no effect.
unchanged := {
	"unchanged": true,
	"rule": null,
	"mode": null,
	"state": null,
	"analyzedAt": null,
	"evaluation": null,
	"findingsTotal": null,
	"verdict": null,
	"answerAge": null,
	"stale": null,
	"exemptions": null,
}

# Return the clean document with findings of its image, all of them listed.
with_findings(document, findings) := with_image(document, {"findings": findings, "findingsTotal": count(findings)})

with_image(document, changes) := object.union(document, {"images": [object.union(document.images[0], changes)]})

with_pod(document, changes) := object.union(document, {"request": {"object": changes}})

# Return the document with the Pod as the template of another kind.
as_kind("Pod", document) := document

as_kind("Deployment", document) := with_object(document, {"spec": {"template": document.request.object}})

as_kind("CronJob", document) := with_object(
	document,
	{"spec": {"jobTemplate": {"spec": {"template": document.request.object}}}},
)

as_kind("PodTemplate", document) := with_object(document, {"template": document.request.object})

with_object(document, object) := json.patch(document, [{"op": "replace", "path": "/request/object", "value": object}])

kinds := ["Pod", "Deployment", "CronJob", "PodTemplate"]

# Return the messages about the image of a document.
denials(document) := messages(document, "deny")

warnings(document) := messages(document, "warn")

messages(document, kind) := [message |
	about := admission.images[image.reference][kind] with input as document with time.now_ns as now
	some message in about
]

test_nothing_is_wrong_with_the_clean_document if {
	admission.deny == set() with input as clean
	every kind in kinds {
		denials(as_kind(kind, clean)) == []
		warnings(as_kind(kind, clean)) == []
	}
}

test_no_policy_has_a_message_about_an_unchanged_image if {
	some changes in [as_root, privileged]
	document := with_pod(with_image(clean, object.union(unchanged, {"repository": "docker.io/x"})), changes)
	admission.images == {} with input as document
}

test_a_document_without_a_version_is_denied if {
	count(admission.deny) == 1 with input as {}
	count(admission.deny) == 1 with input as object.union(clean, {"anchoreAdmission": {"input": 2}})
}

test_the_pod_of_every_kind_is_found if {
	every kind in kinds {
		object := as_kind(kind, clean).request.object
		[container.name | some container in admission.containers(admission.pod(object))] == ["app"]
	}
}

test_a_list_is_complete_when_milder_findings_follow[note] if {
	some note, [findings, total, complete] in {
		"none": [[], 0, true],
		"all": [[finding("CVE-1", "HIGH", "")], 1, true],
		"cut behind": [[finding("CVE-1", "HIGH", ""), finding("CVE-2", "LOW", "")], 9, true],
		"cut within": [[finding("CVE-1", "HIGH", "")], 9, false],
		"not known": [[finding("CVE-2", "LOW", "")], null, false],
	}
	found := {true | admission.lists_all({"findings": findings, "findingsTotal": total}, {"CRITICAL", "HIGH"})}
	found == {true | complete}
}

test_long_lists_are_shortened if {
	admission.listed({"CVE-2", "CVE-1"}) == "CVE-1, CVE-2"
	admission.listed({"CVE-4", "CVE-3", "CVE-2", "CVE-1"}) == "4 findings: CVE-1, CVE-2, CVE-3, …"
}
