package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/test/harness/sale"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

var (
	soakDuration = flag.Duration("scalersoak.duration", 0, "time for which TestScalerSoak disturbs the scaler; 0 skips it")
	soakSeed     = flag.Uint64("scalersoak.seed", 1, "seed of the disturbances of TestScalerSoak")
)

const (
	// soakPods are the pods of a sale: a share of the node's room, so that they start at once.
	soakPods = 6
	// soakSchedule raises the sample in every other minute.
	soakSchedule = `schedules:
- name: minutes
  namespace: tachometer-sample
  workloads: [deploy/sample]
  notify: [oncall]
  windows: [{cron: "*/2 * * * *", for: 1m, minReplicas: 4}]
`
	// soakPerson is a field manager that is not the scaler.
	soakPerson = "argocd-controller"
)

// soak is a life of the scaler on the node, with what its judges know.
type soak struct {
	*rand.Rand
	market *sale.Sale
	events int
	kills  int // of scalers
	memory []memorySample

	mu     sync.Mutex // guards the fields below
	person int32      // the minReplicas that a person set last, or the original number
	max    int32      // the original maxReplicas
	faults []string
}

// soakDisturbances are what happens in a round, each as likely as any other.
var soakDisturbances = []struct {
	name    string
	disturb func(*soak, *testing.T)
}{
	{"a start from Kafka", func(k *soak, t *testing.T) { t.Helper(); k.publish(t, sale.Start) }},
	{"a start and its end from Kafka", func(k *soak, t *testing.T) { t.Helper(); k.publish(t, sale.Start); k.publish(t, sale.End) }},
	{"a start over HTTP", func(k *soak, t *testing.T) { t.Helper(); k.post(t, sale.Start) }},
	{"an end over HTTP", func(k *soak, t *testing.T) { t.Helper(); k.post(t, sale.End) }},
	{"a person's minimum", (*soak).editMinimum},
	{"a scaler killed", func(k *soak, t *testing.T) { t.Helper(); k.killScalers(t, 1) }},
	{"both scalers killed", func(k *soak, t *testing.T) { t.Helper(); k.killScalers(t, 2) }},
	{"kube-apiserver restarted", func(_ *soak, t *testing.T) { t.Helper(); restartControlPlane("kube-apiserver")(t) }},
	{"the broker away", (*soak).interruptBroker},
	{"the holds paused and resumed", (*soak).pauseHolds},
}

// TestScalerSoak lets the scaler run on a node, with schedules, events from a broker and over HTTP, a person's edits by another field manager, kills and
// restarts. While it runs, the gate is open over ready pods only. After each round everything ends, and what was there is back: the autoscaler's
// numbers, a person's among them, the gate and the field managers. At the end it judges the messages and the scalers' memory. make soak-scaler-node runs it for half an hour.
func TestScalerSoak(t *testing.T) {
	needNode(t)
	if *soakDuration == 0 {
		t.Skip("SKIPPED: -scalersoak.duration is 0: run `make soak-scaler-node`")
	}
	light(t)
	before, market := beginSale(t, func(ctx context.Context, s *stack.Stack) (*sale.Sale, error) {
		return sale.UpWith(ctx, s, func(config string) string {
			return strings.Replace(config, "replicas: 22, maxReplicas: 30", fmt.Sprintf("replicas: %d, maxReplicas: 12", soakPods), 1) + soakSchedule
		})
	})
	k := &soak{Rand: rand.New(rand.NewPCG(*soakSeed, 0)), market: market, person: before.MinReplicas, max: before.MaxReplicas}
	t.Cleanup(func() { // for the tests after this one
		patch := fmt.Appendf(nil, `{"spec":{"minReplicas":%d}}`, before.MinReplicas)
		_, err := s.Client.AutoscalingV2().HorizontalPodAutoscalers(stack.SampleNamespace).Patch(context.Background(), "sample", types.MergePatchType, patch, metav1.PatchOptions{})
		if err != nil {
			t.Error(err)
		}
	})
	watching, stop := context.WithCancel(t.Context())
	var watches sync.WaitGroup
	watches.Go(func() { k.watchGate(watching) })
	began, rounds := time.Now(), 0
	for ; time.Since(began) < *soakDuration && !t.Failed(); rounds++ {
		t.Run(fmt.Sprintf("round %02d", rounds), k.runRound)
		k.sampleScalerMemory(t, time.Since(began))
	}
	stop()
	watches.Wait()
	t.Logf("seed %d: %d rounds, %d events, %d messages", *soakSeed, rounds, k.events, len(market.Alerts()))
	if len(market.Alerts()) == 0 {
		t.Error("no hold told anybody")
	}
	k.judgeMessages(t)
	for _, f := range describeMemoryFaults(k.memory) {
		t.Error(f)
	}
	for _, m := range k.memory {
		t.Logf("after %s: process %d has %d MiB", m.at.Round(time.Second), m.pid, m.resident>>20)
	}
}

