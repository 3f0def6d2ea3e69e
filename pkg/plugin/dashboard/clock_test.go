package dashboard

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

// TestClusterClock: the page's time is the cluster's, by the Date of kube-apiserver's answers, and stays so while there is none.
func TestClusterClock(t *testing.T) {
	t.Parallel()
	c := newCluster("60", "62")
	ahead, dated := -time.Hour, true
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil // net/http writes none then
		if dated {
			w.Header().Set("Date", c.now.Add(ahead).Format(http.TimeFormat))
		}
		data, err := c.Read(r.Context(), r.URL.RequestURI())
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(api.Close)
	s := c.serve(Options{})
	reader, err := reading.NewRESTReader(&rest.Config{Host: api.URL})
	if err != nil {
		t.Fatal(err)
	}
	s.opts.Metrics.Reader, s.opts.Metrics.Now = reader, s.opts.Now
	check := func(want time.Duration) {
		t.Helper()
		served, err := time.Parse(time.RFC3339Nano, get(t, s, "api/state").Header().Get("Tachometer-Time"))
		if err != nil || !served.Equal(c.now.Add(want)) {
			t.Errorf("the page's time is %s (%v), want %s", served, err, c.now.Add(want))
		}
		if got := getJSON[snapshot](t, s, "api/state").Time; !got.Equal(c.now.Add(want)) && !got.IsZero() {
			t.Errorf("the look's time is %s, want %s", got, c.now.Add(want))
		}
	}
	check(0)
	c.look(t, s)
	check(-time.Hour)
	if _, since, _ := s.records.ListDecisions(t.Context(), "shop", "gone"); !since.Equal(noon.Add(-time.Hour)) {
		t.Errorf("an unknown autoscaler has decisions since %s, want %s", since, noon.Add(-time.Hour))
	}
	dated = false
	c.look(t, s)
	check(-time.Hour)
	ahead, dated = time.Second, true // within the time of an answer
	c.look(t, s)
	check(0)
}
