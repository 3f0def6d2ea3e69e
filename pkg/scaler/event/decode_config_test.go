package event

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// decodeEventsYAML decodes a file with the section events.
func decodeEventsYAML(text string) (Config, strict.Faults) {
	d := strict.NewDecoder()
	var c Config
	d.DecodeFile([]byte("apiVersion: config.tachometer.dev/v1alpha1\nkind: ScalerConfig\n"+text), "ScalerConfig", map[string]strict.FieldDecoder{
		"events": func(path string, n *yaml.Node) { c = Decode(d, path, n) },
	})
	return c, d.Faults
}

const completeEventsYAML = `events:
  kafka:
    brokers: ["kafka-0:9092", "[::1]:9093"]
    topic: sales
    rewind: 30m
    tls: {caFile: /etc/ca.crt, certFile: /etc/tls.crt, keyFile: /etc/tls.key, serverName: kafka}
    sasl: {mechanism: SCRAM-SHA-256, usernameFile: /etc/user, passwordFile: /etc/password}
  http:
    address: ":8443"
    secretFiles: [/etc/new, /etc/old]
    certFile: /etc/tls.crt
    keyFile: /etc/tls.key
  ttl: 2h
  fields: {id: header.event-id, sale: key, pods: data.scale.pods}
  rules:
  - name: flash-sale
    namespace: sale
    type: FLASH_SALE_START
    releaseOn: FLASH_SALE_END
    match: {region: eu, vip: "true"}
    key: sale
    workloads:
    - {workload: deploy/shop, replicas: {field: pods, max: 50}, minReplicas: 10, maxReplicas: 60}
    - {workload: sts/cart, replicas: 5}
    for: 30m
    maxFor: 2h
    within: 2m
    verify: quick
    onSuccess:
    - patch: {apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, name: shop, merge: {spec: {open: true, weight: 100, was: null}}}
    - webhook: opened
    onRelease: [{webhook: shut}]
    notify: [slack]
`

