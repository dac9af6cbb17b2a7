{{/* The configuration file: `config`, completed by the values of the original chart. */}}

{{- define "anchore-admission.endpoint" -}}
{{- if .Values.sandbox.enabled }}
{{- /* Without the namespace: the controller runs in the same one. */ -}}
http://{{ include "anchore-admission.fullname" . }}-sandbox:8228
{{- else }}
{{- .Values.anchore.endpoint }}
{{- end }}
{{- end }}

{{/* Strict takes precedence over analysis, analysis over passive. */}}
{{- define "anchore-admission.defaults" -}}
mode: {{ if .Values.enableStrictGating }}strict{{ else if .Values.enableAnalysisGating }}analysis{{ else }}passive{{ end }}
requestAnalysis: {{ .Values.requestAnalysis }}
{{- if and .Values.enableStrictGating .Values.anchore.policybundle }}
policy: {{ .Values.anchore.policybundle | quote }}
{{- end }}
{{- end }}

{{/* The accounts; `default` reads the mounted credentials unless it names files of its own. */}}
{{- define "anchore-admission.accounts" -}}
{{- $files := dict "usernameFile" "/credentials/username" "passwordFile" "/credentials/password" }}
{{- $accounts := list }}
{{- $names := list }}
{{- range (default dict .Values.config).accounts }}
  {{- $mounted := and (eq .name "default") (not (or .apiKeyFile .usernameFile .passwordFile)) }}
  {{- $accounts = append $accounts (ternary (merge (deepCopy .) $files) . $mounted) }}
  {{- $names = append $names .name }}
{{- end }}
{{- if not (has "default" $names) }}
  {{- $accounts = prepend $accounts (merge (dict "name" "default") $files) }}
{{- end }}
{{- toYaml $accounts }}
{{- end }}

{{- define "anchore-admission.configuration" -}}
{{- $config := deepCopy (default dict .Values.config) }}
{{- with include "anchore-admission.endpoint" . }}
  {{- $_ := set $config "anchore" (merge (dict "endpoint" .) (default dict $config.anchore)) }}
{{- end }}
{{- if include "anchore-admission.credentialsSecret" . }}
  {{- $_ := set $config "accounts" (include "anchore-admission.accounts" . | fromYamlArray) }}
{{- end }}
{{- if not $config.defaults }}
  {{- $_ := set $config "defaults" (include "anchore-admission.defaults" . | fromYaml) }}
{{- end }}
{{- if .Values.sandbox.enabled }}
  {{- /* Before the operator's own notice, so that no verdict of the sandbox passes for one of Anchore's. */}}
  {{- $messages := default dict $config.messages }}
  {{- $notices := list "This verdict comes from the embedded sandbox, not from Anchore." (default "" $messages.notice) }}
  {{- $_ := set $config "messages" (mergeOverwrite $messages (dict "notice" ($notices | compact | join " "))) }}
{{- end }}
{{- with include "anchore-admission.sharedStore" . }}
  {{- $_ := set $config "sharedStore" (fromYaml .) }}
{{- end }}
{{- with include "anchore-admission.opa" . }}
  {{- $_ := set $config "opa" (fromYaml .) }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* The section sharedStore; empty without a store. Its files are mounted at /shared-store-*. */}}
{{- define "anchore-admission.sharedStore" -}}
{{- with .Values.sharedStore }}
{{- if .url }}
{{- $section := pick . "url" "topology" "prefix" "timeout" "allowPlain" }}
{{- $name := print (include "anchore-admission.namespace" $) "/" (include "anchore-admission.fullname" $) }}
{{- $_ := set $section "clusterName" (default $name .clusterName) }}
{{- $_ := set $section "keyDirectory" "/shared-store-seal" }}
{{- with .sentinelService }}{{ $_ := set $section "sentinelService" . }}{{ end }}
{{- with .moreServers }}{{ $_ := set $section "moreServers" . }}{{ end }}
{{- range $key, $_ := include "anchore-admission.sharedStoreCredentials" $ | fromYaml }}
  {{- $_ := set $section (print $key "File") (print "/shared-store-credentials/" $key) }}
{{- end }}
{{- if or .caConfigMap .caSecret }}
  {{- $_ := set $section "caFile" "/shared-store-ca/ca.crt" }}
{{- end }}
{{- toYaml $section }}
{{- end }}
{{- end }}
{{- end }}

