{{/*
Patterns of rules that can never match, as people bring them from other tools. These are the common ones, with the words of the
program, which knows the rest and says so in the log of a replica that does not become ready.
*/}}

{{- define "anchore-admission.validatePatterns" -}}
{{- range $index, $rule := (default dict .Values.config).rules }}
{{- $match := default dict .match }}
{{- range $key := list "images" "namespaces" "kinds" "serviceAccounts" }}
{{- range $number, $glob := default list (get $match $key) }}
{{- $problem := include (print "anchore-admission.problemOf." $key) $glob | trim }}
{{- if and $problem (not (hasPrefix "regex:" $glob)) }}
- {{ printf "config.rules[%d].match.%s[%d]: %s" $index $key $number $problem | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- $selector := default dict $match.objectSelector }}
{{- $path := printf "config.rules[%d].match.objectSelector" $index }}
{{- range $key, $value := $selector.matchLabels }}
{{- with include "anchore-admission.problemOf.label" $value | trim }}
- {{ printf "%s.matchLabels.%s: %s" $path $key . | quote }}
{{- end }}
{{- end }}
{{- range $number, $expression := $selector.matchExpressions }}
{{- range $position, $value := .values }}
{{- with include "anchore-admission.problemOf.label" $value | trim }}
- {{ printf "%s.matchExpressions[%d].values[%d]: %s" $path $number $position . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The glob that was probably meant by an expression. */}}
{{- define "anchore-admission.regularExpression" -}}
{{- $meant := regexReplaceAll "\\.[*+]" (trimSuffix "$" (trimPrefix "^" .)) "*" | replace "\\" "" -}}
is a regular expression; expected a glob (* matches any text, ? one character)
{{- if and $meant (not (regexMatch "[$^()|+{}\\[\\]]" $meant)) }}: write {{ $meant }}{{ end }}
{{- end }}

{{- define "anchore-admission.problemOf.images" -}}
{{- $scheme := regexFind "^[A-Za-z][A-Za-z0-9+.-]*://" . }}
{{- if $scheme }}
an image has no {{ $scheme }} in front: write {{ trimPrefix $scheme . }}
{{- else if regexMatch "\\s" . }}
an image has no spaces
{{- else if contains "," . }}
expected one glob for each entry of the list
{{- else if or (regexMatch "[\\^$\\\\(){}|+]|.\\[|(^|[/:])\\.[*+]" .) (regexMatch "^[a-z0-9_-]+\\.[*+]$" .) }}
{{- include "anchore-admission.regularExpression" . }}
{{- end }}
{{- end }}

{{- define "anchore-admission.problemOf.namespaces" -}}
{{- if not (regexMatch "^[a-z0-9*?-]{1,63}$" .) }}
{{- if regexMatch "[\\^$\\\\(){}|+]|\\.\\*" . }}
{{- include "anchore-admission.regularExpression" . }}
{{- else if contains "," . }}
expected one glob for each entry of the list
{{- else if regexMatch "^[a-z0-9*?-]{1,63}$" (lower .) }}
namespaces are lower case: write {{ lower . }}
{{- else }}
a namespace has lower-case letters, digits and '-', at most 63
{{- end }}
{{- end }}
{{- end }}

{{- define "anchore-admission.problemOf.kinds" -}}
{{- $groups := dict "Deployment" "apps" "ReplicaSet" "apps" "StatefulSet" "apps" "DaemonSet" "apps" "Job" "batch" "CronJob" "batch" }}
{{- $known := list "CronJob" "DaemonSet" "Deployment" "EphemeralContainers" "Job" "Pod" "PodTemplate" "ReplicaSet" "ReplicationController" "StatefulSet" }}
{{- $name := last (splitList "/" .) }}
{{- if regexMatch "[\\^$\\\\(){}|+]|\\.\\*" . }}
{{- include "anchore-admission.regularExpression" . }}
{{- else if not (regexMatch "[*?]" .) }}
{{- $group := trimSuffix (print "/" $name) . }}
{{- $fits := or (eq . $name) (and (hasKey $groups $name) (eq $group (get $groups $name))) }}
{{- if not (and (has $name $known) $fits) }}
{{- $wanted := "" }}
{{- range $known }}
{{- if has (lower .) (list (lower $name) (trimSuffix "s" (lower $name))) }}{{ $wanted = . }}{{ end }}
{{- end }}
{{- if $wanted }}
kinds are compared as Kubernetes writes them, without a version: write {{ if and (ne . $name) (hasKey $groups $wanted) }}{{ get $groups $wanted }}/{{ end }}{{ $wanted }}
{{- else }}
is none of the kinds that are judged: {{ join ", " $known }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "anchore-admission.problemOf.serviceAccounts" -}}
{{- $long := "system:serviceaccount:" }}
{{- if hasPrefix $long . }}
write {{ trimPrefix $long . | replace ":" "/" }}; the long form is for users
{{- else if regexMatch "[\\^$\\\\(){}|+]" . }}
{{- include "anchore-admission.regularExpression" . }}
{{- else if not (regexMatch "^([a-z0-9*?-]{1,63}/)?[a-z0-9.*?-]{1,253}$" .) }}
expected the name of a service account, alone or as namespace/name
{{- end }}
{{- end }}

{{- define "anchore-admission.problemOf.label" -}}
{{- if not (regexMatch "^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$" .) }}
{{- if regexMatch "[*?^$\\\\(){}|+]" . }}
labels are compared as they are written, without globs: list the values in matchExpressions (In)
{{- else }}
no label has such a value: expected at most 63 letters, digits, '-', '_', '.', with no sign at an end
{{- end }}
{{- end }}
{{- end }}