func TestDecode(t *testing.T) {
	t.Parallel()
	got, faults := decodeEventsYAML(completeEventsYAML)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	cart := newDeployment("cart")
	cart.Kind = "StatefulSet"
	want := Config{
		Kafka: &KafkaConfig{
			Brokers: []string{"kafka-0:9092", "[::1]:9093"}, Topic: "sales", Rewind: 30 * time.Minute,
			TLS:  &KafkaTLS{CAFile: "/etc/ca.crt", CertFile: "/etc/tls.crt", KeyFile: "/etc/tls.key", ServerName: "kafka"},
			SASL: &KafkaSASL{Mechanism: MechanismScramSHA256, UsernameFile: "/etc/user", PasswordFile: "/etc/password"},
		},
		HTTP:   &HTTPConfig{Address: ":8443", SecretFiles: []string{"/etc/new", "/etc/old"}, CertFile: "/etc/tls.crt", KeyFile: "/etc/tls.key"},
		Format: Format{TTL: 2 * time.Hour, Fields: map[string]FieldPlace{"id": "header.event-id", "sale": "key", "pods": "data.scale.pods"}},
		Rules: []HoldRule{{
			Name: "flash-sale", Type: "FLASH_SALE_START", ReleaseOn: "FLASH_SALE_END", Match: map[string]string{"region": "eu", "vip": "true"}, Key: "sale",
			Workloads: []WorkloadSpec{
				{Workload: newDeployment("shop"), Replicas: ReplicaCount{Field: "pods", MaxValue: 50}, MinReplicas: ReplicaCount{Value: 10}, MaxReplicas: ReplicaCount{Value: 60}},
				{Workload: cart, Replicas: ReplicaCount{Value: 5}},
			},
			For: 30 * time.Minute, MaxFor: 2 * time.Hour, Within: 2 * time.Minute, Verify: "quick", Notify: []string{"slack"},
			OnSuccess: []action.Action{
				{Patch: &action.Patch{APIVersion: "gateway.networking.k8s.io/v1", Kind: "HTTPRoute", Name: "shop", Merge: json.RawMessage(`{"spec":{"open":true,"was":null,"weight":100}}`)}},
				{Webhook: "opened"},
			},
			OnRelease: []action.Action{{Webhook: "shut"}},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, faults := decodeEventsYAML("events: {kafka: {brokers: ['a:1'], topic: t}, rules: [{name: a, namespace: n, type: A, for: 48h, workloads: [{workload: deploy/a, replicas: 1}]}]}")
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	if c.Kafka.Rewind != 48*time.Hour || c.Format.TTL != DefaultTTL || c.Kafka.TLS != nil || c.Kafka.SASL != nil || c.HTTP != nil || c.Rules[0].MaxFor != 48*time.Hour {
		t.Errorf("%+v, %+v", c.Kafka, c.Rules[0])
	}
}

// TestFaults checks that each change of the complete file makes one fault.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ old, new, path, message string }{
		"unknown key":                     {"topic: sales", "topic: sales\n    group: g", "events.kafka.group", "unknown key"},
		"no source":                       {"  kafka:", "  x:", "events.x", "unknown key"},
		"broker without a port":           {`"kafka-0:9092"`, `"kafka-0"`, "events.kafka.brokers[0]", "HOST:PORT"},
		"broker at port 0":                {`"kafka-0:9092"`, `"kafka-0:0"`, "events.kafka.brokers[0]", "HOST:PORT"},
		"no brokers":                      {`["kafka-0:9092", "[::1]:9093"]`, `[]`, "events.kafka.brokers", "empty"},
		"a topic that is none":            {"topic: sales", "topic: a/b", "events.kafka.topic", "a topic"},
		"no topic":                        {"    topic: sales\n", "", "events.kafka.topic", "required"},
		"rewind too long":                 {"rewind: 30m", "rewind: 8d", "events.kafka.rewind", "from"},
		"a certificate without its key":   {", keyFile: /etc/tls.key, serverName", ", serverName", "events.kafka.tls", "go together"},
		"a relative path":                 {"/etc/ca.crt", "ca.crt", "events.kafka.tls.caFile", "absolute"},
		"S19: a password in the clear":    {"    tls: {caFile: /etc/ca.crt, certFile: /etc/tls.crt, keyFile: /etc/tls.key, serverName: kafka}\n    sasl: {mechanism: SCRAM-SHA-256", "    sasl: {mechanism: PLAIN", "events.kafka.sasl.mechanism", "in the clear"},
		"a place that is none":            {"sale: key,", "sale: body,", "events.fields.sale", "key, timestamp, header.NAME or data.PATH"},
		"another mechanism":               {"SCRAM-SHA-256", "GSSAPI", "events.kafka.sasl.mechanism", "must be"},
		"no password":                     {", passwordFile: /etc/password", "", "events.kafka.sasl.passwordFile", "required"},
		"an address without a port":       {`":8443"`, `"host"`, "events.http.address", "HOST:PORT"},
		"no secrets":                      {"    secretFiles: [/etc/new, /etc/old]\n", "", "events.http.secretFiles", "required"},
		"a relative secret":               {"[/etc/new,", "[new,", "events.http.secretFiles[0]", "absolute"},
		"a name that is none":             {"name: flash-sale", "name: Flash/Sale", "events.rules[0].name", "lower-case"},
		"no namespace":                    {"    namespace: sale\n", "", "events.rules[0].namespace", "required"},
		"a type that is none":             {"type: FLASH_SALE_START", "type: a b", "events.rules[0].type", "must be"},
		"an end that is the start":        {"FLASH_SALE_END", "FLASH_SALE_START", "events.rules[0].releaseOn", "raises"},
		"a key that every event has":      {"key: sale", "key: id", "events.rules[0].key", "a field of every event"},
		"a match of what every event has": {"{region: eu,", "{type: eu,", "events.rules[0].match.type", "a field of every event"},
		"a match with a number":           {"{region: eu,", "{region: 7,", "events.rules[0].match.region", "text"},
		"a workload that is none":         {"deploy/shop", "shop", "events.rules[0].workloads[0].workload", "KIND/NAME"},
		"a workload twice":                {"sts/cart", "deployment/shop", "events.rules[0].workloads[1].workload", "already"},
		"no replicas":                     {"sts/cart, replicas: 5", "sts/cart", "events.rules[0].workloads[1].replicas", "required"},
		"a minReplicas above":             {"replicas: 5", "replicas: 5, minReplicas: 6", "events.rules[0].workloads[1].minReplicas", "above"},
		"a maxReplicas below":             {"replicas: 5", "replicas: 5, maxReplicas: 4", "events.rules[0].workloads[1].maxReplicas", "below"},
		"D24: a ceiling below a field":    {"maxReplicas: 60", "maxReplicas: 40", "events.rules[0].workloads[0].maxReplicas", "40 is below replicas, up to 50 by field pods"},
		"D24: both by field":              {"maxReplicas: 60", "maxReplicas: {field: most, max: 40}", "events.rules[0].workloads[0].maxReplicas", "up to 40 by field most is below replicas, up to 50 by field pods"},
		"D24: a floor above a field":      {"minReplicas: 10", "minReplicas: 51", "events.rules[0].workloads[0].minReplicas", "51 is above replicas, up to 50 by field pods"},
		"a field without a maximum":       {"{field: pods, max: 50}", "{field: pods}", "events.rules[0].workloads[0].replicas.max", "required"},
		"an action that is none":          {"{webhook: shut}", "{}", "events.rules[0].onRelease[0]", "either patch or webhook"},
		"a patch without a kind":          {"kind: HTTPRoute, ", "", "events.rules[0].onSuccess[0].patch.kind", "required"},
		"a patch that is none":            {"{spec: {open: true, weight: 100, was: null}}", "7", "events.rules[0].onSuccess[0].patch.merge", "mapping"},
		"a patch that JSON cannot say":    {"weight: 100", "weight: .nan", "events.rules[0].onSuccess[0].patch.merge", "not valid as JSON"},
		"longer than the longest":         {"for: 30m", "for: 3h", "events.rules[0].for", "maxFor"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(completeEventsYAML, c.old, c.new, 1)
			if text == completeEventsYAML {
				t.Fatalf("%q does not stand in the whole", c.old)
			}
			_, faults := decodeEventsYAML(text)
			if len(faults) == 0 {
				t.Fatal("no fault")
			}
			if f := faults[0]; f.Path != c.path || !strings.Contains(f.Message, c.message) || f.Line == 0 {
				t.Errorf("fault %s; want one at %s about %q, with its line", f, c.path, c.message)
			}
		})
	}
}

