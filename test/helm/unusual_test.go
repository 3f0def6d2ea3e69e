package helm

import (
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// longName is a name of a release as long as Helm takes it.
const longName = "a-release-with-a-name-as-long-as-helm-takes-it-53-cha"

// pem is a text that looks like a certificate or key.
const pem = "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n"

// TestUnusualValues renders releases with unusual names and values: every object is one that kube-apiserver takes, with all labels and annotations.
func TestUnusualValues(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		release
		values string
	}{
		"adapter, long name":          {release{"tachometer-adapter", longName, "monitoring"}, "certManager: {enabled: true}"},
		"adapter, number":             {release{"tachometer-adapter", "1e3", "123"}, "{fullnameOverride: x1, serviceAccount: {name: '7'}, nameOverride: '42', priorityClassName: '9'}"},
		"adapter, word":               {release{"tachometer-adapter", "true", "null"}, "{serviceMonitor: {enabled: true, interval: '15'}, prometheusRule: {enabled: true}}"},
		"adapter, nulls":              {release{"tachometer-adapter", "web", "monitoring"}, "{config: null, resources: null, extraArgs: null, imagePullSecrets: null, customLabels: null, customAnnotations: null, podAnnotations: null, affinity: null, strategy: null, podSecurityContext: null, startupProbe: null, selfMetrics: {readers: null}, replicas: null, service: {annotations: null}, apiServices: {annotations: null}}"},
		"adapter, empty":              {release{"tachometer-adapter", "web", "monitoring"}, "{config: {}, image: {tag: '', digest: ''}, env: [], priorityClassName: '', logLevel: '', dnsPolicy: '', prometheus: {url: '', path: ''}, existingConfigMap: ''}"},
		"adapter, own GOMEMLIMIT":     {release{"tachometer-adapter", "web", "monitoring"}, "env: [{name: GOMEMLIMIT, value: 1GiB}]"},
		"adapter, labels":             {release{"tachometer-adapter", "web", "monitoring"}, "{dashboards: {enabled: true}, prometheusRule: {enabled: true}, serviceMonitor: {enabled: true}, tls: {enable: true, ca: A, certificate: A, key: A}, selfMetrics: {readers: [{name: p, namespace: m}]}, resourceMetrics: {enabled: true}, podDisruptionBudget: {enabled: true}}"},
		"adapter, as a subchart":      {release{"tachometer-adapter", "web", "monitoring"}, "global: {imageRegistry: registry.example.com, storageClass: fast}"},
		"adapter, hostNetwork":        {release{"tachometer-adapter", "web", "monitoring"}, "hostNetwork: {enabled: true}"},
		"adapter, own certificate":    {release{"tachometer-adapter", "web", "monitoring"}, "{extraArgs: ['--tls-cert-file=/etc/tls/tls.crt', '--tls-private-key-file=/etc/tls/tls.key'], apiServices: {annotations: {cert-manager.io/inject-ca-from: monitoring/web}}}"},
		"adapter, numbers as text":    {release{"tachometer-adapter", "web", "monitoring"}, "{replicas: '3', listenPort: '8443', logLevel: '4', revisionHistoryLimit: '5', terminationGracePeriodSeconds: '20', runAsUser: '10001', service: {port: '8443'}, extraArguments: ['--secure-port=8443'], prometheus: {port: '80'}, certManager: {enabled: true, certRevisionHistoryLimit: '2'}}"},
		"adapter, no path":            {release{"tachometer-adapter", "web", "monitoring"}, "prometheus: {url: 'http://prometheus', port: null, path: null}"},
		"adapter, URL argument":       {release{"tachometer-adapter", "web", "monitoring"}, "extraArguments: ['--prometheus-url=https://thanos:10902']"},
		"adapter, URL in two":         {release{"tachometer-adapter", "web", "monitoring"}, "extraArguments: ['--prometheus-url', 'https://thanos:10902']"},
		"adapter, tenant's path":      {release{"tachometer-adapter", "web", "monitoring"}, "prometheus: {url: 'http://[fd00::1]', port: '8481', path: /select/0:1/prometheus}"},
		"adapter, record in the node": {release{"tachometer-adapter", "web", "monitoring"}, "{decisionRecord: {emptyDir: true, size: 48Mi}, podSecurityContext: null}"},
		"adapter, record in a claim":  {release{"tachometer-adapter", "web", "monitoring"}, "{decisionRecord: {claimName: '7', size: '50331648'}, replicas: 1}"},
		"adapter, no record volume":   {release{"tachometer-adapter", "web", "monitoring"}, "decisionRecord: {emptyDir: null, claimName: null, size: ''}"},
		"adapter, recreate":           {release{"tachometer-adapter", "web", "monitoring"}, "strategy: {type: Recreate}"},
		"scaler, recreate":            {release{"tachometer-scaler", "web", "monitoring"}, "{strategy: {type: Recreate}, replicas: '3', terminationGracePeriodSeconds: '20', service: {port: '443'}}"},
		"scaler, long name":           {release{"tachometer-scaler", longName, "monitoring"}, "workloads: {namespaces: [shop, shop]}"},
		"scaler, number":              {release{"tachometer-scaler", "1e3", "123"}, "{fullnameOverride: x1, workloads: {namespaces: ['7', '1e3']}, existingSecret: '5', existingConfigMap: '6'}"},
		"scaler, every namespace":     {release{"tachometer-scaler", "web", "null"}, "{workloads: {namespaces: ['*', shop]}, gates: {namespaces: ['*', '*']}, podMonitor: {enabled: true, interval: '15'}, prometheusRule: {enabled: true}}"},
		"scaler, nulls":               {release{"tachometer-scaler", "web", "monitoring"}, "{config: null, resources: {limits: null}, workloads: {namespaces: null}, gates: {namespaces: null}, customLabels: null, customAnnotations: null, imagePullSecrets: null, service: {annotations: null}, strategy: null}"},
		"scaler, as a subchart":       {release{"tachometer-scaler", "web", "monitoring"}, "global: {imageRegistry: registry.example.com}"},
		"scaler, lane off":            {release{"tachometer-scaler", "web", "monitoring"}, "config: {surge: {mode: off}}"},
		"scaler, memory in others":    {release{"tachometer-scaler", "web", "monitoring"}, "resources: {limits: {memory: 134217728}}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values := parseValues(t, strings.ReplaceAll(test.values, ": A", ": "+quoteYAML(pem)))
			objects := renderObjects(t, test.release, values)
			checkValidity(t, objects)
			checkConfiguration(t, test.chart, objects)
		})
	}
}

