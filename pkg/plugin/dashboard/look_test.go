package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// TestLook: a look has the row of top and the sentence of explain, and reads each path once.
func TestLook(t *testing.T) {
	t.Parallel()
	c := newCluster("60", "62", "")
	s := c.serve(Options{Namespace: "shop", Context: "test", Flags: []string{"--context", "test"}})
	if got := getJSON[snapshot](t, s, "api/state"); got.Sequence != 0 || !got.Time.IsZero() || got.Autoscalers == nil {
		t.Errorf("before the first look: %+v", got)
	}
	c.look(t, s)
	got := getJSON[snapshot](t, s, "api/state")
	row := got.Autoscalers[0]
	if row.State != "steady" || row.Ready != 3 || row.Metrics[0].Value != "61" || !row.Oldest.Equal(noon.Add(3*time.Second)) {
		t.Errorf("row = %+v", row)
	}
	if !strings.HasPrefix(row.Sentence, "3 pods: request_per_second is 122/s over 2 pods, target 50 → 2.4, 1 pod without a value") {
		t.Errorf("sentence = %q", row.Sentence)
	}
	wantFaults := []faultView{{
		Namespace: "shop", Name: "web", Metric: "request_per_second of pods", Pod: "web-3", Reason: "left out of the answer, counts as 0",
		Command: "kubectl tachometer doctor hpa/web -n shop --context test",
	}}
	if diff := cmp.Diff(wantFaults, got.Faults); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	for path, n := range c.reads {
		if n != 1 {
			t.Errorf("%s was read %d times", path, n)
		}
	}
	if w := get(t, s, fmt.Sprintf("api/state?after=%d", got.Sequence)); w.Code != http.StatusNoContent {
		t.Errorf("an unchanged state has status %d", w.Code)
	}
}

// TestHeldSentence: the sentence of a held autoscaler is explain's: with the adapter's record it says which wish holds, and until when.
func TestHeldSentence(t *testing.T) {
	t.Parallel()
	const live = "4 pods: request_per_second is 120/s over 4 pods, target 50 → 2.4; scale-down waits"
	for name, tc := range map[string]struct {
		reason string
		record *explainapi.Explanation
		want   string
		reads  int
	}{
		"with a record": {"ScaleDownStabilized", &explainapi.Explanation{
			Source: explainapi.Source{Replica: "a", UnknownBefore: noon}, Computed: &explainapi.Computed{Holding: &explainapi.HeldWish{Replicas: 4, Time: noon, Until: noon.Add(5 * time.Minute)}},
		}, live + " until 12:05:00 UTC for the 4 wanted at 12:00:00.", 1},
		"without":  {"ScaleDownStabilized", nil, live + ": a higher wish of the last 5m holds 4.", 1},
		"not held": {"ReadyForNewScale", nil, "4 pods: request_per_second is 120/s over 4 pods, target 50 → 2.4; it wants 3, from its next look on.", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster("30", "30", "30", "30")
			c.record = tc.record
			c.status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionTrue, Reason: tc.reason}}
			s := c.serve(Options{})
			c.look(t, s)
			if got := getJSON[snapshot](t, s, "api/state").Autoscalers[0].Sentence; got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if n := c.reads["/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/horizontalpodautoscalers/web"]; n != tc.reads {
				t.Errorf("the record was read %d times, want %d", n, tc.reads)
			}
		})
	}
}

// TestSeries: the numbers of each look are columns; a number that could not be read is null.
func TestSeries(t *testing.T) {
	t.Parallel()
	c := newCluster("40", "42")
	s := c.serve(Options{})
	c.look(t, s)
	c.failure = "2 pods: 2 stale"
	c.look(t, s)
	d := getJSON[map[string]any](t, s, "api/autoscalers/shop/web")
	data, _ := json.Marshal(d["series"])
	want := fmt.Sprintf(`{"metrics":[{"load":[82,null],"name":"request_per_second of pods","percent":false,"rate":true,"share":true,"target":50,"value":[41,null]}],`+
		`"pods":[2,2],"ready":[2,2],"time":[%d,%d],"wanted":[2,2]}`, noon.Unix()+5, noon.Unix()+10)
	if string(data) != want {
		t.Errorf("series\n%s\nwant\n%s", data, want)
	}
}

