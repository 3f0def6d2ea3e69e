// Conversion of a float64 to a quantity.

package provider

import (
	"math"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// convertToMilliQuantity converts v to a quantity of whole thousandths: the exact value of v × 1000, rounded to the nearest
// integer, halves away from zero. For a v without such a quantity it
// returns the reason and a zero quantity that must not be served.
//
// The range is an int64 of thousandths, |v| up to about 9.2e15, although a Quantity can hold more. The autoscaler reads
// every quantity by MilliValue, which is 0 for anything beyond, and a 0 scales a service down. From 2^53 / 1000 ≈ 9.0e12
// upwards neighbouring float64 values are further than a thousandth apart; the digits served are still the digits of v.
func convertToMilliQuantity(v float64) (resource.Quantity, metric.Reason) {
	if math.IsNaN(v) {
		return resource.Quantity{}, metric.ReasonNotANumber
	}
	a := math.Abs(v)
	p := a * 1000
	if p >= 1<<63 { // also +Inf
		return resource.Quantity{}, metric.ReasonOutOfRange
	}
	// a × 1000 = p + rest, exactly. Without rest, 1.0005 (which is a little less than that) would round up.
	rest := math.FMA(a, 1000, -p)
	whole := math.Floor(p)
	// x is the distance from whole + 0.5; its sign, and hence its floor, survives the rounding of the sum.
	x := (p - whole - 0.5) + rest
	n := int64(whole) + int64(math.Floor(x)) + 1
	if v < 0 {
		n = -n
	}
	return *resource.NewMilliQuantity(n, resource.DecimalSI), ""
}
