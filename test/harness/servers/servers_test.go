package servers

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// both has the constructors, for tests of both servers.
var both = map[string]func(testing.TB, Options) *Server{"Prometheus": Prometheus, "VictoriaMetrics": VictoriaMetrics}

// ask evaluates an expression at a time in milliseconds; a query without a result returns nothing.
func ask(s *Server, expr string, at int64) (results []struct {
	Metric map[string]string
	Value  [2]any
	Values [][2]any
}) {
	s.t.Helper()
	var answer struct {
		Data struct{ Result json.RawMessage }
	}
	query := url.Values{"query": {expr}, "time": {fmt.Sprintf("%.3f", float64(at)/1000)}, "nocache": {"1"}}
	if err := json.Unmarshal(s.Get("/api/v1/query?"+query.Encode()), &answer); err != nil {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal(answer.Data.Result, &results); err != nil {
		s.t.Fatal(err)
	}
	return results
}

// samples returns the samples of the only series that a range expression selects.
func samples(s *Server, expr string, at int64) []Sample {
	s.t.Helper()
	var found []Sample
	for _, series := range ask(s, expr, at) {
		for _, pair := range series.Values {
			v, err := strconv.ParseFloat(pair[1].(string), 64)
			if err != nil {
				s.t.Fatal(err)
			}
			found = append(found, Sample{T: int64(math.Round(pair[0].(float64) * 1000)), V: v})
		}
	}
	return found
}

// TestServersKeepSamples: written samples are read back with their millisecond, also after a restart. Prometheus keeps values bit by
// bit. VictoriaMetrics keeps some ten digits, because it stores the values of a block with one decimal exponent.
func TestServersKeepSamples(t *testing.T) {
	t.Parallel()
	now := time.Now().UnixMilli()
	written := []Sample{
		{now - 9001, 1}, {now - 7002, 1.0 / 3}, {now - 5003, 123456789.125}, {now - 3005, -2e-7}, {now - 1007, 0},
	}
	tolerance := map[string]float64{"Prometheus": 0, "VictoriaMetrics": 1e-9}
	for name, start := range both {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, Options{Series: []Series{{labels.FromStrings("__name__", "m", "pod", "a"), written}}})
			close := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= tolerance[name]*math.Abs(b) })
			if d := cmp.Diff(written, samples(s, "m[1m]", now), close); d != "" {
				t.Errorf("(-written +read)\n%s", d)
			}
			s.Restart()
			if d := cmp.Diff(written, samples(s, "m[1m]", now), close); d != "" {
				t.Errorf("after a restart (-written +read)\n%s", d)
			}
		})
	}
}

func TestServersKnowStaleness(t *testing.T) {
	t.Parallel()
	now := time.Now().UnixMilli()
	marker := math.Float64frombits(value.StaleNaN)
	for name, start := range both {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, Options{Series: []Series{
				{labels.FromStrings("__name__", "m", "pod", "here"), []Sample{{now - 4000, 1}, {now - 2000, 2}}},
				{labels.FromStrings("__name__", "m", "pod", "gone"), []Sample{{now - 4000, 1}, {now - 2000, marker}}},
			}})
			results := ask(s, "m", now-1000)
			if len(results) != 1 || results[0].Metric["pod"] != "here" || results[0].Value[1] != "2" {
				t.Errorf("m is %v, want 2 for the pod that is here", results)
			}
		})
	}
}

func TestPrometheusScrapes(t *testing.T) {
	t.Parallel()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "m 7") }))
	defer page.Close()
	s := Prometheus(t, Options{
		Targets:  []Target{{strings.TrimPrefix(page.URL, "http://"), map[string]string{"pod": "a"}}},
		Interval: 100 * time.Millisecond,
	})
	for {
		results := ask(s, `m{pod="a"}`, time.Now().UnixMilli())
		if len(results) == 1 && results[0].Value[1] == "7" {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
}

func TestServerStopsAndFreezes(t *testing.T) {
	t.Parallel()
	s := Prometheus(t, Options{Stopped: true})
	down := func() bool {
		_, err := doServerRequest(t.Context(), http.MethodGet, s.URL+"/-/ready", nil)
		return err != nil
	}
	if !down() {
		t.Error("answers before its start")
	}
	s.Start()
	if down() {
		t.Error("does not answer after its start")
	}
	s.Kill()
	if !down() {
		t.Error("answers after its end")
	}
	s.Start()
	s.Freeze()
	s.Thaw()
	if down() {
		t.Error("does not answer after the thaw")
	}
}

// TestVictoriaMetricsNeedsNocache: VictoriaMetrics moves queries about the last half minute back, unless they have nocache=1.
func TestVictoriaMetricsNeedsNocache(t *testing.T) {
	t.Parallel()
	s := VictoriaMetrics(t, Options{})
	now := time.Now().UnixMilli() // of the half minute, the start takes a part
	s.Write(Series{labels.FromStrings("__name__", "m"), []Sample{{now - 40_000, 1}, {now - 35_000, 2}, {now - 1000, 3}}})
	path := "/api/v1/query?query=m&time=" + strconv.FormatFloat(float64(now)/1000, 'f', 3, 64)
	if with := string(s.Get(path + "&nocache=1")); !strings.Contains(with, `"3"`) {
		t.Errorf("with nocache=1: %s, want 3", with)
	}
	if without := string(s.Get(path)); !strings.Contains(without, `"2"`) {
		t.Errorf("without nocache=1: %s, want 2: the note in this package is out of date", without)
	}
}
