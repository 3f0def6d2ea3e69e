package command

import (
	"slices"
	"strings"
	"testing"
)

// addSurgeEvent adds an Event of the surge lane about an autoscaler.
func (a *fakeAPI) addSurgeEvent(name, autoscaler, reason, at, message string) {
	a.objects["/api/v1/namespaces/sale/events/"+name] = map[string]any{
		"apiVersion": "v1", "kind": "Event", "metadata": map[string]any{"name": name, "namespace": "sale"}, "reason": reason, "message": message,
		"involvedObject": map[string]any{"kind": "HorizontalPodAutoscaler", "name": autoscaler}, "lastTimestamp": at,
	}
}

// TestStatusShowsSurgeLane: status tells what the lane did last, or would have done and how much earlier, for the workloads that are asked
// for. The formats for programs have the Holds alone.
func TestStatusShowsSurgeLane(t *testing.T) {
	t.Parallel()
	a := newFakeAPI(t)
	for _, name := range []string{"shop", "cart"} {
		a.objects["/apis/autoscaling/v2/namespaces/sale/horizontalpodautoscalers/"+name+"-hpa"] = map[string]any{
			"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": map[string]any{"name": name + "-hpa", "namespace": "sale"},
			"spec": map[string]any{"maxReplicas": 9, "scaleTargetRef": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": name}},
		}
	}
	a.addSurgeEvent("e2", "shop-hpa", "SurgeFollowed", "2026-11-28T12:00:21Z", "20 replicas 21.4 s after the lane would have raised to 20\x1b[2J")
	a.addSurgeEvent("e1", "shop-hpa", "SurgeObserved", "2026-11-28T12:00:00Z", "would raise to 20 replicas now")
	a.addSurgeEvent("e3", "cart-hpa", "SurgeRaised", "2026-11-28T12:00:00Z", "raise to 7 replicas")
	for args, want := range map[string]string{
		"": "hpa/cart-hpa SurgeRaised, hpa/shop-hpa SurgeFollowed", "deploy/shop": "hpa/shop-hpa SurgeFollowed", "-o wide": "hpa/cart-hpa SurgeRaised, hpa/shop-hpa SurgeFollowed",
		"-o json": "", "-o name": "",
	} {
		out, errs, code := a.run(t, append([]string{"status"}, strings.Fields(args)...)...)
		var got []string
		for line := range strings.Lines(out) {
			if fields := strings.Fields(line); len(fields) > 2 && strings.HasPrefix(fields[1], "hpa/") {
				got = append(got, fields[1]+" "+fields[2])
			}
		}
		if code != ExitDone || errs != "" || strings.Join(got, ", ") != want || strings.Contains(out, "\x1b") {
			t.Errorf("status %s: exit code %d, %s\n%s", args, code, errs, out)
		}
		if want != "" && !strings.Contains(out, "21.4 s after") {
			t.Errorf("status %s has no seconds:\n%s", args, out)
		}
	}
	if !slices.ContainsFunc(a.requests, func(r string) bool {
		return strings.Contains(r, "source%3Dtachometer-scaler") && strings.Contains(r, "limit=")
	}) {
		t.Errorf("requests %v; want only the scaler's Events, in pages", a.requests)
	}
	a.forbids = "GET /api/v1/namespaces/sale/events"
	if out, errs, code := a.run(t, "status"); code != ExitDone || !strings.Contains(out, "no holds") || !strings.Contains(errs, "the surge lane is not shown: list events") {
		t.Errorf("without the right: exit code %d, %s\n%s", code, errs, out)
	}
}