func TestSectionsThatAreNotWhole(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"no rules":         {"events: {kafka: {brokers: ['a:1'], topic: t}}", "events.rules: required"},
		"empty rules":      {"events: {kafka: {brokers: ['a:1'], topic: t}, rules: []}", "is empty"},
		"no source at all": {"events: {rules: [{name: a, namespace: n, type: A, workloads: [{workload: deploy/a, replicas: 1}]}]}", "no source of events"},
		"a list":           {"events: []", "must be a mapping"},
		"a name twice": {
			"events: {http: {address: ':1', secretFiles: [/a]}, rules: [{name: a, namespace: n, type: A, workloads: [{workload: deploy/a, replicas: 1}]}, {name: a, namespace: n, type: B, workloads: [{workload: deploy/a, replicas: 1}]}]}",
			"already the name",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, faults := decodeEventsYAML(c.text); faults.Err() == nil || !strings.Contains(faults.Error(), c.want) {
				t.Errorf("faults %v; want one about %q", faults, c.want)
			}
		})
	}
}

// TestD20RewindCoversTheLongestHold: without the key, reading begins far enough back for every start that may still count.
func TestD20RewindCoversTheLongestHold(t *testing.T) {
	t.Parallel()
	const rule = "{name: %s, namespace: n, type: A, workloads: [{workload: deploy/a, replicas: 1}]%s}"
	for name, c := range map[string]struct {
		kafka, rules string
		want         time.Duration
	}{
		"the default maxFor":         {"", fmt.Sprintf(rule, "a", ""), DefaultMaxFor},
		"the largest maxFor":         {"", fmt.Sprintf(rule, "a", ", maxFor: 2h") + "," + fmt.Sprintf(rule, "b", ", maxFor: 36h"), 36 * time.Hour},
		"no event counts longer":     {"", fmt.Sprintf(rule, "a", ", maxFor: 30d"), MaxTTL},
		"a minute for another start": {"", fmt.Sprintf(rule, "a", ", maxFor: 5s"), time.Minute},
		"as the file says":           {", rewind: 5m", fmt.Sprintf(rule, "a", ""), 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, faults := decodeEventsYAML("events: {kafka: {brokers: ['a:1'], topic: t" + c.kafka + "}, rules: [" + c.rules + "]}")
			if err := faults.Err(); err != nil || got.Kafka.Rewind != c.want {
				t.Errorf("%s, %v; want %s", got.Kafka.Rewind, err, c.want)
			}
		})
	}
}

// TestS19Notes: SCRAM without TLS is worth a note, and PLAIN with TLS is not.
func TestS19Notes(t *testing.T) {
	t.Parallel()
	for tls, want := range map[string]int{"": 1, "tls: {},": 0} {
		c, faults := decodeEventsYAML("events: {kafka: {brokers: ['a:1'], topic: t, " + tls + "sasl: {mechanism: SCRAM-SHA-512, usernameFile: /u, passwordFile: /p}}, rules: [{name: a, namespace: n, type: A, workloads: [{workload: deploy/a, replicas: 1}]}]}")
		if err := faults.Err(); err != nil || len(c.Notes()) != want {
			t.Errorf("%q: %v, %q; want %d notes", tls, err, c.Notes(), want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(completeEventsYAML)
	f.Add("events: {rules: [{}]}")
	f.Fuzz(func(t *testing.T, text string) {
		c, faults := decodeEventsYAML(text)
		if len(faults) > 0 {
			return
		}
		for _, r := range c.Rules {
			if r.Name == "" || r.Type == "" || len(r.Workloads) == 0 || r.MaxFor <= 0 || r.For > r.MaxFor {
				t.Errorf("a rule without faults: %+v", r)
			}
		}
	})
}
