package hold

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

var shop = Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: "shop"}

// TestChange walks a number through its write: intended, set, confirmed, and then another client's.
func TestChange(t *testing.T) {
	t.Parallel()
	c := Change{Was: 2, Set: 2}
	if c.IsForeign(2) || !c.IsForeign(3) {
		t.Errorf("unchanged: %+v", c)
	}
	c = c.Intend(20, 2)
	if c.IsForeign(2) || c.IsForeign(20) || !c.IsForeign(3) {
		t.Errorf("intended: %+v", c)
	}
	if again := c.Intend(20, 2); !again.Equal(c) {
		t.Errorf("intended again: %+v", again)
	}
	if early := c.Confirm(2); early.From == nil {
		t.Errorf("confirmed before the write: %+v", early)
	}
	c = c.Confirm(20)
	if !c.IsForeign(2) || c.IsForeign(20) {
		t.Errorf("confirmed: %+v", c)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hold Hold
		want string
	}{
		"good":                 {Hold{ID: "a", Replicas: 3, MinReplicas: 2, MaxReplicas: 4}, ""},
		"no id":                {Hold{Replicas: 3}, "no id"},
		"negative":             {Hold{ID: "a", Replicas: -1}, "negative"},
		"minimum above":        {Hold{ID: "a", Replicas: 3, MinReplicas: 4}, "minReplicas 4 is above"},
		"maximum below":        {Hold{ID: "a", Replicas: 3, MaxReplicas: 2}, "maxReplicas 2 is below"},
		"one beside a zero":    {Hold{ID: "a", MinReplicas: 1}, ""},
		"nothing but a name":   {Hold{ID: "a"}, ""},
		"within for days":      {Hold{ID: "a", Within: 48 * time.Hour}, "within must be from 0 to 24h0m0s"},
		"negative within":      {Hold{ID: "a", Within: -1}, "within must be"},
		"negative maxReplicas": {Hold{ID: "a", MaxReplicas: -1}, "negative"},
	} {
		err := c.hold.Validate()
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !errors.Is(err, ErrRejected)) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

// TestNewObject: an object reads back as the same spec, and its name tells IDs and workloads apart.
func TestNewObject(t *testing.T) {
	t.Parallel()
	h := Hold{
		ID: "event/Flash_Sale/42", By: "event 1", Replicas: 20, Until: time.Date(2026, 11, 27, 8, 0, 0, 999, time.FixedZone("x", 3600)), Within: time.Minute,
		Verify: &verify.Spec{URL: "/work", Timeout: metav1.Duration{Duration: time.Second}, Success: 1}, Gates: []string{"flash-sale"}, Group: "event/x", GroupSize: 2,
	}
	o := NewObject(shop, h, "tachometer.scaler")
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var back Object
	if err := json.Unmarshal(data, &back); err != nil || !EqualSpecs(o.Spec, back.Spec) {
		t.Errorf("%v: %s", err, cmp.Diff(o.Spec, back.Spec))
	}
	if o.Name != "shop-event-flash-sale-42-"+o.Name[len(o.Name)-8:] || o.HeldWorkload() != shop || !o.IsManaged() {
		t.Errorf("%+v", o)
	}
	other := shop
	other.Kind = "StatefulSet"
	if ObjectName(other, h.ID) == o.Name || ObjectName(shop, "event/flash-sale/42") == o.Name || len(ObjectName(shop, strings.Repeat("x", 500))) > 253 {
		t.Error("names collide, or are too long")
	}
}

// TestOwnerOfLease: the owner fits into a label, and tells leases apart.
func TestOwnerOfLease(t *testing.T) {
	t.Parallel()
	if got := OwnerOfLease("tachometer", "scaler"); got != "tachometer.scaler" {
		t.Error(got)
	}
	long := strings.Repeat("n", 63)
	if a, b := OwnerOfLease(long, "a"), OwnerOfLease(long, "b"); len(a) > 63 || a == b {
		t.Errorf("%s and %s", a, b)
	}
}

// TestIsPaused: a pause with an end ends by itself.
func TestIsPaused(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	later, earlier := metav1.NewTime(now.Add(time.Second)), metav1.NewTime(now)
	for name, c := range map[string]struct {
		spec Spec
		want bool
	}{
		"not paused":        {Spec{}, false},
		"an end alone":      {Spec{PausedUntil: &later}, false},
		"paused":            {Spec{Paused: true}, true},
		"paused, not over":  {Spec{Paused: true, PausedUntil: &later}, true},
		"its pause is over": {Spec{Paused: true, PausedUntil: &earlier}, false},
	} {
		o := &Object{Spec: c.spec}
		if o.IsPaused(now) != c.want || o.IsOver(now) != c.want {
			t.Errorf("%s: paused %v, over %v; want %v", name, o.IsPaused(now), o.IsOver(now), c.want)
		}
	}
}

// TestDeepCopy: a copy shares no memory.
func TestDeepCopy(t *testing.T) {
	t.Parallel()
	from := int32(2)
	o := NewObject(shop, Hold{ID: "a", Replicas: 3, Gates: []string{"g"}, Notify: []string{"n"}, Verify: &verify.Spec{}, Until: time.Unix(1, 0)}, "")
	o.Spec.PausedUntil = &metav1.Time{Time: time.Unix(1, 0)}
	o.Status = Status{Told: []string{"Open"}, Outbox: []OutboxMessage{{Notifiers: []string{"n"}}}, Yielded: []string{"replicas"}, Numbers: &Numbers{Replicas: Change{From: &from}}, Conditions: []metav1.Condition{{Type: "a"}}}
	c := o.DeepCopy()
	if diff := cmp.Diff(o, c); diff != "" {
		t.Fatal(diff)
	}
	c.Spec.Gates[0], c.Spec.Notify[0], c.Spec.Verify.URL, c.Status.Told[0], c.Status.Yielded[0] = "x", "x", "x", "x", "x"
	*c.Status.Numbers.Replicas.From, c.Status.Conditions[0].Type, c.Labels[ManagedLabel] = 9, "x", "x"
	c.Status.Outbox[0].Notifiers[0] = "x"
	*c.Spec.Until, *c.Spec.PausedUntil = metav1.NewTime(time.Unix(2, 0)), metav1.NewTime(time.Unix(2, 0))
	if o.Spec.Gates[0] != "g" || o.Spec.Notify[0] != "n" || o.Spec.Verify.URL != "" || o.Status.Told[0] != "Open" || o.Status.Outbox[0].Notifiers[0] != "n" || o.Status.Yielded[0] != "replicas" ||
		from != 2 || o.Status.Conditions[0].Type != "a" || !o.IsManaged() || o.Spec.Until.Unix() != 1 || o.Spec.PausedUntil.Unix() != 1 {
		t.Errorf("%+v", o)
	}
}

// TestD8OneFaultyObject: an object that cannot be read spoils no list. It keeps its workload and what it owes.
func TestD8OneFaultyObject(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]string{
		"within": `"within": "soon"`, "until": `"until": "2026-11-28t06:00:00z"`, "latency": `"verify": {"url": "/", "p99": "fast"}`,
		"requests": `"verify": {"requests": 1e30}`, "group": `"group": "a"`, "lower": `"lower": "yes"`,
	} {
		text := `{"items": [{"metadata": {"name": "a", "namespace": "sale", "resourceVersion": "7"}, "spec": {"workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}, "replicas": 3, ` +
			spec + `}, "status": {"state": "Open", "gateOpen": true, "numbers": {"sequence": 4}}}, {"metadata": {"name": "b"}, "spec": {"replicas": 5, "within": "5m"}}]}`
		var list ObjectList
		if err := json.Unmarshal([]byte(text), &list); err != nil || len(list.Items) != 2 {
			t.Fatalf("%s: %v, %d objects", name, err, len(list.Items))
		}
		a, b := &list.Items[0], &list.Items[1]
		if a.Fault == "" || a.HeldWorkload() != shop || a.Spec.Replicas != 3 || a.ResourceVersion != "7" || !a.Status.GateOpen || a.Status.Numbers == nil || a.Status.State != Open {
			t.Errorf("%s: %+v", name, a)
		}
		if b.Fault != "" || b.Spec.Replicas != 5 || b.WithinOrDefault() != 5*time.Minute {
			t.Errorf("%s: the other: %+v", name, b)
		}
	}
}

