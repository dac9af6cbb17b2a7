{{/* What the schema cannot say: values that contradict each other. All problems are told at once. */}}

{{- define "anchore-admission.validate" -}}
{{- include "anchore-admission.rejectOld" . }}
{{- $problems := concat
    (include "anchore-admission.validateRelease" . | fromYamlArray)
    (include "anchore-admission.validatePods" . | fromYamlArray)
    (include "anchore-admission.validateAnchore" . | fromYamlArray)
    (include "anchore-admission.validateDefaults" . | fromYamlArray)
    (include "anchore-admission.validateAccounts" . | fromYamlArray)
    (include "anchore-admission.validateRules" . | fromYamlArray)
    (include "anchore-admission.validatePatterns" . | fromYamlArray)
    (include "anchore-admission.validateQuantities" . | fromYamlArray)
    (include "anchore-admission.validateInterval" . | fromYamlArray)
    (include "anchore-admission.validateNotice" . | fromYamlArray)
    (include "anchore-admission.validateSelector" (list "webhook.namespaceSelector" (default dict .Values.webhook.namespaceSelector)) | fromYamlArray)
    (include "anchore-admission.validateEgress" . | fromYamlArray)
    (include "anchore-admission.validateCertificates" . | fromYamlArray)
    (include "anchore-admission.validateChange" . | fromYamlArray) }}
{{- if $problems }}
{{- fail (printf "\n  %s\n" (join "\n  " $problems)) }}
{{- end }}
{{- end }}

{{/* Apart from the others, which expect values of today. */}}
{{- define "anchore-admission.rejectOld" -}}
{{- with include "anchore-admission.validateOld" . | fromYamlArray }}
{{- fail (printf "\n  %s\n" (join "\n  " .)) }}
{{- end }}
{{- end }}

{{- define "anchore-admission.validateRelease" -}}
{{- if has .Release.Namespace (list "default" "kube-system") }}
- 'the namespace must not be {{ .Release.Namespace }}: a release never judges its own namespace. Use --namespace anchore-admission --create-namespace'
{{- end }}
{{- include "anchore-admission.validateName" . }}
{{- if regexMatch "[:@][^/]*$" .Values.image.repository }}
- {{ printf "image.repository: expected without tag and digest, which are image.tag and image.digest, not %s" .Values.image.repository | quote }}
{{- end }}
{{- if eq (int .Values.ports.webhook) (int .Values.ports.operations) }}
- 'ports.webhook and ports.operations must differ; both are {{ .Values.ports.webhook }}'
{{- end }}
{{- if eq (include "anchore-admission.serviceAccountName" .) "default" }}
- 'serviceAccount.name: expected an account of the release''s own, not default: its rights would be everybody''s'
{{- end }}
{{- end }}

{{/* Every object is called after the full name; a Service is what takes least. */}}
{{- define "anchore-admission.validateName" -}}
{{- $full := include "anchore-admission.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) }}
{{- $expected := printf "expected lower-case letters, digits and -, first a letter, because a Service cannot be called %s" $full }}
{{- if .Values.fullnameOverride }}
- {{ printf "fullnameOverride: %s" $expected | quote }}
{{- else if regexMatch "^[0-9]" .Release.Name }}
- {{ printf "fullnameOverride: needed, with this release name: %s" $expected | quote }}
{{- else }}
- {{ printf "nameOverride: %s" $expected | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Labels by which our objects and our Pods are found, and those that Helm goes by. */}}
{{- define "anchore-admission.validatePods" -}}
{{- range $value := list "commonLabels" "podLabels" }}
{{- range $label := list "name" "instance" "component" "part-of" "version" "managed-by" | sortAlpha }}
{{- $key := print "app.kubernetes.io/" $label }}
{{- if and (hasKey (default dict (get $.Values $value)) $key) (or (eq $value "commonLabels") (not (has $label (list "version" "managed-by")))) }}
- '{{ $value }}: {{ $key }} is set by the chart (nameOverride and fullnameOverride change names)'
{{- end }}
{{- end }}
{{- end }}
{{- if hasKey (default dict .Values.commonLabels) "helm.sh/chart" }}
- 'commonLabels: helm.sh/chart is set by the chart'
{{- end }}
{{- if and (eq .Values.dnsPolicy "None") (not (default dict .Values.dnsConfig).nameservers) }}
- 'dnsConfig.nameservers: needed with dnsPolicy None'
{{- end }}
{{- range .Values.proxy.exceptions }}
{{- if contains "/" . }}
- 'proxy.exceptions: {{ . }}: expected a host name, a domain such as .example.com, or a single address: address ranges have no effect'
{{- end }}
{{- end }}
{{- if and .Values.proxy.exceptions (include "anchore-admission.hasNoProxy" .) }}
- 'proxy.exceptions: not together with NO_PROXY in extraEnv, which replaces them'
{{- end }}
{{- end }}

{{/* Its ports cannot be derived from the endpoint: a NetworkPolicy sees the Pods' ports behind a Service, and a proxy's. */}}
{{- define "anchore-admission.validateEgress" -}}
{{- $policy := .Values.networkPolicy }}
{{- if and $policy.enabled $policy.egress.enabled (not $policy.egress.rules) (not .Values.sandbox.enabled) }}
{{- if include "anchore-admission.askedAccounts" . | fromYamlArray }}
- 'networkPolicy.egress.rules: needed with networkPolicy.egress.enabled, or Anchore is out of reach; such as [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: anchore}}}], ports: [{port: 8228}]}]'
{{- end }}
{{- end }}
{{- end }}

{{- define "anchore-admission.validateCertificates" -}}
{{- $certificates := .Values.certificates }}
{{- $existing := eq $certificates.mode "existingSecret" }}
{{- if and $existing (not $certificates.existingSecret) }}
- 'certificates.existingSecret: needed with certificates.mode existingSecret'
{{- end }}
{{- range $suffix := list "tls" "certificate" "authority" }}
{{- if eq $certificates.existingSecret (printf "%s-%s" (include "anchore-admission.fullname" $) $suffix) }}
- {{ printf "certificates.existingSecret: expected another name than %s, which the chart gives to Secrets of other modes and takes away with them" $certificates.existingSecret | quote }}
{{- end }}
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
