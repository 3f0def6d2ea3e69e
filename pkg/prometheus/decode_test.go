package prometheus

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// FuzzDecode: whatever is decoded without a fault has a number for each result.
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
		for _, s := range r.samples {
			if s.Value == nil || s.Value.at.IsZero() {
				t.Errorf("a result without a value or time: %+v", s)
			}
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
		var p point
		got := "error"
		if p.UnmarshalJSON([]byte(in)) == nil {
			got = fmt.Sprintf("%d %v", p.at.UnixMilli(), p.value)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// BenchmarkDecode is one refresh with 20,000 results and their times.
func BenchmarkDecode(b *testing.B) {
	var all []series
	for i := range 10_000 {
		all = append(all, series{fmt.Sprintf("namespace=team-%d,pod=web-7d9c5b8f6d-%05d", i%100, i), float64(i) * 1.37, time.Unix(1767323045, 0)})
	}
	body := []byte(vector(all...).body)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if r, f := decode(body); f != nil || len(r.samples) != 20_000 {
			b.Fatal(f)
		}
	}
}
