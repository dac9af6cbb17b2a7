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
{{- range (default dict .Values.config).accounts }}
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
  {{- $own := default dict $config.messages }}
  {{- $notice := list (include "anchore-admission.sandboxNotice" .) (default "" $own.notice) | compact | join " " }}
  {{- $_ := set $config "messages" (mergeOverwrite $own (dict "notice" $notice)) }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* Stands before a notice of one's own: nobody takes a verdict of the sandbox for Anchore's. */}}
{{- define "anchore-admission.sandboxNotice" -}}
This verdict comes from the embedded sandbox, not from Anchore.
{{- end }}

{{/* The accounts that some image may need; with mode skip, nothing is asked. */}}
{{- define "anchore-admission.askedAccounts" -}}
{{- $config := include "anchore-admission.configuration" . | fromYaml }}
{{- $mode := default "passive" $config.defaults.mode }}
{{- $account := default "default" $config.defaults.account }}
{{- $asked := list }}
{{- range prepend (default list $config.rules) dict }}
  {{- if ne (default $mode .mode) "skip" }}
    {{- $asked = append $asked (default $account .account) }}
  {{- end }}
{{- end }}
{{- uniq $asked | toYaml }}
{{- end }}

{{/* Those of them whose credentials are neither in files nor in `extraEnv`. What `extraEnvFrom` brings, nobody knows here. */}}
{{- define "anchore-admission.accountsWithoutCredentials" -}}
{{- $asked := include "anchore-admission.askedAccounts" . | fromYamlArray }}
{{- $without := $asked }}
{{- range (include "anchore-admission.configuration" . | fromYaml).accounts }}
  {{- if or .usernameFile .apiKeyFile }}
    {{- $without = without $without .name }}
  {{- end }}
{{- end }}
{{- $variables := list }}
{{- range .Values.extraEnv }}
  {{- $variables = append $variables .name }}
{{- end }}
{{- range $asked }}
  {{- $prefix := include "anchore-admission.variables" . }}
  {{- if or (has (print $prefix "API_KEY") $variables) (and (has (print $prefix "USERNAME") $variables) (has (print $prefix "PASSWORD") $variables)) }}
    {{- $without = without $without . }}
  {{- end }}
{{- end }}
{{- toYaml $without }}
{{- end }}

{{/* How the variables begin that hold an account's credentials. */}}
{{- define "anchore-admission.variables" -}}
ANCHORE_ADMISSION_ACCOUNT_{{ . | upper | replace "-" "_" | replace "." "_" }}_
{{- end }}

{{/* The keys of the Secret with the credentials: what is named as a file, directly in its directory. */}}
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
