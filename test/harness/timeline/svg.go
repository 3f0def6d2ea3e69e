package timeline

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// The dimensions of the drawing, in pixels. Each run has two panels, rates above and pods below; all share the time axis.
const (
	width       = 960
	left, right = 64.0, 24.0
	runsTop     = 40.0
	ratesTop    = 24.0 // within the run, like the constants below
	ratesHeight = 240.0
	podsTop     = ratesTop + ratesHeight + 48
	podsHeight  = 140.0
	runHeight   = podsTop + podsHeight + 48
)

// style follows the reader's theme. Lines have a contrast of at least 3 to the paper, texts of 4.5.
const style = `.paper{fill:#fff}text{font:13px system-ui,sans-serif;fill:#334155}.title{font-size:16px;font-weight:600;fill:#0f172a}.name{font-weight:600}
.grid{stroke:#e2e8f0}.line{fill:none;stroke-width:2;stroke-linejoin:round}
.offered{stroke:#64748b}.served{stroke:#2563eb}.desired{stroke:#d97706}.ready{stroke:#059669}
@media(prefers-color-scheme:dark){.paper{fill:#0d1117}text{fill:#cbd5e1}.title{fill:#f1f5f9}.grid{stroke:#30363d}
.offered{stroke:#94a3b8}.served{stroke:#60a5fa}.desired{stroke:#fbbf24}.ready{stroke:#34d399}}`

// paper is the ground of the drawing.
const paper = `<rect class="paper" width="100%" height="100%"/>`

// Run is the points of one run under a name, which may be empty.
type Run struct {
	Name   string
	Points []Point
}

// WriteSVG draws the points: offered and served rate over time, and below them desired and ready pods. A gap in the served line means
// that the API had no value.
func WriteSVG(w io.Writer, title string, points []Point) error {
	return WriteRuns(w, title, []Run{{Points: points}})
}

// WriteRuns draws runs below each other, each as WriteSVG does, on the same axes.
func WriteRuns(w io.Writer, title string, runs []Run) error {
	all := Run{}
	for _, r := range runs {
		if len(r.Points) == 0 {
			return fmt.Errorf("draw %q: no points", title)
		}
		all.Points = append(all.Points, r.Points...)
	}
	if len(runs) == 0 {
		return fmt.Errorf("draw %q: no runs", title)
	}
	height := runsTop + runHeight*float64(len(runs))
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%.0f" viewBox="0 0 %d %.0f" role="img">`,
		width, height, width, height)
	fmt.Fprintf(&b, "\n<style>%s</style>\n%s\n", style, paper)
	fmt.Fprintf(&b, `<text class="title" x="%.0f" y="28">%s</text>`+"\n", left, html.EscapeString(title))
	for i, r := range runs {
		r.drawTimelineBelow(&b, runsTop+runHeight*float64(i), all.timelineLines())
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// lines are the lines of a run.
type lines struct {
	end                             float64 // seconds
	offered, served, desired, ready []xy
}

func (r Run) timelineLines() lines {
	l := lines{
		offered: timelinePoints(r.Points, func(p Point) float64 { return p.Offered }),
		served:  timelinePoints(r.Points, func(p Point) float64 { return p.Served }),
		desired: timelinePoints(r.Points, func(p Point) float64 { return float64(p.Desired) }),
		ready:   timelinePoints(r.Points, func(p Point) float64 { return float64(p.Ready) }),
	}
	for _, p := range r.Points {
		l.end = max(l.end, p.At.Seconds())
	}
	return l
}

// drawTimelineBelow draws the run below y, on axes that fit all runs.
func (r Run) drawTimelineBelow(b *strings.Builder, y float64, all lines) {
	rates := newTimelinePanel(y+ratesTop, ratesHeight, all.end, "requests/s", all.offered, all.served)
	pods := newTimelinePanel(y+podsTop, podsHeight, all.end, "pods", all.desired, all.ready)
	l := r.timelineLines()
	rates.drawPanelFrame(b)
	pods.drawPanelFrame(b)
	rates.drawPanelSteps(b, "offered", l.offered)
	rates.drawPanelLine(b, "served", l.served)
	pods.drawPanelSteps(b, "desired", l.desired)
	pods.drawPanelSteps(b, "ready", l.ready)
	if r.Name != "" {
		fmt.Fprintf(b, `<text class="name" x="%.0f" y="%.0f">%s</text>`+"\n", left+96, rates.top-12, html.EscapeString(r.Name))
	}
	drawTimelineLegend(b, rates.top-12, "offered", "served")
	drawTimelineLegend(b, pods.top-12, "desired", "ready")
}

type xy struct{ x, y float64 }

func timelinePoints(points []Point, value func(Point) float64) []xy {
	s := make([]xy, len(points))
	for i, p := range points {
		s[i] = xy{p.At.Seconds(), value(p)}
	}
	return s
}

// panel maps (seconds, value) to pixels within one frame.
type panel struct {
	top, height, end, max, step float64
	unit                        string
}

func newTimelinePanel(top, height, end float64, unit string, all ...[]xy) panel {
	highest := 1.0
	for _, s := range all {
		for _, p := range s {
			if !math.IsNaN(p.y) {
				highest = max(highest, p.y)
			}
		}
	}
	step := timelineAxisStep(highest / 4)
	return panel{top: top, height: height, end: max(end, 1), max: math.Ceil(highest/step) * step, step: step, unit: unit}
}

// timelineAxisStep returns the smallest of 1, 2, 5 times a power of ten that is at least v, and at least 1.
func timelineAxisStep(v float64) float64 {
	v = max(v, 1)
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5} {
		if f*power >= v {
			return f * power
		}
	}
	return 10 * power
}

