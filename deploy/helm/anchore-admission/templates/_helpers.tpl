{{/* Names, labels and the image. Every object of a release is called after its full name. */}}

{{- define "anchore-admission.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimAll "-_." }}
{{- end }}

{{/* 50 characters leave room for suffixes; Services take no dots. */}}
{{- define "anchore-admission.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- $full = default $full .Values.fullnameOverride | replace "." "-" | trunc 50 }}
{{- regexReplaceAll "-+$" $full "" }}
{{- end }}

{{- define "anchore-admission.serviceAccountName" -}}
{{- default (ternary (include "anchore-admission.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- define "anchore-admission.selectorLabels" -}}
app.kubernetes.io/name: {{ include "anchore-admission.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "anchore-admission.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "anchore-admission.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "anchore-admission.partOf" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The same in every release whatever it is called: by it, releases recognise each other's Pods (see _webhook.tpl). */}}
{{- define "anchore-admission.partOf" -}}
app.kubernetes.io/part-of: anchore-admission
{{- end }}

{{/* Metadata of an object. Takes a list: the root, the suffix of the name, the component, annotations of its own. */}}
{{- define "anchore-admission.metadata" -}}
{{- $root := index . 0 }}
{{- $annotations := merge (dict) (default dict (index . 3)) (default dict $root.Values.commonAnnotations) -}}
name: {{ print (include "anchore-admission.fullname" $root) (index . 1) | quote }}
labels:
  {{- include "anchore-admission.labels" $root | nindent 2 }}
  app.kubernetes.io/component: {{ index . 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The same of an object in the release's namespace. */}}
{{- define "anchore-admission.namespacedMetadata" -}}
namespace: {{ (index . 0).Release.Namespace | quote }}
{{ include "anchore-admission.metadata" . }}
{{- end }}

{{- define "anchore-admission.image" -}}
{{- include "anchore-admission.rejectOld" . -}}{{/* such as an image in one text, which has no fields to look at */}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{/* Whether the controller itself fills in the ValidatingWebhookConfiguration: "true" or nothing. */}}
{{- define "anchore-admission.registers" -}}
{{- if eq .Values.webhook.registration "controller" }}true{{ end }}
{{- end }}

{{/* The Secret with the credentials for Anchore; nothing when there are none. */}}
{{- define "anchore-admission.credentialsSecret" -}}
{{- if .Values.anchore.credentialsSecret }}
{{- .Values.anchore.credentialsSecret }}
{{- else if or .Values.anchore.username .Values.sandbox.enabled }}
{{- include "anchore-admission.fullname" . }}-anchore
{{- end }}
{{- end }}

{{/* The Secret with the serving certificate that is mounted; nothing when the controller makes its own. */}}
{{- define "anchore-admission.servingSecret" -}}
{{- if eq .Values.certificates.mode "certManager" }}
{{- include "anchore-admission.fullname" . }}-certificate
{{- else if eq .Values.certificates.mode "existingSecret" }}
{{- .Values.certificates.existingSecret }}
{{- end }}
{{- end }}

{{/* By these, Helm removes or takes over a Secret that cert-manager made anew, after somebody had deleted the chart's. */}}
{{- define "anchore-admission.secretTemplate" -}}
secretTemplate:
  labels: {app.kubernetes.io/managed-by: {{ .Release.Service }}}
  annotations:
    meta.helm.sh/release-name: {{ .Release.Name | quote }}
    meta.helm.sh/release-namespace: {{ .Release.Namespace | quote }}
{{- end }}