// TestDecisions: a decision has the values that the controller saw, not those of the pods that it made or deleted.
func TestDecisions(t *testing.T) {
	t.Parallel()
	limited := []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScalingLimited, Status: corev1.ConditionTrue, Reason: "ScaleUpLimit"}}
	held := []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionTrue, Reason: "ScaleDownStabilized"}}
	for name, tc := range map[string]struct {
		before   []string // rates
		held     bool
		change   func(c *cluster)
		sentence string
		unsure   bool
	}{
		"up, with new pods": {
			before: []string{"85", "90"},
			change: func(c *cluster) { c.scale(2, 4); c.setPods("85", "90", "", "") },
			// 175/50 = 3.5
			sentence: "2 pods: request_per_second is 175/s over 2 pods, target 50 → 3.5; it goes to 4.",
		},
		"up, after a step between two looks": {
			before: []string{"60", "60"},
			change: func(c *cluster) { c.scale(2, 5); c.setPods("120", "110", "", "", "") },
			// the look before gives 3; the look after, without the new pods, gives 4.6
			sentence: "2 pods: request_per_second is 230/s over 2 pods, target 50 → 4.6; it goes to 5.",
		},
		"up, as far as a policy permits": {
			before: []string{"300", "300"},
			change: func(c *cluster) {
				c.scale(2, 6)
				c.setPods("300", "300", "", "", "", "")
				c.status.Conditions = limited
			},
			sentence: "2 pods: request_per_second is 600/s over 2 pods, target 50 → 12.0; a scaleUp policy permits 6 for now.",
		},
		"down, after a window": {
			before: []string{"30", "30", "30", "30"}, held: true,
			change:   func(c *cluster) { c.scale(4, 3); c.setPods("40", "40", "40"); c.status.Conditions = nil },
			sentence: "4 pods: request_per_second is 120/s over 4 pods, target 50 → 2.4; it goes to 3.",
		},
		"values of no look": {
			before:   []string{"60", "60"},
			change:   func(c *cluster) { c.scale(2, 9); c.setPods("60", "60", "", "", "", "", "", "", "") },
			sentence: "2 pods: request_per_second is 120/s over 2 pods, target 50 → 2.4; a higher wish of the last 5m counts, so it goes to 9.", unsure: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(tc.before...)
			if tc.held {
				c.status.Conditions = held
			}
			s := c.serve(Options{})
			c.look(t, s)
			c.now = c.now.Add(2 * time.Second)
			lastScaleTime := c.now
			tc.change(c)
			c.look(t, s)
			c.look(t, s) // the same status again is no decision
			d := getJSON[autoscalerDetail](t, s, "api/autoscalers/shop/web")
			if len(d.Decisions) != 1 || !d.KnownSince.Equal(noon.Add(5*time.Second)) {
				t.Fatalf("%d decisions since %s, want 1", len(d.Decisions), d.KnownSince)
			}
			got := d.Decisions[0]
			if got.Sentence != tc.sentence || got.Unexplained != tc.unsure {
				t.Errorf("unexplained %t: %q\nwant %t: %q", got.Unexplained, got.Sentence, tc.unsure, tc.sentence)
			}
			if !got.ScaledAt.Equal(lastScaleTime) || got.From != int32(len(tc.before)) || got.To != c.status.DesiredReplicas || len(got.Metrics) != 1 {
				t.Errorf("decision = %+v", got)
			}
			if d.Sentence != got.Sentence || d.Explanation.Sentence != got.Sentence {
				t.Errorf("while the scale is under way the page says %q", d.Sentence)
			}
		})
	}
}

// TestFaultsAreRecorded: the loss of a value and its return are events of the log.
func TestFaultsAreRecorded(t *testing.T) {
	t.Parallel()
	c := newCluster("40", "40")
	s := c.serve(Options{})
	for _, failure := range []string{"", "2 pods: 2 stale", "2 pods: 2 stale", ""} {
		c.failure = failure
		c.look(t, s)
	}
	d := getJSON[autoscalerDetail](t, s, "api/autoscalers/shop/web")
	if len(d.Decisions) != 2 || d.Decisions[0].Fault != "back" || d.Decisions[1].Fault != "lost" || !strings.Contains(d.Decisions[1].Sentence, "2 pods: 2 stale") {
		t.Errorf("decisions = %+v", d.Decisions)
	}
}