func quoteYAML(text string) string { return `"` + strings.ReplaceAll(text, "\n", `\n`) + `"` }

func parseValues(t *testing.T, text string) map[string]any {
	t.Helper()
	values := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(text), &values); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return values
}

// checkValidity checks rendered objects by the types of Kubernetes, strictly, and by what kube-apiserver asks of names, labels and lists.
func checkValidity(t *testing.T, objects map[string]*unstructured.Unstructured) {
	t.Helper()
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		object := objects[key]
		text := textOf(object.Object)
		var meta metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(text), &meta); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		faults := validation.IsDNS1123Subdomain(meta.Name)
		if meta.Kind == "Service" {
			faults = validation.IsDNS1035Label(meta.Name)
		}
		if name, _, _ := unstructured.NestedString(object.Object, "spec", "commonName"); len(name) > 64 {
			t.Errorf("%s: the common name %s is longer than a certificate takes", key, name)
		}
		for label, value := range meta.Labels {
			faults = append(faults, validation.IsQualifiedName(label)...)
			faults = append(faults, validation.IsValidLabelValue(value)...)
		}
		if len(faults) > 0 {
			t.Errorf("%s: %s", key, strings.Join(faults, "; "))
		}
		typed, err := scheme.Scheme.New(object.GroupVersionKind())
		if runtime.IsNotRegisteredError(err) {
			continue // of another API than Kubernetes's own
		}
		if err := yaml.UnmarshalStrict([]byte(text), typed); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	for key, object := range objects {
		if object.GetKind() == "Deployment" {
			checkPodSpec(t, key, object)
		}
	}
}

