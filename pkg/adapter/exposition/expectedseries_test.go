package exposition

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestExpectedSeriesChangeNothing: a parser that expects the series of the last page in their order finds on any page what a parser without
// that memory finds.
func TestExpectedSeriesChangeNothing(t *testing.T) {
	t.Parallel()
	expected := 0
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		options, fewer := newTestPage(Text, fuzzFamilies...), NewFamilies(fuzzFamilies[:2])
		all := options.Families
		with, without := NewParser(testOwn), NewParser(testOwn)
		lines := bytes.SplitAfter(newValidPage(r, Text), []byte("\n"))
		for page := range 40 {
			options.Now, options.FindFirstName = options.Now.Add(2*time.Second), r.IntN(4) == 0
			if options.Families = all; r.IntN(10) == 0 {
				options.Families = fewer
			}
			if r.IntN(20) == 0 {
				with.EndSeries(options.Now.UnixMilli() - 1000)
				without.EndSeries(options.Now.UnixMilli() - 1000)
			}
			lines = changeTestPage(r, lines)
			body := bytes.Join(lines, nil)
			without.aliveFamilies = nil
			want := describeWholePage(without, options, body)
			if diff := cmp.Diff(want, describeWholePage(with, options, body)); diff != "" {
				t.Fatalf("seed %d, page %d: without (-) and with (+) expected series:\n%s\n%s", seed, page, diff, body)
			}
			expected += len(with.expected)
		}
	}
	if expected == 0 {
		t.Error("no page had an expected series")
	}
}

// changeTestPage changes a page now and then: its lines, their order, its types, its values.
func changeTestPage(r *rand.Rand, lines [][]byte) [][]byte {
	other := bytes.SplitAfter(newValidPage(r, Text), []byte("\n"))
	at, from := r.IntN(len(lines)), r.IntN(len(other))
	switch r.IntN(14) {
	case 0:
		return other
	case 1:
		lines[at] = other[from]
	case 2:
		lines = append(lines[:at:at], append([][]byte{other[from]}, lines[at:]...)...)
	case 3:
		lines = append(lines[:at:at], lines[min(at+1, len(lines)-1):]...)
	case 4:
		r.Shuffle(len(lines)-1, func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	case 5:
		lines = append(lines[:at:at], append([][]byte{lines[at]}, lines[at:]...)...)
	case 6:
		lines[at] = bytes.Replace(lines[at], []byte("{"), []byte("{ "), 1)
	case 7:
		broken := bytes.Replace(lines[at], []byte("="), []byte("=\"\xff\",x="), 1) // not UTF-8
		lines = append(lines[:at:at], append([][]byte{broken}, lines[at:]...)...)
	case 8, 9:
		if space := bytes.LastIndexByte(lines[at], ' '); space > 0 && lines[at][0] != '#' {
			lines[at] = fmt.Appendf(nil, "%s%s\n", lines[at][:space], newValidValue(r, Text))
		}
	}
	return lines
}

// describeWholePage returns all that a page yields, as a text.
func describeWholePage(p *Parser, o PageOptions, body []byte) string {
	r, err := p.Parse(o, body)
	if err != nil {
		return err.Error()
	}
	text := r.formatPage(o.Families.Names()) + r.FirstName + "\n"
	for _, s := range r.Earlier {
		text += fmt.Sprintln("earlier", s.Series.Labels, s.Time, s.Value)
	}
	for i, list := range [][]*PageSeries{r.Vanished, p.AliveSeries()} {
		for _, s := range list {
			text += fmt.Sprintln([]string{"vanished", "alive"}[i], s.Labels, s.lastValue, s.isCounter, s.familyType)
		}
	}
	for _, s := range r.Replaced {
		text += fmt.Sprintln("replaced", s.Labels)
	}
	return text
}

// TestSteadyPageNeedsNoSearch: the lines of a page with the series of the last page need no map of series.
func TestSteadyPageNeedsNoSearch(t *testing.T) {
	t.Parallel()
	p, page := NewParser(testOwn), newTestPage(Text, "a")
	body := []byte("# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 2\na_sum 3\na_count 2\n")
	mustParse(t, p, page, body, 4)
	clear(p.cache.byBytes)
	page.Now = page.Now.Add(2 * time.Second)
	mustParse(t, p, page, body, 4)
	if len(p.cache.byBytes) > 0 {
		t.Errorf("%d lines went to Prometheus's parser, want none", len(p.cache.byBytes))
	}
}