// TestRecordsEnd: a record is as old as its autoscaler, and bounded.
func TestRecordsEnd(t *testing.T) {
	t.Parallel()
	c := newCluster("40", "40")
	s := c.serve(Options{})
	c.look(t, s)
	c.scale(2, 3)
	c.look(t, s)
	c.uid = "another"
	c.look(t, s)
	if d := getJSON[autoscalerDetail](t, s, "api/autoscalers/shop/web"); len(d.Decisions) != 0 || !d.KnownSince.Equal(c.now) || len(d.Series.Time) != 1 {
		t.Errorf("a new autoscaler of the same name has %d decisions and %d points since %s", len(d.Decisions), len(d.Series.Time), d.KnownSince)
	}
	const pause = 30 * time.Second
	for i := range maxDecisions + 20 {
		c.now = c.now.Add(pause - lookInterval)
		c.scale(2+i%2, 3-i%2)
		c.look(t, s)
	}
	d := getJSON[autoscalerDetail](t, s, "api/autoscalers/shop/web")
	if len(d.Decisions) != maxDecisions || len(d.Series.Time) != int(keptTime/pause)+1 {
		t.Errorf("%d decisions and %d points are kept", len(d.Decisions), len(d.Series.Time))
	}
	c.gone = true
	c.look(t, s)
	if w := get(t, s, "api/autoscalers/shop/web"); w.Code != http.StatusNotFound {
		t.Errorf("a deleted autoscaler has status %d", w.Code)
	}
}

// TestLostAutoscalers: while autoscalers cannot be listed, the last look stays, with the cause and its begin.
func TestLostAutoscalers(t *testing.T) {
	t.Parallel()
	c := newCluster("40", "40")
	s := c.serve(Options{})
	c.look(t, s)
	good := c.now
	c.lost = "connection refused"
	c.look(t, s)
	since := c.now
	c.look(t, s)
	got := getJSON[snapshot](t, s, "api/state")
	if len(got.Autoscalers) != 1 || !got.Time.Equal(good) || got.Failed == nil || got.Failed.Reason != "connection refused" || !got.Failed.Since.Equal(since) {
		t.Errorf("state = %+v", got)
	}
	c.lost = ""
	c.look(t, s)
	if got := getJSON[snapshot](t, s, "api/state"); got.Failed != nil || !got.Time.Equal(c.now) {
		t.Errorf("after the failure: %+v", got)
	}
}

// TestHolds: a cluster without the scaler, a user without the right, and holds in order.
func TestHolds(t *testing.T) {
	t.Parallel()
	c := newCluster("40")
	s := c.serve(Options{Namespace: "shop"})
	c.look(t, s)
	if got := getJSON[snapshot](t, s, "api/state").Holds; got.Installed || got.Error != "" {
		t.Errorf("without the resource: %+v", got)
	}
	c.holds = func() ([]byte, error) { return nil, errors.New("forbidden") }
	c.look(t, s)
	if got := getJSON[snapshot](t, s, "api/state").Holds; !got.Installed || got.Error != "read holds: forbidden" {
		t.Errorf("without the right: %+v", got)
	}
	c.holds = func() ([]byte, error) {
		return []byte(`{"items":[
			{"metadata":{"namespace":"shop","name":"sale"},"spec":{"workload":{"kind":"Deployment","name":"web"},"replicas":9,"until":"2026-11-28T13:00:00Z","by":"ops"},"status":{"state":"Open","message":"verified","entered":"2026-11-28T11:59:00.000000Z"}},
			{"metadata":{"namespace":"shop","name":"new","creationTimestamp":"2026-11-28T11:58:00Z"},"spec":{"workload":{"kind":"Deployment","name":"api"},"replicas":3}}]}`), nil
	}
	c.look(t, s)
	got := getJSON[snapshot](t, s, "api/state").Holds
	want := []holdView{
		{Namespace: "shop", Name: "new", Workload: "deployment/api", Replicas: 3, State: "new", Since: noon.Add(-2 * time.Minute)},
		{Namespace: "shop", Name: "sale", Workload: "deployment/web", Replicas: 9, State: "Open", Since: noon.Add(-time.Minute), Until: noon.Add(time.Hour), By: "ops", Message: "verified"},
	}
	if diff := cmp.Diff(want, got.Items); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Command != "kubectl get holds -o wide -n shop" {
		t.Errorf("command = %s", got.Command)
	}
}

