{{/*
The ValidatingWebhookConfiguration. Two render it: the object itself with `webhook.registration: chart`, and the file
that the controller applies with `webhook.registration: controller`.
*/}}

{{- define "anchore-admission.failurePolicy" -}}
{{- default (ternary "Ignore" "Fail" (eq (include "anchore-admission.onlyPassive" .) "true")) .Values.webhook.failurePolicy }}
{{- end }}

{{- define "anchore-admission.webhooks" -}}
{{- $extra := default dict .Values.webhook.namespaceSelector -}}
- name: {{ include "anchore-admission.fullname" . }}.admission.anchore.io
  admissionReviewVersions: [v1, v1beta1]
  clientConfig:
    service:
      namespace: {{ .Release.Namespace | quote }}
      name: {{ include "anchore-admission.fullname" . | quote }}
      path: /validate
      port: 443
    {{- if and .Values.certificates.caBundle (not (include "anchore-admission.registers" .)) }}
    caBundle: {{ .Values.certificates.caBundle | b64enc }}
    {{- end }}
  failurePolicy: {{ include "anchore-admission.failurePolicy" . }}
  matchPolicy: Equivalent
  sideEffects: NoneOnDryRun
  timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
  rules:
    - apiGroups: [""]
      apiVersions: [v1]
      # `pods` does not match the subresource by which kubectl debug adds containers.
      resources: [pods, pods/ephemeralcontainers, podtemplates, replicationcontrollers]
      operations: [CREATE, UPDATE]
      scope: Namespaced
    - apiGroups: [apps]
      apiVersions: [v1]
      resources: [deployments, replicasets, statefulsets, daemonsets]
      operations: [CREATE, UPDATE]
      scope: Namespaced
    - apiGroups: [batch]
      apiVersions: [v1]
      resources: [jobs, cronjobs]
      operations: [CREATE, UPDATE]
      scope: Namespaced
  namespaceSelector:
    {{- with $extra.matchLabels }}
    matchLabels:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    matchExpressions:
      # By name, which the API server sets itself. Our own Pods must be able to start while no replica runs.
      - key: kubernetes.io/metadata.name
        operator: NotIn
        values:
          - {{ .Release.Namespace | quote }}
          - kube-system
          {{- range without (uniq (default list .Values.webhook.excludedNamespaces)) .Release.Namespace "kube-system" }}
          - {{ . | quote }}
          {{- end }}
      {{- with $extra.matchExpressions }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  # Users choose the labels of their objects: there is nothing to select by.
  objectSelector: {}
  {{- if semverCompare ">=1.30-0" .Capabilities.KubeVersion.Version }}
  matchConditions:
    {{- include "anchore-admission.matchConditions" . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "anchore-admission.matchConditions" -}}
# An update that leaves alone what holds images brings none: while the webhook is down, workloads can be scaled, paused
# and suspended, and finalizers removed. Everything else of a Pod's containers and volumes is immutable. A PodTemplate
# has a template in place of a spec; of a kind that has neither, the whole spec counts.
- name: spec-changes
  expression: >-
    request.operation != 'UPDATE'
    || (has(request.subResource) && request.subResource == 'ephemeralcontainers')
    || (has(object.template) ? !has(oldObject.template) || object.template != oldObject.template : has(oldObject.template))
    || (has(object.spec) ? !has(oldObject.spec)
    || ['template', 'jobTemplate', 'containers', 'initContainers', 'ephemeralContainers', 'volumes'].exists(key,
    (key in object.spec) != (key in oldObject.spec)
    || (key in object.spec && object.spec[key] != oldObject.spec[key]))
    || (!['template', 'jobTemplate', 'containers'].exists(key, key in object.spec)
    && object.spec != oldObject.spec)
    : has(oldObject.spec))
{{- if .Values.webhook.admitOtherReleases }}
# Two releases that judge each other's Pods, both down, could never start again. A label would be anybody's to set, so
# the label only spares others the question that decides: does the Pod's service account have a right that this chart
# grants cluster-wide, and nobody but an administrator can?
- name: not-another-release
  expression: >-
    !(has(object.spec)
    && !(has(request.subResource) && request.subResource == 'ephemeralcontainers')
    && [has(object.spec.template) ? object.spec.template : object].exists(pod,
    has(pod.metadata) && has(pod.metadata.labels)
    && 'app.kubernetes.io/part-of' in pod.metadata.labels
    && pod.metadata.labels['app.kubernetes.io/part-of'] == 'anchore-admission'
    && has(pod.spec) && has(pod.spec.serviceAccountName)
    && authorizer.serviceAccount(request.namespace, pod.spec.serviceAccountName)
    .group('admission.anchore.io').resource('controllers').check('start').allowed()))
{{- end }}
{{- end }}

{{/*
The namespaces of Anchore in which the webhook judges, as a YAML list: once Anchore is down there, its own Pods would need
its verdict. A rule that names the namespace and is passive or skips shows that Anchore's own images were thought of.
*/}}
{{- define "anchore-admission.judgedAnchore" -}}
{{- $config := include "anchore-admission.configuration" . | fromYaml }}
{{- $default := default "passive" $config.defaults.mode }}
{{- $free := concat (list .Release.Namespace "kube-system") (default list .Values.webhook.excludedNamespaces) }}
{{- range $config.rules }}
{{- if has (default $default .mode) (list "passive" "skip") }}
{{- $free = concat $free (default list (default dict .match).namespaces) }}
{{- end }}
{{- end }}
{{- $only := dig "matchLabels" "kubernetes.io/metadata.name" "" (default dict .Values.webhook.namespaceSelector) }}
{{- $endpoints := list (dig "anchore" "endpoint" "" $config) }}
{{- range $config.accounts }}{{ $endpoints = append $endpoints (default "" .endpoint) }}{{ end }}
{{- $found := list }}
{{- range $endpoints }}
{{- $namespace := regexReplaceAll "^\\.([a-z0-9-]+)\\.svc.?$" (regexFind "\\.[a-z0-9-]+\\.svc([.:/]|$)" .) "${1}" }}
{{- if and $namespace (not (has $namespace $free)) (or (not $only) (eq $only $namespace)) }}
{{- $found = append $found $namespace }}
{{- end }}
{{- end }}
{{- uniq $found | toYaml }}
{{- end }}
