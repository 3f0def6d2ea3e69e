package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/yaml"
)

// schemaRule is a rule of the shipped definition of Hold: a change of a Hold that it accepts, and one that it rejects with a sentence.
type schemaRule struct {
	accepted, rejected string // fields of the spec
	field, sentence    string // of the rejection
}

// minimalSpec is what each Hold of the table has besides.
const minimalSpec = "workload: {apiVersion: apps/v1, kind: Deployment, name: shop}\nreplicas: 3\n"

const lineSentence = "must be one line, without control characters and marks of writing direction"

const durationSentence = "must be a duration, such as "

// schemaRules are the rules that a new Hold must keep.
var schemaRules = map[string]schemaRule{
	"replicas, least":      {"replicas: 0", "replicas: -1", "spec.replicas", "spec.replicas in body should be greater than or equal to 0"},
	"replicas, most":       {"replicas: 10000", "replicas: 10001", "spec.replicas", "spec.replicas in body should be less than or equal to 10000"},
	"minReplicas, least":   {"minReplicas: 0", "minReplicas: -1", "spec.minReplicas", "spec.minReplicas in body should be greater than or equal to 0"},
	"minReplicas, most":    {"minReplicas: 3", "minReplicas: 10001", "spec.minReplicas", "spec.minReplicas in body should be less than or equal to 10000"},
	"minReplicas":          {"minReplicas: 3", "minReplicas: 4", "spec", "minReplicas is above replicas"},
	"minReplicas of zero":  {"{replicas: 0, minReplicas: 1}", "{replicas: 0, minReplicas: 2}", "spec", "minReplicas is above replicas"},
	"maxReplicas, least":   {"maxReplicas: 0", "maxReplicas: -1", "spec.maxReplicas", "spec.maxReplicas in body should be greater than or equal to 0"},
	"maxReplicas":          {"maxReplicas: 3", "maxReplicas: 2", "spec", "maxReplicas is below replicas"},
	"no workload":          {"id: a", "workload: null", "spec.workload", "Required value"},
	"no name":              {"id: a", "workload: {apiVersion: apps/v1, kind: Deployment, name: null}", "spec.workload.name", "Required value"},
	"empty kind":           {"id: a", `workload: {apiVersion: apps/v1, kind: "", name: shop}`, "spec.workload.kind", "spec.workload.kind in body should be at least 1 chars long"},
	"id":                   {"id: " + strings.Repeat("a", 512), "id: " + strings.Repeat("a", 513), "spec.id", "may not be more than 512 bytes"},
	"reason":               {"reason: " + strings.Repeat("a", 1024), "reason: " + strings.Repeat("a", 1025), "spec.reason", "may not be more than 1024 bytes"},
	"by":                   {"by: " + strings.Repeat("a", 512), "by: " + strings.Repeat("a", 513), "spec.by", "may not be more than 512 bytes"},
	"until":                {`until: "2126-01-01T00:00:00Z"`, "until: tomorrow", "spec.until", `spec.until in body must be of type date-time: "tomorrow"`},
	"pausedUntil":          {`pausedUntil: "2126-01-01T00:00:00Z"`, "pausedUntil: soon", "spec.pausedUntil", `spec.pausedUntil in body must be of type date-time: "soon"`},
	"within, most":         {"within: 24h", "within: 24h1s", "spec.within", "must be a duration up to 24h, such as 5m"},
	"within, least":        {"within: 0s", "within: -1s", "spec.within", "must be a duration up to 24h, such as 5m"},
	"within, form":         {"within: 1h30m", "within: 1d", "spec.within", "must be a duration up to 24h, such as 5m"},
	"gates, number":        {"gates: [" + strings.Repeat("a, ", 16) + "]", "gates: [" + strings.Repeat("a, ", 17) + "]", "spec.gates", "must have at most 16 items"},
	"gates, name":          {"gates: [sale-1]", "gates: [Sale]", "spec.gates[0]", `spec.gates[0] in body should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'`},
	"gates, length":        {"gates: [" + strings.Repeat("a", 63) + "]", "gates: [" + strings.Repeat("a", 64) + "]", "spec.gates[0]", "may not be more than 63 bytes"},
	"notify, number":       {"notify: [" + strings.Repeat("a, ", 16) + "]", "notify: [" + strings.Repeat("a, ", 17) + "]", "spec.notify", "must have at most 16 items"},
	"notify, name":         {"notify: [on call]", "notify: ['slack:/etc/passwd']", "spec.notify[0]", "spec.notify[0] in body should match '^[^/:]+$'"},
	"group, name":          {"group: {name: a, size: 1}", `group: {name: "", size: 1}`, "spec.group.name", "spec.group.name in body should be at least 1 chars long"},
	"group, no size":       {"group: {name: a, size: 2}", "group: {name: a}", "spec.group.size", "Required value"},
	"group, least":         {"group: {name: a, size: 1}", "group: {name: a, size: 0}", "spec.group.size", "spec.group.size in body should be greater than or equal to 1"},
	"group, most":          {"group: {name: a, size: 1000}", "group: {name: a, size: 1001}", "spec.group.size", "spec.group.size in body should be less than or equal to 1000"},
	"verify, requests":     {"verify: {requests: 10000}", "verify: {requests: 10001}", "spec.verify.requests", "spec.verify.requests in body should be less than or equal to 10000"},
	"verify, concurrency":  {"verify: {concurrency: 100}", "verify: {concurrency: 101}", "spec.verify.concurrency", "spec.verify.concurrency in body should be less than or equal to 100"},
	"verify, timeout":      {"verify: {timeout: 250ms}", "verify: {timeout: -1s}", "spec.verify.timeout", durationSentence + "250ms"},
	"verify, no timeout":   {"verify: {timeout: 1.5s}", "verify: {timeout: soon}", "spec.verify.timeout", durationSentence + "250ms"},
	"verify, p50":          {"verify: {p50: 20ms}", "verify: {p50: -1s}", "spec.verify.p50", durationSentence + "250ms"},
	"verify, p95":          {"verify: {p95: 20ms}", "verify: {p95: -1s}", "spec.verify.p95", durationSentence + "250ms"},
	"verify, p99":          {"verify: {p99: 20ms}", "verify: {p99: -1s}", "spec.verify.p99", durationSentence + "250ms"},
	"verify, within":       {"verify: {within: 5m}", "verify: {within: -1s}", "spec.verify.within", durationSentence + "5m"},
	"verify, success":      {"verify: {success: 1}", "verify: {success: 99}", "spec.verify.success", "spec.verify.success in body should be less than or equal to 1"},
	"verify, no success":   {"verify: {success: 0.99}", "verify: {success: -0.1}", "spec.verify.success", "spec.verify.success in body should be greater than or equal to 0"},
	"verify, slower":       {"verify: {slower: 1.5}", "verify: {slower: 0.5}", "spec.verify.slower", "must be 0, or from 1 to 1000 times"},
	"verify, slower, most": {"verify: {slower: 1000}", "verify: {slower: 1001}", "spec.verify.slower", "must be 0, or from 1 to 1000 times"},
	"apiVersion, a line":   {"id: a", `workload: {apiVersion: "apps/v1\n", kind: Deployment, name: shop}`, "spec.workload.apiVersion", lineSentence},
	"kind, a line":         {"id: a", `workload: {apiVersion: apps/v1, kind: "Deployment\e[2J", name: shop}`, "spec.workload.kind", lineSentence},
	"name, a line":         {"id: a", `workload: {apiVersion: apps/v1, kind: Deployment, name: "shop\u202Epohs"}`, "spec.workload.name", lineSentence},
	"id, a line":           {"id: Größe 2", `id: "a\u009B31m"`, "spec.id", lineSentence},
	"reason, a line":       {"reason: 'more: 👨‍👩‍👧'", `reason: "a\nb"`, "spec.reason", lineSentence},
	"by, a line":           {"by: 'jane@example.com, team 1'", `by: "jane\e]0;title\a"`, "spec.by", lineSentence},
	"by, directions":       {"by: می\u200cخواهم", `by: "\u2067jane\u2069"`, "spec.by", lineSentence},
	"group, a line":        {"group: {name: sale 1, size: 1}", `group: {name: "sale\t1", size: 1}`, "spec.group.name", lineSentence},
	"notify, a line":       {"notify: [on-call]", `notify: ["on\rcall"]`, "spec.notify[0]", lineSentence},
	"verify, url, a line":  {"verify: {url: ':8080/ready?x=1'}", `verify: {url: ":8080/\e[1m"}`, "spec.verify.url", lineSentence},
	"until, characters":    {`until: "2126-01-01T00:00:00.5+01:00"`, `until: "2126-01-01T00:00:00\u009B5Z"`, "spec.until", `spec.until in body should match '^[-+.:0-9TZtz]*$'`},
	"a number as text":     {"replicas: 4", `replicas: "4"`, "spec.replicas", `spec.replicas in body must be of type integer: "string"`},
}

