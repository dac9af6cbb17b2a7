{{/* What the schema cannot say: values that contradict each other. All problems are told at once. */}}

{{- define "anchore-admission.validate" -}}
{{- $problems := concat
    (include "anchore-admission.validateRelease" . | fromYamlArray)
    (include "anchore-admission.validateAnchore" . | fromYamlArray)
    (include "anchore-admission.validateDefaults" . | fromYamlArray)
    (include "anchore-admission.validateCertificates" . | fromYamlArray) }}
{{- if $problems }}
{{- fail (printf "\n  %s\n" (join "\n  " $problems)) }}
{{- end }}
{{- end }}

{{- define "anchore-admission.validateRelease" -}}
{{- if has .Release.Namespace (list "default" "kube-system") }}
- 'the namespace must not be {{ .Release.Namespace }}: a release never judges its own namespace. Use --namespace anchore-admission --create-namespace'
{{- end }}
{{- if not (regexMatch "^[a-z]" (include "anchore-admission.fullname" .)) }}
- 'fullnameOverride: needed, because a Service cannot be called {{ include "anchore-admission.fullname" . }}: it must begin with a letter'
{{- end }}
{{- if eq (int .Values.ports.webhook) (int .Values.ports.operations) }}
- 'ports.webhook and ports.operations must differ; both are {{ .Values.ports.webhook }}'
{{- end }}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
- 'serviceAccount.name: needed without serviceAccount.create: rights for the account default would be everybody''s'
{{- end }}
{{- end }}

{{- define "anchore-admission.validateAnchore" -}}
{{- $anchore := .Values.anchore }}
{{- $endpoint := (default dict .Values.config.anchore).endpoint }}
{{- if .Values.sandbox.enabled }}
{{- range $name := list "endpoint" "username" "password" "credentialsSecret" }}
{{- if index $anchore $name }}
- 'sandbox.enabled: not together with anchore.{{ $name }}: the sandbox takes the place of Anchore'
{{- end }}
{{- end }}
{{- if $endpoint }}
- 'sandbox.enabled: not together with config.anchore.endpoint: the sandbox takes the place of Anchore'
{{- end }}
{{- else if and $anchore.endpoint $endpoint }}
- 'anchore.endpoint and config.anchore.endpoint: give one of them'
{{- else if not (or $anchore.endpoint $endpoint (eq (include "anchore-admission.everyAccountHasEndpoint" .) "true")) }}
- 'anchore.endpoint: needed, such as http://anchore-engine-api.anchore.svc:8228 (for a trial without Anchore: sandbox.enabled=true)'
{{- end }}
{{- if and $anchore.credentialsSecret (or $anchore.username $anchore.password) }}
- 'anchore.credentialsSecret: not together with anchore.username and anchore.password'
{{- else if ne (empty $anchore.username) (empty $anchore.password) }}
- 'anchore.username and anchore.password belong together'
{{- end }}
{{- end }}

{{- define "anchore-admission.everyAccountHasEndpoint" -}}
{{- $all := not (empty .Values.config.accounts) }}
{{- range .Values.config.accounts }}
{{- $all = and $all (not (empty .endpoint)) }}
{{- end }}
{{- if $all }}true{{ end }}
{{- end }}

{{- define "anchore-admission.validateDefaults" -}}
{{- if .Values.config.defaults }}
{{- $given := list }}
{{- if .Values.enableStrictGating }}{{ $given = append $given "enableStrictGating" }}{{ end }}
{{- if .Values.enableAnalysisGating }}{{ $given = append $given "enableAnalysisGating" }}{{ end }}
{{- if not .Values.requestAnalysis }}{{ $given = append $given "requestAnalysis" }}{{ end }}
{{- if .Values.anchore.policybundle }}{{ $given = append $given "anchore.policybundle" }}{{ end }}
{{- with $given }}
- '{{ join ", " . }}: not together with config.defaults, which says the same in full'
{{- end }}
{{- end }}
{{- end }}

{{- define "anchore-admission.validateCertificates" -}}
{{- $certificates := .Values.certificates }}
{{- $existing := eq $certificates.mode "existingSecret" }}
{{- if and $existing (not $certificates.existingSecret) }}
- 'certificates.existingSecret: needed with certificates.mode existingSecret'
{{- end }}
{{- range $name := list "existingSecret" "caBundle" }}
{{- if and (not $existing) (index $certificates $name) }}
- 'certificates.{{ $name }}: only with certificates.mode existingSecret, not {{ $certificates.mode }}'
{{- end }}
{{- end }}
{{- if eq .Values.webhook.registration "chart" }}
{{- if eq $certificates.mode "selfManaged" }}
- 'webhook.registration chart: not with certificates.mode selfManaged: only the controller knows the authority it makes'
{{- else if and $existing (not $certificates.caBundle) }}
- 'certificates.caBundle: needed with webhook.registration chart and certificates.mode existingSecret'
{{- end }}
{{- end }}
{{- end }}
