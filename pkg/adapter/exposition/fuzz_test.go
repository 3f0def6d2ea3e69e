package exposition

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

var fuzzFamilies = []string{"http_requests_total", "http_request_duration_seconds", "queue_age", "with.dots", "a"}

// addPageSeeds adds the pages of testdata.
func addPageSeeds(f *testing.F, add func(body []byte, openMetrics bool)) {
	f.Helper()
	pages, err := filepath.Glob("testdata/*.page")
	if err != nil || len(pages) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, path := range pages {
		body, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		add(body, strings.Contains(path, "openmetrics"))
	}
}

// FuzzParse reads any bytes as a page. It must not panic; accepted samples belong to a wanted family; and the result must be
// the same for a page in pieces, and for series known already.
func FuzzParse(f *testing.F) {
	addPageSeeds(f, func(body []byte, openMetrics bool) { f.Add(body, openMetrics, uint8(7)) })
	f.Add([]byte("a 1\na{b=\"\n\"} 2\n"), false, uint8(1))
	f.Add([]byte("{\"a\",a=\"\\\\\"} 0x1\n"), false, uint8(200))
	f.Fuzz(func(t *testing.T, body []byte, openMetrics bool, piece uint8) {
		format := Text
		if openMetrics {
			format = OpenMetrics
		}
		page := newTestPage(format, fuzzFamilies...)
		page.MaxLabels = 8
		whole := NewParser(testOwn)
		first, firstErr := parseInPieces(page, whole, body, len(body))
		again, againErr := parseInPieces(page, whole, body, len(body))
		pieces, piecesErr := parseInPieces(page, NewParser(testOwn), body, int(piece)+1)
		if (firstErr == nil) != (againErr == nil) || fmt.Sprint(firstErr) != fmt.Sprint(piecesErr) {
			t.Fatalf("whole: %v; again: %v; in pieces: %v", firstErr, againErr, piecesErr)
		}
		if diff := cmp.Diff(first, again); diff != "" {
			t.Errorf("read again it differs:\n%s", diff)
		}
		if diff := cmp.Diff(first, pieces); diff != "" {
			t.Errorf("in pieces it differs:\n%s", diff)
		}
	})
}

// parseInPieces reads a page in pieces and returns the result as a text.
func parseInPieces(page PageOptions, p *Parser, body []byte, piece int) (string, error) {
	p.BeginPage(page)
	for len(body) > 0 {
		n := min(max(piece, 1), len(body))
		if _, err := p.Write(body[:n]); err != nil {
			break
		}
		body = body[n:]
	}
	r, err := p.EndPage()
	if err != nil {
		var rejected *Error
		if !errors.As(err, &rejected) {
			panic("not an *Error: " + err.Error())
		}
		return "", err
	}
	for _, s := range r.Samples {
		if page.Families.findWantedFamily([]byte(s.Series.Labels.Get(model.MetricNameLabel))) < 0 {
			panic("not wanted: " + s.Series.Labels.String())
		}
	}
	return r.formatPage(page.Families.Names()), nil
}

// FuzzAgreesWithTextparse makes a valid page from a seed: reading only its wanted lines must give the same samples as reading
// the whole page and filtering.
func FuzzAgreesWithTextparse(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed, seed%2 == 0)
	}
	f.Fuzz(func(t *testing.T, seed uint64, openMetrics bool) {
		format := Text
		if openMetrics {
			format = OpenMetrics
		}
		body := newValidPage(rand.New(rand.NewPCG(seed, 1)), format)
		page := newTestPage(format, fuzzFamilies...)
		want, err := parseByTextparse(page, body)
		if err != nil {
			t.Fatalf("the generator made an invalid page: %v\n%s", err, body)
		}
		p := NewParser(testOwn)
		for range 2 {
			got, err := parseInPieces(page, p, body, len(body))
			if err != nil {
				t.Fatalf("%v\n%s", err, body)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("textparse and filter (-) and selection (+) differ:\n%s\n%s", diff, body)
			}
		}
	})
}

