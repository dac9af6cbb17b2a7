{{/*
Which Anchore is asked, with what credentials, by what rules. What the program would refuse as well fails the
installation here, not the Pods. The sandbox's policies are left to the program; for patterns, see _validate_patterns.tpl.
*/}}

{{- define "anchore-admission.validateAnchore" -}}
{{- $anchore := .Values.anchore }}
{{- $config := default dict .Values.config }}
{{- $endpoint := (default dict $config.anchore).endpoint }}
{{- if .Values.sandbox.enabled }}
{{- range $name := list "endpoint" "username" "password" "credentialsSecret" }}
{{- if index $anchore $name }}
- 'sandbox.enabled: not together with anchore.{{ $name }}: the sandbox takes the place of Anchore'
{{- end }}
{{- end }}
{{- if $endpoint }}
- 'sandbox.enabled: not together with config.anchore.endpoint: the sandbox takes the place of Anchore'
{{- end }}
{{- range $index, $account := $config.accounts }}
{{- if $account.endpoint }}
- 'sandbox.enabled: not together with config.accounts[{{ $index }}].endpoint: the sandbox takes the place of Anchore'
{{- end }}
{{- end }}
{{- else if and $anchore.endpoint $endpoint }}
- 'anchore.endpoint and config.anchore.endpoint: give one of them'
{{- else if not (or $anchore.endpoint $endpoint) }}
{{- include "anchore-admission.validateEndpoints" . }}
{{- end }}
{{- if and $anchore.credentialsSecret (or $anchore.username $anchore.password) }}
- 'anchore.credentialsSecret: not together with anchore.username and anchore.password'
{{- else if ne (empty $anchore.username) (empty $anchore.password) }}
- 'anchore.username and anchore.password belong together'
{{- else }}
{{- include "anchore-admission.validateCredentials" . }}
{{- end }}
{{- end }}

{{- define "anchore-admission.validateEndpoints" -}}
{{- $without := include "anchore-admission.askedAccounts" . | fromYamlArray }}
{{- range (default dict .Values.config).accounts }}
{{- if .endpoint }}{{ $without = without $without .name }}{{ end }}
{{- end }}
{{- with $without }}
- 'anchore.endpoint: needed, such as http://anchore-engine-api.anchore.svc:8228: account {{ join ", " . }} has no endpoint of its own (for a trial without Anchore: sandbox.enabled=true)'
{{- end }}
{{- end }}

{{- define "anchore-admission.validateCredentials" -}}
{{- $config := include "anchore-admission.configuration" . | fromYaml }}
{{- $known := include "anchore-admission.knownAccounts" . | fromYamlArray }}
{{- if not .Values.extraEnvFrom }}
{{- range include "anchore-admission.accountsWithoutCredentials" . | fromYamlArray }}
{{- $variables := include "anchore-admission.variables" . }}
{{- if eq . "default" }}
- 'anchore.credentialsSecret: needed, the name of a Secret with the keys username and password; or anchore.username and anchore.password, or files for the account default in config.accounts, or {{ $variables }}USERNAME and …_PASSWORD in extraEnv'
{{- else if has . $known }}
- 'config.accounts: account {{ . }}, which is asked with, has no credentials: give usernameFile and passwordFile, or apiKeyFile, or {{ $variables }}USERNAME and …_PASSWORD in extraEnv'
{{- end }}
{{- end }}
{{- end }}
{{- $given := list }}
{{- range .Values.extraEnv }}{{ $given = append $given .name }}{{ end }}
{{- range $config.accounts }}
{{- if or .usernameFile .apiKeyFile }}
{{- $prefix := include "anchore-admission.variables" .name }}
{{- range list "USERNAME" "PASSWORD" "API_KEY" }}
{{- if has (print $prefix .) $given }}
- 'extraEnv: {{ $prefix }}{{ . }}: not together with files for the same account'
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "anchore-admission.knownAccounts" -}}
- default
{{- range (default dict .Values.config).accounts }}
- {{ .name | quote }}
{{- end }}
{{- end }}

{{- define "anchore-admission.validateDefaults" -}}
{{- $config := default dict .Values.config }}
{{- if $config.defaults }}
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

{{- define "anchore-admission.validateAccounts" -}}
{{- $first := dict }}
{{- range $index, $account := (default dict .Values.config).accounts }}
{{- $path := printf "config.accounts[%d]" $index }}
{{- $variables := include "anchore-admission.variables" .name }}
{{- if hasKey $first $variables }}
- '{{ $path }}.name: is the name of {{ get $first $variables }} already: their environment variables would be the same'
{{- else }}
{{- $_ := set $first $variables $path }}
{{- end }}
{{- if and .apiKeyFile (or .usernameFile .passwordFile) }}
- '{{ $path }}: give either apiKeyFile or usernameFile and passwordFile, not both'
{{- end }}
{{- if ne (empty .usernameFile) (empty .passwordFile) }}
- '{{ $path }}: usernameFile and passwordFile belong together'
{{- end }}
{{- end }}
{{- end }}

{{- define "anchore-admission.validateRules" -}}
{{- $config := default dict .Values.config }}
{{- $known := include "anchore-admission.knownAccounts" . | fromYamlArray }}
{{- $first := dict }}
{{- with (default dict $config.defaults).account }}
{{- if not (has . $known) }}
- 'config.defaults.account: names an account that is not in config.accounts: {{ . }}'
{{- end }}
{{- end }}
{{- range $index, $rule := $config.rules }}
{{- $path := printf "config.rules[%d]" $index }}
{{- if eq .name "defaults" }}
- '{{ $path }}.name: the name defaults stands for what holds where no rule matches'
{{- end }}
{{- if hasKey $first .name }}
- '{{ $path }}.name: is the name of {{ get $first .name }} already'
{{- else }}
{{- $_ := set $first .name $path }}
{{- end }}
{{- if and .account (not (has .account $known)) }}
- '{{ $path }}.account: names an account that is not in config.accounts: {{ .account }}'
{{- end }}
{{- if not (kindIs "invalid" (default dict .match).objectSelector) }}
{{- if not (or .match.objectSelector.matchLabels .match.objectSelector.matchExpressions) }}
- '{{ $path }}.match.objectSelector: give matchLabels or matchExpressions'
{{- end }}
{{- include "anchore-admission.validateSelector" (list (print $path ".match.objectSelector") .match.objectSelector) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Takes a list: the path, the selector. */}}
{{- define "anchore-admission.validateSelector" -}}
{{- $path := index . 0 }}
{{- range $index, $expression := (index . 1).matchExpressions }}
{{- if ne (has .operator (list "In" "NotIn")) (not (empty .values)) }}
- '{{ $path }}.matchExpressions[{{ $index }}]: In and NotIn need values, Exists and DoesNotExist take none'
{{- end }}
{{- end }}
{{- end }}