// checkPodSpec checks that names in lists of a pod stand there once, and that each mount has its volume.
func checkPodSpec(t *testing.T, key string, deployment *unstructured.Unstructured) {
	t.Helper()
	raw, _, _ := unstructured.NestedMap(deployment.Object, "spec", "template", "spec")
	var spec corev1.PodSpec
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &spec); err != nil {
		t.Errorf("%s: %v", key, err)
		return
	}
	kind, _, _ := unstructured.NestedString(deployment.Object, "spec", "strategy", "type")
	if _, rolling, _ := unstructured.NestedMap(deployment.Object, "spec", "strategy", "rollingUpdate"); rolling && kind == "Recreate" {
		t.Errorf("%s: kube-apiserver rejects rollingUpdate beside Recreate", key)
	}
	volumes := map[string]bool{}
	for _, volume := range spec.Volumes {
		if volumes[volume.Name] {
			t.Errorf("%s: volume %s stands there twice", key, volume.Name)
		}
		volumes[volume.Name] = true
	}
	for _, container := range spec.Containers {
		variables := map[string]bool{}
		for _, variable := range container.Env {
			if variables[variable.Name] {
				t.Errorf("%s: variable %s stands there twice", key, variable.Name)
			}
			variables[variable.Name] = true
		}
		for _, mount := range container.VolumeMounts {
			if !volumes[mount.Name] {
				t.Errorf("%s: mount %s has no volume", key, mount.Name)
			}
		}
	}
}

// TestRejectedValues gives values that could only make a release that does not work: Helm rejects them, and says what to write.
func TestRejectedValues(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		release
		values, want string
	}{
		"digit":        {release{"tachometer-adapter", "2048", "monitoring"}, "", "set fullnameOverride"},
		"dot":          {release{"tachometer-adapter", "web.blue", "monitoring"}, "", "set fullnameOverride"},
		"capital":      {release{"tachometer-adapter", "web", "monitoring"}, "fullnameOverride: Metrics", "set fullnameOverride"},
		"scaler digit": {release{"tachometer-scaler", "2048", "monitoring"}, "", "set fullnameOverride"},
		"peer's image": {
			release{"tachometer-adapter", "web", "monitoring"},
			"image: {repository: registry.k8s.io/prometheus-adapter/prometheus-adapter, tag: v0.12.0}", "set image.repository and image.tag",
		},
		"peer's mirror": {release{"tachometer-adapter", "web", "monitoring"}, "image: {repository: mirror.example.com/k8s-prometheus-adapter-amd64}", "set image.repository"},
		"peer's flat mirror": {
			release{"tachometer-adapter", "web", "monitoring"}, "image: {repository: mirror.example.com/mirrored-prometheus-adapter-prometheus-adapter}", "set image.repository",
		},
		"no PEM": {release{"tachometer-adapter", "web", "monitoring"}, "tls: {enable: true, ca: '# Public CA file'}", "tls.ca is no PEM"},
		"untrusted certificate": {
			release{"tachometer-adapter", "web", "monitoring"}, "extraArguments: ['--tls-cert-file=/etc/tls/tls.crt']", "--tls-cert-file=/etc/tls/tls.crt makes a certificate",
		},
		"certificate in a folder": {release{"tachometer-adapter", "web", "monitoring"}, "extraArgs: ['--cert-dir=/tmp']", "leave it out"},
		"no rule": {
			release{"tachometer-adapter", "web", "monitoring"}, "{prometheus: {url: 'http://prometheus'}, rules: {default: false}}", "no rule",
		},
		"both formats": {
			release{"tachometer-adapter", "web", "monitoring"},
			"{prometheus: {url: 'http://prometheus'}, config: {rules: [{metric: a, resource: pods, query: a}]}}", "config.rules",
		},
		"both by the port": {release{"tachometer-adapter", "web", "monitoring"}, "{prometheus: {port: 80}, config: {backends: []}}", "config.backends"},
		"other port":       {release{"tachometer-adapter", "web", "monitoring"}, "{listenPort: 6443, extraArguments: ['--secure-port=8443']}", "set listenPort"},
		"port in two":      {release{"tachometer-adapter", "web", "monitoring"}, "extraArgs: ['--secure-port', '8443']", "--secure-port=8443 is not the port"},
		"port twice":       {release{"tachometer-adapter", "web", "monitoring"}, "prometheus: {url: 'http://prometheus:9090'}", "if prometheus.url has the port or the path, set prometheus.port to 0"},
		"port after slash": {release{"tachometer-adapter", "web", "monitoring"}, "prometheus: {url: 'http://prometheus/', port: 80}", "prometheus.url has a path"},
		"no scheme":        {release{"tachometer-adapter", "web", "monitoring"}, "prometheus: {url: prometheus.monitoring.svc}", "write prometheus.url as http://HOST"},
		"no slash":         {release{"tachometer-adapter", "web", "monitoring"}, "prometheus: {url: 'http://mimir', port: 0, path: prometheus}", "has no slash at its beginning"},
		"shared claim":     {release{"tachometer-adapter", "web", "monitoring"}, "decisionRecord: {claimName: decisions}", "set replicas to 1"},
		"word as a number": {release{"tachometer-adapter", "web", "monitoring"}, "{logLevel: info, replicas: ''}", "/replicas"},
		"number as a tag":  {release{"tachometer-adapter", "web", "monitoring"}, "image: {tag: 1.10}", "/image/tag"},
		"registry":         {release{"tachometer-adapter", "web", "monitoring"}, "image: {registry: registry.example.com}", "image.registry is no value of this chart: write the registry in image.repository"},
		"replicaCount":     {release{"tachometer-scaler", "web", "monitoring"}, "replicaCount: 3", "replicaCount is no value of this chart: use replicas"},
		"metrics-server's": {release{"tachometer-adapter", "web", "monitoring"}, "{defaultArgs: ['--metric-resolution=15s'], apiService: {insecureSkipTLSVerify: false}}", "apiService is no value of this chart: use apiServices"},
		"its arguments":    {release{"tachometer-adapter", "web", "monitoring"}, "args: ['--kubelet-insecure-tls']", "args is no value of this chart: use extraArgs"},
		"its pod monitor":  {release{"tachometer-adapter", "web", "monitoring"}, "podMonitor: {enabled: true}", "podMonitor is no value of this chart: use serviceMonitor"},
		"its monitor":      {release{"tachometer-adapter", "web", "monitoring"}, "metrics: {enabled: true}", "metrics is no value of this chart: use serviceMonitor"},
		"KEDA's":           {release{"tachometer-scaler", "web", "monitoring"}, "watchNamespace: shop", "watchNamespace is no value of this chart: use workloads.namespaces"},
		"KEDA's marks":     {release{"tachometer-adapter", "web", "monitoring"}, "additionalAnnotations: {team: web}", "use customAnnotations"},
		"KEDA's adapter":   {release{"tachometer-adapter", "web", "monitoring"}, "watchNamespace: shop", "watchNamespace is no value of this chart: leave it out, the adapter serves every namespace"},
		"annotation":       {release{"tachometer-adapter", "web", "monitoring"}, "podAnnotations: {safe: true}", "podAnnotations/safe"},
		"label":            {release{"tachometer-scaler", "web", "monitoring"}, "customLabels: {cost-center: 42}", "customLabels/cost-center"},
	} {
		for major, render := range map[int]func(release, map[string]any) (map[string]string, error){3: renderByHelm3, 4: renderByHelm4} {
			if _, err := render(test.release, parseValues(t, test.values)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: Helm %d: %v; want %q", name, major, err, test.want)
			}
		}
	}
}

