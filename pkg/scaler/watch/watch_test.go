package watch

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tachometer-metrics/tachometer/pkg/protocolswitch/switchtest"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

// newReader returns a reader of a server that answers every request.
func newReader(t *testing.T, answer http.HandlerFunc) (*Reader, string) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return &Reader{Client: client.CoreV1().RESTClient(), HTTP: webhook.NewClient(nil)}, server.URL
}

// TestQuery: the highest value of an instant query counts. All that is no number is an error with its reason.
func TestQuery(t *testing.T) {
	t.Parallel()
	vector := func(values ...string) string {
		var all []string
		for _, v := range values {
			all = append(all, `{"metric":{},"value":[1,"`+v+`"]}`)
		}
		return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(all, ",") + `]}}`
	}
	for name, c := range map[string]struct {
		body string
		code int
		want float64
		err  string
	}{
		"one value":        {vector("0.02"), 200, 0.02, ""},
		"several values":   {vector("0.02", "NaN", "0.5"), 200, 0.5, ""},
		"a scalar":         {`{"status":"success","data":{"resultType":"scalar","result":[1,"3"]}}`, 200, 3, ""},
		"nothing":          {vector(), 200, 0, "has no value"},
		"no traffic":       {vector("NaN"), 200, 0, "not a number"},
		"a histogram":      {`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"0.1"]},{"metric":{},"histogram":[1,{"count":"3","sum":"4"}]}]}}`, 200, 0, "gives a native histogram"},
		"more than all":    {vector("0.02", "+Inf", "-Inf"), 200, math.Inf(1), ""},
		"no number":        {vector("0.02", "many"), 200, 0, "no number"},
		"a text":           {`{"status":"success","data":{"resultType":"string","result":[1,"3"]}}`, 200, 0, "gives a string"},
		"a matrix":         {`{"status":"success","data":{"resultType":"matrix","result":[]}}`, 200, 0, "gives a matrix"},
		"a wrong query":    {`{"status":"error","errorType":"bad_data","error":"parse error"}`, 400, 0, "status 400: parse error"},
		"a partial answer": {`{"status":"success","warnings":["store away"],"data":{"resultType":"vector","result":[]}}`, 200, 0, "partial response: store away"},
		"another server":   {`<html>`, 503, 0, "status 503"},
		"a redirect":       {"", 302, 0, "status 302"},
	} {
		r, address := newReader(t, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path != "/api/v1/query" || req.FormValue("query") != "sum(errors)" {
				t.Errorf("%s: asked for %s", name, req.URL)
			}
			w.Header().Set("Location", "http://192.0.2.1/")
			w.WriteHeader(c.code)
			_, _ = w.Write([]byte(c.body))
		})
		got, err := r.ReadWatch(t.Context(), "shop", "", action.Watch{Query: "sum(errors)", Prometheus: address + "/"})
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || got != c.want {
			t.Errorf("%s: %v, %v; want %v, %q", name, got, err, c.want, c.err)
		}
	}
}

// TestQueryUpgrade: a server that goes over to another protocol, and leaves the connection open, gives no number.
func TestQueryUpgrade(t *testing.T) {
	t.Parallel()
	r, address := newReader(t, switchtest.NewHandler(t))
	read := make(chan error, 1)
	go func() {
		_, err := r.ReadWatch(t.Context(), "shop", "", action.Watch{Query: "sum(errors)", Prometheus: address})
		read <- err
	}()
	select {
	case err := <-read:
		if err == nil || !strings.Contains(err.Error(), "status 101") {
			t.Errorf("error %v", err)
		}
	case <-time.After(3 * readTimeout):
		t.Error("no end")
	}
}

// TestMetrics: a metric is read as the HPA reads it, with the selector of the pods where it is theirs.
func TestMetrics(t *testing.T) {
	t.Parallel()
	r, _ := newReader(t, func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.Path == "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/error_ratio" && req.FormValue("labelSelector") == "code=500":
			_, _ = w.Write([]byte(`{"items":[{"value":"10m"},{"value":"20m"}]}`))
		case req.URL.Path == "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/latency_p99" && req.FormValue("labelSelector") == "app=web":
			_, _ = w.Write([]byte(`{"items":[{"value":"250m","timestamp":"` + formatAge(time.Minute) + `"},{"value":"1"},{"value":"7","timestamp":"` + formatAge(time.Hour) + `"}]}`))
		case strings.HasSuffix(req.URL.Path, "/stale"):
			_, _ = w.Write([]byte(`{"items":[{"value":"1","timestamp":"` + formatAge(time.Hour) + `"},{"value":"7","timestamp":"` + formatAge(10*time.Minute) + `"}]}`))
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`no rule for the metric`))
		}
	})
	for _, c := range []struct {
		w        action.Watch
		selector string
		want     float64
		fault    string
	}{
		{action.Watch{Metric: "error_ratio", Selector: "code=500", Of: action.WatchExternal}, "app=web", 0.02, ""},
		{action.Watch{Metric: "latency_p99", Of: action.WatchPods}, "app=web", 1, ""},
		{action.Watch{Metric: "latency_p99", Of: action.WatchPods}, "", 0, "its pods are not known"},
		{action.Watch{Metric: "stale", Of: action.WatchExternal}, "app=web", 0, "metric stale has no value since"},
		{action.Watch{Metric: "stale", Of: action.WatchPods}, "app=web", 0, "metric stale has no value since"},
		{action.Watch{Metric: "unknown", Of: action.WatchExternal}, "app=web", 0, "read metric unknown"},
	} {
		got, err := r.ReadWatch(t.Context(), "shop", c.selector, c.w)
		if (err != nil) != (c.fault != "") || err != nil && !strings.Contains(err.Error(), c.fault) || got != c.want {
			t.Errorf("%+v: %v, %v; want %v, %q", c.w, got, err, c.want, c.fault)
		}
	}
}

// formatAge returns the time of a value with an age.
func formatAge(age time.Duration) string { return time.Now().Add(-age).UTC().Format(time.RFC3339) }
