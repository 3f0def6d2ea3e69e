package command

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD22UnnamedHolds: a hold without a name replaces a hold of the same user and host, and no other: two people may log in as root.
func TestD22UnnamedHolds(t *testing.T) {
	t.Parallel()
	shop := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: "shop"}
	cart := shop
	cart.Name = "cart"
	made := func(w hold.Workload, id, by string) hold.Object {
		return *hold.NewObject(w, hold.Hold{ID: id, By: by, Replicas: 20}, "")
	}
	ending := made(shop, "set/root", "root@bastion-1")
	ending.DeletionTimestamp = &metav1.Time{Time: time.Unix(0, 0)}
	beta := shop
	beta.APIVersion = "apps/v1beta2"
	for name, c := range map[string]struct {
		there []hold.Object
		want  string
		other string
	}{
		"nothing is held":                   {nil, "set/root", ""},
		"one's own":                         {[]hold.Object{made(shop, "set/root", "root@bastion-2")}, "set/root", ""},
		"root's on another host":            {[]hold.Object{made(shop, "set/root", "root@bastion-1")}, "set/root@bastion-2", "set/root"},
		"... of another version":            {[]hold.Object{made(beta, "set/root", "root@bastion-1")}, "set/root@bastion-2", "set/root"},
		"... that ends":                     {[]hold.Object{ending}, "set/root", ""},
		"... of another workload":           {[]hold.Object{made(cart, "set/root", "root@bastion-1")}, "set/root", ""},
		"both":                              {[]hold.Object{made(shop, "set/root", "root@bastion-1"), made(shop, "set/root@bastion-2", "root@bastion-2")}, "set/root@bastion-2", ""},
		"one's own beside, the other ended": {[]hold.Object{made(shop, "set/root@bastion-2", "root@bastion-2")}, "set/root@bastion-2", ""},
		"a schedule's":                      {[]hold.Object{made(shop, "schedule/root", "scaler")}, "set/root", ""},
	} {
		id, other := pickUnnamedHoldID(c.there, shop, &hold.Hold{ID: "set/root", By: "root@bastion-2"})
		if id != c.want || (other == nil) != (c.other == "") || other != nil && other.HoldID() != c.other {
			t.Errorf("%s: %q beside %v; want %q beside %q", name, id, other, c.want, c.other)
		}
	}
}

// TestD22SetBesideAnotherHost: set keeps the hold of another host, and says so.
func TestD22SetBesideAnotherHost(t *testing.T) {
	t.Parallel()
	if isCommandInPod() {
		t.Skip("in a pod every run has its own host; run it outside of a cluster")
	}
	a := newFakeAPI(t)
	id := hold.SetPrefix + commandUserName()
	a.addHold("other", map[string]any{"id": id, "replicas": 20, "by": commandUserName() + "@elsewhere"}, nil)
	out, errs, code := a.run(t, "set", "deploy/shop", "--replicas", "3", "--dry-run", "-o", "text")
	if want := id + " is a hold by " + commandUserName() + "@elsewhere for 20 replicas, and stays"; code != ExitDone || !strings.Contains(out, want) || !strings.Contains(out, hold.SetPrefix+IdentifyCaller()) {
		t.Errorf("exit code %d: %s%s; want %s", code, out, errs, want)
	}
}

// TestD10ReasonOfTwoHolds: a name that two holds have ends, pauses and approves neither: the person's, and the event's, are both meant by somebody. An ID
// from status names a hold of set.
func TestD10ReasonOfTwoHolds(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"release", "pause", "resume", "approve"} {
		a := newFakeAPI(t)
		for name, id := range map[string]string{"theirs": "event/x", "mine": "set/event/x"} {
			a.addHold(name, map[string]any{"id": id, "replicas": 6, "gates": []any{"sale"}, "paused": verb == "resume"}, map[string]any{"state": "Released", "observedGeneration": 1})
		}
		_, errs, code := a.run(t, verb, "deploy/shop", "--reason", "event/x")
		if code != ExitFailed || !strings.Contains(errs, "event/x (theirs)") || !strings.Contains(errs, "set/event/x (mine)") || len(a.wrote()) > 0 {
			t.Errorf("%s: exit code %d: %s; wrote %q", verb, code, errs, a.wrote())
		}
		for _, name := range []string{"set/event/x", "theirs"} {
			if out, errs, code := a.run(t, verb, "deploy/shop", "--reason", name, "--dry-run=server", "-o", "name"); code != ExitDone || !strings.Contains(out, "/"+map[string]string{"set/event/x": "mine", "theirs": "theirs"}[name]) {
				t.Errorf("%s %s: exit code %d: %s%s", verb, name, code, out, errs)
			}
		}
	}
}

// TestD22SetByID: set with the ID that status shows is about that hold, and not about a second one.
func TestD22SetByID(t *testing.T) {
	t.Parallel()
	a := newFakeAPI(t)
	addHeldShop(a)
	for _, name := range []string{"launch", "set/launch"} {
		out, errs, code := a.run(t, "set", "deploy/shop", "--replicas", "3", "--reason", name, "--dry-run", "-o", "yaml")
		if code != ExitDone || !strings.Contains(out, "id: set/launch\n") {
			t.Errorf("%s: exit code %d: %s%s", name, code, out, errs)
		}
	}
	if _, errs, code := a.run(t, "set", "deploy/shop", "--replicas", "3", "--reason", "set/"); code != ExitUsage {
		t.Errorf("exit code %d: %s", code, errs)
	}
}
