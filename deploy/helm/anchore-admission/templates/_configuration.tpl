{{/* The configuration file: `config`, completed by the values that people know from the original chart. */}}

{{- define "anchore-admission.endpoint" -}}
{{- if .Values.sandbox.enabled }}
{{- /* Without the namespace: it is our own, and the name then holds in every one. */ -}}
http://{{ include "anchore-admission.fullname" . }}-sandbox:8228
{{- else }}
{{- .Values.anchore.endpoint }}
{{- end }}
{{- end }}

{{/* Strict beats analysis beats passive. */}}
{{- define "anchore-admission.mode" -}}
{{- if .Values.enableStrictGating }}strict{{ else if .Values.enableAnalysisGating }}analysis{{ else }}passive{{ end }}
{{- end }}

{{- define "anchore-admission.defaults" -}}
mode: {{ include "anchore-admission.mode" . }}
requestAnalysis: {{ .Values.requestAnalysis }}
{{- if and .Values.enableStrictGating .Values.anchore.policybundle }}
policy: {{ .Values.anchore.policybundle | quote }}
{{- end }}
{{- end }}

{{/* The accounts; `default` reads the mounted credentials unless it names files of its own. */}}
{{- define "anchore-admission.accounts" -}}
{{- $files := dict "usernameFile" "/credentials/username" "passwordFile" "/credentials/password" }}
{{- $accounts := list }}
{{- $found := false }}
{{- range .Values.config.accounts }}
  {{- $account := . }}
  {{- if eq .name "default" }}
    {{- $found = true }}
    {{- if not (or .apiKeyFile .usernameFile) }}
      {{- $account = merge (deepCopy .) $files }}
    {{- end }}
  {{- end }}
  {{- $accounts = append $accounts $account }}
{{- end }}
{{- if not $found }}
  {{- $accounts = prepend $accounts (merge (dict "name" "default") $files) }}
{{- end }}
{{- toYaml $accounts }}
{{- end }}

{{- define "anchore-admission.configuration" -}}
{{- $config := deepCopy .Values.config }}
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
  {{- $notice := dict "notice" "This verdict comes from the embedded sandbox, not from Anchore." }}
  {{- $_ := set $config "messages" (merge (default dict $config.messages) $notice) }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* "true" when nothing is ever refused because of an image: every mode is passive, or skip, which asks nothing. */}}
{{- define "anchore-admission.onlyPassive" -}}
{{- $config := include "anchore-admission.configuration" . | fromYaml }}
{{- $default := default "passive" $config.defaults.mode }}
{{- $modes := list $default }}
{{- range $config.rules }}
  {{- $modes = append $modes (default $default .mode) }}
{{- end }}
{{- if not (without $modes "passive" "skip") }}true{{ end }}
{{- end }}