// parseByTextparse reads the whole page with textparse and keeps the wanted samples.
func parseByTextparse(page PageOptions, body []byte) (string, error) {
	st := labels.NewSymbolTable()
	p := textparse.NewPromParser(slices.Clone(body), st, false)
	if page.Format == OpenMetrics {
		p = textparse.NewOpenMetricsParser(slices.Clone(body), st)
	}
	own := newPageSeriesCache(testOwn)
	names := page.Families.Names()
	r := ParsedPage{Families: make([]FamilyResult, len(names))}
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return r.formatPage(names), nil
		}
		if err != nil {
			return "", err
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var l labels.Labels
		p.Labels(&l)
		family := page.Families.findWantedFamily([]byte(l.Get(model.MetricNameLabel)))
		if family < 0 {
			continue
		}
		r.Families[family].Samples++
		if l, err = own.mergeTargetLabels(l); err != nil {
			return "", err
		}
		_, ts, v := p.Series()
		s := Sample{Series: &PageSeries{Labels: l}, Time: testNow.UnixMilli(), Value: v}
		if ts != nil {
			s.Time = *ts
		}
		r.Samples = append(r.Samples, s)
	}
}

// newValidPage writes a page of some wanted and some unwanted families, with all features of the format.
func newValidPage(r *rand.Rand, format Format) []byte {
	var b strings.Builder
	names := append([]string{"b", "with_dots", "http_requests", "queue_age_max", "with.dots.too"}, fuzzFamilies...)
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names[:r.IntN(len(names)+1)] {
		writeValidFamily(&b, r, format, name)
	}
	if format == OpenMetrics {
		b.WriteString("# EOF\n")
	}
	return []byte(b.String())
}

func writeValidFamily(b *strings.Builder, r *rand.Rand, format Format, name string) {
	kind := []string{"counter", "gauge", "histogram", "summary"}[r.IntN(4)]
	typed := name
	if strings.Contains(name, ".") {
		typed = `"` + name + `"`
	}
	if r.IntN(2) == 0 {
		fmt.Fprintf(b, "# HELP %s Words with \\n and \\\\ and http_requests_total 1\n", typed)
	}
	fmt.Fprintf(b, "# TYPE %s %s\n", strings.TrimSuffix(typed, "_total"), kind)
	for i := range r.IntN(6) {
		suffix, extra := "", ""
		switch kind {
		case "histogram":
			suffix, extra = []string{"_bucket", "_sum", "_count"}[i%3], fmt.Sprintf(`le="%d"`, i)
		case "summary":
			suffix, extra = []string{"", "_sum", "_count"}[i%3], fmt.Sprintf(`quantile="%d"`, i)
		}
		b.WriteString(newValidSeries(r, name+suffix, i, extra))
		b.WriteString(newValidValue(r, format))
		b.WriteByte('\n')
	}
}

func newValidSeries(r *rand.Rand, name string, i int, extra string) string {
	parts := []string{fmt.Sprintf("i=%q", fmt.Sprint(i))}
	if extra != "" {
		parts = append(parts, extra)
	}
	for n := range r.IntN(3) {
		v := []string{"", "x", "a b", `\\`, `\"`, `\n`, "} 1", " # {", "ü", "=,", "http_requests_total"}[r.IntN(11)]
		parts = append(parts, fmt.Sprintf("%s=\"%s\"", []string{"namespace", "code", "exported_pod"}[n], v))
	}
	if strings.Contains(name, ".") {
		return fmt.Sprintf(`{"%s",%s}`, name, strings.Join(parts, ","))
	}
	return name + "{" + strings.Join(parts, ",") + "}"
}

func newValidValue(r *rand.Rand, format Format) string {
	v := " " + []string{"0", "1", "-1.5", "1e9", "NaN", "+Inf", "-Inf", "0.1", "17179869184"}[r.IntN(9)]
	if r.IntN(4) == 0 {
		v += map[Format]string{Text: " 1700000000000", OpenMetrics: " 1700000000.125"}[format]
	}
	if format == OpenMetrics && r.IntN(4) == 0 {
		v += []string{` # {trace_id="x"} 1`, ` # {a=" # {"} 0.5 1700000000`, ` # {} 3`}[r.IntN(3)]
	}
	return v
}

