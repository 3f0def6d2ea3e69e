package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
	"github.com/tachometer-metrics/tachometer/test/harness/cluster"
	"github.com/tachometer-metrics/tachometer/test/harness/decisions"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// decisionsPath returns the path of an autoscaler's record, of all replicas or of the one that answers.
func decisionsPath(namespace, scope string) string {
	path := "/apis/" + explainapi.GroupVersion.String() + "/namespaces/" + namespace + "/horizontalpodautoscalers/web/decisions?since=10m"
	if scope != "" {
		path += "&scope=" + scope
	}
	return path
}

func parseDecisions(data []byte, err error) (*explainapi.DecisionLog, error) {
	if err != nil {
		return nil, err
	}
	log := &explainapi.DecisionLog{}
	if err := json.Unmarshal(data, log); err != nil {
		return nil, err
	}
	log.Complete()
	return log, nil
}

// statusHistory is what a watch showed of an autoscaler's wishes.
type statusHistory struct {
	mu     sync.Mutex // guards wanted
	wanted []int32    // each change
}

// watchWishes watches an autoscaler until the test ends.
func watchWishes(t *testing.T, namespace string) *statusHistory {
	t.Helper()
	watch, err := client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Watch(t.Context(), metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", "web").String(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watch.Stop)
	h := &statusHistory{}
	go func() {
		for event := range watch.ResultChan() {
			if scaler, ok := event.Object.(*autoscalingv2.HorizontalPodAutoscaler); ok {
				h.add(scaler.Status.DesiredReplicas)
			}
		}
	}()
	return h
}

func (h *statusHistory) add(wanted int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.wanted); n == 0 || h.wanted[n-1] != wanted {
		h.wanted = append(h.wanted, wanted)
	}
}

// check compares the history with the record: the same wishes in the same order. One of them may begin a wish later: the watch, or the
// record.
func (h *statusHistory) check(log *explainapi.DecisionLog) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var recorded []int32
	for _, d := range log.Decisions {
		if n := len(recorded); d.Status != nil && (n == 0 || recorded[n-1] != d.Status.DesiredReplicas) {
			recorded = append(recorded, d.Status.DesiredReplicas)
		}
	}
	r, w := len(recorded), len(h.wanted)
	both := min(r, w)
	if both < 3 || max(r, w) > both+1 || !slices.Equal(recorded[r-both:], h.wanted[w-both:]) {
		return fmt.Errorf("the controller wrote the wishes %v, and recorded are %v", h.wanted, recorded)
	}
	return nil
}

// checkDecisions fails the test unless the arithmetic gives each decision of the real controller from the recorded inputs.
func checkDecisions(t *testing.T, namespace string, history *statusHistory) {
	t.Helper()
	var log *explainapi.DecisionLog
	eventually(t, 10*time.Second, func(ctx context.Context) (err error) { // the watch of the status may be behind
		if log, err = parseDecisions(admin.raw(ctx, decisionsPath(namespace, ""))); err != nil {
			return err
		}
		return history.check(log)
	})
	v := decisions.Judge(log, time.Time{})
	t.Log(v)
	for _, d := range v.Differences {
		t.Error(d)
	}
	looked := false // the controller's first read comes before its first status
	for i, l := range replay.Reproduce(log, replay.Settings()) {
		if looked && l.Missing != "" && len(log.Decisions[i].Reads) > 0 {
			t.Errorf("look at %s has a read, and: %s", l.Time.Format(time.StampMilli), l.Missing)
		}
		looked = looked || l.Missing == ""
	}
	if v.Agreed < 5 || v.Changed > v.Agreed/5 || v.Remembered > v.Agreed/5 {
		t.Errorf("of %d decisions: %v", len(log.Decisions), v)
	}
}

// TestDecisionsAgree: the record gives each decision of the real controller again, for an autoscaler without windows.
func TestDecisionsAgree(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	k := newKubelet(t, namespace)
	k.load.Store(3000)
	newScaled(t, namespace)
	history := watchWishes(t, namespace)
	hpas := client.AutoscalingV2().HorizontalPodAutoscalers(namespace)
	patch := `[{"op":"replace","path":"/spec/behavior/scaleUp/stabilizationWindowSeconds","value":0},{"op":"replace","path":"/spec/behavior/scaleDown/stabilizationWindowSeconds","value":0},` +
		`{"op":"add","path":"/spec/behavior/scaleUp/policies","value":[{"type":"Pods","value":100,"periodSeconds":1}]}]`
	if _, err := hpas.Patch(t.Context(), "web", types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, load := range []int64{3000, 13_000, 5000, 19_000, 9000} {
		k.load.Store(load)
		eventually(t, 40*time.Second, func(ctx context.Context) error {
			h, err := hpas.Get(ctx, "web", metav1.GetOptions{})
			if err != nil {
				return err
			}
			wanted := h.Status.DesiredReplicas
			whole := math.Ceil(float64(load) / perPod)
			ratio := float64(load) / perPod / float64(wanted)
			if int(wanted) != k.running() || float64(wanted) != whole && math.Abs(ratio-1) > 0.1 { // the tolerance
				return fmt.Errorf("%d requests/s: %d pods wanted, %d running, want %v or a ratio within the tolerance", load, wanted, k.running(), whole)
			}
			return nil
		})
	}
	checkDecisions(t, namespace, history)
}

// TestTwoReplicas: reads that reached different replicas are one record, whichever replica is asked. It is not parallel: a second adapter
// scrapes every pod too.
func TestTwoReplicas(t *testing.T) {
	requireCluster(t)
	namespace := newNamespace(t)
	k := newKubelet(t, namespace)
	k.load.Store(3000)
	newScaled(t, namespace)
	second := startSecondReplica(t)
	controller := newControllerToken(t)
	path := podsPath(namespace, requests, "app=web", metav1.FormatLabelSelector(counted()))
	own := func(a *adapter, scope string) (*explainapi.DecisionLog, error) {
		return parseDecisions(a.get(t.Context(), decisionsPath(namespace, scope)))
	}
	eventually(t, 2*time.Minute, func(ctx context.Context) error {
		if err := second.readAs(ctx, controller, path); err != nil {
			return err
		}
		for _, a := range []*adapter{tacho, second} {
			if log, err := own(a, explainapi.ScopeReplica); err != nil || len(listReadTimes(log)) < 3 {
				return fmt.Errorf("the replica at port %d has no three reads yet: %w", a.port, err)
			}
		}
		return nil
	})
	var want []time.Time
	for _, a := range []*adapter{tacho, second} {
		log, err := own(a, explainapi.ScopeReplica)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, listReadTimes(log)...)
	}
	for _, a := range []*adapter{tacho, second} {
		log, err := own(a, "")
		if err != nil {
			t.Fatal(err)
		}
		merged := listReadTimes(log)
		for _, at := range want {
			if !slices.ContainsFunc(merged, at.Equal) {
				t.Errorf("the replica at port %d lacks the read at %s", a.port, at.Format(time.StampMilli))
			}
		}
		if len(log.Source.Recorders()) != 2 {
			t.Errorf("the replica at port %d has the records of %+v", a.port, log.Source)
		}
	}
	checkForwardedRead(t, second, path)
	if err := second.stop(); err != nil {
		t.Fatal(err)
	}
	log, err := own(tacho, "")
	if err != nil {
		t.Fatal(err)
	}
	if r := log.Source.Replicas; len(r) != 2 || !strings.Contains(r[1].Error, "refused") {
		t.Errorf("a replica that is gone is told as %+v", r)
	}
}

