package e2e

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

const (
	// chaosBackendMetric is a metric of the sample's pods that TestChaos computes by a server of its own.
	chaosBackendMetric = "requests_of_a_backend"
	chaosBackendMaxAge = 10 * time.Second
)

// chaosBackend is a Prometheus-compatible server that knows one sample of each pod of the sample: chaosBackendValue of its time. It
// answers honestly, unless a fault is set.
type chaosBackend struct {
	address string
	fault   atomic.Pointer[func(http.ResponseWriter, *http.Request, []chaosBackendSample)]
}

// chaosBackendSample is a result, and the time of the sample behind it.
type chaosBackendSample struct {
	namespace, pod, value string
	at                    time.Time
}

// chaosBackendValue returns the value of a sample of that second: a served number and its timestamp prove each other.
func chaosBackendValue(at time.Time) float64 { return float64(at.Unix()%1000 + 1) }

// chaosBackendRules is the configuration of the metric.
const chaosBackendRules = `backends:
- {name: chaos, url: "http://%s", refresh: 1s, timeout: 1s, maxAge: %v}
rules:
- {metric: %s, backend: chaos, query: 'sum by (namespace, pod) (requests)'}
`

// startChaosBackend adds the metric to the adapter's configuration until the test ends, and waits for its values.
func startChaosBackend(t *testing.T) *chaosBackend {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(s.Cluster.HostIP(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	b := &chaosBackend{address: l.Addr().String()}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: b}}
	server.Start()
	t.Cleanup(server.Close)
	furtherRules = fmt.Sprintf(chaosBackendRules, b.address, chaosBackendMaxAge, chaosBackendMetric)
	configure(t.Context(), t, configuration(t))
	t.Cleanup(func() {
		furtherRules = ""
		configure(context.Background(), t, configuration(t))
	})
	err = stack.Wait(t.Context(), 2*time.Minute, func(ctx context.Context) error {
		for range 5 { // five reads reach both replicas with high probability
			values, err := answer(ctx, stack.PodsMetric(chaosBackendMetric))
			if err := cmp.Or(err, judgeChaosBackendValues(time.Now(), values)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// judgeChaosBackendValues returns an error if a served value is not that of its time, or too old.
func judgeChaosBackendValues(now time.Time, values []value) error {
	for _, v := range values {
		if age := now.Sub(v.Stamp).Abs(); age > chaosBackendMaxAge+2*time.Second || v.Value != chaosBackendValue(v.Stamp) {
			return fmt.Errorf("%s: %v of %v ago, but the sample of that time is %v", v.Name, v.Value, age, chaosBackendValue(v.Stamp))
		}
	}
	return nil
}

func (b *chaosBackend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	addresses, err := podAddresses(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	at := time.Now().Truncate(time.Second)
	var samples []chaosBackendSample
	for pod := range addresses {
		samples = append(samples, chaosBackendSample{stack.SampleNamespace, pod, fmt.Sprint(chaosBackendValue(at)), at})
	}
	if fault := b.fault.Load(); fault != nil {
		(*fault)(w, r, samples)
		return
	}
	writeChaosBackendSamples(w, samples, "")
}

// writeChaosBackendSamples writes a response with the samples, their times as the adapter asks for them, and further fields.
func writeChaosBackendSamples(w http.ResponseWriter, samples []chaosBackendSample, further string) {
	var results []string
	for _, s := range samples {
		results = append(results,
			fmt.Sprintf(`{"metric":{"namespace":%q,"pod":%q},"value":[%d,%q]}`, s.namespace, s.pod, s.at.Unix(), s.value),
			fmt.Sprintf(`{"metric":{"namespace":%q,"pod":%q,"tachometer_sample_time":"1"},"value":[%d,"%d"]}`, s.namespace, s.pod, s.at.Unix(), s.at.Unix()))
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s]}%s}`, strings.Join(results, ","), further)
}

// chaosBackendLies are responses that must become an error, or leave the last honest value. 0.5 is wrong at any time.
var chaosBackendLies = []func(http.ResponseWriter, []chaosBackendSample){
	func(w http.ResponseWriter, honest []chaosBackendSample) { // another namespace's pods of the same names
		writeChaosBackendSamples(w, changeChaosBackendSamples(honest, func(s *chaosBackendSample) { s.namespace, s.value = "other", "0.5" }), "")
	},
	func(w http.ResponseWriter, honest []chaosBackendSample) {
		writeChaosBackendSamples(w, changeChaosBackendSamples(honest, func(s *chaosBackendSample) { s.value = "NaN" }), "")
	},
	func(w http.ResponseWriter, honest []chaosBackendSample) { // dead for ten minutes
		writeChaosBackendSamples(w, changeChaosBackendSamples(honest, func(s *chaosBackendSample) { s.at = s.at.Add(-10 * time.Minute) }), "")
	},
	func(w http.ResponseWriter, honest []chaosBackendSample) { // two results for each pod
		writeChaosBackendSamples(w, slices.Concat(honest, changeChaosBackendSamples(honest, func(s *chaosBackendSample) { s.value = "0.5" })), "")
	},
	func(w http.ResponseWriter, honest []chaosBackendSample) { // the half of a sum
		writeChaosBackendSamples(w, changeChaosBackendSamples(honest, func(s *chaosBackendSample) { s.value = "0.5" }), `,"warnings":["store 2 is away"]`)
	},
	func(w http.ResponseWriter, _ []chaosBackendSample) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<html><form>log in</form></html>")
	},
	func(w http.ResponseWriter, _ []chaosBackendSample) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"namespace"`)
	},
	func(w http.ResponseWriter, _ []chaosBackendSample) {
		http.Error(w, "<html>upstream is away</html>", http.StatusServiceUnavailable)
	},
}

func changeChaosBackendSamples(honest []chaosBackendSample, change func(*chaosBackendSample)) []chaosBackendSample {
	changed := slices.Clone(honest)
	for i := range changed {
		change(&changed[i])
	}
	return changed
}

// setChaosBackendFault returns a fault of the backend.
func setChaosBackendFault(fault func(http.ResponseWriter, *http.Request, []chaosBackendSample)) func(*testing.T, *witness, *rand.Rand) func() {
	return func(t *testing.T, w *witness, _ *rand.Rand) func() {
		t.Helper()
		w.backend.fault.Store(&fault)
		return func() { w.backend.fault.Store(nil) }
	}
}

func lyingChaosBackend(t *testing.T, w *witness, random *rand.Rand) func() {
	t.Helper()
	var next atomic.Int64
	next.Store(random.Int64N(int64(len(chaosBackendLies))))
	return setChaosBackendFault(func(w http.ResponseWriter, _ *http.Request, honest []chaosBackendSample) {
		chaosBackendLies[next.Add(1)%int64(len(chaosBackendLies))](w, honest)
	})(t, w, random)
}

func answerChaosBackendLate(w http.ResponseWriter, r *http.Request, honest []chaosBackendSample) {
	select {
	case <-r.Context().Done():
	case <-time.After(5 * time.Second):
		writeChaosBackendSamples(w, honest, "")
	}
}

func breakChaosBackendConnection(http.ResponseWriter, *http.Request, []chaosBackendSample) {
	panic(http.ErrAbortHandler)
}

// lookAtBackend judges a read of the backend's metric.
func (w *witness) lookAtBackend(ctx context.Context) {
	values, err := answer(ctx, stack.PodsMetric(chaosBackendMetric))
	w.record(ctx, chaosBackendMetric, err, func(now time.Time) error { return judgeChaosBackendValues(now, values) })
}
