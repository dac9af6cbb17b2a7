{{/*
Names, labels and the image. Every object of a release is named after the full name. Helpers that need more than the root
context take a dict, in which `ctx` is the root context.
*/}}

{{- define "anchore-admission.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimAll "-_." }}
{{- end }}

{{/* 50 characters leave room for suffixes; a Service's name has no dots. */}}
{{- define "anchore-admission.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- $full = default $full .Values.fullnameOverride | replace "." "-" | trunc 50 }}
{{- regexReplaceAll "-+$" $full "" }}
{{- end }}

{{- define "anchore-admission.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "anchore-admission.serviceAccountName" -}}
{{- default (ternary (include "anchore-admission.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{/* Labels that select the Pods or Services of one component, or of the whole release without one. Takes ctx, component. */}}
{{- define "anchore-admission.selectorLabels" -}}
app.kubernetes.io/name: {{ include "anchore-admission.name" .ctx | quote }}
app.kubernetes.io/instance: {{ .ctx.Release.Name | quote }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{/* The same in every release: releases recognize each other's Pods by this label (see not-another-release in files/webhook.yaml). */}}
{{- define "anchore-admission.partOf" -}}
app.kubernetes.io/part-of: anchore-admission
{{- end }}

{{/* Labels of an object. Takes ctx and component. */}}
{{- define "anchore-admission.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .ctx.Chart.Name .ctx.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "anchore-admission.selectorLabels" . }}
app.kubernetes.io/version: {{ .ctx.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .ctx.Release.Service }}
{{ include "anchore-admission.partOf" . }}
{{- with .ctx.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
Metadata of an object in the release's namespace. Takes ctx and component; optionally name, or suffix to the full name;
labels and annotations, which win over the chart's and the common ones.
*/}}
{{- define "anchore-admission.metadata" -}}
namespace: {{ include "anchore-admission.namespace" .ctx | quote }}
{{ include "anchore-admission.clusterMetadata" . }}
{{- end }}

{{/* Metadata of an object without a namespace. Takes the same. */}}
{{- define "anchore-admission.clusterMetadata" -}}
name: {{ default (print (include "anchore-admission.fullname" .ctx) (default "" .suffix)) .name | quote }}
labels:
  {{- merge (dict) (default dict .labels) (include "anchore-admission.labels" . | fromYaml) | toYaml | nindent 2 }}
{{- with merge (dict) (default dict .annotations) (default dict .ctx.Values.commonAnnotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "anchore-admission.image" -}}
{{- include "anchore-admission.rejectOldValues" . -}}{{/* before anything reads a field of an image that is a string */}}
{{- include "anchore-admission.reference" (dict "ctx" . "image" .Values.image) }}
{{- end }}

{{/* A registry given on its own takes the place of the one that the repository begins with. Takes ctx and image. */}}
{{- define "anchore-admission.reference" -}}
{{- $repository := .image.repository }}
{{- with default .image.registry (default dict .ctx.Values.global).imageRegistry }}
  {{- $repository = printf "%s/%s" . (regexReplaceAll "^(localhost|[^/]*[.:][^/]*)/" $repository "") }}
{{- end }}
{{- if .image.digest }}
  {{- printf "%s@%s" $repository .image.digest }}
{{- else }}
  {{- printf "%s:%s" $repository (default .ctx.Chart.AppVersion .image.tag) }}
{{- end }}
{{- end }}

{{/* The Secret with the credentials for Anchore; empty when there is none. */}}
{{- define "anchore-admission.credentialsSecret" -}}
{{- if .Values.anchore.credentialsSecret }}
{{- .Values.anchore.credentialsSecret }}
{{- else if or .Values.anchore.username .Values.sandbox.enabled }}
{{- include "anchore-admission.fullname" . }}-anchore
{{- end }}
{{- end }}

{{/* The mounted Secret with the serving certificate; empty when the controller issues its own. */}}
{{- define "anchore-admission.servingSecret" -}}
{{- if eq .Values.certificates.mode "certManager" }}
{{- include "anchore-admission.fullname" . }}-certificate
{{- else if eq .Values.certificates.mode "existingSecret" }}
{{- .Values.certificates.existingSecret }}
{{- end }}
{{- end }}

{{/* Lets Helm remove or adopt a Secret that cert-manager recreates after the chart's was deleted. */}}
{{- define "anchore-admission.secretTemplate" -}}
secretTemplate:
  labels:
    app.kubernetes.io/managed-by: {{ .Release.Service }}
  annotations:
    meta.helm.sh/release-name: {{ .Release.Name | quote }}
    meta.helm.sh/release-namespace: {{ .Release.Namespace | quote }}
{{- end }}
