{{/*
The webhook's entry: rendered into the ValidatingWebhookConfiguration with `webhook.registration: chart`, and into the file that the
controller applies with `controller`. The program owns the entry (files/webhook.yaml); only the parts that values decide are set here.
*/}}

{{- define "anchore-admission.failurePolicy" -}}
{{- $denying := include "anchore-admission.denyingModes" . | fromYamlArray }}
{{- default (ternary "Fail" "Ignore" (not (empty $denying))) .Values.webhook.failurePolicy }}
{{- end }}

{{- define "anchore-admission.webhooks" -}}
{{- $full := include "anchore-admission.fullname" . }}
{{- $namespace := include "anchore-admission.namespace" . }}
{{- $entry := .Files.Get "files/webhook.yaml" | fromYaml }}
{{- $_ := set $entry "name" (print $full ".admission.anchore.io") }}
{{- $_ = set $entry "failurePolicy" (include "anchore-admission.failurePolicy" .) }}
{{- $_ = set $entry "timeoutSeconds" .Values.webhook.timeoutSeconds }}
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

{{- $conditions := list }}
{{- range $entry.matchConditions }}
  {{- if or (ne .name "not-another-release") $.Values.webhook.admitOtherReleases }}
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
{{- $selected := dig "matchLabels" "kubernetes.io/metadata.name" "" (default dict .Values.webhook.namespaceSelector) }}
{{- $found := list }}
{{- range $endpoints }}
  {{- $namespace := regexReplaceAll "^\\.([a-z0-9-]+)\\.svc.?$" (regexFind "\\.[a-z0-9-]+\\.svc([.:/]|$)" .) "${1}" }}
  {{- if and $namespace (not (has $namespace $safe)) (has $selected (list "" $namespace)) }}
    {{- $found = append $found $namespace }}
  {{- end }}
{{- end }}
{{- uniq $found | toYaml }}
{{- end }}
