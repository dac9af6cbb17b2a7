{{/*
The webhooks' entries: rendered into the webhook configurations with `webhook.registration: chart`, and into the file that the
controller applies with `controller`. The program owns the entries (files/webhook.yaml, files/mutatingwebhook.yaml); only the parts
that values decide are set here.
*/}}

{{- define "anchore-admission.failurePolicy" -}}
{{- $denying := include "anchore-admission.denyingModes" . | fromYamlArray }}
{{- default (ternary "Fail" "Ignore" (not (empty $denying))) .Values.webhook.failurePolicy }}
{{- end }}

{{- define "anchore-admission.webhooks" -}}
{{- $entry := .Files.Get "files/webhook.yaml" | fromYaml }}
{{- $_ := set $entry "failurePolicy" (include "anchore-admission.failurePolicy" .) }}
{{- $_ = set $entry "timeoutSeconds" .Values.webhook.timeoutSeconds }}
{{- include "anchore-admission.completedEntry" (dict "ctx" . "entry" $entry) }}
{{- end }}

{{- define "anchore-admission.mutatingWebhooks" -}}
{{- $entry := .Files.Get "files/mutatingwebhook.yaml" | fromYaml }}
{{- include "anchore-admission.completedEntry" (dict "ctx" . "entry" $entry) }}
{{- end }}

{{/* The webhook configurations as documents that the controller applies. */}}
{{- define "anchore-admission.registration" -}}
{{- range $kind, $webhooks := include "anchore-admission.kinds" . | fromYaml }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ include "anchore-admission.fullname" $ | quote }}
webhooks:
  {{- include $webhooks $ | nindent 2 }}
{{- end }}
{{- end }}

{{/* The kinds of webhook configurations, each with the template of its entries. */}}
{{- define "anchore-admission.kinds" -}}
{{- if .Values.pinning.enabled }}
MutatingWebhookConfiguration: anchore-admission.mutatingWebhooks
{{- end }}
ValidatingWebhookConfiguration: anchore-admission.webhooks
{{- end }}

{{- define "anchore-admission.completedEntry" -}}
{{- $entry := .entry }}
{{- with .ctx }}
{{- $full := include "anchore-admission.fullname" . }}
{{- $namespace := include "anchore-admission.namespace" . }}
{{- $_ := set $entry "name" (replace "anchore-admission." (print $full ".") $entry.name) }}
{{- $_ = set $entry.clientConfig.service "name" $full }}
{{- $_ = set $entry.clientConfig.service "namespace" $namespace }}
{{- if and .Values.certificates.caBundle (eq .Values.webhook.registration "chart") }}
  {{- $_ = set $entry.clientConfig "caBundle" (.Values.certificates.caBundle | b64enc) }}
{{- end }}

{{- /* The release's own Pods must be able to start while no replica runs. */}}
{{- $names := first $entry.namespaceSelector.matchExpressions }}
{{- $excluded := concat (list $namespace) $names.values (default list .Values.webhook.excludedNamespaces) | uniq }}
{{- $selector := deepCopy (default dict .Values.webhook.namespaceSelector) }}
{{- $expressions := prepend (default list $selector.matchExpressions) (set $names "values" $excluded) }}
{{- $_ = set $entry "namespaceSelector" (set $selector "matchExpressions" $expressions) }}

{{- /* With `opa.requests: [all]`, OPA is to see the updates that change no image, too. */}}
{{- $opa := (include "anchore-admission.configuration" . | fromYaml).opa | default dict }}
{{- $all := and (has "all" $opa.requests) (hasPrefix "/validate" $entry.clientConfig.service.path) }}
{{- $conditions := list }}
{{- range $entry.matchConditions }}
  {{- if not (or (and (eq .name "not-another-release") (not $.ctx.Values.webhook.admitOtherReleases)) (and (eq .name "spec-changes") $all)) }}
    {{- $conditions = append $conditions . }}
  {{- end }}
{{- end }}
{{- if semverCompare ">=1.30-0" .Capabilities.KubeVersion.Version }}
  {{- $_ = set $entry "matchConditions" $conditions }}
{{- else }}
  {{- $_ = unset $entry "matchConditions" }}
{{- end }}
{{- list $entry | toYaml }}
{{- end }}
{{- end }}

{{/*
The namespaces of Anchore in which the webhook reviews Pods, as a YAML list: once Anchore is down there, its own Pods would need
Anchore's verdict. A passive or skip rule that names the namespace shows that the operator thought of Anchore's own images.
*/}}
{{- define "anchore-admission.reviewedAnchoreNamespaces" -}}
{{- $config := include "anchore-admission.configuration" . | fromYaml }}
{{- $default := default "passive" $config.defaults.mode }}
{{- $safe := concat (list (include "anchore-admission.namespace" .) "kube-system") (default list .Values.webhook.excludedNamespaces) }}
{{- range $config.rules }}
  {{- if has (default $default .mode) (list "passive" "skip") }}
    {{- $safe = concat $safe (default list (default dict .match).namespaces) }}
  {{- end }}
{{- end }}
{{- $endpoints := list (dig "anchore" "endpoint" "" $config) }}
{{- range $config.accounts }}
  {{- $endpoints = append $endpoints (default "" .endpoint) }}
{{- end }}
{{- include "anchore-admission.reviewedNamespaces" (dict "ctx" . "endpoints" $endpoints "safe" $safe) }}
{{- end }}

{{/* The same for OPA: a rule that leaves it out shows that the operator thought of it. */}}
{{- define "anchore-admission.reviewedOpaNamespaces" -}}
{{- $config := include "anchore-admission.configuration" . | fromYaml }}
{{- $safe := concat (list (include "anchore-admission.namespace" .) "kube-system") (default list .Values.webhook.excludedNamespaces) }}
{{- range $config.rules }}
  {{- if or (eq (default "" .mode) "skip") (eq (default "" .mode) "passive") (eq (toString .opa) "false") }}
    {{- $safe = concat $safe (default list (default dict .match).namespaces) }}
  {{- end }}
{{- end }}
{{- $endpoints := list (default "" (default dict $config.opa).url) }}
{{- include "anchore-admission.reviewedNamespaces" (dict "ctx" . "endpoints" $endpoints "safe" $safe) }}
{{- end }}

{{/* The namespaces of Services among addresses that are reviewed and not safe. Takes ctx, endpoints and safe. */}}
{{- define "anchore-admission.reviewedNamespaces" -}}
{{- $safe := .safe }}
{{- $selected := dig "matchLabels" "kubernetes.io/metadata.name" "" (default dict .ctx.Values.webhook.namespaceSelector) }}
{{- $found := list }}
{{- range .endpoints }}
  {{- $namespace := regexReplaceAll "^\\.([a-z0-9-]+)\\.svc.?$" (regexFind "\\.[a-z0-9-]+\\.svc([.:/]|$)" .) "${1}" }}
  {{- if and $namespace (not (has $namespace $safe)) (has $selected (list "" $namespace)) }}
    {{- $found = append $found $namespace }}
  {{- end }}
{{- end }}
{{- uniq $found | toYaml }}
{{- end }}
