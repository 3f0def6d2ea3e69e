package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apiserver"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/scrape"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// hpaController is the user name of the HPA controller.
const hpaController = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"

// TestOwnAddress: a replica knows its own endpoint by its port and the machine's addresses.
func TestOwnAddress(t *testing.T) {
	t.Parallel()
	a := &adapter{opts: &commandLineOptions{server: apiserver.NewOptions()}}
	for address, want := range map[string]bool{
		"127.0.0.1:6443":          true,
		"[::ffff:127.0.0.1]:6443": true,
		"127.0.0.1:6444":          false, // another replica on this machine
		"192.0.2.7:6443":          false, // an address for documentation, which no machine has
	} {
		if got := a.isListenAddress(netip.MustParseAddrPort(address)); got != want {
			t.Errorf("%s is this replica's: %t, want %t", address, got, want)
		}
	}
}

// TestRuleNames: a metric has the name of its rule, which is the pattern of a pattern rule, so that there are as many names as rules.
func TestRuleNames(t *testing.T) {
	t.Parallel()
	start, err := readConfigOrDefaults(newDefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	live := liveRules{}
	live.setStaticRules(start.rules)
	for _, tc := range []struct {
		resource, metric string
		external         bool
		want             string
	}{
		{"pods", "request_per_second", false, "request_per_second"},
		{"pods", "orders_per_second", false, "^(.+)_per_second$"},
		{"services", "sales_per_second", false, "^(.+)_per_second$"},
		{"pods", "http_request_duration_seconds_p95", false, "^(.+)_p(50|90|95|99)$"},
		{"", "orders_waiting", true, ""}, // no external rule
	} {
		if got := live.nameLiveRule("shop", tc.resource, tc.metric, tc.external); got != tc.want {
			t.Errorf("%+v: %q", tc, got)
		}
	}
}

// readDecisions reads the record of the fake cluster's autoscaler.
func (r *replica) readDecisions(t *testing.T) (log explainapi.DecisionLog) {
	t.Helper()
	body, err := r.getPath(t.Context(), "/apis/"+explainapi.GroupVersion.String()+"/namespaces/default/horizontalpodautoscalers/web/decisions?scope=replica")
	if err == nil {
		err = json.Unmarshal([]byte(body), &log)
	}
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// readAsController reads the autoscaler's metric as the HPA controller does, and waits until its record has the read.
func (r *replica) readAsController(t *testing.T) {
	t.Helper()
	before := len(r.readDecisions(t).Decisions)
	trust := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // of this process
	waitUntil(t, func() bool {
		_, err := r.getAs(t.Context(), hpaController, trust, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/request_per_second?labelSelector=app%3Dweb")
		return err == nil
	})
	waitUntil(t, func() bool { return len(r.readDecisions(t).Decisions) > before })
}

// TestRecordOfRestartedAdapter: with --record-dir the second process has the first one's decisions; without it, or with a damaged file, its record
// begins with it.
func TestRecordOfRestartedAdapter(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		keep, damage, want bool
	}{
		"without a directory": {},
		"with a directory":    {keep: true, want: true},
		"damaged file":        {keep: true, damage: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, directory := newFakeCluster(t), t.TempDir()
			start := func() *replica {
				opts := newDefaultOptions()
				opts.configFile = filepath.Join(t.TempDir(), "config.yaml")
				if err := os.WriteFile(opts.configFile, []byte(configHeader+"maxAge: 5m\nscrape: {interval: 200ms}\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				if tc.keep {
					opts.recordDirectory = directory
				}
				r := startWith(t, c, opts)
				waitUntil(t, func() bool { return r.isReady(t.Context()) })
				return r
			}
			first := start()
			first.readAsController(t)
			old := first.readDecisions(t)
			if err := first.stop(); err != nil {
				t.Fatal(err)
			}
			if tc.damage {
				damageFile(t, filepath.Join(directory, "decisions"))
			}
			began := time.Now()
			second := start()
			second.readAsController(t)
			log := second.readDecisions(t)
			begin := log.Source.UnknownBefore
			if tc.want != (begin.Sub(old.Source.UnknownBefore).Abs() < time.Millisecond) || tc.want != begin.Before(began) {
				t.Errorf("unknown before %s, of the first process %s; the second began at %s", begin, old.Source.UnknownBefore, began)
			}
			if got := len(log.Source.Gaps) == 1; got != tc.want || tc.want != (len(log.Decisions) > len(old.Decisions)) {
				t.Errorf("gaps %v, %d decisions after %d", log.Source.Gaps, len(log.Decisions), len(old.Decisions))
			}
		})
	}
}

func damageFile(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// failingMetrics answers each read of pods with an error.
type failingMetrics struct {
	metricsprovider.MetricsProvider
}

func (failingMetrics) GetMetricBySelector(context.Context, string, labels.Selector, metricsprovider.CustomMetricInfo, labels.Selector) (*custom_metrics.MetricValueList, error) {
	return nil, errors.New("2 pods: 2 scrape failed (connection refused)")
}

// TestAutoscalerEventsFlag: a metric that loses its value is an Event on its autoscaler, and none with --autoscaler-events=false, which leaves the
// record as it is.
func TestAutoscalerEventsFlag(t *testing.T) {
	t.Parallel()
	for argument, want := range map[string]int{"--autoscaler-events=true": 1, "--autoscaler-events=false": 0} {
		t.Run(argument, func(t *testing.T) {
			t.Parallel()
			opts := newDefaultOptions()
			for _, set := range opts.newFlagSets().FlagSets {
				if set.Lookup("autoscaler-events") != nil {
					if err := set.Parse([]string{argument}); err != nil {
						t.Fatal(err)
					}
				}
			}
			synctest.Test(t, func(t *testing.T) {
				if got := countEventsOfFailure(t, opts); got != want {
					t.Errorf("%d Events, want %d", got, want)
				}
			})
		})
	}
}

// countEventsOfFailure lets a metric lose its value, and returns the number of Events about it. It runs in a synctest bubble.
func countEventsOfFailure(t *testing.T, opts *commandLineOptions) int {
	t.Helper()
	start, err := readConfigOrDefaults(opts)
	if err != nil {
		t.Fatal(err)
	}
	client := fake.NewClientset()
	a := &adapter{opts: opts, clock: scrape.NewSampleClock()}
	a.rules.setStaticRules(start.rules)
	if err := a.buildDecisionRecorder(start, client, prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	if a.events != nil {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = a.events.Run(ctx) }()
	}
	h := &autoscaling.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1", ResourceVersion: "1"},
		Spec: autoscaling.HorizontalPodAutoscalerSpec{Metrics: []autoscaling.MetricSpec{{
			Type: autoscaling.PodsMetricSourceType, Pods: &autoscaling.PodsMetricSource{Metric: autoscaling.MetricIdentifier{Name: "request_per_second"}},
		}}},
		Status: autoscaling.HorizontalPodAutoscalerStatus{
			CurrentMetrics: []autoscaling.MetricStatus{{Type: autoscaling.PodsMetricSourceType}},
			Conditions:     []autoscaling.HorizontalPodAutoscalerCondition{{Type: autoscaling.ScalingActive, Status: core.ConditionTrue}},
		},
	}
	a.observeWatchedAutoscalers().ObserveAutoscaler(h)
	time.Sleep(time.Minute) //nolint:forbidigo // fake time
	ctx := apirequest.WithUser(t.Context(), &user.DefaultInfo{Name: hpaController})
	_, _ = a.recorder.Record(failingMetrics{}).GetMetricBySelector(ctx, "shop", labels.Everything(),
		metricsprovider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: "pods"}, Metric: "request_per_second"}, labels.Everything())
	failed := h.DeepCopy()
	failed.ResourceVersion, failed.Status.CurrentMetrics = "2", []autoscaling.MetricStatus{{}}
	failed.Status.Conditions[0].Status = core.ConditionFalse
	a.observeWatchedAutoscalers().ObserveAutoscaler(failed)
	time.Sleep(time.Minute) //nolint:forbidigo // fake time
	synctest.Wait()
	log, err := a.recorder.Log(types.NamespacedName{Namespace: "shop", Name: "web"}, time.Time{})
	if err != nil || len(log.Decisions) == 0 || !strings.Contains(log.Decisions[len(log.Decisions)-1].Reads[0].Error, "refused") {
		t.Errorf("record %+v, %v", log, err)
	}
	events, err := client.CoreV1().Events("shop").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return len(events.Items)
}
