{{- define "adapter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "adapter.fullname" -}}
{{- $name := include "adapter.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "adapter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "adapter.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "adapter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "adapter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "adapter.labels" -}}
{{ include "adapter.selectorLabels" . }}
app.kubernetes.io/part-of: tachometer
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.customLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The annotations of all objects, as a field of metadata. */}}
{{- define "adapter.annotations" -}}
{{- with .Values.customAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* "true" where the values ask for prometheus-adapter's format: a server's URL, or rules in that format. */}}
{{- define "adapter.legacy" -}}
{{- if or .Values.prometheus.url .Values.rules.custom .Values.rules.existing .Values.rules.external .Values.rules.resource -}}true{{- end -}}
{{- end -}}

{{- define "adapter.prometheusURL" -}}
{{- $url := tpl (default "http://prometheus.default.svc" .Values.prometheus.url) . -}}
{{- if .Values.prometheus.port -}}
{{- printf "%s:%v%s" $url .Values.prometheus.port .Values.prometheus.path -}}
{{- else -}}
{{- printf "%s%s" $url .Values.prometheus.path -}}
{{- end -}}
{{- end -}}

{{- define "adapter.configMapName" -}}
{{- if .Values.rules.existing -}}
{{- .Values.rules.existing -}}
{{- else if .Values.existingConfigMap -}}
{{- .Values.existingConfigMap -}}
{{- else -}}
{{- printf "%s-config" (include "adapter.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* "true" where the adapter serves explain.tachometer.dev: with prometheus-adapter's rules it does not watch autoscalers. */}}
{{- define "adapter.explain" -}}
{{- if and .Values.apiServices.explain (not (include "adapter.legacy" .)) -}}true{{- end -}}
{{- end -}}

{{/* "true" where the adapter serves metrics.k8s.io. */}}
{{- define "adapter.resourceMetrics" -}}
{{- if or .Values.resourceMetrics.enabled .Values.rules.resource -}}true{{- end -}}
{{- end -}}

{{/* "true" where the certificate comes from files rather than from the replicas. */}}
{{- define "adapter.certificateFiles" -}}
{{- if or .Values.certManager.enabled .Values.tls.enable -}}true{{- end -}}
{{- end -}}

{{- define "adapter.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Nine tenths of the memory limit, if it is given in Mi or Gi. */}}
{{- define "adapter.goMemLimit" -}}
{{- $limit := dig "limits" "memory" "" .Values.resources | toString -}}
{{- if regexMatch "^[0-9]+Mi$" $limit -}}
{{- printf "%dMiB" (div (mul (trimSuffix "Mi" $limit | int64) 9) 10) -}}
{{- else if regexMatch "^[0-9]+Gi$" $limit -}}
{{- printf "%dMiB" (div (mul (trimSuffix "Gi" $limit | int64) 9216) 10) -}}
{{- end -}}
{{- end -}}

{{- define "adapter.apiService" -}}
{{- $root := .root -}}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata:
  name: {{ .version }}.{{ .group }}
  labels:
    {{- include "adapter.labels" $root | nindent 4 }}
  {{- $annotations := merge (dict) $root.Values.apiServices.annotations $root.Values.customAnnotations }}
  {{- if $root.Values.certManager.enabled }}
  {{- $_ := set $annotations "cert-manager.io/inject-ca-from" (printf "%s/%s" $root.Release.Namespace (include "adapter.fullname" $root)) }}
  {{- end }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  group: {{ .group }}
  version: {{ .version }}
  groupPriorityMinimum: 100
  versionPriority: {{ .priority }}
  service:
    namespace: {{ $root.Release.Namespace }}
    name: {{ include "adapter.fullname" $root }}
    port: {{ $root.Values.service.port }}
  {{- if $root.Values.tls.enable }}
  caBundle: {{ $root.Values.tls.ca | b64enc }}
  {{- end }}
{{ end -}}
