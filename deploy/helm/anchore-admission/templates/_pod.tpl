{{/* Pods: scheduling, security and volumes. */}}

{{/*
The replicas to render; empty leaves the number to the autoscaler of the Deployment. The live number is repeated then, which conflicts
with no other field manager: without the field, Helm would remove what an earlier release set, and Kubernetes would scale to one.
*/}}
{{- define "anchore-admission.replicas" -}}
{{- if or .Values.autoscaling.enabled (kindIs "invalid" .Values.replicaCount) }}
{{- $live := lookup "apps/v1" "Deployment" (include "anchore-admission.namespace" .) (include "anchore-admission.fullname" .) }}
{{- if hasKey (default dict $live.spec) "replicas" }}{{ int $live.spec.replicas }}{{ end }}
{{- else }}
{{- int .Values.replicaCount }}
{{- end }}
{{- end }}

{{/* Kubernetes rejects `rollingUpdate`, such as the default's, beside another type. */}}
{{- define "anchore-admission.strategy" -}}
{{- $strategy := default dict .Values.strategy }}
{{- ternary (omit $strategy "rollingUpdate") $strategy (eq (default "" $strategy.type) "Recreate") | toYaml }}
{{- end }}

{{/*
Prefer spreading over hosts, in every cluster. One constraint only: with a second one, the scheduler ignores nodes that lack either
label, and no node of kind or of bare metal carries a zone. So zones are an affinity (below).
*/}}
{{- define "anchore-admission.topologySpreadConstraints" -}}
- topologyKey: kubernetes.io/hostname
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "anchore-admission.selectorLabels" (dict "ctx" . "component" "webhook") | nindent 6 }}
  {{- if semverCompare ">=1.27-0" .Capabilities.KubeVersion.Version }}
  matchLabelKeys: [pod-template-hash] # count only the new replicas, or a rolling update ends on one host
  {{- end }}
{{- end }}

{{/* Prefer another zone where nodes carry one. Values that spread Pods in their own way replace this. */}}
{{- define "anchore-admission.affinity" -}}
{{- $affinity := default dict .Values.affinity }}
{{- if not (or .Values.topologySpreadConstraints (hasKey $affinity "podAntiAffinity")) }}
{{- $affinity = merge (dict "podAntiAffinity" (include "anchore-admission.antiAffinity" . | fromYaml)) $affinity }}
{{- end }}
{{- if $affinity }}
{{- toYaml $affinity }}
{{- end }}
{{- end }}

{{- define "anchore-admission.antiAffinity" -}}
preferredDuringSchedulingIgnoredDuringExecution:
  - weight: 100
    podAffinityTerm:
      topologyKey: topology.kubernetes.io/zone
      labelSelector:
        matchLabels:
          {{- include "anchore-admission.selectorLabels" (dict "ctx" . "component" "webhook") | nindent 10 }}
      {{- if semverCompare ">=1.31-0" .Capabilities.KubeVersion.Version }}
      matchLabelKeys: [pod-template-hash]
      {{- end }}
{{- end }}

