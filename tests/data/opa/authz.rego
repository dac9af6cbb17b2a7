# Lets a caller ask for the decision, and for nothing else: by its token, or by the name in its client certificate.
package system.authz

default allow := false

allow if {
	input.identity in {"token-of-the-controller", "CN=controller"}
	input.method == "POST"
	input.path == ["v1", "data", "anchore", "admission"]
}
