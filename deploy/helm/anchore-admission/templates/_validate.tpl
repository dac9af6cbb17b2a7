{{/*
Values that contradict each other. values.schema.json rejects a value that is wrong by itself, and the controller validates its
configuration at the start: a replica with mistakes lists them all in its log and does not become ready, while the others serve on
(`anchore-admission config validate` checks a file beforehand). Mistakes that neither of them can see are all reported here at once.
*/}}

{{- define "anchore-admission.validate" -}}
{{- include "anchore-admission.rejectOldValues" . }}
{{- $problems := concat
      (include "anchore-admission.releaseProblems" . | fromYamlArray)
      (include "anchore-admission.anchoreProblems" . | fromYamlArray)
      (include "anchore-admission.sharedStoreProblems" . | fromYamlArray)
      (include "anchore-admission.opaProblems" . | fromYamlArray)
      (include "anchore-admission.factsProblems" . | fromYamlArray)
      (include "anchore-admission.webhookProblems" . | fromYamlArray)
      (include "anchore-admission.podProblems" . | fromYamlArray)
      (include "anchore-admission.upgradeProblems" . | fromYamlArray) }}
{{- if $problems }}
{{- fail (printf "\n  %s\n" (join "\n  " $problems)) }}
{{- end }}
{{- end }}

{{- define "anchore-admission.releaseProblems" -}}
{{- $full := include "anchore-admission.fullname" . }}
{{- $namespace := include "anchore-admission.namespace" . }}
{{- if has $namespace (list "default" "kube-system") }}
- 'the namespace must not be {{ $namespace }}: a release does not review its own. Use --namespace anchore-admission --create-namespace'
{{- end }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) }}
- {{ printf "fullnameOverride: needed, as a Service cannot be named %s: use lower-case letters, digits and -, first a letter" $full | quote }}
{{- end }}
{{- if eq (include "anchore-admission.serviceAccountName" .) "default" }}
- 'serviceAccount.name: expected an account of the release''s own, not default: every Pod of the namespace would have its rights'
{{- end }}
{{- end }}

{{- define "anchore-admission.anchoreProblems" -}}
{{- $anchore := .Values.anchore }}
{{- $config := default dict .Values.config }}
{{- $endpoints := compact (list $anchore.endpoint (default dict $config.anchore).endpoint) }}
{{- $credentials := compact (list $anchore.credentialsSecret $anchore.username $anchore.password) }}
{{- if .Values.sandbox.enabled }}
  {{- range $config.accounts }}{{ $endpoints = compact (append $endpoints .endpoint) }}{{ end }}
  {{- if or $endpoints $credentials }}
- 'sandbox.enabled: not together with an endpoint or credentials of Anchore (anchore, config): the sandbox takes its place'
  {{- end }}
{{- else }}
  {{- if gt (len $endpoints) 1 }}
- 'anchore.endpoint: not together with config.anchore.endpoint'
  {{- end }}
  {{- if not (or $endpoints $config) }}
- 'anchore.endpoint: needed, such as http://anchore-engine-api.anchore.svc:8228 (for a trial without Anchore: sandbox.enabled=true)'
  {{- end }}
  {{- if not (or $credentials $config .Values.extraEnv .Values.extraEnvFrom) }}
- 'anchore.credentialsSecret: needed, the name of a Secret with the keys username and password'
  {{- end }}
  {{- if and $anchore.credentialsSecret (gt (len $credentials) 1) }}
- 'anchore.credentialsSecret: not together with anchore.username and anchore.password'
  {{- else if ne (empty $anchore.username) (empty $anchore.password) }}
- 'anchore.username: needed together with anchore.password'
  {{- end }}
{{- end }}
{{- $switches := or .Values.enableStrictGating .Values.enableAnalysisGating (not .Values.requestAnalysis) $anchore.policybundle }}
{{- if and $config.defaults $switches }}
- 'config.defaults: not together with enableStrictGating, enableAnalysisGating, requestAnalysis or anchore.policybundle'
{{- end }}
{{- end }}

{{- define "anchore-admission.sharedStoreProblems" -}}
{{- $store := .Values.sharedStore }}
{{- $others := compact (list $store.seal.existingSecret $store.credentials.existingSecret $store.caConfigMap $store.caSecret) }}
{{- if and $store.url (default dict .Values.config).sharedStore }}
- 'sharedStore.url: not together with config.sharedStore'
{{- end }}
{{- if and $store.url (not $store.seal.existingSecret) }}
- 'sharedStore.seal.existingSecret: needed with sharedStore.url'
{{- else if and $others (not $store.url) }}
- 'sharedStore.url: needed with the Secrets and the ConfigMap of sharedStore'
{{- end }}
{{- if and $store.caConfigMap $store.caSecret }}
- 'sharedStore.caConfigMap: not together with sharedStore.caSecret'
{{- end }}
{{- end }}

