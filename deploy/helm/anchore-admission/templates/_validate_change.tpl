{{/*
What an upgrade cannot change while replicas run: where the serving certificate comes from. New replicas would serve one
that the old leader does not register; or they would wait for one that it never makes, while it keeps the Lease.
*/}}

{{- define "anchore-admission.validateChange" -}}
{{- if .Release.IsUpgrade }}
{{- $full := include "anchore-admission.fullname" . }}
{{- with lookup "apps/v1" "Deployment" .Release.Namespace $full }}{{/* nothing without a cluster */}}
{{- $before := include "anchore-admission.liveMode" (list $full .) }}
{{- $after := $.Values.certificates.mode }}
{{- if ne $before $after }}
- {{ printf "certificates.mode: cannot change from %s to %s while replicas run, as API servers would not trust the new ones. Be without the webhook for the change: kubectl delete validatingwebhookconfiguration %s; kubectl delete deployment --namespace %s %s --cascade=foreground; then the same helm upgrade again" $before $after $full $.Release.Namespace $full | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Takes a list: the full name, a Deployment. Its mode is told by its arguments and by the Secret that it mounts. */}}
{{- define "anchore-admission.liveMode" -}}
{{- $pod := dig "spec" "template" "spec" dict (index . 1) }}
{{- $mounted := "" }}
{{- range $pod.volumes }}
{{- if eq .name "tls" }}{{ $mounted = dig "secret" "secretName" "" . }}{{ end }}
{{- end }}
{{- $managed := false }}{{/* where a volume called so is somebody's own */}}
{{- range $pod.containers }}
{{- if has "--certificates=managed" (default list .args) }}{{ $managed = true }}{{ end }}
{{- end }}
{{- if or $managed (not $mounted) }}selfManaged{{ else if eq $mounted (print (index . 0) "-certificate") }}certManager{{ else }}existingSecret{{ end }}
{{- end }}