{{/* Pods leave a lost node after 30 seconds instead of Kubernetes' five minutes, unless a given toleration covers the taint. */}}
{{- define "anchore-admission.tolerations" -}}
{{- $tolerations := default list .Values.tolerations }}
{{- range $taint := list "node.kubernetes.io/not-ready" "node.kubernetes.io/unreachable" }}
  {{- $covered := false }}
  {{- range $.Values.tolerations }}
    {{- if and (has (default "" .key) (list "" $taint)) (has (default "" .effect) (list "" "NoExecute")) }}
      {{- $covered = true }}
    {{- end }}
  {{- end }}
  {{- if not $covered }}
    {{- $tolerations = append $tolerations (dict "key" $taint "operator" "Exists" "effect" "NoExecute" "tolerationSeconds" 30) }}
  {{- end }}
{{- end }}
{{- with $tolerations }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/* Account, security context and placement: the same for the controller, the sandbox and the test. */}}
{{- define "anchore-admission.placement" -}}
serviceAccountName: {{ include "anchore-admission.serviceAccountName" . | quote }}
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "anchore-admission.tolerations" . }}
tolerations:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "anchore-admission.volumes" -}}
- name: configuration
  configMap:
    name: {{ include "anchore-admission.fullname" . | quote }}
{{- with include "anchore-admission.credentialsSecret" . }}
- name: credentials
  secret:
    secretName: {{ . | quote }}
    optional: true # without the Secret the kubelet would hold the Pod without a log; the controller logs what is missing
    {{- with include "anchore-admission.credentialKeys" $ | fromYamlArray }}
    items:
      {{- range . }}
      - key: {{ . | quote }}
        path: {{ . | quote }}
      {{- end }}
    {{- end }}
{{- end }}
{{- with include "anchore-admission.servingSecret" . }}
- name: tls
  secret:
    secretName: {{ . | quote }}
    {{- if eq $.Values.certificates.mode "existingSecret" }}
    optional: true # as above; not with cert-manager, whose Secret the kubelet mounts sooner without this
    {{- end }}
    items: # by name, so that the Pod waits until the still empty Secret has them
      - key: tls.crt
        path: tls.crt
      - key: tls.key
        path: tls.key
      {{- if and (eq $.Values.webhook.registration "controller") (not $.Values.certificates.caBundle) }}
      - key: ca.crt
        path: ca.crt
      {{- end }}
{{- end }}
{{- with .Values.webhook.secretPath.existingSecret }}
- name: secret-path
  secret:
    secretName: {{ . | quote }}
    optional: true # as above
    items:
      - key: {{ $.Values.webhook.secretPath.key | quote }}
        path: secret-path
{{- end }}
{{- with .Values.notifications.existingSecret }}
- name: notifications
  secret:
    secretName: {{ . | quote }}
    optional: true # as above
    items:
      - key: {{ $.Values.notifications.key | quote }}
        path: secret
{{- end }}
{{- with include "anchore-admission.clientCa" . }}
- name: client-ca
  {{- . | nindent 2 }}
{{- end }}
{{- range list "sharedStoreVolumes" "opaClientVolumes" "opaSidecarVolumes" "factsVolumes" }}
{{- with include (print "anchore-admission." .) $ }}
{{ . | trim }}
{{- end }}
{{- end }}
{{ include "anchore-admission.tmp" . }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The volumes of the shared store's seal keys, credentials and CA; empty without a store. Optional, as above. */}}
{{- define "anchore-admission.sharedStoreVolumes" -}}
{{- with .Values.sharedStore }}
{{- if .url }}
- name: shared-store-seal
  secret:
    secretName: {{ .seal.existingSecret | quote }}
    optional: true
{{- with include "anchore-admission.sharedStoreCredentials" $ | fromYaml }}
- name: shared-store-credentials
  secret:
    secretName: {{ $.Values.sharedStore.credentials.existingSecret | quote }}
    optional: true
    items:
      {{- range $path, $key := . }}
      - key: {{ $key | quote }}
        path: {{ $path }}
      {{- end }}
{{- end }}
{{- if or .caConfigMap .caSecret }}
- name: shared-store-ca
  {{- if .caConfigMap }}
  configMap:
    name: {{ .caConfigMap | quote }}
  {{- else }}
  secret:
    secretName: {{ .caSecret | quote }}
  {{- end }}
    optional: true
    items:
      - key: ca.crt
        path: ca.crt
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The volume with the CA of client certificates; empty where clients need none. */}}
{{- define "anchore-admission.clientCa" -}}
{{- with .Values.webhook.clientCertificates }}
{{- include "anchore-admission.ca" (dict "configMap" .caConfigMap "secret" .existingSecret) }}
{{- end }}
{{- end }}

{{/* The source of a volume with the key ca.crt; empty without one. Takes configMap and secret, of which the first wins. */}}
{{- define "anchore-admission.ca" -}}
{{- if .configMap }}
configMap:
  name: {{ .configMap | quote }}
{{- else if .secret }}
secret:
  secretName: {{ .secret | quote }}
{{- end }}
{{- if or .configMap .secret }}
  optional: true
  items:
    - key: ca.crt
      path: ca.crt
{{- end }}
{{- end }}

{{/* The volumes with the CA, the token and the client certificate for an OPA by URL. Optional, as above. */}}
{{- define "anchore-admission.opaClientVolumes" -}}
{{- with .Values.opa }}
{{- if .url }}
{{- with include "anchore-admission.ca" (dict "configMap" .caConfigMap "secret" .caSecret) }}
- name: opa-ca
  {{- . | nindent 2 }}
{{- end }}
{{- if .token.existingSecret }}
- name: opa-token
  secret:
    secretName: {{ .token.existingSecret | quote }}
    optional: true
    items:
      - key: {{ .token.key | quote }}
        path: token
{{- end }}
{{- if .clientCertificate.existingSecret }}
- name: opa-client
  secret:
    secretName: {{ .clientCertificate.existingSecret | quote }}
    optional: true
    items:
      - key: tls.crt
        path: tls.crt
      - key: tls.key
        path: tls.key
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The volumes with the guards of the facts. Optional, as above. */}}
{{- define "anchore-admission.factsVolumes" -}}
{{- with .Values.facts }}
{{- if .enabled }}
{{- if .token.existingSecret }}
- name: facts-token
  secret:
    secretName: {{ .token.existingSecret | quote }}
    optional: true
    items:
      - key: {{ .token.key | quote }}
        path: token
{{- end }}
{{- with include "anchore-admission.ca" (dict "configMap" .clientCertificates.caConfigMap "secret" .clientCertificates.existingSecret) }}
- name: facts-client-ca
  {{- . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* In memory, because private keys pass through it. Its contents count towards the container's memory limit. */}}
{{- define "anchore-admission.tmp" -}}
- name: tmp
  emptyDir:
    medium: Memory
    sizeLimit: 16Mi
{{- end }}