{{- define "anchore-admission.opaProblems" -}}
{{- $opa := .Values.opa }}
{{- $sidecar := $opa.sidecar }}
{{- $client := compact (list $opa.caConfigMap $opa.caSecret $opa.token.existingSecret $opa.clientCertificate.existingSecret) }}
{{- if and (or $opa.url $sidecar.enabled) (default dict .Values.config).opa }}
- 'opa: not together with config.opa'
{{- end }}
{{- if and $opa.url $sidecar.enabled }}
- 'opa.url: not together with opa.sidecar.enabled'
{{- end }}
{{- if and $client (not $opa.url) }}
- 'opa.url: needed with the ConfigMap and the Secrets of opa'
{{- else if and $client (not (hasPrefix "https://" $opa.url)) (or (gt (len $client) 1) (not $opa.token.existingSecret)) }}
- 'opa.url: expected https:// with a CA or a client certificate'
{{- end }}
{{- if and $opa.caConfigMap $opa.caSecret }}
- 'opa.caConfigMap: not together with opa.caSecret'
{{- end }}
{{- if and $sidecar.enabled (not (or $sidecar.policies $sidecar.policyConfigMaps $sidecar.config)) }}
- 'opa.sidecar.policies: needed, or policyConfigMaps or config: without a policy there is no decision, and opa.onError holds'
{{- end }}
{{- end }}

{{- define "anchore-admission.factsProblems" -}}
{{- with .Values.facts }}
{{- $ca := or .clientCertificates.existingSecret .clientCertificates.caConfigMap }}
{{- if and .enabled (not (or $ca .token.existingSecret .tokenReview.audience)) }}
- 'facts.enabled: needs a guard: facts.token, facts.clientCertificates or facts.tokenReview'
{{- end }}
{{- if and .clientCertificates.existingSecret .clientCertificates.caConfigMap }}
- 'facts.clientCertificates: give the CA in existingSecret or in caConfigMap, not in both'
{{- else if ne (empty .clientCertificates.names) (empty $ca) }}
- 'facts.clientCertificates: names and a CA (existingSecret or caConfigMap) are needed together'
{{- end }}
{{- if ne (empty .tokenReview.users) (empty .tokenReview.audience) }}
- 'facts.tokenReview: audience and users are needed together'
{{- end }}
{{- end }}
{{- end }}

{{- define "anchore-admission.webhookProblems" -}}
{{- $full := include "anchore-admission.fullname" . }}
{{- $certificates := .Values.certificates }}
{{- $chartRegisters := eq .Values.webhook.registration "chart" }}
{{- if eq $certificates.mode "existingSecret" }}
  {{- if not $certificates.existingSecret }}
- 'certificates.existingSecret: needed with certificates.mode existingSecret'
  {{- else if has $certificates.existingSecret (list (print $full "-tls") (print $full "-certificate") (print $full "-ca")) }}
- {{ printf "certificates.existingSecret: not %s, which the chart itself creates and deletes" $certificates.existingSecret | quote }}
  {{- end }}
  {{- if and $chartRegisters (not $certificates.caBundle) }}
- 'certificates.caBundle: needed with webhook.registration chart and certificates.mode existingSecret'
  {{- end }}
{{- else if or $certificates.existingSecret $certificates.caBundle }}
- 'certificates.existingSecret and certificates.caBundle: only with certificates.mode existingSecret, not {{ $certificates.mode }}'
{{- else if and $chartRegisters (eq $certificates.mode "selfManaged") }}
- 'webhook.registration chart: not with certificates.mode selfManaged: only the controller knows the CA that it makes'
{{- end }}
{{- if and $chartRegisters .Values.webhook.secretPath.existingSecret }}
- 'webhook.secretPath: not with webhook.registration chart: only the controller can read the Secret and register the path'
{{- end }}
{{- $clients := .Values.webhook.clientCertificates }}
{{- if and $clients.existingSecret $clients.caConfigMap }}
- 'webhook.clientCertificates: give the CA in existingSecret or in caConfigMap, not in both'
{{- else if ne (empty $clients.names) (empty (include "anchore-admission.clientCa" .)) }}
- 'webhook.clientCertificates: names and a CA (existingSecret or caConfigMap) are needed together'
{{- end }}
{{- $margin := include "anchore-admission.seconds" (dig "timeouts" "margin" "500ms" (default dict .Values.config)) }}
{{- if ge ($margin | float64) (float64 .Values.webhook.timeoutSeconds) }}
- 'config.timeouts.margin: expected less than webhook.timeoutSeconds, which is {{ .Values.webhook.timeoutSeconds }}'
{{- end }}
{{- end }}

