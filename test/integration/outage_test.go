package integration

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"
)

// outage is the duration of kube-apiserver's hang. It is shorter than any lease that might be lost.
const outage = 5 * time.Second

// TestOutage freezes kube-apiserver. The adapter keeps serving right values to clients that reach it, and stops on request. Started
// during the outage, it waits, and serves right values when the API server is back. The test is not parallel, because all tests share
// the API server.
func TestOutage(t *testing.T) {
	requireCluster(t)
	namespace := newNamespace(t)
	want := map[string]float64{"a": 1200, "b": 800}
	for name, rate := range want {
		newPod(t, namespace, name, nil, newCounter(rate))
	}
	path := podsPath(namespace, requests, "", "")
	eventually(t, 20*time.Second, func(ctx context.Context) error { return reach(ctx, t, path, want) })
	if _, err := tacho.get(t.Context(), path); err != nil { // caches kube-apiserver's review of this reader's right
		t.Fatal(err)
	}

	resume := freeze(t)
	frozen := time.Now()
	reads := 0
	eventually(t, outage, func(ctx context.Context) error {
		body, err := tacho.get(ctx, path)
		if err != nil {
			t.Errorf("during the outage: %v", err)
			return nil
		}
		found, _, err := parse(body, "")
		if err := errors.Join(err, agree(found, want, never)); err != nil {
			t.Errorf("during the outage: %v", err)
		}
		if reads++; time.Since(frozen) < outage/2 {
			return errors.New("the outage goes on")
		}
		return nil
	})
	if err := tacho.stop(); err != nil {
		t.Errorf("during the outage: %v", err)
	}
	t.Logf("%d reads during the outage; the adapter stopped %.1f s into it", reads, time.Since(frozen).Seconds())

	if err := tacho.start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*outage, func(ctx context.Context) error {
		asked, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		if tacho.ready(asked) == nil {
			t.Error("the adapter calls itself ready without having seen a pod")
		}
		if time.Since(frozen) < outage {
			return errors.New("the outage goes on")
		}
		return nil
	})
	resume()
	resumed := time.Now()
	eventually(t, 40*time.Second, tacho.ready)
	eventually(t, 20*time.Second, func(ctx context.Context) error { return reach(ctx, t, path, want) })
	t.Logf("values %.1f s after the outage", time.Since(resumed).Seconds())
}

// freeze stops kube-apiserver from running, until resume is called or the test ends.
func freeze(t *testing.T) (resume func()) {
	t.Helper()
	processes, err := shared.Processes()
	if err != nil {
		t.Fatal(err)
	}
	pid := processes["kube-apiserver"]
	if pid == 0 {
		t.Fatalf("no kube-apiserver among %v", processes)
	}
	resume = func() {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Errorf("resume kube-apiserver: %v", err)
		}
	}
	t.Cleanup(resume)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	return resume
}
