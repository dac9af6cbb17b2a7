{{/* The controller's container: arguments, environment, probes and mounts. */}}

{{- define "anchore-admission.arguments" -}}
{{- $full := include "anchore-admission.fullname" . }}
{{- $controllerRegisters := eq .Values.webhook.registration "controller" }}
{{- $servingSecret := include "anchore-admission.servingSecret" . -}}
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
{{- if $servingSecret }}
- --certificates=files
- --tls-cert-file=/tls/tls.crt
- --tls-key-file=/tls/tls.key
{{- else }}
- --certificates=managed
- --tls-secret={{ $full }}-tls
{{- end }}
{{- if $controllerRegisters }}
- --service={{ $full }}
- --lease={{ $full }}
- --registration=/etc/anchore-admission/registration.yaml
{{- if $servingSecret }}
- --ca-file={{ ternary "/etc/anchore-admission" "/tls" (not (empty .Values.certificates.caBundle)) }}/ca.crt
{{- end }}
{{- end }}
{{- if .Values.webhook.secretPath.existingSecret }}
- --secret-path-file=/secret-path/secret-path
{{- end }}
{{- if .Values.notifications.existingSecret }}
- --notifications-port={{ .Values.ports.notifications }}
- --notifications-secret-file=/notifications/secret
{{- end }}
{{- if .Values.facts.enabled }}
- --facts-port={{ .Values.ports.facts }}
{{- with .Values.facts }}
{{- if .token.existingSecret }}
- --facts-token-file=/facts-token/token
{{- end }}
{{- if or .clientCertificates.existingSecret .clientCertificates.caConfigMap }}
- --facts-client-ca-file=/facts-client-ca/ca.crt
{{- range .clientCertificates.names }}
- {{ print "--facts-client-name=" . | quote }}
{{- end }}
{{- end }}
{{- with .tokenReview.audience }}
- {{ print "--facts-audience=" . | quote }}
{{- end }}
{{- range .tokenReview.users }}
- {{ print "--facts-user=" . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- if include "anchore-admission.clientCa" . }}
- --client-ca-file=/client-ca/ca.crt
{{- range .Values.webhook.clientCertificates.names }}
- {{ print "--client-name=" . | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "anchore-admission.environment" -}}
{{- if eq .Values.webhook.registration "controller" }}
- name: ANCHORE_ADMISSION_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: ANCHORE_ADMISSION_POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}
{{- with .Values.proxy.http }}
- name: HTTP_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.proxy.https }}
- name: HTTPS_PROXY
  value: {{ . | quote }}
{{- end }}
{{- if not (has "NO_PROXY" (include "anchore-admission.extraEnvNames" . | fromYamlArray)) }}
# Always, because extraEnvFrom may set a proxy, too.
- name: NO_PROXY
  value: {{ include "anchore-admission.noProxy" . | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "anchore-admission.extraEnvNames" -}}
{{- range .Values.extraEnv }}
- {{ .name | quote }}
{{- end }}
{{- end }}

{{/* The API server is called by its address, which Kubernetes puts in place of the variable; the sandbox by its bare name. */}}
{{- define "anchore-admission.noProxy" -}}
{{- $hosts := list "localhost" "127.0.0.1" "::1" "$(KUBERNETES_SERVICE_HOST)" "kubernetes.default" ".svc" }}
{{- $hosts = append $hosts (print "." .Values.clusterDomain) }}
{{- if .Values.sandbox.enabled }}
  {{- $hosts = append $hosts (print (include "anchore-admission.fullname" .) "-sandbox") }}
{{- end }}
{{- concat $hosts (default list .Values.proxy.exceptions) | uniq | join "," }}
{{- end }}

{{/* A probe of the operations port. Takes path and settings. */}}
{{- define "anchore-admission.probe" -}}
httpGet:
  path: {{ .path }}
  port: operations
{{- with .settings }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "anchore-admission.volumeMounts" -}}
- name: configuration
  mountPath: /etc/anchore-admission
  readOnly: true
{{- if include "anchore-admission.credentialsSecret" . }}
- name: credentials
  mountPath: /credentials
  readOnly: true
{{- end }}
{{- if include "anchore-admission.servingSecret" . }}
- name: tls
  mountPath: /tls
  readOnly: true
{{- end }}
{{- if .Values.webhook.secretPath.existingSecret }}
- name: secret-path
  mountPath: /secret-path
  readOnly: true
{{- end }}
{{- if .Values.notifications.existingSecret }}
- name: notifications
  mountPath: /notifications
  readOnly: true
{{- end }}
{{- if include "anchore-admission.clientCa" . }}
- name: client-ca
  mountPath: /client-ca
  readOnly: true
{{- end }}
{{- if .Values.opa.sidecar.enabled }}
- name: opa-socket
  mountPath: /run/opa
  readOnly: true
{{- end }}
{{- $mounted := concat
      (include "anchore-admission.sharedStoreVolumes" . | fromYamlArray)
      (include "anchore-admission.opaClientVolumes" . | fromYamlArray)
      (include "anchore-admission.factsVolumes" . | fromYamlArray) }}
{{- range $mounted }}
- name: {{ .name }}
  mountPath: /{{ .name }}
  readOnly: true
{{- end }}
- name: tmp
  mountPath: /tmp
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}