func (p panel) panelPixelX(seconds float64) float64 { return left + seconds/p.end*(width-left-right) }
func (p panel) panelPixelY(value float64) float64   { return p.top + p.height*(1-value/p.max) }

func (p panel) drawPanelFrame(b *strings.Builder) {
	for v := 0.0; v <= p.max; v += p.step {
		fmt.Fprintf(b, `<line class="grid" x1="%.0f" x2="%.0f" y1="%.1f" y2="%.1f"/>`, left, width-right, p.panelPixelY(v), p.panelPixelY(v))
		fmt.Fprintf(b, `<text x="%.0f" y="%.1f" text-anchor="end">%g</text>`+"\n", left-8, p.panelPixelY(v)+4, v)
	}
	step := timelineAxisStep(p.end / 10)
	for t := 0.0; t <= p.end; t += step {
		fmt.Fprintf(b, `<text x="%.1f" y="%.0f" text-anchor="middle">%gs</text>`+"\n", p.panelPixelX(t), p.top+p.height+18, t)
	}
	fmt.Fprintf(b, `<text x="%.0f" y="%.0f">%s</text>`+"\n", left, p.top-12, p.unit)
}

func (p panel) drawPanelLine(b *strings.Builder, class string, s []xy) {
	p.drawPanelPath(b, class, s, func(q xy) string { return fmt.Sprintf("L%.1f %.1f", p.panelPixelX(q.x), p.panelPixelY(q.y)) })
}

func (p panel) drawPanelSteps(b *strings.Builder, class string, s []xy) {
	p.drawPanelPath(b, class, s, func(q xy) string { return fmt.Sprintf("H%.1fV%.1f", p.panelPixelX(q.x), p.panelPixelY(q.y)) })
}

// drawPanelPath draws s with one command per point, and starts anew after each gap of NaN.
func (p panel) drawPanelPath(b *strings.Builder, class string, s []xy, command func(q xy) string) {
	fmt.Fprintf(b, `<path class="line %s" d="`, class)
	pen := false
	for _, q := range s {
		switch {
		case math.IsNaN(q.y):
			pen = false
		case !pen:
			fmt.Fprintf(b, "M%.1f %.1f", p.panelPixelX(q.x), p.panelPixelY(q.y))
			pen = true
		default:
			b.WriteString(command(q))
		}
	}
	b.WriteString("\"/>\n")
}

func drawTimelineLegend(b *strings.Builder, y float64, classes ...string) {
	x := width - right - 96*float64(len(classes))
	for _, class := range classes {
		fmt.Fprintf(b, `<path class="line %s" d="M%.0f %.0fh24"/><text x="%.0f" y="%.0f">%s</text>`+"\n",
			class, x, y-4, x+30, y, class)
		x += 96
	}
}
