package timeline

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

func TestWriteSVG(t *testing.T) {
	t.Parallel()
	points := []Point{
		{At: 0, Offered: 20, Served: math.NaN(), Desired: 2, Ready: 2, Reason: "warming up"},
		{At: time.Second, Offered: 20, Served: 19.8, Desired: 2, Ready: 2},
		{At: 2 * time.Second, Offered: 200, Served: 180, Desired: 6, Ready: 2},
		{At: 3 * time.Second, Offered: 200, Served: math.NaN(), Desired: 6, Ready: 2},
		{At: 4 * time.Second, Offered: 200, Served: 200, Desired: 6, Ready: 6},
	}
	var b strings.Builder
	if err := WriteSVG(&b, "load <up> & down", points); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(strings.NewReader(b.String()))
	served := ""
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "path" && e.Attr[0].Value == "line served" && served == "" {
			served = e.Attr[1].Value
		}
	}
	if got := strings.Count(served, "M"); got != 2 {
		t.Errorf("served line %q has %d parts, want 2: a second without a value is a gap", served, got)
	}
	if strings.Contains(b.String(), "NaN") {
		t.Error("NaN in the drawing")
	}
	var two strings.Builder
	if err := WriteRuns(&two, "two", []Run{{"slow & <steady>", points}, {"fast", points[:2]}}); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Count(two.String(), `class="line served"`), 2*strings.Count(b.String(), `class="line served"`); got != want {
		t.Errorf("two runs have %d served lines and legends, want %d", got, want)
	}
	if err := xml.Unmarshal([]byte(two.String()), new(struct{ XMLName xml.Name })); err != nil {
		t.Errorf("two runs: not well-formed: %v", err)
	}
	if err := WriteRuns(io.Discard, "none", nil); err == nil {
		t.Error("no error for a drawing of no run")
	}
	if err := WriteSVG(io.Discard, "empty", nil); err == nil {
		t.Error("no error for a drawing of nothing")
	}
}

func TestRow(t *testing.T) {
	t.Parallel()
	p := Point{At: 7 * time.Second, Offered: 200, Served: 198.25, PerPod: []float64{99.1, 99.15}, Age: 1200 * time.Millisecond, Desired: 4, Ready: 2}
	if got, want := p.Row(), "    7s     200.0     198.2    1.2        4      2  99 99"; got != want {
		t.Errorf("Row:\n%q, want\n%q", got, want)
	}
	p.Served, p.Reason = math.NaN(), "2 pods: 2 warming up"
	if got, want := p.Row(), "    7s     200.0         -      -        4      2  2 pods: 2 warming up"; got != want {
		t.Errorf("Row:\n%q, want\n%q", got, want)
	}
}