{{/* The section opa; empty without an OPA. Its files are mounted at /opa-*. */}}
{{- define "anchore-admission.opa" -}}
{{- with .Values.opa }}
{{- if or .url .sidecar.enabled }}
{{- $section := pick . "path" "timeout" "onError" "requests" "omit" }}
{{- $_ := set $section "url" (ternary "unix:///run/opa/opa.sock" .url .sidecar.enabled) }}
{{- if or .caConfigMap .caSecret }}
  {{- $_ = set $section "caFile" "/opa-ca/ca.crt" }}
{{- end }}
{{- if .token.existingSecret }}
  {{- $_ = set $section "tokenFile" "/opa-token/token" }}
{{- end }}
{{- if .clientCertificate.existingSecret }}
  {{- $_ = set $section "certificateFile" "/opa-client/tls.crt" }}
  {{- $_ = set $section "keyFile" "/opa-client/tls.key" }}
{{- end }}
{{- toYaml $section }}
{{- end }}
{{- end }}
{{- end }}

{{/* The keys of the store's credentials Secret, by the setting that reads each. */}}
{{- define "anchore-admission.sharedStoreCredentials" -}}
{{- $credentials := .Values.sharedStore.credentials }}
{{- $keys := dict }}
{{- if and .Values.sharedStore.url $credentials.existingSecret }}
{{- range list "username" "password" "sentinelUsername" "sentinelPassword" }}
  {{- if get $credentials (print . "Key") }}
    {{- $_ := set $keys . (get $credentials (print . "Key")) }}
  {{- end }}
{{- end }}
{{- end }}
{{- toYaml $keys }}
{{- end }}

{{/* The modes of the defaults and of all rules that may deny an image: analysis and strict. */}}
{{- define "anchore-admission.denyingModes" -}}
{{- $config := include "anchore-admission.configuration" . | fromYaml }}
{{- $default := default "passive" $config.defaults.mode }}
{{- $modes := list $default }}
{{- range $config.rules }}
  {{- if .modeFrom }}
    {{- $modes = concat $modes (values (default dict .modeFrom.allowed)) }}
  {{- else }}
    {{- $modes = append $modes (default $default .mode) }}
  {{- end }}
{{- end }}
{{- without (uniq $modes) "passive" "skip" | toYaml }}
{{- end }}

{{/* Not empty if a rule or an exemption depends on the labels of namespaces: the controller then reads them from the API server. */}}
{{- define "anchore-admission.needsNamespaceLabels" -}}
{{- $config := default dict .Values.config }}
{{- range concat (default list $config.rules) (default list $config.exemptions) }}
  {{- $match := default dict .match }}
  {{- range list $match (default dict $match.except) }}
    {{- if .namespaceSelector }}true{{ end }}
  {{- end }}
  {{- range list .policyFrom .accountFrom .modeFrom }}
    {{- if (default dict .).namespaceLabel }}true{{ end }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Not empty if the controller calls the API server. */}}
{{- define "anchore-admission.callsApiServer" -}}
{{- $asked := print (include "anchore-admission.needsNamespaceLabels" .) (include "anchore-admission.reviewsTokens" .) }}
{{- if or (eq .Values.webhook.registration "controller") $asked }}true{{ end }}
{{- end }}

{{/* Not empty if the facts accept tokens of the API server, which then reviews them. */}}
{{- define "anchore-admission.reviewsTokens" -}}
{{- if and .Values.facts.enabled .Values.facts.tokenReview.audience }}true{{ end }}
{{- end }}

{{/* The keys of the credentials Secret that are mounted: those that a setting names as a file directly in /credentials. */}}
{{- define "anchore-admission.credentialKeys" -}}
{{- $config := include "anchore-admission.configuration" . | fromYaml }}
{{- $files := list (default dict $config.anchore).caFile }}
{{- range $config.accounts }}
  {{- $files = concat $files (list .usernameFile .passwordFile .apiKeyFile .caFile) }}
{{- end }}
{{- range .Values.extraArgs }}
  {{- $files = append $files (regexReplaceAll "^--[^=]*=" . "") }}
{{- end }}
{{- $keys := list }}
{{- range compact $files }}
  {{- if regexMatch "^/credentials/[^/]+$" . }}
    {{- $keys = append $keys (base .) }}
  {{- end }}
{{- end }}
{{- uniq $keys | sortAlpha | toYaml }}
{{- end }}

{{/* The parts of the mounted files that count only after a restart. A replica reloads the others itself (docs/operating.md). */}}
{{- define "anchore-admission.fixedFiles" -}}
{{- $config := include "anchore-admission.configuration" . | fromYaml }}
{{- $config = omit $config "rules" "defaults" "exemptions" "workloads" "unknownKinds" "messages" }}
{{- $_ := set $config "limits" (omit (default dict $config.limits) "images" "exemptionDays") }}
{{- toYaml $config }}
{{ if eq .Values.webhook.registration "controller" }}{{ include "anchore-admission.registration" . }}{{ end }}
{{ .Values.certificates.caBundle }}
{{- end }}
