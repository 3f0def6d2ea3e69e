package scrape

// A panic in a scrape ends this scrape alone.

import (
	"context"
	"errors"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
)

// errScrapePanic is the outcome of a scrape that panicked: a bug of this program, which the page has found.
var errScrapePanic = errors.New("panic while reading the page, see the adapter's log")

// scrapeTargetSafely is scrapeTarget, with a panic as the outcome of the scrape.
func (m *Manager) scrapeTargetSafely(ctx context.Context, j *scrapeJob) (o scrapeOutcome) {
	start := time.Now()
	defer func() {
		if fault := recover(); fault != nil {
			_ = m.panics.Report(ctx, fault, "namespace", j.loop.key.Namespace, "pod", j.loop.key.Name, "target", j.endpoint.loggedURL)
			o = scrapeOutcome{start: start, end: time.Now(), err: errScrapePanic, panicked: true}
		}
	}()
	return m.scrapeTarget(ctx, j)
}

// renewPanickedLoop ends the series of a loop after a panic and gives it a new parser and a new connection: the panic may have
// left the old ones in any state.
func (m *Manager) renewPanickedLoop(l *scrapeLoop) {
	own := l.parser.OwnLabels()
	m.endLoopSeries(l, m.clock.Now().UnixMilli())
	l.parser, l.rejectedFamilies = exposition.NewParser(own), nil
}

// endSeriesSafely runs a change of a loop's series. A panic leaves the series without markers, so that they end by age, and gives the loop a
// new parser.
func (m *Manager) endSeriesSafely(l *scrapeLoop, end func()) {
	broken := l.parser
	defer func() {
		if fault := recover(); fault != nil {
			_ = m.panics.Report(context.Background(), fault, "namespace", l.key.Namespace, "pod", l.key.Name)
			l.parser, l.rejectedFamilies = exposition.NewParser(broken.OwnLabels()), nil
			broken.Release()
		}
	}()
	end()
}