// changeRules are the rules that the change of a Hold with the gate sale must keep.
var changeRules = map[string]schemaRule{
	"another name of the workload": {"replicas: 4", "workload: {apiVersion: apps/v1, kind: Deployment, name: cart}", "spec", "workload cannot change; make another Hold"},
	"another kind of the workload": {"by: somebody", "workload: {apiVersion: apps/v1, kind: StatefulSet, name: shop}", "spec", "workload cannot change; make another Hold"},
	"another API of the workload":  {"paused: true", "workload: {apiVersion: apps/v1beta1, kind: Deployment, name: shop}", "spec", "workload cannot change; make another Hold"},
	"another gate":                 {"gates: [sale]", "gates: [checkout]", "spec", "gates cannot change; make another Hold"},
	"one gate more":                {"approved: true", "gates: [sale, checkout]", "spec", "gates cannot change; make another Hold"},
	"no gate":                      {"notify: [oncall]", "gates: null", "spec", "gates cannot change; make another Hold"},
	"bounds of a change":           {"maxReplicas: 3", "maxReplicas: 2", "spec", "maxReplicas is below replicas"},
}

// mergeSpec returns the minimal spec with other fields; a field of null is left out.
func mergeSpec(t *testing.T, changed string) map[string]any {
	t.Helper()
	var base, other map[string]any
	if err := errors.Join(yaml.Unmarshal([]byte(minimalSpec), &base), yaml.Unmarshal([]byte(changed), &other)); err != nil {
		t.Fatal(err)
	}
	for key, value := range other {
		base[key] = value
		if inner, ok := value.(map[string]any); ok {
			for k, v := range inner {
				if v == nil {
					delete(inner, k)
				}
			}
		}
		if value == nil {
			delete(base, key)
		}
	}
	return base
}

