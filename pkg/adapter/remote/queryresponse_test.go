package remote

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// referenceResponse is a response for encoding/json.
type referenceResponse struct {
	Data struct {
		ResultType string
		Result     json.RawMessage
	}
}

// readFields returns the fields of a JSON object by their exact names: fields of a struct also take names in other letters.
func readFields(t *testing.T, object json.RawMessage) map[string]json.RawMessage {
	t.Helper()
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(object, &fields); err != nil {
		t.Fatalf("%s: decoded what encoding/json rejects: %v", object, err)
	}
	return fields
}

// readJSON is json.Unmarshal of what may be absent.
func readJSON[T any](t *testing.T, data json.RawMessage) T {
	t.Helper()
	var v T
	if data == nil {
		return v
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return v
}

// readSamples returns the samples of a response by encoding/json.
func readSamples(t *testing.T, body []byte) []resultSample {
	t.Helper()
	point := func(data json.RawMessage) timedValue {
		parts := readJSON[[]any](t, data)
		if len(parts) != 2 {
			t.Fatalf("%s: %d parts", data, len(parts))
		}
		at, _ := parseEpochSeconds(parts[0].(float64))
		value, _ := strconv.ParseFloat(parts[1].(string), 64)
		return newTimedValue(at, value)
	}
	data := readFields(t, readFields(t, body)["data"])
	if readJSON[string](t, data["resultType"]) == "scalar" {
		return []resultSample{{Value: point(data["result"])}}
	}
	var all []resultSample
	for _, v := range readJSON[[]json.RawMessage](t, data["result"]) {
		sample := readFields(t, v)
		all = append(all, resultSample{Metric: readJSON[map[string]string](t, sample["metric"]), Value: point(sample["value"])})
	}
	return all
}

// referenceSample is a result with its number as text.
type referenceSample struct {
	Metric map[string]string
	Value  json.RawMessage
}

func (r *referenceResponse) decodeVector(t testing.TB) []referenceSample {
	t.Helper()
	var vector []referenceSample
	if err := json.Unmarshal(r.Data.Result, &vector); err != nil {
		t.Fatal(err)
	}
	return vector
}

func newTimedValue(at time.Time, value float64) timedValue { return timedValue{at, value} }

// FuzzDecode compares every successful decoding with encoding/json.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		newVectorResponse(fakeSeries{"namespace=shop,pod=a", 1.5, time.Unix(90, 0)}, fakeSeries{"namespace=shop,pod=b", math.Inf(1), time.Time{}}).body,
		newVectorResponse(fakeSeries{"a=\u00fc\"\\", newNaN(), time.Time{}}).body,
		`{"status":"success","data":{"resultType":"scalar","result":[1435781451.781,"1e400"]},"warnings":["w"],"infos":["i"]}`,
		`{"status":"success","isPartial":false,"data":{"resultType":"vector","result":null}}`,
		`{"status":"success","data":{"resultType":"vector","result":[null]}}`,
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":null,"value":[ 1 , "2" ]}]}}`,
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"1"}]}]}}`,
		`{"status":"success","data":{"resultType":"matrix","result":[]}}`,
		`{"status":"error","errorType":"bad_data","error":"parse error"}`,
		`{"status":"success","data":{"resultType":"vector"}}`,
		`{"data":{"result":[{"value":[1,"2"],"metric":{"a":"b"}}],"resultType":"vector"},"status":"success"}`,
		`{"status":"success","data":{"resultType":"vector","result":[{"metriC":{"a":"b"},"value":[1,"2"]}]}}`,
		`{"status":"success","data":{"resultType":"vector","result":[{"extra":"\0","value":[1,"2"]}]}}`,
		"<html>", "", "{", "[]", "null",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, failure := decodeQueryResponse(data, 1<<30)
		if failure != nil {
			if failure.text == "" || failure.outcome == "" || len(failure.text) > 1000 {
				t.Errorf("failure %+v", failure)
			}
			return
		}
		if diff := cmp.Diff(readSamples(t, data), r.samples, cmp.AllowUnexported(timedValue{}), cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("samples (-encoding/json +decode):\n%s", diff)
		}
	})
}

func TestPoint(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`[1435781451.781,"1"]`:     "1435781451781 1",
		`[1435781451,"-0.5e3"]`:    "1435781451000 -500",
		"[ 1.0005 ,\n\"NaN\" ]":    "1001 NaN",
		`[1,"+Inf"]`:               "1000 +Inf",
		`[1,"-Inf"]`:               "1000 -Inf",
		`[1,"1e999"]`:              "1000 +Inf",
		`[1,1]`:                    "error",
		`["1","1"]`:                "error",
		`[1,"x"]`:                  "error",
		`[1,""]`:                   "error",
		`[1,"]`:                    "error",
		`[1]`:                      "error",
		`[]`:                       "error",
		`{}`:                       "error",
		`"1"`:                      "error",
		`[1e300,"1"]`:              "error",
		`[NaN,"1"]`:                "error",
		`[1435781451.781,"1","2"]`: "error",
	} {
		d := responseDecoder{data: []byte(in), room: 1 << 20, internedStrings: map[string]string{}}
		got := "error"
		if p := d.decodeQueryResultValue(); d.failure == nil {
			got = fmt.Sprintf("%d %v", p.at.UnixMilli(), p.value)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// TestDecodedIsBounded: a response whose parts are small takes no more memory than its bound allows, and its failure says so.
func TestDecodedIsBounded(t *testing.T) {
	t.Parallel()
	const size, most = 1 << 20, 3 << 20
	keys := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, body := range map[string]string{
		"results":  `{"status":"success","data":{"resultType":"vector","result":[` + strings.Repeat(`{"metric":{"a":""},"value":[1,"1"]},`, size/36),
		"samples":  `{"status":"success","data":{"resultType":"vector","result":[` + strings.Repeat(`{"value":[1,"1"]},`, size/18),
		"labels":   `{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"1"],"metric":{` + keys(`"%d":"",`),
		"keys":     `{"status":"success",` + keys(`"%d":0,`),
		"warnings": `{"status":"success","warnings":[` + strings.Repeat(`"",`, size/3),
	} {
		if _, f := decodeQueryResponse([]byte(body), most); f == nil || f.outcome != outcomeTooLarge {
			t.Errorf("%s: %+v, want %s", name, f, outcomeTooLarge)
		}
	}
	results := strings.Repeat(`{"metric":{"namespace":"shop","pod":"web-5d8f7c9b4-abcde"},"value":[1435781451.781,"1234.5"]},`, 5000)
	body := `{"status":"success","data":{"resultType":"vector","result":[` + strings.TrimSuffix(results, ",") + `]}}`
	if r, f := decodeQueryResponse([]byte(body), most); f != nil || len(r.samples) != 5000 {
		t.Errorf("a usual response of %d bytes: %+v", len(body), f)
	}
}

// TestLargeResponsesTakeTurns: a large response waits while another is read, and a small one does not.
func TestLargeResponsesTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		places := make(chan struct{}, 1)
		read := func(size int, timeout time.Duration) *backendRequestFailure {
			ctx, timer, cancel := startRequestTimer(t.Context(), timeout)
			defer cancel()
			body := `{"status":"success","data":{"resultType":"vector","result":[]}}` + strings.Repeat(" ", size)
			response := &http.Response{Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1}
			turn := &largeResponseTurn{places: places}
			defer turn.endLargeResponseTurn()
			_, f := readQueryResponse(ctx, response, 4<<20, turn, timer)
			return f
		}
		const large = 1 << 20
		for range 2 { // the first gives its turn back
			if f := read(large, time.Minute); f != nil {
				t.Error(f.text)
			}
		}
		places <- struct{}{} // another is read
		if f := read(1000, time.Minute); f != nil {
			t.Errorf("a small response: %s", f.text)
		}
		if f := read(large, time.Millisecond); f == nil || f.outcome != outcomeOther {
			t.Errorf("a large response beside another: %+v, want no turn", f)
		}
	})
}