// FuzzFamilyLister lists the families of any bytes as a page. The list must be the same for a page in pieces, keep its bounds, and agree with
// the Parser: a listed family has samples or a fault there, and a sample there has a listed family.
func FuzzFamilyLister(f *testing.F) {
	addPageSeeds(f, func(body []byte, openMetrics bool) { f.Add(body, openMetrics, uint8(7), uint16(1<<14)) })
	f.Add([]byte("queue=5\na 1\n"), false, uint8(1), uint16(1<<14))
	f.Add([]byte("# TYPE a counter\n# HELP a x\na_total 1\na_created 1\n# TYPE b info\nb_info 1\n# EOF\n"), true, uint8(9), uint16(400))
	f.Add([]byte("h_bucket{le=\"1\"} 1\nh_sum 1\n{\"q.x_bucket\",le=\"1\"} 1\nError: no more 1\n"), false, uint8(3), uint16(1<<14))
	f.Fuzz(func(t *testing.T, body []byte, openMetrics bool, piece uint8, listBytes uint16) {
		format := Text
		if openMetrics {
			format = OpenMetrics
		}
		whole, wholeErr := listInPieces(format, body, len(body), int(listBytes))
		pieces, piecesErr := listInPieces(format, body, int(piece)+1, int(listBytes))
		if diff := cmp.Diff(whole.families, pieces.families, cmp.AllowUnexported(listedFamily{})); diff != "" || fmt.Sprint(wholeErr) != fmt.Sprint(piecesErr) {
			t.Errorf("whole: %v; in pieces: %v, which differ:\n%s", wholeErr, piecesErr, diff)
		}
		if held := cap(pieces.partialLine) + cap(pieces.lastName); pieces.listBytes > int(listBytes) || held > 4*maxListedLineBytes {
			t.Errorf("a list of %d bytes, of at most %d, and %d bytes of lines", pieces.listBytes, listBytes, held)
		}
		checkListedFamilies(t, whole, wholeErr, format, body)
		if !whole.truncated {
			checkUnlistedFamilies(t, whole, wholeErr, format, body)
		}
	})
}

// listInPieces lists the families of a page in pieces.
func listInPieces(format Format, body []byte, piece, listBytes int) (*PageFamilyLister, error) {
	l := NewPageFamilyLister(format, 0, listBytes)
	for part := range slices.Chunk(body, max(piece, 1)) {
		if _, err := l.Write(part); err != nil {
			break
		}
	}
	_, _, err := l.List()
	return l, err
}

// checkListedFamilies checks that the Parser finds samples or a fault of each listed family.
func checkListedFamilies(t *testing.T, l *PageFamilyLister, listErr error, format Format, body []byte) {
	t.Helper()
	var names []string
	for name, f := range l.families {
		if f.hasSamples && listErr == nil {
			names = append(names, name)
		}
	}
	page := PageOptions{Format: format, Families: NewFamilies(names), Now: testNow, Complete: true}
	r, err := NewParser(testOwn).Parse(page, body)
	if err != nil {
		return
	}
	for i, f := range r.Families {
		if f.Samples == 0 && f.Err == nil && f.NewestOwn == 0 {
			t.Errorf("the list has %q, of which the page has no sample", page.Families.names[i])
		}
	}
}

// checkUnlistedFamilies checks that each sample that the Parser finds on the page belongs to a listed family.
func checkUnlistedFamilies(t *testing.T, l *PageFamilyLister, listErr error, format Format, body []byte) {
	t.Helper()
	names := slices.Clone(fuzzFamilies)
	for line := range bytes.SplitSeq(body, []byte("\n")) {
		if line = bytes.TrimLeft(bytes.TrimPrefix(line, []byte("\ufeff")), " \t"); len(line) > 0 && line[0] != '#' {
			names = append(names, string(parseSampleName(line)))
		}
	}
	r, err := NewParser(testOwn).Parse(PageOptions{Format: format, Families: NewFamilies(names), Now: testNow, Complete: true}, body)
	if err != nil {
		return
	}
	for _, s := range r.Samples {
		name := s.Series.Labels.Get(model.MetricNameLabel)
		if format == OpenMetrics && strings.HasSuffix(name, createdSuffix) {
			continue // when a counter began is no family
		}
		listed := l.families[name]
		if base := l.families[strings.TrimSuffix(name, findSampleSuffix([]byte(name)))]; listed == nil || !listed.hasSamples {
			listed = base
		}
		if listErr != nil || listed == nil || !listed.hasSamples {
			t.Errorf("the list has no family of %q, which the page has a sample of; error %v", name, listErr)
		}
	}
}