{{- define "anchore-admission.podProblems" -}}
{{- $policy := .Values.networkPolicy }}
{{- if eq (int .Values.ports.webhook) (int .Values.ports.operations) }}
- 'ports.webhook and ports.operations: expected different ports, not {{ .Values.ports.webhook }} twice'
{{- end }}
{{- $used := dict (toString .Values.ports.webhook) "ports.webhook" (toString .Values.ports.operations) "ports.operations" }}
{{- $optional := dict
      "notifications" .Values.notifications.existingSecret "facts" .Values.facts.enabled "opa" .Values.opa.sidecar.enabled }}
{{- range $name := list "notifications" "facts" "opa" }}
  {{- $port := get $.Values.ports $name | toString }}
  {{- if and (get $optional $name) (hasKey $used $port) }}
- 'ports.{{ $name }}: expected another port than {{ get $used $port }}, not {{ $port }} again'
  {{- else if get $optional $name }}
    {{- $_ := set $used $port (print "ports." $name) }}
  {{- end }}
{{- end }}
{{- if and .Values.proxy.exceptions (has "NO_PROXY" (include "anchore-admission.extraEnvNames" . | fromYamlArray)) }}
- 'proxy.exceptions: not together with NO_PROXY in extraEnv, which replaces them'
{{- end }}
{{- $needed := include "anchore-admission.lastReviews" . | float64 }}
{{- if gt $needed (float64 .Values.terminationGracePeriodSeconds) }}
- 'terminationGracePeriodSeconds: expected at least {{ $needed }} (shutdownDelay and webhook.timeoutSeconds): reviews would be cut off'
{{- end }}
{{- if and $policy.enabled $policy.egress.enabled (not $policy.egress.rules) (not .Values.sandbox.enabled) }}
- 'networkPolicy.egress.rules: needed with networkPolicy.egress.enabled, or the Pods cannot reach Anchore'
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
- 'autoscaling.maxReplicas: expected at least autoscaling.minReplicas, which is {{ .Values.autoscaling.minReplicas }}'
{{- end }}
{{- end }}

{{/*
An upgrade cannot change where the serving certificate comes from while replicas run: API servers would not trust the new ones yet, or
the new ones would wait for a certificate that the old leader never makes.
*/}}
{{- define "anchore-admission.upgradeProblems" -}}
{{- $full := include "anchore-admission.fullname" . }}
{{- $namespace := include "anchore-admission.namespace" . }}
{{- $live := lookup "apps/v1" "Deployment" $namespace $full }}{{/* empty when rendered without a cluster */}}
{{- if and .Release.IsUpgrade $live }}
{{- $pod := dig "spec" "template" "spec" dict $live }}
{{- $issued := false }}
{{- range $pod.containers }}{{ $issued = or $issued (has "--certificates=managed" (default list .args)) }}{{ end }}
{{- $secret := "" }}
{{- range $pod.volumes }}{{ if eq .name "tls" }}{{ $secret = dig "secret" "secretName" "" . }}{{ end }}{{ end }}
{{- $before := ternary "certManager" "existingSecret" (eq $secret (print $full "-certificate")) }}
{{- $before = ternary "selfManaged" $before (or $issued (empty $secret)) }}
{{- if ne $before .Values.certificates.mode }}
- >-
  certificates.mode: cannot change from {{ $before }} to {{ .Values.certificates.mode }} while replicas run, because API servers would
  not trust the new ones. Remove the webhook for the change: kubectl delete validatingwebhookconfiguration {{ $full }};
  {{ if .Values.pinning.enabled }}kubectl delete mutatingwebhookconfiguration {{ $full }};
  {{ end }}kubectl delete deployment --namespace {{ $namespace }} {{ $full }} --cascade=foreground; then repeat the helm upgrade
{{- end }}
{{- end }}
{{- end }}

{{/* The seconds for which a replica that stops still gets and answers reviews. */}}
{{- define "anchore-admission.lastReviews" -}}
{{- addf (include "anchore-admission.seconds" .Values.shutdownDelay | float64) (float64 .Values.webhook.timeoutSeconds) }}
{{- end }}

{{/* The seconds of a duration: a string such as 1m30s, or a number. */}}
{{- define "anchore-admission.seconds" -}}
{{- $units := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 }}
{{- $sum := 0.0 }}
{{- range regexFindAll "[0-9.]+(ms|s|m|h)" (kindIs "string" . | ternary . (print . "s")) -1 }}
  {{- $number := regexFind "[0-9.]+" . }}
  {{- $sum = addf $sum (mulf (float64 $number) (get $units (trimPrefix $number .))) }}
{{- end }}
{{- $sum }}
{{- end }}
