{{/*
Values of the original controller's chart that have another name or place here. Each is rejected by what takes its place.
The schema lets them through (`deprecated`), because its own messages could not say that.
*/}}

{{- define "anchore-admission.oldValues" -}}
anchoreEndpoint: is anchore.endpoint here
existingCredentialsSecret: is anchore.credentialsSecret here, a Secret with the keys username and password in place of credentials.json
credentialsSecret: is anchore.credentialsSecret here, a Secret with the keys username and password in place of credentials.json
credentials: give a Secret for each user; the one of account default is anchore.credentialsSecret, others are accounts in config.accounts
policySelectors: is config.rules and config.defaults here; selectors become rules with match.images, match.namespaces or match.objectSelector
image.registry: is a part of image.repository here
imagePullPolicy: is image.pullPolicy here
logVerbosity: is logging.level here, one of debug, info, warning and error
annotations: is commonAnnotations here, or podAnnotations for the Pods alone
labels: is commonLabels here
extraLabels: is commonLabels here
containerSecurityContext: is securityContext here
apiService.namespaceSelector: is webhook.namespaceSelector here, and webhook.excludedNamespaces
apiService.webhook.failurePolicy: is webhook.failurePolicy here
apiService.webhook.caBundle: is certificates.caBundle here, or leave it out and let certificates.mode fill it in
apiService.webhook.rules: leave it out, the kinds are fixed; webhook.namespaceSelector and config.rules limit what is judged
apiService.webhook.enabled: leave it out; a webhook that judges nothing yet has webhook.namespaceSelector or config.defaults.mode skip
apiService.webhook: has other names here, webhook.failurePolicy and certificates.caBundle
apiService.group: leave it out, this is a webhook and no aggregated API
apiService.version: leave it out, this is a webhook and no aggregated API
apiService: has other names here, webhook.failurePolicy, webhook.namespaceSelector and certificates.caBundle
service.name: is the full name here, which fullnameOverride changes
service.type: leave it out, the Service is a ClusterIP
service.internalPort: is ports.webhook here
service.externalPort: leave it out, the Service listens on port 443
initCa: leave it out, certificates.mode says where the certificate comes from
{{- end }}

{{/* Sections that other entries take apart: named as a whole only if nothing within them is known. */}}
{{- define "anchore-admission.oldSections" -}}
[apiService, apiService.webhook]
{{- end }}

{{- define "anchore-admission.validateOld" -}}
{{- $old := include "anchore-admission.oldValues" . | fromYaml }}
{{- $sections := include "anchore-admission.oldSections" . | fromYamlArray }}
{{- $found := list }}
{{- range $path := keys $old | sortAlpha | reverse }}
{{- $value := $.Values }}
{{- range splitList "." $path }}
{{- $value = ternary (get (ternary $value dict (kindIs "map" $value)) .) nil (kindIs "map" $value) }}
{{- end }}
{{- $covered := false }}
{{- range $found }}{{ if hasPrefix (print $path ".") . }}{{ $covered = true }}{{ end }}{{ end }}
{{- $nothing := and (empty $value) (has (kindOf $value) (list "invalid" "map" "slice" "string")) }}
{{- if not (or $nothing (and $covered (has $path $sections))) }}
{{- $found = append $found $path }}
{{- end }}
{{- end }}
{{- range $found | sortAlpha }}
- {{ printf "%s: %s" . (get $old .) | quote }}
{{- end }}
{{- if kindIs "string" .Values.image }}
- {{ printf "image: is image.repository and image.tag here, or image.digest, not one text such as %s" .Values.image | quote }}
{{- end }}
{{- range $index, $secret := .Values.imagePullSecrets }}
{{- if kindIs "string" $secret }}
- {{ printf "imagePullSecrets[%d]: expected {name: %s}, not %s" $index $secret $secret | quote }}
{{- end }}
{{- end }}
{{- include "anchore-admission.validateSecurityContexts" . }}
{{- end }}

{{/*
The original chart's `securityContext` is the Pods', ours the containers'. Each Pod has one container, so that what both
levels know belongs to the Pods, and whatever stands at the wrong level is a mistake.
*/}}
{{- define "anchore-admission.validateSecurityContexts" -}}
{{- $containers := list "allowPrivilegeEscalation" "capabilities" "privileged" "procMount" "readOnlyRootFilesystem" }}
{{- range $key := keys (default dict .Values.securityContext) | sortAlpha }}
{{- if not (has $key $containers) }}
- {{ printf "securityContext.%s: is podSecurityContext.%s here; securityContext is that of the containers and takes %s" $key $key (join ", " $containers) | quote }}
{{- end }}
{{- end }}
{{- range $key := keys (default dict .Values.podSecurityContext) | sortAlpha }}
{{- if has $key $containers }}
- {{ printf "podSecurityContext.%s: is securityContext.%s here; podSecurityContext is that of the Pods" $key $key | quote }}
{{- end }}
{{- end }}
{{- end }}
