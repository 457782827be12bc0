{{- define "stream-allocator.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "stream-allocator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "stream-allocator.labels" -}}
{{ include "stream-allocator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "stream-allocator.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* What worker and topics Job have in common: who they are, what they may do, where their files are. */}}
{{- define "stream-allocator.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "stream-allocator.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "stream-allocator.env" -}}
{{- with .Values.sasl }}
{{- if .existingSecret }}
- name: STREAM_ALLOCATOR_SASL_USERNAME
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .usernameKey }}
- name: STREAM_ALLOCATOR_SASL_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .passwordKey }}
{{- end }}
{{- end }}
{{- with .Values.tls }}
{{- if and .existingSecret .keyPasswordKey }}
- name: STREAM_ALLOCATOR_KEY_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .keyPasswordKey }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "stream-allocator.mounts" -}}
- name: configuration
  mountPath: /etc/stream-allocator/configuration
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- if .Values.tls.existingSecret }}
- name: tls
  mountPath: /etc/stream-allocator/tls
  readOnly: true
{{- end }}
{{- end -}}

{{/* The context is a list: the root, and the name of the ConfigMap. */}}
{{- define "stream-allocator.volumes" -}}
{{- $root := index . 0 -}}
- name: configuration
  configMap:
    name: {{ index . 1 }}
    items:
      - key: topology.yaml
        path: topology.yaml
      {{- range $name, $policy := $root.Values.policies }}
      - key: policy.{{ $name }}.yaml
        path: policies/{{ $name }}.yaml
      {{- end }}
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
{{- with $root.Values.tls.existingSecret }}
- name: tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{/* Data of the ConfigMap. */}}
{{- define "stream-allocator.configuration" -}}
topology.yaml: |
  {{- toYaml .Values.topology | nindent 2 }}
{{- range $name, $policy := .Values.policies }}
policy.{{ $name }}.yaml: |
  {{- toYaml $policy | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A mistake that would only show when the workers start is better told now. */}}
{{- define "stream-allocator.check" -}}
{{- range $universe := .Values.topology.universes -}}
{{- range $portfolio := $universe.portfolios -}}
{{- $file := $portfolio.policy | trimPrefix "policies/" | trimSuffix ".yaml" -}}
{{- if not (hasKey $.Values.policies $file) -}}
{{- fail (printf "portfolio %s of universe %s asks for %s, and `policies` has no %s" $portfolio.name $universe.name $portfolio.policy $file) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $protocol := dig "security" "protocol" "PLAINTEXT" .Values.topology -}}
{{- if and (hasPrefix "SASL" $protocol) (not .Values.sasl.existingSecret) -}}
{{- fail (printf "topology.security.protocol is %s: name the Secret with user name and password in sasl.existingSecret" $protocol) -}}
{{- end -}}
{{- end -}}
