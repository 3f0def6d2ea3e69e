package remote

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// referenceReply is an answer for encoding/json.
type referenceReply struct {
	Data struct {
		ResultType string
		Result     json.RawMessage
	}
}

func (r *referenceReply) samples(t *testing.T) []sample {
	t.Helper()
	point := func(data json.RawMessage) point {
		var parts []any
		if err := json.Unmarshal(data, &parts); err != nil || len(parts) != 2 {
			t.Fatalf("%s: %v", data, err)
		}
		at, _ := seconds2time(parts[0].(float64))
		value, _ := strconv.ParseFloat(parts[1].(string), 64)
		return newPoint(at, value)
	}
	if r.Data.ResultType == "scalar" {
		return []sample{{Value: point(r.Data.Result)}}
	}
	var all []sample
	for _, v := range r.vector(t) {
		all = append(all, sample{Metric: v.Metric, Value: point(v.Value)})
	}
	return all
}

// referenceSample is a result with its number as it is written.
type referenceSample struct {
	Metric map[string]string
	Value  json.RawMessage
}

func (r *referenceReply) vector(t testing.TB) []referenceSample {
	t.Helper()
	var vector []referenceSample
	if err := json.Unmarshal(r.Data.Result, &vector); err != nil {
		t.Fatal(err)
	}
	return vector
}

func newPoint(at time.Time, value float64) point { return point{at, value} }

// FuzzDecode: whatever is decoded without a fault is what encoding/json decodes.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		vector(series{"namespace=shop,pod=a", 1.5, time.Unix(90, 0)}, series{"namespace=shop,pod=b", math.Inf(1), time.Time{}}).body,
		vector(series{"a=\u00fc\"\\", nan(), time.Time{}}).body,
		`{"status":"success","data":{"resultType":"scalar","result":[1435781451.781,"1e400"]},"warnings":["w"],"infos":["i"]}`,
		`{"status":"success","isPartial":false,"data":{"resultType":"vector","result":null}}`,
		`{"status":"success","data":{"resultType":"vector","result":[null]}}`,
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":null,"value":[ 1 , "2" ]}]}}`,
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"1"}]}]}}`,
		`{"status":"success","data":{"resultType":"matrix","result":[]}}`,
		`{"status":"error","errorType":"bad_data","error":"parse error"}`,
		`{"status":"success","data":{"resultType":"vector"}}`,
		`{"data":{"result":[{"value":[1,"2"],"metric":{"a":"b"}}],"resultType":"vector"},"status":"success"}`,
		"<html>", "", "{", "[]", "null",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, fault := decode(data)
		if fault != nil {
			if fault.text == "" || fault.outcome == "" || len(fault.text) > 1000 {
				t.Errorf("fault %+v", fault)
			}
			return
		}
		want := &referenceReply{}
		if err := json.Unmarshal(data, want); err != nil {
			t.Fatalf("decoded what encoding/json refuses: %v", err)
		}
		if diff := cmp.Diff(want.samples(t), r.samples, cmp.AllowUnexported(point{}), cmpopts.EquateNaNs()); diff != "" {
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
		d := decoder{data: []byte(in), names: map[string]string{}}
		got := "error"
		if p := d.point(); d.fault == nil {
			got = fmt.Sprintf("%d %v", p.at.UnixMilli(), p.value)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// BenchmarkDecode is one refresh with 10,000 results and their times, beside what encoding/json takes for less.
func BenchmarkDecode(b *testing.B) {
	var all []series
	for i := range 10_000 {
		all = append(all, series{fmt.Sprintf("namespace=team-%d,pod=web-7d9c5b8f6d-%05d", i%100, i), float64(i) * 1.37, time.Unix(1767323045, 0)})
	}
	body := []byte(vector(all...).body)
	b.Run("by hand", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if r, f := decode(body); f != nil || len(r.samples) != 20_000 {
				b.Fatal(f)
			}
		}
	})
	b.Run("encoding json", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			r := &referenceReply{}
			if err := json.Unmarshal(body, r); err != nil || len(r.vector(b)) != 20_000 {
				b.Fatal(err)
			}
		}
	})
}
