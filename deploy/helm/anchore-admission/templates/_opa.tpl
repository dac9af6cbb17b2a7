{{/* Open Policy Agent as a sidecar: its container, its volumes and the ConfigMaps that it reads. */}}

{{/* The ConfigMaps with policies, as a YAML list; that of the values first. */}}
{{- define "anchore-admission.opaPolicyConfigMaps" -}}
{{- $names := list }}
{{- if .Values.opa.sidecar.policies }}
  {{- $names = append $names (print (include "anchore-admission.fullname" .) "-opa-policies") }}
{{- end }}
{{- concat $names (default list .Values.opa.sidecar.policyConfigMaps) | uniq | toYaml }}
{{- end }}

{{- define "anchore-admission.opaPolicyFiles" -}}
{{- range $name, $text := .Values.opa.sidecar.policies }}
{{ $name | quote }}: |
  {{- $text | trim | nindent 2 }}
{{- end }}
{{- end }}

{{/* OPA reads each ConfigMap as a folder of its own, so that data documents keep the names that they have in the ConfigMap. */}}
{{- define "anchore-admission.opaPolicyFolders" -}}
{{- range include "anchore-admission.opaPolicyConfigMaps" . | fromYamlArray }}
- {{ print "/policies/" . | quote }}
{{- end }}
{{- end }}

{{- define "anchore-admission.opaPolicyMounts" -}}
{{- range $index, $name := include "anchore-admission.opaPolicyConfigMaps" . | fromYamlArray }}
- name: opa-policies-{{ $index }}
  mountPath: {{ print "/policies/" $name | quote }}
  readOnly: true
{{- end }}
{{- end }}

{{/* Not optional: OPA would decide without the policies that are missing. */}}
{{- define "anchore-admission.opaPolicyVolumes" -}}
{{- range $index, $name := include "anchore-admission.opaPolicyConfigMaps" . | fromYamlArray }}
- name: opa-policies-{{ $index }}
  configMap:
    name: {{ $name | quote }}
{{- end }}
{{- end }}

{{- define "anchore-admission.opaSidecarVolumes" -}}
{{- if .Values.opa.sidecar.enabled }}
- name: opa-socket
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
{{- if .Values.opa.sidecar.config }}
- name: opa-configuration
  configMap:
    name: {{ include "anchore-admission.fullname" . }}-opa
{{- end }}
{{- include "anchore-admission.opaPolicyVolumes" . }}
{{- end }}
{{- end }}

{{/*
A native sidecar starts before the controller and gets its signal after the controller has ended, whose last reviews still need it.
kubelets and API servers have them by default since Kubernetes 1.29 (https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/).
*/}}
{{- define "anchore-admission.nativeSidecars" -}}
{{- if semverCompare ">=1.29-0" .Capabilities.KubeVersion.Version }}true{{ end }}
{{- end }}

{{/*
The links that the kubelet keeps in a mounted ConfigMap begin with a dot; without --ignore, OPA would load every file twice. Requests are
logged at debug only: one line for each review says nothing that the controller's log does not. Without native sidecars, all containers of
a Pod get their signal together, in any order: so OPA serves on for as long as the last reviews may take.
*/}}
{{- define "anchore-admission.opaArguments" -}}
- run
- --server
- --addr=unix:///run/opa/opa.sock
- --unix-socket-perm=0660
- --diagnostic-addr=:{{ .Values.ports.opa }}
- --skip-version-check
- --watch
- {{ "--ignore=.*" | quote }}
- --log-level={{ .Values.opa.sidecar.logLevel }}
- --log-level-request=debug
{{- if not (include "anchore-admission.nativeSidecars" .) }}
- --shutdown-wait-period={{ include "anchore-admission.lastReviews" . | float64 | ceil | int }}
{{- end }}
{{- if .Values.opa.sidecar.config }}
- --config-file=/etc/opa/opa.yaml
{{- end }}
{{- with .Values.opa.sidecar.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- include "anchore-admission.opaPolicyFolders" . }}
{{- end }}

{{- define "anchore-admission.opaContainer" -}}
{{- with .Values.opa.sidecar }}
- name: opa
  {{- if include "anchore-admission.nativeSidecars" $ }}
  restartPolicy: Always
  {{- end }}
  image: {{ include "anchore-admission.reference" (dict "ctx" $ "image" .image) | quote }}
  imagePullPolicy: {{ .image.pullPolicy }}
  args:
    {{- include "anchore-admission.opaArguments" $ | nindent 4 }}
  env:
    - name: GOMEMLIMIT # collects garbage more often before the limit is reached
      valueFrom:
        resourceFieldRef:
          resource: limits.memory
    {{- with .extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - name: opa
      containerPort: {{ $.Values.ports.opa }}
      protocol: TCP
  # OPA listens once its policies are loaded. No readiness probe: opa.onError decides about reviews that it does not answer later.
  startupProbe:
    httpGet:
      path: /health
      port: opa
    {{- toYaml .startupProbe | nindent 4 }}
  livenessProbe:
    httpGet:
      path: /health
      port: opa
    {{- toYaml .livenessProbe | nindent 4 }}
  resources:
    {{- toYaml .resources | nindent 4 }}
  securityContext:
    {{- toYaml (default $.Values.securityContext .securityContext) | nindent 4 }}
  volumeMounts:
    - name: opa-socket
      mountPath: /run/opa
    {{- if .config }}
    - name: opa-configuration
      mountPath: /etc/opa
      readOnly: true
    {{- end }}
    {{- with include "anchore-admission.opaPolicyMounts" $ }}
    {{- . | trim | nindent 4 }}
    {{- end }}
    {{- with .extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}