// TestEveryObject: customLabels and customAnnotations are on every object and on the pods; a label of the chart's own gives way, one that selects
// the pods does not.
func TestEveryObject(t *testing.T) {
	t.Parallel()
	values := parseValues(t, `
customLabels: {cost-center: "42", app.kubernetes.io/part-of: shop, app.kubernetes.io/name: other}
customAnnotations: {owner: platform}
podLabels: {app.kubernetes.io/instance: other}
prometheusRule: {enabled: true}
`)
	for _, chart := range charts {
		for _, further := range []string{
			"{certManager: {enabled: true}, serviceMonitor: {enabled: true}, dashboards: {enabled: true}, resourceMetrics: {enabled: true}, selfMetrics: {readers: [{name: p, namespace: m}]}}",
			"tls: {enable: true, ca: A, certificate: A, key: A}", "podMonitor: {enabled: true}", "workloads: {namespaces: [shop]}",
		} {
			all := maps.Clone(values)
			maps.Copy(all, parseValues(t, strings.ReplaceAll(further, ": A", ": "+quoteYAML(pem))))
			if chart == "tachometer-scaler" != (all["podMonitor"] != nil || all["workloads"] != nil) {
				continue
			}
			for key, object := range renderObjects(t, release{chart, "web", "monitoring"}, all) {
				expectMarks(t, chart, key, object.GetLabels(), object.GetAnnotations())
				if object.GetKind() == "Deployment" {
					labels, _, _ := unstructured.NestedStringMap(object.Object, "spec", "template", "metadata", "labels")
					annotations, _, _ := unstructured.NestedStringMap(object.Object, "spec", "template", "metadata", "annotations")
					expectMarks(t, chart, "pods", labels, annotations)
				}
			}
		}
	}
}

