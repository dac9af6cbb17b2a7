{{/* Durations and sizes: within the program's bounds, and each other's. */}}

{{/* Seconds, from a text such as 1m30s or a number. */}}
{{- define "anchore-admission.seconds" -}}
{{- $sum := 0.0 }}
{{- if kindIs "string" . }}
  {{- range regexFindAll "[0-9.]+(ms|s|m|h)" . -1 }}
    {{- $number := regexFind "[0-9.]+" . }}
    {{- $unit := trimPrefix $number . }}
    {{- $sum = addf $sum (mulf (float64 $number) (get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0) $unit)) }}
  {{- end }}
{{- else }}
  {{- $sum = float64 . }}
{{- end }}
{{- $sum }}
{{- end }}

{{/* Bytes, from a text such as 8MiB or a number. */}}
{{- define "anchore-admission.bytes" -}}
{{- if kindIs "string" . }}
  {{- $number := regexFind "[0-9]+" . }}
  {{- mulf (float64 $number) (get (dict "" 1.0 "B" 1.0 "KiB" 1024.0 "MiB" 1048576.0) (trimPrefix $number .)) }}
{{- else }}
  {{- float64 . }}
{{- end }}
{{- end }}

{{- define "anchore-admission.validateQuantities" -}}
{{- $config := default dict .Values.config }}
{{- range $part, $names := dict "passive" (list "wait") "tags" (list "refreshInterval") "timeouts" (list "connect" "read" "margin") }}
{{- range $name := $names }}
{{- $section := default dict (get $config $part) }}
{{- if hasKey $section $name }}
{{- $value := get $section $name }}
{{- $seconds := include "anchore-admission.seconds" $value | float64 }}
{{- $path := printf "config.%s.%s" $part $name }}
{{- if gt $seconds 86400.0 }}
- '{{ $path }}: expected at most 24h, not {{ $value }}'
{{- else if and (has $name (list "connect" "read")) (le $seconds 0.0) }}
- '{{ $path }}: expected more than 0s'
{{- else if and (eq $name "refreshInterval") (lt $seconds 1.0) }}
- '{{ $path }}: expected at least 1s, not {{ $value }}'
{{- else if lt $seconds 0.0 }}
- '{{ $path }}: expected at least 0s, not {{ $value }}'
{{- else if and (eq $name "margin") (ge $seconds (float64 $.Values.webhook.timeoutSeconds)) }}
- '{{ $path }}: expected less than webhook.timeoutSeconds ({{ $.Values.webhook.timeoutSeconds }} s), not {{ $value }}'
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $value := omit ($config.limits | default dict) "images" }}
{{- $bytes := include "anchore-admission.bytes" $value | float64 }}
{{- if or (lt $bytes 1024.0) (gt $bytes 268435456.0) }}
- 'config.limits.{{ $name }}: expected 1KiB to 256MiB, not {{ $value }}'
{{- end }}
{{- end }}
{{- $needed := addf (include "anchore-admission.seconds" .Values.shutdownDelay | float64) (float64 .Values.webhook.timeoutSeconds) }}
{{- if gt $needed (float64 .Values.terminationGracePeriodSeconds) }}
- 'terminationGracePeriodSeconds: expected at least {{ $needed }} (shutdownDelay and webhook.timeoutSeconds), not {{ .Values.terminationGracePeriodSeconds }}: reviews would be cut off'
{{- end }}
{{- end }}

{{/* As the Prometheus operator has it: whole numbers, the largest unit first. */}}
{{- define "anchore-admission.validateInterval" -}}
{{- $interval := .Values.serviceMonitor.interval }}
{{- if not (and $interval (regexMatch "^([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$" $interval)) }}
- {{ printf "serviceMonitor.interval: expected a duration of Prometheus, such as 30s or 1m30s, not %s" $interval | quote }}
{{- end }}
{{- end }}

{{- define "anchore-admission.validateNotice" -}}
{{- $notice := default "" (default dict (default dict .Values.config).messages).notice }}
{{- $own := include "anchore-admission.sandboxNotice" . }}
{{- $most := sub 199 (len $own) }}
{{- if and .Values.sandbox.enabled (gt (regexFindAll "(?s)." $notice -1 | len) (int $most)) }}
- 'config.messages.notice: expected at most {{ $most }} characters with sandbox.enabled, which says: {{ $own }}'
{{- end }}
{{- end }}