// checkForwardedRead expects that a read that asks for another replica than the first is answered by the second, to which kube-apiserver
// sends nothing. Both have the name of this machine.
func checkForwardedRead(t *testing.T, second *adapter, path string) {
	t.Helper()
	answered := func() float64 {
		n, err := second.counted(t.Context(), "tachometer_provider_requests_total", "api", "custom", "outcome", "success")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := answered()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+net.JoinHostPort(shared.HostIP(), strconv.Itoa(tacho.port))+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set(domain.OtherReplicaHeader, name)
	response, err := tacho.reader.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || response.Header.Get(domain.ReplicaHeader) != name {
		t.Errorf("%s by %q, want values by %q", response.Status, response.Header.Get(domain.ReplicaHeader), name)
	}
	if got := answered(); got != before+1 {
		t.Errorf("the second replica answered %g reads, want %g", got-before, 1.0)
	}
}

func listReadTimes(log *explainapi.DecisionLog) []time.Time {
	var times []time.Time
	for _, d := range log.Decisions {
		for _, r := range d.Reads {
			times = append(times, r.Time)
		}
	}
	return times
}

// startSecondReplica starts another adapter beside the one that all tests share, until the test ends. kube-apiserver does not send it any
// request: its endpoint is not ready.
func startSecondReplica(t *testing.T) *adapter {
	t.Helper()
	second := *tacho
	second.process, second.log = nil, filepath.Join(t.TempDir(), "adapter.log")
	var err error
	if second.port, err = cluster.FreePort(shared.HostIP()); err != nil {
		t.Fatal(err)
	}
	for _, port := range []int{tacho.port, second.port} {
		const slice = `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: replica-%[1]d, namespace: %[2]s, labels: {kubernetes.io/service-name: tachometer-adapter}}
addressType: IPv4
ports: [{name: https, port: %[1]d, protocol: TCP}]
endpoints: [{addresses: [%[3]q], conditions: {ready: false, serving: true}}]
`
		if err := shared.Apply(t.Context(), fmt.Sprintf(slice, port, stack.AdapterNamespace, shared.HostIP())); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = client.DiscoveryV1().EndpointSlices(stack.AdapterNamespace).Delete(context.Background(), fmt.Sprintf("replica-%d", port), metav1.DeleteOptions{})
		})
	}
	startUntilEnd(t, &second, "the second replica")
	return &second
}

// startUntilEnd starts an adapter until the test ends, and waits until it is ready. A failed test shows its log.
func startUntilEnd(t *testing.T, a *adapter, name string) {
	t.Helper()
	if err := a.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.stop(); err != nil {
			t.Error(err)
		}
		if log, err := os.ReadFile(a.log); t.Failed() {
			t.Logf("%s (%v):\n%.4000s", name, err, log)
		}
	})
	eventually(t, time.Minute, a.ready)
}

// newControllerToken returns a token of the HPA controller's ServiceAccount.
func newControllerToken(t *testing.T) string {
	t.Helper()
	const account = "horizontal-pod-autoscaler"
	if _, err := client.CoreV1().ServiceAccounts("kube-system").Get(t.Context(), account, metav1.GetOptions{}); err != nil {
		t.Fatalf("the harness runs controllers with their own accounts: %v", err)
	}
	token, err := shared.Kubectl(t.Context(), "-n", "kube-system", "create", "token", account)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(token))
}

// readAs reads a path from the adapter itself, as the user of a token and not as the viewer.
func (a *adapter) readAs(ctx context.Context, token, path string) error {
	url := "https://" + net.JoinHostPort(shared.HostIP(), strconv.Itoa(a.port)) + path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	transport, ok := a.reader.Transport.(*http.Transport)
	if !ok {
		return errors.New("the viewer's client has another transport")
	}
	transport = transport.Clone()
	transport.TLSClientConfig.Certificates = nil
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.300s", response.Status, body)
	}
	return err
}