// createHold has the API server create a Hold, as a dry run or for good.
func createHold(t *testing.T, namespace, name string, spec map[string]any, dryRun bool) error {
	t.Helper()
	body, err := json.Marshal(map[string]any{"apiVersion": "scaler.tachometer.dev/v1alpha1", "kind": "Hold", "metadata": map[string]any{"name": name}, "spec": spec})
	if err != nil {
		t.Fatal(err)
	}
	request := client.CoreV1().RESTClient().Post().AbsPath(holdsPath(namespace)).SetHeader("Content-Type", "application/json").Body(body)
	if dryRun {
		request.Param("dryRun", "All")
	}
	return request.Do(t.Context()).Error()
}

func holdsPath(namespace string) string {
	return "/apis/scaler.tachometer.dev/v1alpha1/namespaces/" + namespace + "/holds"
}

// patchHold merges a spec into a Hold, as a dry run.
func patchHold(t *testing.T, namespace, name, spec string) error {
	t.Helper()
	text, err := yaml.YAMLToJSON([]byte(spec))
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Appendf(nil, `{"spec":%s}`, text)
	return client.CoreV1().RESTClient().Patch("application/merge-patch+json").AbsPath(holdsPath(namespace), name).Param("dryRun", "All").Body(body).Do(t.Context()).Error()
}

// wantRejection compares an error of the API server with a field and the end of its sentence.
func (r schemaRule) wantRejection(t *testing.T, err error) {
	t.Helper()
	var status *apierrors.StatusError
	if !errors.As(err, &status) || status.ErrStatus.Details == nil {
		t.Errorf("%s: %v; want %s: %s", r.rejected, err, r.field, r.sentence)
		return
	}
	causes := status.ErrStatus.Details.Causes
	for i := range causes {
		if causes[i].Field == r.field && (strings.HasSuffix(causes[i].Message, ": "+r.sentence) || causes[i].Message == r.sentence) {
			return
		}
	}
	t.Errorf("%s: %+v; want %s: %s", r.rejected, causes, r.field, r.sentence)
}

// TestHoldSchema: the API server accepts a Hold at each bound, and rejects one beyond it with the rule's own sentence.
func TestHoldSchema(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	for name, r := range schemaRules {
		t.Run(name, func(t *testing.T) {
			if err := createHold(t, namespace, "a", mergeSpec(t, r.accepted), true); err != nil {
				t.Errorf("%s: %v", r.accepted, err)
			}
			r.wantRejection(t, createHold(t, namespace, "a", mergeSpec(t, r.rejected), true))
		})
	}
	if err := createHold(t, namespace, "there", mergeSpec(t, "gates: [sale]"), false); err != nil {
		t.Fatal(err)
	}
	for name, r := range changeRules {
		t.Run(name, func(t *testing.T) {
			if err := patchHold(t, namespace, "there", r.accepted); err != nil {
				t.Errorf("%s: %v", r.accepted, err)
			}
			r.wantRejection(t, patchHold(t, namespace, "there", r.rejected))
		})
	}
}

// TestHoldSchemaOfPlainHold: a Hold without gates takes none later. A status has one of the states.
func TestHoldSchemaOfPlainHold(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	if err := createHold(t, namespace, "plain", mergeSpec(t, "id: plain"), false); err != nil {
		t.Fatal(err)
	}
	schemaRule{rejected: "gates: [sale]", field: "spec", sentence: "gates cannot change; make another Hold"}.wantRejection(t, patchHold(t, namespace, "plain", "gates: [sale]"))
	for state, valid := range map[string]bool{"Received": true, "Open": true, "RolledBack": true, "Opened": false, "": false} {
		body := fmt.Appendf(nil, `{"status":{"state":%q}}`, state)
		err := client.CoreV1().RESTClient().Patch("application/merge-patch+json").AbsPath(holdsPath(namespace), "plain", "status").Body(body).Do(t.Context()).Error()
		if (err == nil) != valid || err != nil && !slices.ContainsFunc([]string{"status.state", "supported values"}, func(part string) bool { return strings.Contains(err.Error(), part) }) {
			t.Errorf("state %q: %v", state, err)
		}
	}
}
