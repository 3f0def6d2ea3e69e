package command

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD32WorkloadArgs: every way in which kubectl names an object, and errors that name what exists.
func TestD32WorkloadArgs(t *testing.T) {
	t.Parallel()
	a := newFakeAPI(t)
	deployment := func(name string) hold.Workload {
		return hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: name}
	}
	web := hold.Workload{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Namespace: "sale", Name: "web"}
	for text, want := range map[string]struct {
		workloads []hold.Workload
		fault     string
		code      int
	}{
		"deploy/shop":                       {workloads: []hold.Workload{deployment("shop")}},
		"deploy shop":                       {workloads: []hold.Workload{deployment("shop")}},
		"Deployment shop cart":              {workloads: []hold.Workload{deployment("shop"), deployment("cart")}},
		"deployment.apps/shop":              {workloads: []hold.Workload{deployment("shop")}},
		"deployments.v1.apps/shop":          {workloads: []hold.Workload{deployment("shop")}},
		"deploy/shop deploy/cart":           {workloads: []hold.Workload{deployment("shop"), deployment("cart")}},
		"deploy/shop deployments.apps/shop": {workloads: []hold.Workload{deployment("shop")}},
		"ro/web":                            {workloads: []hold.Workload{web}},
		"rollout web":                       {workloads: []hold.Workload{web}},
		"rollouts.argoproj.io web":          {workloads: []hold.Workload{web}},
		"Rollout.v1alpha1.argoproj.io/web":  {workloads: []hold.Workload{web}},
		"argoproj.io/v1alpha1/Rollout/web":  {workloads: []hold.Workload{web}},
		"":                                  {fault: "TYPE NAME or TYPE/NAME", code: ExitUsage},
		"shop":                              {fault: "such as deploy/shop", code: ExitUsage},
		"deploy/":                           {fault: "KIND/NAME", code: ExitUsage},
		"deploy shop deploy/cart":           {fault: "every argument is a NAME", code: ExitUsage},
		"deploy/shop cart":                  {fault: "every workload is TYPE/NAME", code: ExitUsage},
		"depoly/shop":                       {fault: `no type "depoly"; types with replicas: deployments.apps, rollouts.argoproj.io`, code: ExitUsage},
		"deploy.v1beta1.apps/shop":          {fault: "the cluster serves Deployment of apps in version v1, not in v1beta1", code: ExitUsage},
		"deployments.v1beta1.apps shop":     {fault: "the cluster serves Deployment of apps in version v1, not in v1beta1", code: ExitUsage},
		"rollouts.v1.argoproj.io/web":       {fault: "the cluster serves Rollout of argoproj.io in version v1alpha1, not in v1", code: ExitUsage},
		"rollouts.v1.io/web":                {fault: "the cluster has no type", code: ExitUsage},
		"apps/v1beta1/Deployment/shop":      {fault: "the cluster serves Deployment of apps in version v1, not in v1beta1", code: ExitUsage},
		"ro.v1.argoproj.io web":             {fault: "the cluster serves Rollout of argoproj.io in version v1alpha1, not in v1", code: ExitUsage},
		"argoproj.io/v1/Rollout/web":        {fault: "the cluster serves Rollout of argoproj.io in version v1alpha1, not in v1", code: ExitUsage},
		"apps/v1/Deployment/shop":           {workloads: []hold.Workload{deployment("shop")}},
		"example.com/v1/Thing/x":            {workloads: []hold.Workload{{APIVersion: "example.com/v1", Kind: "Thing", Namespace: "sale", Name: "x"}}},
		"deploy.argoproj.io/shop":           {fault: "types with replicas: deployments.apps", code: ExitUsage},
		"ds/agent":                          {fault: "its resource has no scale", code: ExitUsage},
	} {
		c, err := NewConnection(&rest.Config{Host: a.url}, "sale")
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.parseWorkloadArgs(strings.Fields(text))
		if diff := cmp.Diff(want.workloads, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
		code, _ := ExitCode(err)
		if (err == nil) != (want.fault == "") || err != nil && (!strings.Contains(err.Error(), want.fault) || code != want.code) {
			t.Errorf("%q: exit code %d, %v; want %d, %q", text, code, err, want.code, want.fault)
		}
	}
}

// TestD28UnknownNames: a name that does not exist is an error, which lists the names that do.
func TestD28UnknownNames(t *testing.T) {
	t.Parallel()
	a := newFakeAPI(t)
	for _, args := range [][]string{
		{"status", "deploy/nobody"}, {"release", "deploy/nobody"}, {"set", "deploy/nobody", "--replicas", "3"}, {"pause", "deploy/nobody"}, {"approve", "deploy/nobody"},
	} {
		if _, errs, code := a.run(t, args...); code != ExitFailed || !strings.Contains(errs, "does not exist; the namespace has the deployments cart, shop") && !strings.Contains(errs, "does not exist; the namespace has the deployments shop, cart") {
			t.Errorf("%v: exit code %d, %s", args, code, errs)
		}
	}
	if wrote := a.wrote(); len(wrote) > 0 {
		t.Errorf("wrote %q", wrote)
	}
}
