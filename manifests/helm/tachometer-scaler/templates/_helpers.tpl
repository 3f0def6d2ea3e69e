{{- define "tachometer-scaler.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "tachometer-scaler.fullname" -}}
{{- $name := include "tachometer-scaler.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tachometer-scaler.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "tachometer-scaler.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "tachometer-scaler.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tachometer-scaler.name" . | toYaml }}
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
{{- end -}}

{{/* The labels of an object. Of "further" labels, customLabels and the chart's own, the first wins; none changes a label of the selector. */}}
{{- define "tachometer-scaler.labelsWith" -}}
{{- $own := dict "app.kubernetes.io/part-of" "tachometer" "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- $selector := include "tachometer-scaler.selectorLabels" .root | fromYaml -}}
{{- toYaml (merge $selector (default dict .further) (default dict .root.Values.customLabels) $own) -}}
{{- end -}}

{{- define "tachometer-scaler.labels" -}}
{{- include "tachometer-scaler.labelsWith" (dict "root" . "further" dict) -}}
{{- end -}}

{{/* The labels of the pods, which no upgrade of the chart changes. */}}
{{- define "tachometer-scaler.podLabels" -}}
{{- $selector := include "tachometer-scaler.selectorLabels" . | fromYaml -}}
{{- toYaml (merge $selector (default dict .Values.podLabels) (default dict .Values.customLabels)) -}}
{{- end -}}

{{/* The annotations of all objects, as a field of metadata. */}}
{{- define "tachometer-scaler.annotations" -}}
{{- with .Values.customAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "tachometer-scaler.configMapName" -}}
{{- default (printf "%s-config" (include "tachometer-scaler.fullname" .)) .Values.existingConfigMap -}}
{{- end -}}

{{- define "tachometer-scaler.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Nine tenths of the memory limit, in any of Kubernetes's units; empty without a limit, and where env has a GOMEMLIMIT of its own. */}}
{{- define "tachometer-scaler.goMemLimit" -}}
{{- $limit := dig "limits" "memory" "" (default dict .Values.resources) | toString -}}
{{- $number := regexFind "^[0-9.]+([eE][+]?[0-9]+)?" $limit -}}
{{- $bytes := get (dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776) (trimPrefix $number $limit) -}}
{{- $own := false -}}
{{- range .Values.env }}{{- if eq .name "GOMEMLIMIT" }}{{- $own = true }}{{- end }}{{- end -}}
{{- if and $number $bytes (not $own) -}}
{{- printf "%dMiB" (divf (mulf $number $bytes 0.9) 1048576 | floor | int64) -}}
{{- end -}}
{{- end -}}

{{/* A binding of one of the scaler's ClusterRoles in a namespace, or, for "*", in all. */}}
{{- define "tachometer-scaler.binding" -}}
{{- $root := .root -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ if eq .namespace "*" }}ClusterRoleBinding{{ else }}RoleBinding{{ end }}
metadata:
  name: {{ .name }}
  {{- if ne .namespace "*" }}
  namespace: {{ .namespace | toYaml }}
  {{- end }}
  labels:
    {{- include "tachometer-scaler.labels" $root | nindent 4 }}
  {{- include "tachometer-scaler.annotations" $root | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ .role }}
subjects:
- {kind: ServiceAccount, name: {{ include "tachometer-scaler.serviceAccountName" $root | toYaml }}, namespace: {{ $root.Release.Namespace | toYaml }}}
{{ end -}}

{{/* "true" where a PodDisruptionBudget is rendered. For one pod, minAvailable would stop every drain of its node. */}}
{{- define "tachometer-scaler.budget" -}}
{{- $one := and (not .Values.podDisruptionBudget.maxUnavailable) (lt (int (default 1 .Values.replicas)) 2) -}}
{{- if and .Values.podDisruptionBudget.enabled (not $one) -}}true{{- end -}}
{{- end -}}

{{/* Values of other charts, such as metrics-server's and KEDA's, each with its counterpart here. */}}
{{- define "tachometer-scaler.foreignValues" -}}
additionalAnnotations: use customAnnotations
additionalLabels: use customLabels
args: use extraArgs
commonAnnotations: use customAnnotations
commonLabels: use customLabels
defaultArgs: the chart sets the arguments itself; use extraArgs for more
deploymentStrategy: use strategy
extraEnv: use env
extraEnvs: use env
replicaCount: use replicas
updateStrategy: use strategy
containerPort: leave it out, the port is fixed
extraArguments: use extraArgs
metrics: use podMonitor
namespaceOverride: install into the namespace with --namespace
serviceMonitor: use podMonitor
watchNamespace: use workloads.namespaces
{{- end -}}

{{/* Fails on values that could only give a release that does not work, with the way out. */}}
{{- define "tachometer-scaler.check" -}}
{{- range $key, $way := fromYaml (include "tachometer-scaler.foreignValues" .) -}}
{{- if hasKey $.Values $key -}}
{{- fail (printf "%s is no value of this chart: %s" $key $way) -}}
{{- end -}}
{{- end -}}
{{- if hasKey .Values.image "registry" -}}
{{- fail "image.registry is no value of this chart: write the registry in image.repository" -}}
{{- end -}}
{{- $fullname := include "tachometer-scaler.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $fullname) -}}
{{- fail (printf "a Service cannot be called %q: set fullnameOverride to a name of small letters, digits and hyphens that begins with a letter" $fullname) -}}
{{- end -}}
{{- end -}}
