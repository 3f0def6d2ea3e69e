package remote

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// queueRules is an external rule.
const queueRules = `
- metric: queue
  external: true
  backend: prometheus
  query: sum by (queue) (messages)
`

// TestLyingServer has the responses that must not become a number, or not a different number.
func TestLyingServer(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, tc := range map[string]struct {
		answer fakeResponse
		kind   metric.Kind
		want   string // with the prefix error: for an error
	}{
		"not a number": {
			newVectorResponse(fakeSeries{"namespace=shop,pod=a", newNaN(), now}, fakeSeries{"namespace=shop,pod=b", 1, now}),
			0, "shop/a=NaN shop/b=1", // the provider validates it
		},
		"infinite": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[` +
				`{"metric":{"namespace":"shop","pod":"a"},"value":[1,"+Inf"]},{"metric":{"namespace":"shop","pod":"b"},"value":[1,"-Inf"]}]}}`},
			0, "shop/a=+Inf shop/b=-Inf",
		},
		"nothing": {newVectorResponse(), 0, ""},
		"another namespace than asked": {
			newVectorResponse(fakeSeries{"namespace=bank,pod=a", 1, now}, fakeSeries{"namespace=shop,pod=b", 2, now}), 0, "shop/b=2",
		},
		"duplicate series": {
			newVectorResponse(fakeSeries{"namespace=shop,pod=a,x=1", 1, now}, fakeSeries{"namespace=shop,pod=a,x=2", 2, now}), metric.KindInternal,
			`error: rule "requests": backend prometheus: two results for pod shop/a: {namespace="shop", pod="a", x="1"} and ` +
				`{namespace="shop", pod="a", x="2"}; aggregate by (pod)`,
		},
		"a result without labels beside others": {
			newVectorResponse(fakeSeries{"namespace=shop,pod=a", 1, now}, fakeSeries{"", 0, now}), 0, "shop/a=1",
		},
		"labels with quotes and line breaks": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[` +
				`{"metric":{"namespace":"shop","pod":"a","q":"\"},pod=\"b\n\u00fc\\"},"value":[1,"5"]}]}}`},
			0, "shop/a=5",
		},
		"a number of JSON": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"namespace":"shop","pod":"a"},"value":[1,5]}]}}`},
			metric.KindUnavailable, `error: backend prometheus: the answer is not JSON of the Prometheus API: '5' at byte 112 of 118, since`,
		},
		"a number of Go": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"namespace":"shop","pod":"a"},"value":[1,"0x1p4"]}]}}`},
			metric.KindUnavailable, `error: backend prometheus: the answer is not JSON of the Prometheus API: a sample without a number at byte`,
		},
		"a number too large": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"namespace":"shop","pod":"a"},"value":[1,"1e309"]}]}}`},
			0, "shop/a=+Inf",
		},
		"an empty number": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"namespace":"shop","pod":"a"},"value":[1,""]}]}}`},
			metric.KindUnavailable, `error: backend prometheus: the answer is not JSON of the Prometheus API: a sample without a number at byte 114 of 119, since`,
		},
		"two answers": {
			fakeResponse{body: newVectorResponse(fakeSeries{"namespace=shop,pod=a", 1, now}).body + newVectorResponse().body},
			metric.KindUnavailable, `error: backend prometheus: the answer is not JSON of the Prometheus API: more than one value at byte`,
		},
		"HTML behind the answer": {
			fakeResponse{body: newVectorResponse(fakeSeries{"namespace=shop,pod=a", 1, now}).body + "<html>"},
			metric.KindUnavailable, `error: backend prometheus: the answer is not JSON of the Prometheus API: more than one value at byte`,
		},
		"success and then an error": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[]},"status":"error","errorType":"timeout","error":"slow store"}`},
			metric.KindUnavailable, `error: backend prometheus: the answer is not JSON of the Prometheus API: a key twice at byte`,
		},
		"success with an error": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[]},"errorType":"execution","error":"store 2 is away"}`},
			metric.KindUnavailable, `error: backend prometheus: the answer is a success with an error: store 2 is away, since`,
		},
		"a result of null": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":null}}`}, 0, "",
		},
		"nothing at all": {fakeResponse{body: ""}, metric.KindUnavailable, `error: backend prometheus: the answer is truncated JSON of 0 bytes, since`},
		"no content":     {fakeResponse{code: 204}, metric.KindUnavailable, `error: backend prometheus: HTTP 204, since`},
		"series of a range": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"namespace":"shop","pod":"a"},"values":[[1,"5"]]}]}}`},
			metric.KindUnavailable, `error: backend prometheus: the result {namespace="shop", pod="a"} has no value, since`,
		},
		"a metric of null": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[{"metric":null,"value":[1,"5"]}]}}`},
			metric.KindUnavailable, `error: backend prometheus: the answer is not JSON of the Prometheus API: 'n' at byte 70 of 94, since`,
		},
		"a label twice": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"namespace":"shop","pod":"b","pod":"a"},"value":[1,"5"]}]}}`},
			metric.KindUnavailable, `error: backend prometheus: the answer is not JSON of the Prometheus API: a label twice at byte`,
		},
		"a value twice": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"namespace":"shop","pod":"a"},"value":[1,"5"],"value":[1,"6"]}]}}`},
			metric.KindUnavailable, `error: backend prometheus: the answer is not JSON of the Prometheus API: the value of a result twice at byte`,
		},
		"warnings of another form": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[]},"warnings":"store 2 is away"}`},
			metric.KindUnavailable, `error: backend prometheus: the answer is not JSON of the Prometheus API: '"' at byte 74 of 92, since`,
		},
		"a hint of a limit": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["results truncated due to limit"]}`},
			metric.KindUnavailable, "error: backend prometheus: partial response: results truncated due to limit, since",
		},
		"isPartial and text": {
			fakeResponse{body: `{"status":"success","isPartial":"true","data":{"resultType":"vector","result":[]}}`},
			metric.KindUnavailable, `error: backend prometheus: the answer is not JSON of the Prometheus API: neither true nor false at byte`,
		},
		"no label of the object": {
			newVectorResponse(fakeSeries{"namespace=shop,job=a", 1, now}), metric.KindInternal,
			`error: rule "requests": backend prometheus: the result {job="a", namespace="shop"} has no label pod to name its object`,
		},
		"no label of the namespace": {
			newVectorResponse(fakeSeries{"pod=a", 1, now}), metric.KindInternal,
			`error: rule "requests": backend prometheus: the result {pod="a"} has no label namespace to name its namespace`,
		},
		"native histogram": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[` +
				`{"metric":{"namespace":"shop","pod":"a"},"histogram":[1,{"count":"1","sum":"2"}]}]}}`}, metric.KindInternal,
			`error: rule "requests": backend prometheus: the result {namespace="shop", pod="a"} is a native histogram: ` +
				`use a function that makes a number of it`,
		},
		"matrix": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"matrix","result":[]}}`}, metric.KindInternal,
			`error: rule "requests": backend prometheus: the result is a "matrix", not a vector`,
		},
		"scalar": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}`}, metric.KindInternal,
			`error: rule "requests": backend prometheus: the result {} has no label namespace to name its namespace`,
		},
		"bad query": {
			fakeResponse{code: 400, body: `{"status":"error","errorType":"bad_data","error":"1:2: parse error"}`}, metric.KindInternal,
			`error: rule "requests": backend prometheus: rejects the query: 1:2: parse error`,
		},
		"too many samples": {
			fakeResponse{code: 422, body: `{"status":"error","errorType":"execution","error":"too many samples"}`}, metric.KindInternal,
			`error: rule "requests": backend prometheus: rejects the query: too many samples`,
		},
		"a query repeated before the cause": {
			fakeResponse{code: 422, body: `{"status":"error","errorType":"422","error":"error when executing query=\"sum(a{namespace=~\\\"shop` +
				strings.Repeat("|another-namespace", 2000) + `\\\"})\" for (time=1767323045678, step=300000): cannot evaluate \"sum(a{x=\\\"y\\\"})\": duplicate time series on the right side"}`}, metric.KindInternal,
			`error: rule "requests": backend prometheus: rejects the query: duplicate time series on the right side`,
		},
		"a store behind the server fails": {
			fakeResponse{code: 422, body: `{"status":"error","errorType":"execution","error":"expanding series: proxy Series(): rpc error: code = Aborted desc = no store"}`},
			metric.KindUnavailable, "error: backend prometheus: HTTP 422: expanding series: proxy Series(): rpc error: code = Aborted desc = no store, since",
		},
		"a store behind an engine of its own fails": {
			fakeResponse{code: 422, body: `{"status":"error","errorType":"execution","error":"proxy Series(): rpc error: code = Unavailable desc = no store"}`},
			metric.KindUnavailable, "error: backend prometheus: HTTP 422: proxy Series(): rpc error: code = Unavailable desc = no store, since",
		},
		"a server behind the server rejects the query": {
			fakeResponse{code: 422, body: `{"status":"error","errorType":"execution","error":"rpc error: code = InvalidArgument desc = no such function"}`},
			metric.KindInternal, `error: rule "requests": backend prometheus: rejects the query: rpc error: code = InvalidArgument desc = no such function`,
		},
		"a server behind the server rejects the query with a status of HTTP": {
			fakeResponse{code: 422, body: `{"status":"error","errorType":"execution","error":"expanding series: rpc error: code = Code(422) desc = the query exceeds the limit"}`},
			metric.KindInternal, `error: rule "requests": backend prometheus: rejects the query: expanding series: rpc error: code = Code(422) desc = the query exceeds the limit`,
		},
		"a store behind the server fails, with status 200": {
			fakeResponse{body: `{"status":"error","errorType":"execution","error":"expanding series: context deadline exceeded"}`},
			metric.KindUnavailable, "error: backend prometheus: execution: expanding series: context deadline exceeded, since",
		},
		"error with status 200": {
			fakeResponse{body: `{"status":"error","errorType":"unavailable","error":"starting"}`}, metric.KindUnavailable,
			"error: backend prometheus: unavailable: starting, since",
		},
		"400 of something else": {
			fakeResponse{code: 400, header: map[string]string{"Content-Type": "text/plain"}, body: "Client sent an HTTP request to an HTTPS server.\n"},
			metric.KindUnavailable, "error: backend prometheus: HTTP 400: Client sent an HTTP request to an HTTPS server., since",
		},
		"another path": {
			fakeResponse{code: 404, header: map[string]string{"Content-Type": "text/plain"}, body: "404 page not found\n"}, metric.KindUnavailable,
			"error: backend prometheus: HTTP 404: 404 page not found: no Prometheus API at this url, since",
		},
		"no POST": {fakeResponse{code: 405}, metric.KindUnavailable, "error: backend prometheus: HTTP 405: try method: GET, since"},
		"page for logging in": {
			fakeResponse{header: map[string]string{"Content-Type": "text/html; charset=utf-8"}, body: "<html><form>"}, metric.KindUnavailable,
			"error: backend prometheus: the answer is an HTML page, not JSON, perhaps for logging in: check the url and the credentials, since",
		},
		"another content type": {
			fakeResponse{header: map[string]string{"Content-Type": "text/plain; version=0.0.4"}, body: "up 1"}, metric.KindUnavailable,
			`error: backend prometheus: the answer is "text/plain", not JSON: check the url, since`,
		},
		"truncated JSON": {
			fakeResponse{body: newVectorResponse(fakeSeries{"namespace=shop,pod=a", 1, now}).body[:150]}, metric.KindUnavailable,
			"error: backend prometheus: the answer is truncated JSON of 150 bytes, since",
		},
		"cut off": {
			fakeResponse{header: map[string]string{"Content-Length": "1000"}, body: newVectorResponse().body}, metric.KindUnavailable,
			"error: backend prometheus: connection closed in the middle of the answer, since",
		},
		"no JSON": {
			fakeResponse{body: "up 1"}, metric.KindUnavailable,
			"error: backend prometheus: the answer is not JSON of the Prometheus API: 'u' at byte 0 of 4, since",
		},
		"other JSON": {
			fakeResponse{body: `{"data":[]}`}, metric.KindUnavailable,
			"error: backend prometheus: the answer is not JSON of the Prometheus API: '[' at byte 8 of 11, since",
		},
		"no status": {
			fakeResponse{body: `{"hits":1}`}, metric.KindUnavailable,
			`error: backend prometheus: the answer is JSON, but not of the Prometheus API: its status is "", since`,
		},
		"no number": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}}`}, metric.KindUnavailable,
			"error: backend prometheus: the answer is not JSON of the Prometheus API: a sample without a number at byte 87 of 92, since",
		},
		"no result": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector"}}`}, metric.KindUnavailable,
			"error: backend prometheus: the answer has no result, since",
		},
		"result before its type": {
			fakeResponse{body: `{"data":{"result":[{"value":[1,"2"],"metric":{"namespace":"shop","pod":"a"}}],"resultType":"vector"},"status":"success"}`},
			0, "shop/a=2",
		},
		"no value": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[{"metric":{}}]}}`}, metric.KindUnavailable,
			"error: backend prometheus: the result {} has no value, since",
		},
		"redirect to another host": {
			fakeResponse{code: 307, header: map[string]string{"Location": "http://user:secret@elsewhere/login?token=secret"}}, metric.KindUnavailable,
			"error: backend prometheus: redirected to http://elsewhere/login, not followed: correct the url, since",
		},
		"warnings": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["store 2 is away"]}`}, metric.KindUnavailable,
			"error: backend prometheus: partial response: store 2 is away, since",
		},
		"isPartial": {
			fakeResponse{body: `{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[]}}`}, metric.KindUnavailable,
			"error: backend prometheus: partial response: isPartial, since",
		},
		"infos are no warnings": {
			fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["PromQL info: x"],"infos":["y"]}`}, 0, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newNetworkBackend(t, "", sharedRules)
			w.server.alwaysRespond(tc.answer)
			values, err := w.evaluateRequests("shop")
			if got := formatValues(values, err); got != tc.want && (err == nil || tc.want == "" || !strings.HasPrefix(got, tc.want)) {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
			if err != nil && metric.KindOf(err) != tc.kind {
				t.Errorf("kind %v, want %v", metric.KindOf(err), tc.kind)
			}
		})
	}
}

func newNaN() float64 { var zero float64; return zero / zero }

func TestPartialResponseAccepted(t *testing.T) {
	t.Parallel()
	w := newNetworkBackend(t, "  partialResponse: accept\n", sharedRules)
	a := newVectorResponse(fakeSeries{"namespace=shop,pod=a", 1, time.Now()})
	a.body = strings.TrimSuffix(a.body, "}") + `,"isPartial":true,"warnings":["store 2 is away"]}`
	w.server.alwaysRespond(a)
	if got := formatValues(w.evaluateRequests("shop")); got != "shop/a=1" {
		t.Error(got)
	}
}

func TestScalarOfExternalRule(t *testing.T) {
	t.Parallel()
	w := newNetworkBackend(t, "", queueRules)
	w.server.alwaysRespond(fakeResponse{body: `{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}`})
	if got := formatValues(w.Evaluate(t.Context(), w.newRuleQuery("queue", ""), time.Now())); got != "{}=2" {
		t.Error(got)
	}
}

// endlessBody is a body of 100 MB that counts the bytes read.
type endlessBody struct{ read int64 }

func (e *endlessBody) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: -1,
		Body: io.NopCloser(io.LimitReader(e, 100<<20)), Request: r,
	}, nil
}

func (e *endlessBody) Read(p []byte) (int, error) {
	copy(p, bytes.Repeat([]byte(" "), len(p)))
	e.read += int64(len(p))
	return len(p), nil
}

func TestHugeAnswer(t *testing.T) {
	t.Parallel()
	cfg, set := compileRules(t, "  url: http://prometheus:9090\n  maxResponseBytes: 1Mi\n", sharedRules)
	huge := &endlessBody{}
	b, err := New(cfg, Options{Transport: huge})
	if err != nil {
		t.Fatal(err)
	}
	w := &testBackend{Backend: b, t: t, rules: set}
	const want = "error: backend prometheus: the answer has more than the 1048576 bytes of maxResponseBytes, since"
	if got := formatValues(w.evaluateRequests("shop")); !strings.HasPrefix(got, want) {
		t.Error(got)
	}
	if huge.read > 2<<20 {
		t.Errorf("%d bytes were read", huge.read)
	}
	if err := b.LabelNames(t.Context(), SeriesSelection{}, func(string) error { return nil }); err == nil || !strings.Contains(err.Error(), "1048576 bytes") {
		t.Errorf("list: %v", err)
	}
}
