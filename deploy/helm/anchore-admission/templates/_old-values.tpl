{{/*
Rejects the values of the original controller's chart, and of earlier versions of this one, that have another name here
(files/old-values.yaml). The schema lets them through as `deprecated`, because its own error could not name the new key.
*/}}
{{- define "anchore-admission.rejectOldValues" -}}
{{- $old := .Files.Get "files/old-values.yaml" | fromYaml }}
{{- $found := list }}
{{- range $path := keys $old | sortAlpha | reverse }}{{/* the keys of a section come before the section itself */}}
  {{- $value := $.Values }}
  {{- range splitList "." $path }}
    {{- $value = ternary (get (kindIs "map" $value | ternary $value dict) .) "" (kindIs "map" $value) }}
  {{- end }}
  {{- $given := or (not (empty $value)) (has (kindOf $value) (list "bool" "float64" "int64")) }}
  {{- if and $given (not (regexMatch (printf "(?m)^%s\\." (regexQuoteMeta $path)) (join "\n" $found))) }}
    {{- $found = prepend $found (printf "%s: %s" $path (get $old $path)) }}
  {{- end }}
{{- end }}
{{- if kindIs "string" .Values.image }}
  {{- $found = append $found (printf "image: is now image.repository with image.tag or image.digest, not the string %s" .Values.image) }}
{{- end }}
{{- if $found }}
{{- fail (printf "\n  %s\n" (join "\n  " $found)) }}
{{- end }}
{{- end }}
