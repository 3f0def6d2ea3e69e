package exposition_test

import (
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
)

// A target exposes two families; the adapter wants the samples of http_requests_total.
func ExampleParser_Parse() {
	page := `# HELP http_requests_total Requests served.
# TYPE http_requests_total counter
http_requests_total{code="200"} 1027
http_requests_total{code="500"} 3
# TYPE go_goroutines gauge
go_goroutines 12
`
	parser := exposition.NewParser(labels.FromStrings("namespace", "shop", "pod", "cart-1"))
	parsed, err := parser.Parse(exposition.PageOptions{
		Families: exposition.NewFamilies([]string{"http_requests_total"}),
		Now:      time.UnixMilli(1000),
	}, []byte(page))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, sample := range parsed.Samples {
		fmt.Println(sample.Series.Labels, sample.Time, sample.Value)
	}
	// Output:
	// {__name__="http_requests_total", code="200", namespace="shop", pod="cart-1"} 1000 1027
	// {__name__="http_requests_total", code="500", namespace="shop", pod="cart-1"} 1000 3
}

// An incomplete page is rejected as a whole, with a reason.
func ExampleParser_Parse_rejected() {
	parser := exposition.NewParser(labels.EmptyLabels())
	_, err := parser.Parse(exposition.PageOptions{
		Families: exposition.NewFamilies([]string{"http_requests_total"}),
	}, []byte("http_requests_total 10"))
	fmt.Println(err)
	// Output: truncated page
}