// BenchmarkDecode decodes a refresh with 10,000 results and their times, beside encoding/json.
func BenchmarkDecode(b *testing.B) {
	var all []fakeSeries
	for i := range 10_000 {
		all = append(all, fakeSeries{fmt.Sprintf("namespace=team-%d,pod=web-7d9c5b8f6d-%05d", i%100, i), float64(i) * 1.37, time.Unix(1767323045, 0)})
	}
	body := []byte(newVectorResponse(all...).body)
	b.Run("by hand", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if r, f := decodeQueryResponse(body, 1<<30); f != nil || len(r.samples) != 20_000 {
				b.Fatal(f)
			}
		}
	})
	b.Run("encoding json", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			r := &referenceResponse{}
			if err := json.Unmarshal(body, r); err != nil || len(r.decodeVector(b)) != 20_000 {
				b.Fatal(err)
			}
		}
	})
}

// TestFailedLargeResponseEndsTurn: while another server is asked because a large response failed, other queries may read theirs.
func TestFailedLargeResponseEndsTurn(t *testing.T) {
	t.Parallel()
	var w *testBackend
	broken := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, strings.Repeat(" ", 1<<20)+"{")
	}))
	defer broken.Close()
	held := -1
	next := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		held = len(w.largeResponses)
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
	}))
	defer next.Close()
	w = newTestBackend(t, "  url: "+broken.URL+"\n  failover: ["+next.URL+"]\n", sharedRules, Options{})
	defer w.client.http.CloseIdleConnections()
	if _, f := w.sendInstantQuery(t.Context(), "up", time.Now(), &largeResponseTurn{places: w.largeResponses}); f != nil {
		t.Error(f.text)
	}
	if held != 0 {
		t.Errorf("%d turns are held while the next server is asked, want none", held)
	}
}
