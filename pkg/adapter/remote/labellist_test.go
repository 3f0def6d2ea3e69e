package remote

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

func TestLabels(t *testing.T) {
	t.Parallel()
	w := newNetworkBackend(t, "", sharedRules)
	w.server.alwaysRespond(fakeResponse{body: `{"status":"success","data":["a","b\"","ü"],"stats":{"x":[1,{}]}}`})
	var got []string
	each := func(s string) error { got = append(got, s); return nil }
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := SeriesSelection{Match: []string{`{__name__=~"^a.*"}`, "b"}, Start: at, End: at.Add(time.Minute), Limit: 10}
	if err := w.LabelValues(t.Context(), "__name__", s, each); err != nil {
		t.Error(err)
	}
	if err := w.LabelNames(t.Context(), SeriesSelection{}, each); err != nil {
		t.Error(err)
	}
	if want := `["a" "b\"" "ü" "a" "b\"" "ü"]`; fmt.Sprintf("%q", got) != want {
		t.Errorf("values %q, want %s", got, want)
	}
	var asked []string
	for i, r := range w.server.requests {
		asked = append(asked, r.Method+" "+r.URL.Path+" "+w.server.forms[i].Encode())
	}
	want := []string{
		"GET /api/v1/label/__name__/values end=1767323105.000&limit=10&match%5B%5D=%7B__name__%3D~%22%5Ea.%2A%22%7D&match%5B%5D=b&start=1767323045.000",
		"POST /api/v1/labels ",
	}
	if strings.Join(asked, "\n") != strings.Join(want, "\n") {
		t.Errorf("asked:\n%s\nwant:\n%s", strings.Join(asked, "\n"), strings.Join(want, "\n"))
	}
}

func TestLabelsFaults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		config string
		answer fakeResponse
		want   string
	}{
		"null":               {"", fakeResponse{body: `{"status":"success","data":null}`}, ""},
		"limit reached":      {"", fakeResponse{body: `{"status":"success","data":["a","b","c"]}`}, "there are 3 or more, the limit"},
		"partial":            {"", fakeResponse{body: `{"status":"success","data":["a"],"warnings":["w"]}`}, "partial response: w"},
		"partial, accepted":  {"  partialResponse: accept\n", fakeResponse{body: `{"status":"success","data":["a"],"warnings":["w"]}`}, ""},
		"isPartial":          {"", fakeResponse{body: `{"status":"success","data":["a"],"isPartial":true}`}, "partial response: isPartial"},
		"too large":          {"  maxResponseBytes: 1Ki\n", fakeResponse{body: `{"status":"success","data":["` + strings.Repeat("a", 2000) + `"]}`}, "more than the 1024 bytes"},
		"truncated":          {"", fakeResponse{body: `{"status":"success","data":["a","b"`}, "truncated JSON"},
		"cut off":            {"", fakeResponse{header: map[string]string{"Content-Length": "100"}, body: `{"status":"success","data":["a"`}, "connection closed in the middle"},
		"error":              {"", fakeResponse{body: `{"status":"error","errorType":"bad_data","error":"invalid match"}`}, "rejects the query: invalid match"},
		"422":                {"", fakeResponse{code: 422, body: `{"status":"error","errorType":"bad_data","error":"invalid match"}`}, "rejects the query: invalid match"},
		"HTML":               {"", fakeResponse{header: map[string]string{"Content-Type": "text/html"}}, "HTML page"},
		"no strings":         {"", fakeResponse{body: `{"status":"success","data":[1]}`}, "not a list of strings"},
		"no list":            {"", fakeResponse{body: `{"status":"success","data":{}}`}, "not a list of strings"},
		"not JSON":           {"", fakeResponse{body: `x`}, "not JSON"},
		"an array":           {"", fakeResponse{body: `[]`}, "not JSON"},
		"status of no kind":  {"", fakeResponse{body: `{"status":1,"data":[]}`}, "not JSON"},
		"rejected by reader": {"", fakeResponse{body: `{"status":"success","data":["stop"]}`}, "enough"},
		"without any status": {"", fakeResponse{body: `{"data":[]}`}, `status is ""`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newNetworkBackend(t, tc.config, sharedRules)
			w.server.alwaysRespond(tc.answer)
			err := w.LabelValues(t.Context(), "pod", SeriesSelection{Limit: 3}, func(s string) error {
				if s == "stop" {
					return errors.New("enough")
				}
				return nil
			})
			if fmt.Sprint(err) != tc.want && (tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want))) {
				t.Errorf("%v, want %s", err, tc.want)
			}
		})
	}
}

// TestLabelsFailOver sends a list to the next server only before its first entry.
func TestLabelsFailOver(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]int{`{"status":"success","data":[`: 1, `{"status":"success","data":["a",`: 0} {
		first, second := &fakeServer{}, &fakeServer{}
		first.alwaysRespond(fakeResponse{body: body})
		second.alwaysRespond(fakeResponse{body: `{"status":"success","data":["b"]}`})
		w := newTestBackend(t, "  url: http://first\n  failover: ['http://second']\n", sharedRules, Options{Transport: serversByHost{"first": first, "second": second}})
		err := w.LabelNames(t.Context(), SeriesSelection{}, func(string) error { return nil })
		if (err == nil) != (want == 1) || len(second.receivedQueries()) != want {
			t.Errorf("after %s: %v, %d requests to the second server", body, err, len(second.receivedQueries()))
		}
		if err != nil && metric.KindOf(err) != metric.KindUnavailable {
			t.Errorf("kind %v", metric.KindOf(err))
		}
	}
}
