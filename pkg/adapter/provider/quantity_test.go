package provider

import (
	"encoding/json"
	"math"
	"math/big"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

func TestQuantity(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in     float64
		want   string
		reason metric.Reason
	}{
		"zero":                                {in: 0, want: "0"},
		"negative zero":                       {in: math.Copysign(0, -1), want: "0"},
		"whole":                               {in: 42, want: "42"},
		"thousandths":                         {in: 12.345, want: "12345m"},
		"thousand":                            {in: 12000, want: "12k"},
		"half goes up":                        {in: 0.0625, want: "63m"},
		"negative half goes down":             {in: -0.0625, want: "-63m"},
		"just under a half":                   {in: math.Nextafter(0.0625, 0), want: "62m"},
		"1.0005 is a float just below a half": {in: 1.0005, want: "1"},
		"one third":                           {in: 1.0 / 3, want: "333m"},
		"two thirds":                          {in: 2.0 / 3, want: "667m"},
		"under half a thousandth":             {in: 0.0004, want: "0"},
		"smallest":                            {in: math.SmallestNonzeroFloat64, want: "0"},
		"2^53 thousandths":                    {in: float64(1<<53) / 1000, want: "9007199254740992m"},
		"2^53":                                {in: 1 << 53, want: "9007199254740992"},
		"largest":                             {in: math.Nextafter(9223372036854775.807, 0), want: "9223372036854774"},
		"beyond":                              {in: 9223372036854776, reason: metric.ReasonOutOfRange},
		"beyond, negative":                    {in: -9223372036854776, reason: metric.ReasonOutOfRange},
		"largest float":                       {in: math.MaxFloat64, reason: metric.ReasonOutOfRange},
		"+Inf":                                {in: math.Inf(1), reason: metric.ReasonOutOfRange},
		"-Inf":                                {in: math.Inf(-1), reason: metric.ReasonOutOfRange},
		"NaN":                                 {in: math.NaN(), reason: metric.ReasonNotANumber},
		"stale NaN":                           {in: math.Float64frombits(0x7ff0000000000002), reason: metric.ReasonNotANumber},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, reason := convertToMilliQuantity(tc.in)
			if reason != tc.reason {
				t.Fatalf("quantity(%v): reason %q, want %q", tc.in, reason, tc.reason)
			}
			if reason == "" && got.String() != tc.want {
				t.Errorf("quantity(%v) = %s, want %s", tc.in, got.String(), tc.want)
			}
		})
	}
}

// TestQuantityBeyondThousandths shows why quantity rejects what a Quantity could still hold.
func TestQuantityBeyondThousandths(t *testing.T) {
	t.Parallel()
	q := resource.MustParse("100P")
	if got := q.MilliValue(); got != 0 {
		t.Errorf("100P reads as %d thousandths; it used to read as 0, so the range of quantity can be widened", got)
	}
}

// FuzzQuantity holds quantity against arithmetic without rounding, and against what the autoscaler reads from JSON.
func FuzzQuantity(f *testing.F) {
	for _, v := range []float64{0, 1, -1, 0.0005, 1.0005, 1.0015, 0.0625, 1e-300, 9e12 + 0.0005, 4503599627370.4965,
		9007199254740.993, 9.2e15, 9223372036854775, 1e16, math.Inf(1), math.NaN(), math.MaxFloat64} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v float64) {
		got, reason := convertToMilliQuantity(v)
		if math.IsNaN(v) {
			if reason != metric.ReasonNotANumber {
				t.Fatalf("NaN: reason %q", reason)
			}
			return
		}
		if math.Abs(v)*1000 >= 1<<63 {
			if reason != metric.ReasonOutOfRange {
				t.Fatalf("%v: reason %q, want out of range", v, reason)
			}
			return
		}
		want := roundedThousandths(v)
		if reason != "" || !want.IsInt64() {
			t.Fatalf("%v: reason %q, true value %s", v, reason, want)
		}
		if got.MilliValue() != want.Int64() {
			t.Fatalf("%v: %d thousandths, want %s", v, got.MilliValue(), want)
		}
		data, err := json.Marshal(got)
		if err != nil {
			t.Fatalf("marshal %s: %v", got.String(), err)
		}
		var read resource.Quantity
		if err := json.Unmarshal(data, &read); err != nil {
			t.Fatalf("unmarshal %s: %v", data, err)
		}
		if read.MilliValue() != want.Int64() {
			t.Fatalf("%v: read back as %d thousandths, want %s", v, read.MilliValue(), want)
		}
	})
}

// roundedThousandths is v × 1000, rounded half away from zero, in rational arithmetic.
func roundedThousandths(v float64) *big.Int {
	r := new(big.Rat).SetFloat64(math.Abs(v))
	r.Mul(r, big.NewRat(1000, 1))
	r.Add(r, big.NewRat(1, 2))
	n := new(big.Int).Quo(r.Num(), r.Denom())
	if v < 0 {
		n.Neg(n)
	}
	return n
}