// judgeMessages judges all messages, after those that wait for another attempt had time for it.
func (k *soak) judgeMessages(t *testing.T) {
	t.Helper()
	var faults []string
	_ = stack.Wait(t.Context(), 2*time.Minute, func(context.Context) error {
		if faults = describeMessageFaults(k.market.Alerts(), k.kills > 0); len(faults) > 0 {
			return errors.New(faults[0])
		}
		return nil
	})
	for _, f := range faults {
		t.Error(f)
	}
}

// runRound makes some disturbances, ends everything, and judges what is left.
func (k *soak) runRound(t *testing.T) {
	for range 2 + k.IntN(4) {
		d := soakDisturbances[k.IntN(len(soakDisturbances))]
		t.Log(time.Now().Format(time.TimeOnly), d.name)
		d.disturb(k, t)
		retry.Sleep(t.Context(), time.Duration(k.IntN(8000))*time.Millisecond)
	}
	k.endSales(t)
	err := stack.Wait(t.Context(), 4*time.Minute, k.judgeRest)
	if err != nil {
		t.Fatal(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range k.faults {
		t.Error(f)
	}
}

// publish sends an event over Kafka.
func (k *soak) publish(t *testing.T, kind string) {
	t.Helper()
	if err := k.market.Publish(t.Context(), k.newEvent(kind)); err != nil {
		t.Fatal(err)
	}
}

// post sends an event over HTTP until a scaler has taken it.
func (k *soak) post(t *testing.T, kind string) {
	t.Helper()
	event := k.newEvent(kind)
	err := stack.Wait(t.Context(), 2*time.Minute, func(ctx context.Context) error {
		code, answer, err := k.market.Post(ctx, event, sale.Secret)
		if err == nil && code != 202 && code != 200 {
			err = fmt.Errorf("%d %s", code, answer)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// newEvent returns a start or an end with an identity of its own.
func (k *soak) newEvent(kind string) []byte {
	k.events++
	return sale.Event(fmt.Sprintf("soak-%d", k.events), kind, 10*time.Minute)
}

// editMinimum sets the autoscaler's minimum as another field manager, by server-side apply.
func (k *soak) editMinimum(t *testing.T) {
	t.Helper()
	value := int32(k.IntN(3) + 1)
	patch, err := json.Marshal(map[string]any{
		"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": map[string]any{"name": "sample"}, "spec": map[string]any{"minReplicas": value},
	})
	if err != nil {
		t.Fatal(err)
	}
	hpas := s.Client.AutoscalingV2().HorizontalPodAutoscalers(stack.SampleNamespace)
	options := metav1.PatchOptions{FieldManager: soakPerson, Force: new(true)}
	if _, err := hpas.Patch(t.Context(), "sample", types.ApplyPatchType, patch, options); err != nil {
		t.Fatal(err)
	}
	t.Logf("minReplicas %d", value)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.person = value
}

// killScalers kills the processes of scalers, and deletes their pods: the kubelet would wait longer before each further restart.
func (k *soak) killScalers(t *testing.T, n int) {
	t.Helper()
	pods, err := s.Client.CoreV1().Pods(stack.AdapterNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=tachometer-scaler"})
	if err != nil {
		t.Fatal(err)
	}
	k.Shuffle(len(pods.Items), func(i, j int) { pods.Items[i], pods.Items[j] = pods.Items[j], pods.Items[i] })
	for _, pod := range pods.Items[:min(n, len(pods.Items))] {
		k.kills++
		pids, err := podProcesses(pod)
		if err != nil {
			t.Logf("it does not run: %v", err)
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err := s.Client.CoreV1().Pods(pod.Namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}); err != nil {
			t.Log(err)
		}
	}
}

// interruptBroker makes the broker refuse connections for some seconds.
func (k *soak) interruptBroker(t *testing.T) {
	t.Helper()
	if err := k.market.InterruptBroker(); err != nil {
		t.Fatal(err)
	}
	retry.Sleep(t.Context(), time.Duration(k.IntN(8000))*time.Millisecond)
	if err := k.market.ResumeBroker(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// pauseHolds pauses all holds for a few seconds.
func (k *soak) pauseHolds(t *testing.T) {
	t.Helper()
	k.patchHolds(t, `{"spec":{"paused":true}}`)
	retry.Sleep(t.Context(), time.Duration(k.IntN(8000))*time.Millisecond)
	k.patchHolds(t, `{"spec":{"paused":null}}`)
}

func (k *soak) patchHolds(t *testing.T, patch string) {
	t.Helper()
	all, err := sampleHolds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		out, err := s.Kubectl(t.Context(), "-n", stack.SampleNamespace, "patch", "hold", all[i].Name, "--type=merge", "-p", patch)
		if err != nil && !strings.Contains(out, "NotFound") {
			t.Fatal(err)
		}
	}
}

// endSales sends an end over each way, until no hold of an event is left that is not deleted.
func (k *soak) endSales(t *testing.T) {
	t.Helper()
	k.publish(t, sale.End)
	k.post(t, sale.End)
	err := stack.Wait(t.Context(), 2*time.Minute, func(ctx context.Context) error {
		all, err := sampleHolds(ctx)
		i := slices.IndexFunc(all, func(h hold.Object) bool { return strings.HasPrefix(h.HoldID(), hold.EventPrefix) })
		if err == nil && i >= 0 {
			err = fmt.Errorf("hold %s is left: %+v", all[i].Name, all[i].Status)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// judgeRest returns what differs from the world without holds. Between two windows of the schedule there must be none.
func (k *soak) judgeRest(ctx context.Context) error {
	now, err := sampleStands(ctx)
	if err != nil {
		return err
	}
	gate, err := k.market.Gate(ctx)
	k.mu.Lock()
	want := standing{MinReplicas: k.person, MaxReplicas: k.max}
	k.mu.Unlock()
	if err == nil && (now != want || gate != "false") {
		err = fmt.Errorf("%+v, gate %s; want %+v", now, gate, want)
	}
	return err
}

// watchGate judges the gate until ctx ends: it is open over the pods of the sale, or shut.
func (k *soak) watchGate(ctx context.Context) {
	for open := false; retry.Sleep(ctx, 200*time.Millisecond); {
		gate, err := k.market.Gate(ctx)
		if err != nil {
			continue
		}
		was := open
		if open = gate == "true"; !open || was {
			continue
		}
		pods, err := s.ReadyPods(ctx)
		again, gateErr := k.market.Gate(ctx)
		if errors.Join(err, gateErr) != nil || again != "true" {
			continue // away, or shut meanwhile: its pods may go
		}
		if len(pods) < soakPods {
			k.mu.Lock()
			k.faults = append(k.faults, fmt.Sprintf("%s: the gate is open over %d of %d pods", time.Now().Format(time.TimeOnly), len(pods), soakPods))
			k.mu.Unlock()
		}
	}
}
