{{/* Parts of the Pods. */}}

{{- define "anchore-admission.arguments" -}}
{{- $full := include "anchore-admission.fullname" . -}}
- serve
- --config=/etc/anchore-admission/configuration.yaml
- --port={{ .Values.ports.webhook }}
- --operations-port={{ .Values.ports.operations }}
{{- with .Values.host }}
- {{ print "--host=" . | quote }}
{{- end }}
- --log-level={{ .Values.logging.level }}
- --log-format={{ .Values.logging.format }}
- {{ ternary "--docs" "--no-docs" .Values.docs.enabled }}
- --shutdown-delay={{ .Values.shutdownDelay }}
{{- if include "anchore-admission.servingSecret" . }}
- --certificates=files
- --tls-cert-file=/tls/tls.crt
- --tls-key-file=/tls/tls.key
{{- else }}
- --certificates=managed
- --tls-secret={{ $full }}-tls
{{- end }}
{{- if include "anchore-admission.registers" . }}
- --service={{ $full }}
- --lease={{ $full }}
- --registration=/etc/anchore-admission/registration.yaml
{{- if include "anchore-admission.servingSecret" . }}
- --ca-file={{ ternary "/etc/anchore-admission" "/tls" (not (empty .Values.certificates.caBundle)) }}/ca.crt
{{- end }}
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "anchore-admission.environment" -}}
{{- if include "anchore-admission.registers" . }}
- name: ANCHORE_ADMISSION_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: ANCHORE_ADMISSION_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- end }}
{{- with .Values.proxy.http }}
- name: HTTP_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.proxy.https }}
- name: HTTPS_PROXY
  value: {{ . | quote }}
{{- end }}
{{- if not (include "anchore-admission.hasNoProxy" .) }}
# Always: a proxy may come by extraEnvFrom as well. The API server is called by its address, which Kubernetes puts in
# place of the variable.
- name: NO_PROXY
  value: {{ concat (list "localhost" "127.0.0.1" "::1" "$(KUBERNETES_SERVICE_HOST)" "kubernetes.default" ".svc" (printf ".%s" .Values.clusterDomain)) (include "anchore-admission.unproxied" . | fromYamlArray) (default list .Values.proxy.exceptions) | uniq | join "," | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Whether `extraEnv` has a NO_PROXY of its own: "true" or nothing. */}}
{{- define "anchore-admission.hasNoProxy" -}}
{{- range .Values.extraEnv }}{{ if eq .name "NO_PROXY" }}true{{ end }}{{ end }}
{{- end }}

{{/* The sandbox is called by its bare name. */}}
{{- define "anchore-admission.unproxied" -}}
{{- if .Values.sandbox.enabled -}}
- {{ print (include "anchore-admission.fullname" .) "-sandbox" | quote }}
{{- end }}
{{- end }}

{{/*
With `replicaCount: null`, something else scales the Deployment: repeat the number that it has, which conflicts with no other
field manager. Leaving the field out would remove what an earlier release set, and Kubernetes then starts with one.
*/}}
{{- define "anchore-admission.replicas" -}}
{{- if kindIs "invalid" .Values.replicaCount }}
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace (include "anchore-admission.fullname" .) }}
{{- if hasKey (default dict $live.spec) "replicas" }}{{ int $live.spec.replicas }}{{ end }}
{{- else }}
{{- int .Values.replicaCount }}
{{- end }}
{{- end }}

{{/* How replicas are replaced. Kubernetes takes no `rollingUpdate`, such as the default's, beside another type. */}}
{{- define "anchore-admission.strategy" -}}
{{- $strategy := default dict .Values.strategy }}
{{- ternary (omit $strategy "rollingUpdate") $strategy (eq (default "" $strategy.type) "Recreate") | toYaml }}
{{- end }}

{{/*
Prefer spreading over hosts, in every cluster. One constraint only: beside a second one, the scheduler ignores nodes that lack
either label, and no node of kind or of bare metal carries a zone. So zones are an affinity (below).
*/}}
{{- define "anchore-admission.topologySpreadConstraints" -}}
- topologyKey: kubernetes.io/hostname
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "anchore-admission.selectorLabels" . | nindent 6 }}
      app.kubernetes.io/component: webhook
  {{- if semverCompare ">=1.27-0" .Capabilities.KubeVersion.Version }}
  matchLabelKeys: [pod-template-hash] # count the new replicas only, or an update ends on one host
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
          {{- include "anchore-admission.selectorLabels" . | nindent 10 }}
          app.kubernetes.io/component: webhook
      {{- if semverCompare ">=1.31-0" .Capabilities.KubeVersion.Version }}
      matchLabelKeys: [pod-template-hash]
      {{- end }}
{{- end }}

{{/* A node that is lost is left after 30 seconds, not after the five minutes that Kubernetes adds where nothing is said. */}}
{{- define "anchore-admission.tolerations" -}}
{{- $tolerations := default list .Values.tolerations }}
{{- range $key := list "node.kubernetes.io/not-ready" "node.kubernetes.io/unreachable" }}
{{- $given := false }}
{{- range $.Values.tolerations }}
{{- if and (has (default "" .key) (list "" $key)) (has (default "" .effect) (list "" "NoExecute")) }}{{ $given = true }}{{ end }}
{{- end }}
{{- if not $given }}
{{- $tolerations = append $tolerations (dict "key" $key "operator" "Exists" "effect" "NoExecute" "tolerationSeconds" 30) }}
{{- end }}
{{- end }}
{{- with $tolerations }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/* Where and with what rights a Pod runs; the same for the controller, the sandbox and the test. */}}
{{- define "anchore-admission.placement" -}}
serviceAccountName: {{ include "anchore-admission.serviceAccountName" . | quote }}
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
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
    optional: true # a missing Secret would hold the Pod without a log; the process says in its log what is missing
    {{- with include "anchore-admission.credentialKeys" $ | fromYamlArray }}
    items:
      {{- range . }}
      - {key: {{ . | quote }}, path: {{ . | quote }}}
      {{- end }}
    {{- end }}
{{- end }}
{{- with include "anchore-admission.servingSecret" . }}
- name: tls
  secret:
    secretName: {{ . | quote }}
    {{- if eq $.Values.certificates.mode "existingSecret" }}
    optional: true # as above; cert-manager fills its Secret by itself, and the kubelet mounts that sooner without this
    {{- end }}
    items: # named, so that a Pod waits until a Secret that is still empty holds them
      - {key: tls.crt, path: tls.crt}
      - {key: tls.key, path: tls.key}
      {{- if and (include "anchore-admission.registers" $) (not $.Values.certificates.caBundle) }}
      - {key: ca.crt, path: ca.crt}
      {{- end }}
{{- end }}
{{ include "anchore-admission.tmp" . }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* In memory, because private keys pass through it. What it holds counts towards the container's memory limit. */}}
{{- define "anchore-admission.tmp" -}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
{{- end }}

{{- define "anchore-admission.volumeMounts" -}}
- {name: configuration, mountPath: /etc/anchore-admission, readOnly: true}
{{- if include "anchore-admission.credentialsSecret" . }}
- {name: credentials, mountPath: /credentials, readOnly: true}
{{- end }}
{{- if include "anchore-admission.servingSecret" . }}
- {name: tls, mountPath: /tls, readOnly: true}
{{- end }}
- {name: tmp, mountPath: /tmp}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}
