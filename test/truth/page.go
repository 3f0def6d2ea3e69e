package truth

// Pages: how a process writes them, and how they fail.

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"
)

// pageMode is the way in which a pod's page is broken; empty for a good page.
type pageMode struct {
	name  string
	value time.Duration
	text  string // of a literal page
}

// pageModes are the names of modes.
var pageModes = map[string]string{
	"timeout": "never answers", "refuse": "refuses the connection", "503": "answers 503", "truncate": "ends in the middle",
	"slow": "answers late", "cached": "is rendered anew only so often", "no-newline": "has no last line break",
	"html-type": "has the type text/html", "duplicate": "repeats a line", "redirect": "redirects to a slash",
	"old": "has timestamps of its own, so old", "empty": "has none of its families", "literal": "says something else",
}

// dialPod connects to the process behind an address.
func (w *world) dialPod(ctx context.Context, _, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.hosts[host]
	if p == nil || !p.running || p.activeMode().name == "refuse" || port != fmt.Sprint(p.port) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	near, far := net.Pipe()
	p.conns = append(p.conns, far)
	go w.servePages(p, far)
	return near, nil
}

// activeMode returns the mode of the page now.
func (p *podProcess) activeMode() pageMode {
	if !p.pageUntil.IsZero() && !time.Now().Before(p.pageUntil) {
		p.page, p.pageUntil = pageMode{}, time.Time{}
	}
	return p.page
}

// servePages answers the requests of a connection until it closes.
func (w *world) servePages(p *podProcess, conn net.Conn) {
	defer conn.Close()
	requests := bufio.NewReader(conn)
	for {
		request, err := http.ReadRequest(requests)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, request.Body)
		if !w.answerRequest(p, conn, request) {
			return
		}
	}
}

// answerRequest writes one response; false closes the connection.
func (w *world) answerRequest(p *podProcess, conn net.Conn, request *http.Request) bool {
	w.mu.Lock()
	mode, delay := p.activeMode(), p.service.delay
	w.mu.Unlock()
	switch mode.name {
	case "timeout":
		delay = time.Minute
	case "slow":
		delay += mode.value
	}
	if delay > 0 {
		time.Sleep(delay) //nolint:forbidigo // virtual time
	}
	w.mu.Lock()
	body := p.renderPage(w, mode, request)
	w.mu.Unlock()
	head, length := "200 OK\r\nContent-Type: text/plain; version=0.0.4", len(body)
	switch mode.name {
	case "503":
		head = "503 Service Unavailable\r\nContent-Type: text/plain"
	case "truncate":
		body = body[:len(body)*2/3]
	case "html-type":
		head = "200 OK\r\nContent-Type: text/html; charset=utf-8"
	case "redirect":
		if !strings.HasSuffix(request.URL.Path, "/") {
			head = "307 Temporary Redirect\r\nLocation: " + request.URL.Path + "/"
			body, length = "", 0
		}
	}
	_, err := fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", head, length, body)
	return err == nil && len(body) == length
}

// renderPage writes the page of a process. The caller holds w.mu.
func (p *podProcess) renderPage(w *world, mode pageMode, request *http.Request) string {
	now := time.Now()
	w.advanceCounts(now)
	if mode.name == "cached" && p.cached != "" && now.Sub(p.cachedAt) < mode.value {
		return p.cached
	}
	p.turn = (p.turn + 1) % p.workers
	var b strings.Builder
	for _, f := range p.service.families {
		if mode.name != "empty" && p.counts[f] != nil && !mode.replacesFamily(f.name) {
			p.writeFamily(&b, f, w, mode, request)
		}
	}
	if mode.name == "literal" {
		b.WriteString(mode.renderLiteral(now, p.counts))
	}
	b.WriteString("# TYPE process_things gauge\nprocess_things 1\n")
	page := b.String()
	if mode.name == "no-newline" {
		page = strings.TrimSuffix(page, "\n")
	}
	if mode.name == "cached" {
		p.cached, p.cachedAt = page, now
	}
	return page
}

// replacesFamily reports whether a literal page has lines of a family.
func (m pageMode) replacesFamily(name string) bool {
	return m.name == "literal" && strings.Contains(m.text, name)
}

// renderLiteral returns the lines of a literal page, which " | " separates. COUNT stands for a counter's events so far, HIGHCOUNT for
// 7,000 more, MILLIS±SECONDS for a timestamp.
func (m pageMode) renderLiteral(now time.Time, counts map[*metricFamily]*podCounts) string {
	text := strings.ReplaceAll(m.text, " | ", "\n") + "\n"
	for f, c := range counts {
		if f.kind == "counter" {
			text = strings.ReplaceAll(text, "HIGHCOUNT", fmt.Sprintf("%.0f", 7000+math.Floor(c.total)))
			text = strings.ReplaceAll(text, "COUNT", fmt.Sprintf("%.0f", math.Floor(c.total)))
		}
	}
	for _, seconds := range []int{-30, 30, -3600, 3600} {
		text = strings.ReplaceAll(text, fmt.Sprintf("MILLIS%+d", seconds), fmt.Sprint(now.Add(time.Duration(seconds)*time.Second).UnixMilli()))
	}
	return text
}