func expectMarks(t *testing.T, chart, key string, labels, annotations map[string]string) {
	t.Helper()
	for label, want := range map[string]string{
		"cost-center": "42", "app.kubernetes.io/part-of": "shop", "app.kubernetes.io/name": chart, "app.kubernetes.io/instance": "web",
	} {
		if labels[label] != want {
			t.Errorf("%s: %s has the label %s=%q, want %q", chart, key, label, labels[label], want)
		}
	}
	if annotations["owner"] != "platform" {
		t.Errorf("%s: %s lacks an annotation of customAnnotations: %v", chart, key, annotations)
	}
}

// TestSecondRelease renders two releases of a chart for one cluster, in two namespaces: no object of the cluster is in both.
func TestSecondRelease(t *testing.T) {
	t.Parallel()
	for chart, further := range map[string]string{
		"tachometer-adapter": "{apiServices: {custom: false, external: false, explain: false}, resourceMetrics: {enabled: true}, rbac: {readerRoles: false}}",
		"tachometer-scaler":  "{crds: {install: false}, rbac: {holdRoles: false}, workloads: {namespaces: [bank]}}",
	} {
		first := renderObjects(t, release{chart, "web", "monitoring"}, nil)
		for key := range renderObjects(t, release{chart, "bank", "bank"}, parseValues(t, further)) {
			if first[key] != nil {
				t.Errorf("%s: %s is in both releases", chart, key)
			}
		}
	}
}

// TestBudget: a PodDisruptionBudget leaves a drain of a node possible where the chart decides.
func TestBudget(t *testing.T) {
	t.Parallel()
	const note = "one replica has no PodDisruptionBudget"
	for values, want := range map[string]bool{
		"{}": true, "replicas: 1": false, "replicas: 0": false, "replicas: null": false, "podDisruptionBudget: {enabled: false}": false,
		"{replicas: 1, podDisruptionBudget: {minAvailable: null, maxUnavailable: 1}}": true,
		"podDisruptionBudget: {maxUnavailable: 0}":                                    true, "podDisruptionBudget: {maxUnavailable: ''}": true,
		"{replicas: 1, podDisruptionBudget: {maxUnavailable: 0}}": false,
	} {
		for _, chart := range charts {
			r := release{chart, "web", "monitoring"}
			objects := renderObjects(t, r, parseValues(t, values))
			if got := objects["PodDisruptionBudget monitoring/web-"+chart] != nil; got != want {
				t.Errorf("%s with %s: a PodDisruptionBudget %t, want %t", chart, values, got, want)
			} else if got && !strings.Contains(textOf(objects["PodDisruptionBudget monitoring/web-"+chart].Object), "vailable: 1\n") {
				t.Errorf("%s with %s: it leaves no pod or every pod to a drain", chart, values)
			}
			notes := renderBoth(t, r, parseValues(t, values))[chart+"/templates/NOTES.txt"]
			if noted := strings.Contains(notes, note); noted != (!want && strings.Contains(values, "replicas")) {
				t.Errorf("%s with %s: the notes say so: %t", chart, values, noted)
			}
		}
	}
}

// TestMemoryLimit: GOMEMLIMIT is half of the memory limit of the adapter, nine tenths of that of the scaler, however the limit is written.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	for limit, wants := range map[string][2]string{
		`512Mi`: {"256MiB", "460MiB"}, `1Gi`: {"512MiB", "921MiB"}, `1.5Gi`: {"768MiB", "1382MiB"}, `500M`: {"238MiB", "429MiB"}, `1G`: {"476MiB", "858MiB"},
		`536870912`: {"256MiB", "460MiB"}, `"536870912"`: {"256MiB", "460MiB"}, `5e8`: {"238MiB", "429MiB"}, `524288Ki`: {"256MiB", "460MiB"},
		`1Ti`: {"524288MiB", "943718MiB"}, `null`: {}, `1Ei`: {},
	} {
		for _, chart := range charts {
			want := wants[0]
			if chart == "tachometer-scaler" {
				want = wants[1]
			}
			objects := renderObjects(t, release{chart, "web", "monitoring"}, parseValues(t, "resources: {limits: {memory: "+limit+"}}"))
			text := textOf(objects["Deployment monitoring/web-"+chart].Object)
			_, got, found := strings.Cut(text, "- name: GOMEMLIMIT\n")
			if found {
				got, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimSpace(got), "value: "), "\n")
			} else {
				got = ""
			}
			if got != want {
				t.Errorf("%s with a limit of %s: GOMEMLIMIT %q, want %q", chart, limit, got, want)
			}
		}
	}
}
