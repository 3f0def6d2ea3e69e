{{- define "tachometer-adapter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "tachometer-adapter.fullname" -}}
{{- $name := include "tachometer-adapter.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tachometer-adapter.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "tachometer-adapter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "tachometer-adapter.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "tachometer-adapter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tachometer-adapter.name" . | toYaml }}
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
{{- end -}}

{{/* The labels of an object. Of "further" labels, customLabels and the chart's own, the first wins; none changes a label of the selector. */}}
{{- define "tachometer-adapter.labelsWith" -}}
{{- $own := dict "app.kubernetes.io/part-of" "tachometer" "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- $selector := include "tachometer-adapter.selectorLabels" .root | fromYaml -}}
{{- toYaml (merge $selector (default dict .further) (default dict .root.Values.customLabels) $own) -}}
{{- end -}}

{{- define "tachometer-adapter.labels" -}}
{{- include "tachometer-adapter.labelsWith" (dict "root" . "further" dict) -}}
{{- end -}}

{{/* The labels of the pods, which no upgrade of the chart changes. */}}
{{- define "tachometer-adapter.podLabels" -}}
{{- $selector := include "tachometer-adapter.selectorLabels" . | fromYaml -}}
{{- toYaml (merge $selector (default dict .Values.podLabels) (default dict .Values.customLabels)) -}}
{{- end -}}

{{/* The annotations of all objects, as a field of metadata. */}}
{{- define "tachometer-adapter.annotations" -}}
{{- with .Values.customAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The last value of a flag among the further arguments, written as --flag=VALUE or as two arguments. */}}
{{- define "tachometer-adapter.argument" -}}
{{- $flag := .flag -}}
{{- $value := "" -}}
{{- $previous := "" -}}
{{- range concat (default list .root.Values.extraArgs) (default list .root.Values.extraArguments) -}}
{{- if eq $previous $flag -}}{{- $value = toString . -}}
{{- else if hasPrefix (print $flag "=") (toString .) -}}{{- $value = trimPrefix (print $flag "=") . -}}
{{- end -}}
{{- $previous = toString . -}}
{{- end -}}
{{- $value -}}
{{- end -}}

{{/* --prometheus-url among the further arguments, which takes precedence over prometheus.url, as for prometheus-adapter. */}}
{{- define "tachometer-adapter.urlArgument" -}}
{{- include "tachometer-adapter.argument" (dict "root" . "flag" "--prometheus-url") -}}
{{- end -}}

{{/* "true" where the values ask for prometheus-adapter's format: a server's URL, port or path, or rules in that format. */}}
{{- define "tachometer-adapter.legacy" -}}
{{- $port := has (toString .Values.prometheus.port) (list "9090" "<nil>" "") | not -}}
{{- $server := or .Values.prometheus.url .Values.prometheus.path $port (include "tachometer-adapter.urlArgument" .) -}}
{{- if or $server .Values.rules.custom .Values.rules.existing .Values.rules.external .Values.rules.resource -}}true{{- end -}}
{{- end -}}

{{- define "tachometer-adapter.prometheusURL" -}}
{{- $url := tpl (default "http://prometheus.default.svc" .Values.prometheus.url) . -}}
{{- $port := int .Values.prometheus.port -}}
{{- default (print $url (ternary (print ":" $port) "" (ne $port 0)) (default "" .Values.prometheus.path)) (include "tachometer-adapter.urlArgument" .) -}}
{{- end -}}

{{/* Fails where prometheus.url, port and path together are no URL, or another one than each of them says. */}}
{{- define "tachometer-adapter.checkURL" -}}
{{- $url := include "tachometer-adapter.prometheusURL" . -}}
{{- if not (regexMatch `^https?://([^/@\s]+@)?(\[[^]/\s]+\]|[^][/:@\s]+)(:[0-9]+)?(/\S*)?$` $url) -}}
{{- fail (printf "prometheus.url, port and path give %q, which is no URL of a server: write prometheus.url as http://HOST or https://HOST, and prometheus.path with a slash at its beginning; if prometheus.url has the port or the path, set prometheus.port to 0" $url) -}}
{{- end -}}
{{- if and (int .Values.prometheus.port) (regexMatch "^https?://[^/]+/" (tpl (default "" .Values.prometheus.url) .)) -}}
{{- fail (printf "prometheus.url has a path, and prometheus.port would follow it: %q; write the path in prometheus.path, or set prometheus.port to 0 and write the port in prometheus.url" $url) -}}
{{- end -}}
{{- if and .Values.prometheus.path (not (hasPrefix "/" .Values.prometheus.path)) -}}
{{- fail (printf "prometheus.path %q has no slash at its beginning" .Values.prometheus.path) -}}
{{- end -}}
{{- end -}}

{{/* "true" where the record of decisions has a volume. */}}
{{- define "tachometer-adapter.recordVolume" -}}
{{- if or .Values.decisionRecord.emptyDir .Values.decisionRecord.claimName -}}true{{- end -}}
{{- end -}}

{{/* The user's own ConfigMap; empty for one that the chart renders. */}}
{{- define "tachometer-adapter.givenConfigMap" -}}
{{- default .Values.existingConfigMap .Values.rules.existing -}}
{{- end -}}

{{- define "tachometer-adapter.configMapName" -}}
{{- default (printf "%s-config" (include "tachometer-adapter.fullname" .)) (include "tachometer-adapter.givenConfigMap" .) -}}
{{- end -}}

{{/* The settings that the user wrote into config, such as "rules, config.scrape"; empty for the default. */}}
{{- define "tachometer-adapter.nativeSettings" -}}
{{- $native := omit (default dict .Values.config) "apiVersion" "kind" -}}
{{- if ne (toJson $native) (toJson (dict "scrape" (dict "interval" "2s"))) -}}
{{- keys $native | sortAlpha | join ", config." -}}
{{- end -}}
{{- end -}}

{{/* "true" where custom.metrics.k8s.io is registered: in prometheus-adapter's format only with rules for it, as by that chart. */}}
{{- define "tachometer-adapter.custom" -}}
{{- $rules := or .Values.rules.default .Values.rules.custom .Values.rules.existing -}}
{{- if and .Values.apiServices.custom (or $rules (not (include "tachometer-adapter.legacy" .))) -}}true{{- end -}}
{{- end -}}

{{/* "true" where external.metrics.k8s.io is registered: beside KEDA, prometheus-adapter's chart without external rules leaves that API to it. */}}
{{- define "tachometer-adapter.external" -}}
{{- if and .Values.apiServices.external (or .Values.rules.external (not (include "tachometer-adapter.legacy" .))) -}}true{{- end -}}
{{- end -}}

{{/* "true" where the adapter serves explain.tachometer.dev: with prometheus-adapter's rules it does not watch autoscalers. */}}
{{- define "tachometer-adapter.explain" -}}
{{- if and .Values.apiServices.explain (not (include "tachometer-adapter.legacy" .)) -}}true{{- end -}}
{{- end -}}

{{/* "true" where the adapter serves metrics.k8s.io. */}}
{{- define "tachometer-adapter.resourceMetrics" -}}
{{- if or .Values.resourceMetrics.enabled .Values.rules.resource -}}true{{- end -}}
{{- end -}}

{{/* "true" where the certificate comes from files rather than from the replicas. */}}
{{- define "tachometer-adapter.certificateFiles" -}}
{{- if or .Values.certManager.enabled .Values.tls.enable -}}true{{- end -}}
{{- end -}}

{{- define "tachometer-adapter.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Half of the memory limit, in any of Kubernetes's units; empty without a limit, and where env has a GOMEMLIMIT of its own. */}}
{{- define "tachometer-adapter.goMemLimit" -}}
{{- $limit := dig "limits" "memory" "" (default dict .Values.resources) | toString -}}
{{- $number := regexFind "^[0-9.]+([eE][+]?[0-9]+)?" $limit -}}
{{- $bytes := get (dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776) (trimPrefix $number $limit) -}}
{{- $own := false -}}
{{- range .Values.env }}{{- if eq .name "GOMEMLIMIT" }}{{- $own = true }}{{- end }}{{- end -}}
{{- if and $number $bytes (not $own) -}}
{{- printf "%dMiB" (divf (mulf $number $bytes 0.5) 1048576 | floor | int64) -}}
{{- end -}}
{{- end -}}

{{- define "tachometer-adapter.apiService" -}}
{{- $root := .root -}}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata:
  name: {{ .version }}.{{ .group }}
  labels:
    {{- include "tachometer-adapter.labels" $root | nindent 4 }}
  {{- $annotations := merge (dict) (default dict $root.Values.apiServices.annotations) (default dict $root.Values.customAnnotations) }}
  {{- if $root.Values.certManager.enabled }}
  {{- $_ := set $annotations "cert-manager.io/inject-ca-from" (printf "%s/%s" (include "tachometer-adapter.namespace" $root) (include "tachometer-adapter.fullname" $root)) }}
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
    namespace: {{ include "tachometer-adapter.namespace" $root | toYaml }}
    name: {{ include "tachometer-adapter.fullname" $root | toYaml }}
    port: {{ $root.Values.service.port }}
  {{- if and $root.Values.tls.enable (not $root.Values.certManager.enabled) }}
  caBundle: {{ $root.Values.tls.ca | b64enc }}
  {{- end }}
{{ end -}}

{{/* The ports of the Prometheus-compatible servers in the values, which may be outside of the cluster, without 443, which is open. */}}
{{- define "tachometer-adapter.serverPorts" -}}
{{- $urls := list -}}
{{- if include "tachometer-adapter.legacy" . -}}
{{- $urls = list (include "tachometer-adapter.prometheusURL" .) -}}
{{- else -}}
{{- range (default dict .Values.config).backends -}}
{{- if kindIs "map" . }}{{ $urls = concat $urls (list .url) (default list .failover) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $ports := list -}}
{{- range $urls -}}
{{- $url := toString . -}}
{{- $port := regexFind "^https?://[^/]+" $url | regexFind ":[0-9]+$" | trimPrefix ":" -}}
{{- $ports = append $ports (default (ternary "443" "80" (hasPrefix "https:" $url)) $port) -}}
{{- end -}}
{{- without (uniq $ports) "443" | join " " -}}
{{- end -}}

{{/* "true" where a PodDisruptionBudget is rendered. For one pod, minAvailable would stop every drain of its node. */}}
{{- define "tachometer-adapter.budget" -}}
{{- $one := and (not .Values.podDisruptionBudget.maxUnavailable) (lt (int (default 1 .Values.replicas)) 2) -}}
{{- if and .Values.podDisruptionBudget.enabled (not $one) -}}true{{- end -}}
{{- end -}}

{{/* Values of other charts, as of metrics-server's and of KEDA's, and what does the same here. */}}
{{- define "tachometer-adapter.foreignValues" -}}
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
addonResizer: use resources
apiService: use apiServices
containerPort: use listenPort
metrics: use serviceMonitor
podMonitor: use serviceMonitor
watchNamespace: leave it out, the adapter serves every namespace
{{- end -}}

{{/* Fails on values that could only give a release that does not work, with the way out. */}}
{{- define "tachometer-adapter.check" -}}
{{- range $key, $way := fromYaml (include "tachometer-adapter.foreignValues" .) -}}
{{- if hasKey $.Values $key -}}
{{- fail (printf "%s is no value of this chart: %s" $key $way) -}}
{{- end -}}
{{- end -}}
{{- if hasKey .Values.image "registry" -}}
{{- fail "image.registry is no value of this chart: write the registry in image.repository" -}}
{{- end -}}
{{- $fullname := include "tachometer-adapter.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $fullname) -}}
{{- fail (printf "a Service cannot be called %q: set fullnameOverride to a name of small letters, digits and hyphens that begins with a letter" $fullname) -}}
{{- end -}}
{{- if regexMatch "prometheus-adapter[^/]*$" .Values.image.repository -}}
{{- fail (printf "image.repository is that of prometheus-adapter, %q: set image.repository and image.tag to tachometer-adapter's image" .Values.image.repository) -}}
{{- end -}}
{{- if and .Values.tls.enable (not .Values.certManager.enabled) -}}
{{- range $key := list "ca" "certificate" "key" -}}
{{- if not (contains "-----BEGIN " (get $.Values.tls $key | toString)) -}}
{{- fail (printf "tls.enable is true, and tls.%s is no PEM: set it, or leave tls.enable out for a certificate that the replicas make" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $trusted := include "tachometer-adapter.certificateFiles" . -}}
{{- range $key, $value := .Values.apiServices.annotations }}{{- if hasPrefix "cert-manager.io/inject-" $key }}{{- $trusted = "true" }}{{- end }}{{- end -}}
{{- range concat (default list .Values.extraArgs) (default list .Values.extraArguments) -}}
{{- if and (regexMatch "^--(tls-cert-file|tls-private-key-file|cert-dir)(=|$)" (toString .)) (not $trusted) -}}
{{- fail (printf "%s makes a certificate that the APIServices would not trust: leave it out, and the replicas make a trusted one; or use tls.enable or certManager.enabled; or have cert-manager add the authority by apiServices.annotations" .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.decisionRecord.claimName (gt (int .Values.replicas) 1) -}}
{{- fail "decisionRecord.claimName is a volume in which two replicas would overwrite each other's record: set replicas to 1, or use decisionRecord.emptyDir" -}}
{{- end -}}
{{- $port := include "tachometer-adapter.argument" (dict "root" . "flag" "--secure-port") -}}
{{- if and $port (ne $port (toString (int .Values.listenPort))) -}}
{{- fail (printf "--secure-port=%s is not the port of the Service and of the probes: set listenPort" $port) -}}
{{- end -}}
{{- if and (include "tachometer-adapter.legacy" .) (not (or .Values.rules.default .Values.rules.custom .Values.rules.existing .Values.rules.external .Values.rules.resource)) -}}
{{- fail "prometheus.* selects prometheus-adapter's format, which has no rule here: set rules.default, rules.custom, rules.external, rules.resource or rules.existing" -}}
{{- end -}}
{{- if include "tachometer-adapter.legacy" . }}{{ include "tachometer-adapter.checkURL" . }}{{ end -}}
{{- $native := include "tachometer-adapter.nativeSettings" . -}}
{{- if and (include "tachometer-adapter.legacy" .) $native -}}
{{- fail (printf "prometheus.* and rules.* select prometheus-adapter's format, which would leave out config.%s: write native rules and their servers in config.rules and config.backends alone, or remove them from config" $native) -}}
{{- end -}}
{{- end -}}
