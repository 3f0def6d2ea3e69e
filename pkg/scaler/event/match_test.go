package event

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// wiredRulesYAML has a rule with every key that reaches a hold, and a rule with the required keys alone.
const wiredRulesYAML = `events:
  http: {address: ":8443", secretFiles: [/etc/secret], certFile: /etc/tls.crt, keyFile: /etc/tls.key}
  rules:
  - name: complete
    namespace: sale
    type: COMPLETE
    releaseOn: COMPLETE_END
    key: sale
    workloads:
    - {workload: deploy/shop, replicas: {field: pods, max: 50}, minReplicas: 10, maxReplicas: 60}
    - {workload: deploy/cart, replicas: 5, minReplicas: 4, maxReplicas: {field: most, max: 40}}
    for: 20m
    maxFor: 2h
    within: 2m
    paused: true
    verify: quick
    gates: [cdn, dns]
    onSuccess: [{webhook: opened}]
    notify: [slack, pager]
  - {name: bare, namespace: sale, type: BARE, releaseOn: BARE_END, workloads: [{workload: deploy/shop, replicas: 3}]}
`

var wiredEventTime = time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)

// matchWiredEvent returns the commands of an event of wiredEventTime with a ttl of 30m, by wiredRulesYAML.
func matchWiredEvent(t *testing.T, eventType string) []holdCommand {
	t.Helper()
	c, faults := decodeEventsYAML(wiredRulesYAML)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	e, err := Parse([]byte(`{"id":"a-1","type":"` + eventType + `","at":"2026-11-27T08:00:00Z","ttl":"30m","sale":"friday","pods":20,"most":40}`))
	if err != nil {
		t.Fatal(err)
	}
	specs := map[string]verify.Spec{"quick": newQuickSpec(), "slow": {Requests: 1000}}
	h := NewHandler(c.Rules, nil, nil, Options{VerifySpecs: specs})
	commands, failure := h.matchEventRules(&e, wiredEventTime)
	if failure != nil {
		t.Fatal(failure)
	}
	return commands
}

// newQuickSpec returns the verification quick.
func newQuickSpec() verify.Spec {
	return verify.Spec{URL: "/work", Requests: 7, P99: metav1.Duration{Duration: 200 * time.Millisecond}}
}

func diffHoldCommands(want, got []holdCommand) string {
	return cmp.Diff(want, got, cmp.AllowUnexported(holdCommand{}))
}

// TestD2EventRuleMakesAGroup: every key of a rule reaches the holds of its events. The holds of two workloads are a group, so that their gates open over
// both, or not at all.
func TestD2EventRuleMakesAGroup(t *testing.T) {
	t.Parallel()
	spec, end := newQuickSpec(), wiredEventTime.Add(20*time.Minute)
	newCommand := func(workload string, replicas, minReplicas, maxReplicas int32) holdCommand {
		return holdCommand{
			workload: newDeployment(workload), at: wiredEventTime, fresh: end, expiresAt: end, until: wiredEventTime.Add(2 * time.Hour),
			hold: hold.Hold{
				ID: "event/complete/friday", Reason: "COMPLETE", By: "event a-1", Replicas: replicas, MinReplicas: minReplicas, MaxReplicas: maxReplicas,
				Until: end, Within: 2 * time.Minute, Verify: &spec, Gates: []string{"cdn", "dns", "complete"}, Group: "event/complete/friday", GroupSize: 2,
				Notify: []string{"slack", "pager"}, Paused: true,
			},
		}
	}
	want := []holdCommand{newCommand("shop", 20, 10, 60), newCommand("cart", 5, 4, 40)}
	if diff := diffHoldCommands(want, matchWiredEvent(t, "COMPLETE")); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}

// TestRuleWithRequiredKeysAlone: what a rule does not name, its hold does not have. The hold ends with the event's ttl.
func TestRuleWithRequiredKeysAlone(t *testing.T) {
	t.Parallel()
	end := wiredEventTime.Add(30 * time.Minute)
	want := []holdCommand{{
		workload: newDeployment("shop"), at: wiredEventTime, fresh: end, expiresAt: end, until: wiredEventTime.Add(DefaultMaxFor),
		hold: hold.Hold{ID: "event/bare", Reason: "BARE", By: "event a-1", Replicas: 3, Until: end},
	}}
	if diff := diffHoldCommands(want, matchWiredEvent(t, "BARE")); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}

// TestReleaseOfTwoWorkloads: the end of a sale releases the holds of all its workloads, for as long as they may last.
func TestReleaseOfTwoWorkloads(t *testing.T) {
	t.Parallel()
	var want []holdCommand
	for _, workload := range []string{"shop", "cart"} {
		longest := wiredEventTime.Add(2 * time.Hour)
		want = append(want, holdCommand{
			workload: newDeployment(workload), at: wiredEventTime, fresh: wiredEventTime.Add(30 * time.Minute), expiresAt: longest, until: longest,
			release: true, reason: "event a-1 (COMPLETE_END)", hold: hold.Hold{ID: "event/complete/friday"},
		})
	}
	if diff := diffHoldCommands(want, matchWiredEvent(t, "COMPLETE_END")); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}