// TestCommands: a command is one command in a shell, whatever a name holds.
func TestCommands(t *testing.T) {
	t.Parallel()
	w := pageCommandWriter{"shop", []string{"--kubeconfig", "/home/me/my config"}}
	c := w.writeAutoscalerCommands("web", "app=web,tier in (a,b)")
	for got, want := range map[string]string{
		c.Explain:                             `kubectl tachometer explain hpa/web -n shop --kubeconfig '/home/me/my config'`,
		c.Pods:                                `kubectl get pods -l 'app=web,tier in (a,b)' -n shop --kubeconfig '/home/me/my config'`,
		w.writeRawCommand("/apis/x?a=b';c"):   `kubectl get --raw '/apis/x?a=b'\'';c' --kubeconfig '/home/me/my config'`,
		pageCommandWriter{}.writeTopCommand(): `kubectl tachometer top -A`,
		w.writeRawCommand(""):                 "",
	} {
		if got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}

// TestRun: the server reads, serves and ends with its context.
func TestRun(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newCluster("40", "40").serve(Options{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, listener) }()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+listener.Addr().String()+s.Path(), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil || !strings.Contains(string(body), "<title>Tachometer</title>") {
		t.Errorf("%v: %s", err, body)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// decisionLog is a source of decisions outside of the server.
type decisionLog struct{ err error }

func (l decisionLog) ListDecisions(context.Context, string, string) ([]Decision, time.Time, error) {
	return []Decision{{Time: noon, From: 2, To: 3, Sentence: "recorded elsewhere"}}, noon.Add(-time.Hour), l.err
}

// TestOtherDecisionSource: the page shows the decisions of another source, and its error.
func TestOtherDecisionSource(t *testing.T) {
	t.Parallel()
	c := newCluster("40", "40")
	s := c.serve(Options{Decisions: decisionLog{errors.New("of one replica only")}})
	c.look(t, s)
	d := getJSON[autoscalerDetail](t, s, "api/autoscalers/shop/web")
	if len(d.Decisions) != 1 || d.Decisions[0].Sentence != "recorded elsewhere" || d.DecisionsError != "of one replica only" || !d.KnownSince.Equal(noon.Add(-time.Hour)) {
		t.Errorf("%+v", d)
	}
}

// TestClockSetBack: after a clock was set back, the charts begin anew, in order, and the record is read again.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	c := newCluster("40", "40")
	reader := &recordReader{}
	s := c.serve(Options{})
	s.opts.Decisions = NewRecordedDecisions(reader, s.opts.Now)
	for range 3 {
		c.look(t, s)
	}
	get(t, s, "api/autoscalers/shop/web")
	c.now = c.now.Add(-48 * time.Hour)
	c.look(t, s)
	c.look(t, s)
	d := getJSON[autoscalerDetail](t, s, "api/autoscalers/shop/web")
	if len(d.Series.Time) != 2 || d.Series.Time[1] != c.now.Unix() || reader.reads != 2 {
		t.Errorf("points at %v, now is %d; %d reads of the record", d.Series.Time, c.now.Unix(), reader.reads)
	}
}

// calendarBook is a source of calendars.
type calendarBook struct {
	calendars []Calendar
	err       error
	reads     int
}

// ReadCalendars implements CalendarReader.
func (b *calendarBook) ReadCalendars(context.Context, time.Time) ([]Calendar, error) {
	b.reads++
	return b.calendars, b.err
}

// TestCalendars: where the cluster has holds, the page has the windows of schedules with their command, and reads them twice a minute.
func TestCalendars(t *testing.T) {
	t.Parallel()
	c := newCluster("40")
	book := &calendarBook{calendars: []Calendar{
		{Namespace: "tachometer", ConfigMap: "tachometer-scaler-config", Key: "config.yaml", Windows: []CalendarWindow{{
			Namespace: "shop", Workload: "deployment/web", Schedule: "office", Window: "day", MinReplicas: 8, From: noon.Add(-time.Hour), Until: noon.Add(time.Hour), Paused: true,
		}}},
		{Namespace: "team", ConfigMap: "other", Key: "scaler.yaml", Error: "forbidden"},
	}}
	s := c.serve(Options{Namespace: "shop", Calendars: book, Flags: []string{"--context", "prod"}})
	c.look(t, s)
	if got := getJSON[snapshot](t, s, "api/state").Calendars; book.reads != 0 || len(got.Items) != 0 {
		t.Errorf("without the scaler: read %d times: %+v", book.reads, got)
	}
	c.holds = func() ([]byte, error) { return []byte(`{"items":[]}`), nil }
	for range 7 { // 5 s each
		c.look(t, s)
	}
	got := getJSON[snapshot](t, s, "api/state").Calendars
	if book.reads != 2 {
		t.Errorf("read %d times within 30 s, want 2", book.reads)
	}
	want := []Calendar{book.calendars[0], book.calendars[1]}
	want[0].Key, want[1].Key, want[1].Windows = "", "", []CalendarWindow{}
	want[0].Command = `kubectl get configmap tachometer-scaler-config -o 'jsonpath={.data.config\.yaml}' -n tachometer --context prod | tachometer-scaler schedule preview --config /dev/stdin`
	want[1].Command = `kubectl get configmap other -o 'jsonpath={.data.scaler\.yaml}' -n team --context prod | tachometer-scaler schedule preview --config /dev/stdin`
	if diff := cmp.Diff(want, got.Items); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	book.calendars, book.err, c.now = nil, errors.New("deployments.apps is forbidden"), c.now.Add(time.Hour)
	c.look(t, s)
	if got := getJSON[snapshot](t, s, "api/state").Calendars; got.Error != "deployments.apps is forbidden" || got.Items == nil || len(got.Items) != 0 {
		t.Errorf("without the right: %+v", got)
	}
}

// TestTargets: the page has the targets that give no samples with their cause, up to a bound, beside the reason of the record for a pod without a value.
func TestTargets(t *testing.T) {
	t.Parallel()
	c := newCluster("60", "62", "")
	c.record = &explainapi.Explanation{
		Spec:   autoscalingv2.HorizontalPodAutoscalerSpec{Metrics: []autoscalingv2.MetricSpec{{Pods: &autoscalingv2.PodsMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "request_per_second"}}}}},
		Latest: &explainapi.Decision{Time: noon, Reads: []explainapi.Read{{Omitted: []explainapi.Omission{{Pod: "web-3", Reason: "scrape_failed", Detail: "connection refused"}}}}},
	}
	target := func(name, state, cause string) explainapi.Target {
		return explainapi.Target{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, URL: "http://10.0.0.7/metrics", State: state, Error: cause}
	}
	c.targets = &explainapi.TargetList{Source: explainapi.Source{Replica: "a"}, Items: []explainapi.Target{
		target("web-3", "scrape_failed", "connection refused"), target("web-1", explainapi.TargetUp, ""), target("web-2", explainapi.TargetWarmingUp, ""), target("batch-1", "not_scraped", ""),
	}}
	s := c.serve(Options{Namespace: "shop"})
	c.look(t, s)
	got := getJSON[snapshot](t, s, "api/state")
	want := targetList{
		Items: []targetView{
			{Namespace: "shop", Pod: "batch-1", URL: "http://10.0.0.7/metrics", Reason: "not scraped"},
			{Namespace: "shop", Pod: "web-3", URL: "http://10.0.0.7/metrics", Reason: "scrape failed (connection refused)"},
		},
		Failing: 2, All: 4, Replica: "a", Command: "kubectl get targets.explain.tachometer.dev -n shop",
	}
	if diff := cmp.Diff(want, got.Targets, cmpopts.IgnoreUnexported(targetList{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(got.Faults) != 1 || got.Faults[0].Reason != "scrape failed (connection refused), counts as 0" {
		t.Errorf("faults = %+v", got.Faults)
	}
	for i := range 3 * maxShownTargets {
		c.targets.Items = append(c.targets.Items, target(fmt.Sprint("more-", i), "stale", ""))
	}
	c.look(t, s)
	if got := getJSON[snapshot](t, s, "api/state").Targets; got.Failing != 2 {
		t.Errorf("%d failing targets 5 s after a read; the next read is due after 30 s", got.Failing)
	}
	c.now = c.now.Add(slowInterval)
	c.look(t, s)
	if got := getJSON[snapshot](t, s, "api/state").Targets; len(got.Items) != maxShownTargets || got.Failing != 3*maxShownTargets+2 {
		t.Errorf("%d of %d failing targets", len(got.Items), got.Failing)
	}
	c.targets, c.now = nil, c.now.Add(slowInterval)
	c.look(t, s)
	if got := getJSON[snapshot](t, s, "api/state").Targets; got.Items == nil || got.All != 0 || got.Command != "" {
		t.Errorf("of an older adapter: %+v", got)
	}
}

// TestFamilies: the page has the families of its namespace, up to a bound, with what the list lacks; of all namespaces none.
func TestFamilies(t *testing.T) {
	t.Parallel()
	c := newCluster("60")
	family := func(name string) explainapi.Metric {
		return explainapi.Metric{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: "gauge", Help: "Jobs.", Targets: 2, Metrics: []explainapi.ServedMetric{{Name: name, Resource: "pods"}}}
	}
	c.families = &explainapi.MetricList{
		Pages:  []explainapi.MetricPage{{Workload: "ReplicaSet/web", Pod: "web-1", Targets: 2, Families: 1}},
		Source: explainapi.Source{Replica: "a"}, UnreadWorkloads: 2,
		Items: []explainapi.Metric{family("depth"), {ObjectMeta: metav1.ObjectMeta{Name: "orders"}, Demands: []explainapi.MetricDemand{{Metric: "orders", Autoscaled: true}}}},
	}
	s := c.serve(Options{Namespace: "shop"})
	c.look(t, s)
	want := familyList{
		Items: []familyView{{Name: "depth", Type: "gauge", Help: "Jobs.", Targets: 2, Metrics: "depth", Demanded: "<none>"}}, All: 1, Replica: "a",
		Gaps: []string{"2 workloads more not read: name one, as deployment/NAME"}, Command: "kubectl tachometer metrics -n shop",
	}
	if diff := cmp.Diff(want, getJSON[snapshot](t, s, "api/state").Families, cmpopts.IgnoreUnexported(familyList{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i := range 2 * maxShownFamilies {
		c.families.Items = append(c.families.Items, family(fmt.Sprint("more_", i)))
	}
	c.now = c.now.Add(slowInterval)
	c.look(t, s)
	if got := getJSON[snapshot](t, s, "api/state").Families; len(got.Items) != maxShownFamilies || got.All != 2*maxShownFamilies+1 {
		t.Errorf("%d of %d families", len(got.Items), got.All)
	}
	all := c.serve(Options{})
	c.look(t, all)
	if got := getJSON[snapshot](t, all, "api/state").Families; got.Items == nil || got.Command != "" {
		t.Errorf("families of all namespaces: %+v", got)
	}
}

// TestRefusedMetrics: a metric that the user may not read is no fault of the autoscaler.
func TestRefusedMetrics(t *testing.T) {
	t.Parallel()
	c := newCluster("60", "62")
	c.refused = true
	s := c.serve(Options{})
	c.look(t, s)
	got := getJSON[snapshot](t, s, "api/state")
	if len(got.Faults) != 0 || len(got.Unread) != 1 || got.Unread[0].Resource != "request_per_second of pods for hpa/web in namespace shop" || got.Autoscalers[0].State != "steady" {
		t.Errorf("faults %+v, unread %+v, state %s", got.Faults, got.Unread, got.Autoscalers[0].State)
	}
}