func (p *podProcess) writeFamily(b *strings.Builder, f *metricFamily, w *world, mode pageMode, request *http.Request) {
	if f.dotted {
		f.writeDottedFamily(b, request)
		return
	}
	if f.typed != "" {
		fmt.Fprintf(b, "# TYPE %s %s\n", f.name, f.typed)
	}
	switch f.kind {
	case "gauge":
		stamp, at := "", time.Now()
		if f.timestamped > 0 {
			at = w.start.Add(at.Sub(w.start).Truncate(f.timestamped))
			stamp = fmt.Sprintf(" %d", at.UnixMilli())
		}
		if mode.name == "old" {
			stamp = fmt.Sprintf(" %d", at.Add(-mode.value).UnixMilli())
		}
		fmt.Fprintf(b, "%s %g%s\n", f.name, f.gaugeAt(at), stamp)
	case "counter":
		p.writeCounter(b, f, mode)
	default:
		p.writeDistribution(b, f)
	}
}

// writeDottedFamily writes a gauge whose name has dots, as promhttp does: the request's filter reads the name with dots, and the page
// has them only for a scraper that accepts them.
func (f *metricFamily) writeDottedFamily(b *strings.Builder, request *http.Request) {
	dotted := strings.ReplaceAll(f.name, "_", ".")
	if asked := request.URL.Query()["name[]"]; len(asked) > 0 && !slices.Contains(asked, dotted) {
		return
	}
	if strings.Contains(request.Header.Get("Accept"), "escaping=allow-utf-8") {
		fmt.Fprintf(b, "# TYPE %q gauge\n{%q} %g\n", dotted, dotted, f.value)
		return
	}
	fmt.Fprintf(b, "# TYPE %s gauge\n%s %g\n", f.name, f.name, f.value)
}

// gaugeAt returns the value of a gauge of each pod.
func (f *metricFamily) gaugeAt(at time.Time) float64 {
	return f.value + f.wobble*math.Round(10*math.Sin(float64(at.UnixMilli())/3000))/10
}

func (p *podProcess) writeCounter(b *strings.Builder, f *metricFamily, mode pageMode) {
	c := p.counts[f]
	if f.countsScrapes {
		c.countEvents(f, 1)
	}
	for _, s := range c.order {
		n := c.shownCount(f, s)
		if f.rounding {
			p.turn++
			fmt.Fprintf(b, "%s %.9f\n", f.name, max(0, n-1e-6*float64(p.turn%2)))
			continue
		}
		if p.workers > 1 {
			n = math.Floor(n/float64(p.workers)) + float64(1000*p.turn)
			if p.labelled {
				s = fmt.Sprint(p.turn)
			}
		}
		name := f.name
		if s != "" {
			name += `{code="` + s + `"}`
		}
		line := fmt.Sprintf("%s %.0f\n", name, n+c.shifts[s])
		if mode.name == "old" {
			line = fmt.Sprintf("%s %.0f %d\n", name, n+c.shifts[s], time.Now().Add(-mode.value).UnixMilli())
		}
		b.WriteString(line)
		if f.created {
			created := strings.Replace(name, "_total", "_created", 1)
			fmt.Fprintf(b, "%s %.3f\n", created, float64(c.began[s].UnixMilli())/1000)
		}
		if mode.name == "duplicate" {
			b.WriteString(line)
		}
	}
}

// writeDistribution writes a histogram or a summary.
func (p *podProcess) writeDistribution(b *strings.Builder, f *metricFamily) {
	c, total := p.counts[f], 0.0
	for i, n := range c.buckets {
		total += n
		le := "+Inf"
		if i < len(latencyBounds) {
			le = fmt.Sprint(latencyBounds[i])
		}
		if f.kind == "histogram" {
			fmt.Fprintf(b, "%s_bucket{le=\"%s\"} %.0f\n", f.name, le, math.Floor(total))
		}
	}
	if f.kind == "summary" {
		for _, q := range []float64{0.5, 0.9, 0.99} {
			fmt.Fprintf(b, "%s{quantile=\"%g\"} %g\n", f.name, q, f.latency)
		}
	}
	fmt.Fprintf(b, "%s_sum %g\n%s_count %.0f\n", f.name, c.sum, f.name, math.Floor(total))
}