// TestD8TimesBeyondJSON: a time that the API server takes, and takes from no writer again, is the trouble of its own object.
func TestD8TimesBeyondJSON(t *testing.T) {
	t.Parallel()
	for text, fault := range map[string]string{
		"9999-12-31T23:59:59Z": "", "9999-12-31T23:59:59-00:01": "spec.until", "0001-01-01T00:00:00Z": "spec.until", "0000-06-01T00:00:00Z": "spec.until",
		"0001-01-01T00:00:01Z": "", "0001-01-01T00:30:00+01:00": "spec.until", "2026-11-28T06:00:00.5+14:00": "",
	} {
		var o Object
		if err := json.Unmarshal([]byte(`{"metadata": {"name": "a"}, "spec": {"workload": {"name": "shop"}, "replicas": 3, "until": "`+text+`"}}`), &o); err != nil {
			t.Fatal(err)
		}
		if (o.Fault == "") != (fault == "") || !strings.HasPrefix(o.Fault, fault) || o.Spec.Replicas != 3 || (o.Spec.Until == nil) != (fault != "") {
			t.Errorf("%s: fault %q, %+v", text, o.Fault, o.Spec)
		}
		if again, err := json.Marshal(o); err != nil || strings.Contains(string(again), "10000-") || strings.Contains(string(again), "null") {
			t.Errorf("%s: %s, %v", text, again, err)
		}
	}
}
