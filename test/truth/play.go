package truth

// Playing a scenario: statements take effect, readers read, and the judge judges, in virtual time.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// player plays one scenario.
type player struct {
	*world
	ctx      context.Context
	scenario Scenario
	replicas []*adapterReplica
	count    int // of replicas
	length   time.Duration
	readers  []*reader
	scalers  []*autoscaler
	expects  []Statement
	loadErr  error // of the configuration at the start
	report   Report
}

// Run plays a scenario. It must run inside a synctest bubble. Equal scenarios and seeds give equal reports.
func Run(ctx context.Context, s Scenario, seed uint64) (r Report) {
	p := &player{world: newWorld(seed), ctx: ctx, scenario: s, count: 1, length: 2 * time.Minute}
	defer func() {
		if fault := recover(); fault != nil {
			err, ok := fault.(scenarioFault)
			if !ok {
				panic(fault)
			}
			p.mu.TryLock() // the statement may have held it
			p.mu.Unlock()
			p.stopAll()
			r = p.report
			r.Fault = err
		}
	}()
	p.report.Promises = newPromises()
	p.playStatements(seed) //nolint:contextcheck // a rule's trial evaluates in memory
	p.stopAll()
	p.judgeExpectations()
	return p.report
}

// playStatements applies the statements at their times, and runs all that is due between them.
func (p *player) playStatements(seed uint64) {
	rest := slices.Clone(p.scenario.Statements)
	slices.SortStableFunc(rest, func(a, b Statement) int { return int(a.At - b.At) })
	for len(rest) > 0 && rest[0].At == 0 {
		p.applyStatement(rest[0])
		rest = rest[1:]
	}
	for i := range p.count {
		if p.loadErr = p.startAdapter(seed*8 + uint64(i)); p.loadErr != nil {
			return
		}
	}
	synctest.Wait()
	for {
		next := p.nextTime(rest)
		if next.After(p.start.Add(p.length)) {
			return
		}
		time.Sleep(time.Until(next)) //nolint:forbidigo // virtual time
		synctest.Wait()
		p.runDueEvents()
		for len(rest) > 0 && !p.start.Add(rest[0].At).After(time.Now()) {
			p.applyStatement(rest[0])
			rest = rest[1:]
		}
		p.tellWatches()
		p.readDue()
		p.tellWatches()
	}
}

// tellWatches changes the cluster, and waits until the adapters have seen each change. Otherwise the scheduler would decide how many changes
// of a moment an adapter sees at once, and how many 100 ms later.
func (p *player) tellWatches() {
	synctest.Wait()
	for ; len(p.changes) > 0; p.changes = p.changes[1:] {
		p.changes[0]()
		synctest.Wait()
	}
}

func (p *player) startAdapter(seed uint64) error {
	a, err := startReplica(p.ctx, p.world, seed)
	if err != nil {
		return err
	}
	p.noteTrouble("", "the adapter starts", time.Now())
	p.replicas = append(p.replicas, a)
	return nil
}

// nextTime returns the time of the next event, statement or read.
func (p *player) nextTime(rest []Statement) time.Time {
	next := p.start.Add(p.length + time.Second)
	earlier := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	if len(rest) > 0 {
		earlier(p.start.Add(rest[0].At))
	}
	if len(p.due) > 0 {
		earlier(p.due[0].at)
	}
	for _, r := range p.readers {
		earlier(r.next)
	}
	for _, s := range p.scalers {
		earlier(s.next)
	}
	return next
}

func (p *player) runDueEvents() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.due) > 0 && !p.due[0].at.After(time.Now()) {
		e := p.due[0]
		p.due = p.due[1:]
		e.do()
	}
}

// readDue lets the readers and autoscalers read that are due.
func (p *player) readDue() {
	for _, r := range p.readers {
		if r.next.After(time.Now()) {
			continue
		}
		r.next = r.next.Add(r.every)
		if r.until > 0 && time.Since(p.start) > r.until {
			r.next = p.start.Add(24 * time.Hour)
		}
		for i, a := range p.replicas {
			answer := p.readAnswer(a, r, i)
			p.mu.Lock()
			p.judgeAnswer(r, a, &answer)
			p.mu.Unlock()
			r.answers = append(r.answers, answer)
		}
	}
	for _, s := range p.scalers {
		if !s.next.After(time.Now()) {
			p.runAutoscaler(s)
		}
	}
}

func (p *player) stopAll() {
	for _, a := range p.replicas {
		if err := a.stopReplica(); err != nil {
			p.report.Fault = errors.Join(p.report.Fault, err)
		}
	}
	p.replicas = nil
	p.mu.Lock()
	for _, s := range p.services {
		for _, pod := range slices.Concat(s.pods, s.departed) {
			for _, c := range pod.conns {
				_ = c.Close()
			}
		}
	}
	p.mu.Unlock()
	time.Sleep(2 * time.Minute) //nolint:forbidigo // virtual time: pages that are late end
}

// applyStatement makes a statement take effect now.
func (p *player) applyStatement(st Statement) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advanceCounts(time.Now())
	switch st.Verb {
	case "run":
		p.length = st.parseInterval(st.Args[0])
	case "replicas":
		p.count = int(st.parseArgument(st.Args[0]))
	case "watch":
		p.lag = st.parseDuration("lag", 0)
	case "expect":
		p.expects = append(p.expects, st)
	case "read":
		p.addReader(st)
	case "hpa":
		p.addAutoscaler(st)
	case "scrape", "max-window", "max-age", "rule", "reload":
		p.applySetting(st)
	case "restart":
		p.restartAdapters()
	case "forget": // the autoscaler of a reader is deleted
		p.notifyNow(func() { p.cluster.removeAutoscaler("reader-" + st.Args[0]) })
	case "selector":
		p.selected[st.Args[0]] = st.Args[1]
		p.notifyNow(func() { p.cluster.storeService(st.Args[0], st.Args[1]) })
		p.noteTrouble("", "the selector changes", time.Now())
	case "service", "counter", "gauge", "histogram", "summary":
		p.applyObject(st)
	case "pod":
		p.applyPodStatement(st)
	default:
		p.applyServiceStatement(st)
	}
}

// applySetting changes the adapter's configuration, by a reload if the adapter runs.
func (p *player) applySetting(st Statement) {
	s := &p.settings
	switch st.Verb {
	case "scrape":
		s.interval, s.timeout = st.parseDuration("interval", s.interval), st.parseDuration("timeout", s.timeout)
		s.maxSeries = int(st.parseNumber("max-series", float64(s.maxSeries)))
		s.maxSamples = int(st.parseNumber("max-samples", float64(s.maxSamples)))
		s.maxConcurrent = int(st.parseNumber("max-concurrent", float64(s.maxConcurrent)))
		p.noteSlowPages()
	case "max-window":
		s.maxWindow = st.parseInterval(st.Args[0])
	case "max-age":
		s.maxAge = st.parseInterval(st.Args[0])
	case "rule": // a later one replaces that of its name
		if i := slices.IndexFunc(s.rules, func(r Statement) bool { return r.Args[0] == st.Args[0] }); i >= 0 && st.At > 0 {
			s.rules[i] = st
		} else {
			s.rules = append(s.rules, st)
		}
	}
	if len(p.replicas) == 0 {
		return
	}
	p.noteTrouble("", "the configuration changes", time.Now())
	for _, a := range p.replicas {
		if err := a.reloadReplica(s.renderConfig()); err != nil {
			panic(scenarioFault{st, err})
		}
	}
}

// noteSlowPages notes the pages that take longer than the interval, the delay of all pages of the service included.
func (p *player) noteSlowPages() {
	for _, s := range p.services {
		for _, pod := range s.pods {
			mode, until := pod.activeMode(), pod.pageUntil
			if mode.name != "slow" || s.delay+mode.value < p.settings.interval {
				continue
			}
			if until.IsZero() {
				until = p.start.Add(p.length)
			}
			p.noteTrouble(s.name, "page of "+pod.name+" "+pageModes[mode.name], until)
		}
	}
}

func (p *player) restartAdapters() {
	count := len(p.replicas)
	p.mu.Unlock()
	for _, a := range p.replicas {
		_ = a.stopReplica()
	}
	p.replicas = nil
	for i := range count {
		_ = p.startAdapter(uint64(i) + 1000*uint64(time.Since(p.start)))
	}
	synctest.Wait()
	p.mu.Lock()
}

// applyObject adds a service or a family.
func (p *player) applyObject(st Statement) {
	if st.Verb == "service" {
		s := &service{
			name: st.Args[0], boot: st.parseDuration("boot", 3*time.Second), grace: st.parseDuration("grace", 3*time.Second),
			drain: st.parseDuration("drain", 200*time.Millisecond), delay: st.parseDuration("delay", 0),
			annotated: st.optionOr("annotated", "yes") == "yes", ports: st.optionOr("ports", ""), lastMove: p.start.Add(-time.Hour),
		}
		p.services = append(p.services, s)
		if s.delay > p.settings.interval/4 {
			p.noteTrouble(s.name, "pages are slow", p.start.Add(time.Hour))
		}
		p.selected[s.name] = s.name
		p.notifyNow(func() { p.cluster.storeService(s.name, s.name) })
		for range int(st.parseNumber("pods", 1)) {
			p.addPod(s, st.At == 0)
		}
		return
	}
	s := p.requireService(st)
	f := &metricFamily{
		name: st.Args[1], kind: st.Verb, typed: st.optionOr("type", st.Verb), rate: st.parseNumber("rate", 0),
		batch: st.parseNumber("batch", 1), poisson: st.optionOr("poisson", "no") == "yes", spread: st.optionOr("spread", "no") == "yes",
		countsScrapes: st.optionOr("counts-scrapes", "no") == "yes", rounding: st.optionOr("rounding", "no") == "yes", created: st.optionOr("created", "no") == "yes",
		dotted: st.optionOr("dotted", "no") == "yes", base: st.parseNumber("base", 0), value: st.parseNumber("value", 0),
		wobble: st.parseNumber("wobble", 0), timestamped: st.parseDuration("timestamped", 0), latency: st.parseNumber("latency", 0),
		rateChanged: p.start.Add(-time.Hour), series: []string{""},
	}
	if f.typed == "none" {
		f.typed = ""
	}
	if n := int(st.parseNumber("series", 1)); n > 1 {
		f.series = nil
		for i := range n {
			f.series = append(f.series, fmt.Sprint(200+i))
		}
	}
	f.changes = []valueChange{{p.start.Add(-time.Hour), f.latency + f.value}}
	s.families = append(s.families, f)
	for _, pod := range s.pods {
		if pod.running {
			pod.counts[f] = newPodCounts(f, p.rng)
			pod.counts[f].shiftSeries(f.base)
		}
	}
}

func (p *player) requireService(st Statement) *service {
	s := p.findService(st.Args[0])
	if s == nil {
		panic(scenarioFault{st, fmt.Errorf("no service %q", st.Args[0])})
	}
	return s
}

// applyServiceStatement changes a service or the load of its family.
func (p *player) applyServiceStatement(st Statement) {
	s := p.requireService(st)
	switch st.Verb {
	case "scale":
		p.scaleService(s, int(st.parseArgument(st.Args[1])))
		return
	case "rollout":
		p.rollOut(s)
		return
	case "annotate": // prometheus.io/scrape
		s.annotated = true
		p.noteTrouble(s.name, "the annotation is new", time.Now())
		for _, pod := range s.pods {
			p.publishPod(pod)
		}
		return
	}
	f := s.findFamily(st.Args[1])
	if f == nil {
		panic(scenarioFault{st, fmt.Errorf("no family %q", st.Args[1])})
	}
	switch st.Verb {
	case "rate":
		f.changeRate(time.Now(), st.parseArgument(st.Args[2]), st.parseDuration("over", 0))
	case "value":
		f.value = st.parseArgument(st.Args[2])
		f.changes = append(f.changes, valueChange{time.Now(), f.value})
	case "latency":
		f.latency = st.parseArgument(st.Args[2])
		f.changes = append(f.changes, valueChange{time.Now(), f.latency})
	case "expire": // the series without further events leave the pages
		for _, pod := range s.pods {
			if c := pod.counts[f]; c != nil {
				c.expireSeries(f.series)
			}
		}
	case "move": // all further events go to other series
		f.series = strings.Split(st.Args[2], ",")
		if first := f.batch / max(1, f.rate) * float64(len(s.pods)); f.batch > 1 && !f.poisson {
			// Nothing else grows beside the first batch of a new counter, so that a sum waits for the proof that it began at zero.
			p.noteTrouble(s.name, "counters begin with a batch", time.Now().Add(time.Duration(first*float64(time.Second))))
		}
	}
}

// applyPodStatement does something to a pod, or to its page.
func (p *player) applyPodStatement(st Statement) {
	pod := p.findPod(st.Args[0])
	if pod == nil {
		if st.Line > 0 {
			panic(scenarioFault{st, fmt.Errorf("no pod %q", st.Args[0])})
		}
		return // a generated line may concern a pod that has left
	}
	down := st.parseDuration("down", 0)
	switch what := st.Args[1]; what {
	case "restart":
		p.restartProcess(pod, down)
	case "kill":
		p.killPod(pod)
	case "delete":
		p.deletePod(pod)
	case "unready":
		p.setServing(pod, false)
	case "ready":
		p.setServing(pod, true)
	case "replace": // by a pod of the same name, when it is gone
		p.deletePod(pod)
		p.runAfter(pod.service.grace, func() { p.createPod(pod.service, pod.name, false) })
	case "recreate": // under the same name, as a StatefulSet does
		p.killPod(pod)
		p.createPod(pod.service, pod.name, false)
	case "url": // another page of the same pod, with other counts
		pod.port, pod.moved = pod.port+1, time.Now()
		pod.cached = "" // another page has its own cache
		for _, c := range pod.counts {
			c.shiftSeries(1e6)
		}
		if p.lag > 0 { // until the adapter knows the new address, the earlier one refuses connections
			pod.closeConnections()
		}
		p.noteTrouble(pod.service.name, "the URL changes", time.Now())
		p.publishPod(pod)
	case "fail", "succeed": // the object stays
		p.stopProcess(pod)
		pod.phase = map[string]corev1.PodPhase{"fail": corev1.PodFailed, "succeed": corev1.PodSucceeded}[what]
		p.noteTrouble(pod.service.name, "pod "+pod.name+" ends", time.Now())
		p.publishPod(pod)
	case "workers", "labelled-workers":
		pod.workers, pod.labelled = int(st.parseNumber("value", 3)), what == "labelled-workers"
		p.noteTrouble(pod.service.name, "several processes answer for "+pod.name, p.start.Add(p.length))
	case "weight":
		pod.weight = st.parseNumber("value", 1)
		pod.service.lastMove = time.Now()
	default:
		if _, ok := pageModes[what]; !ok {
			panic(scenarioFault{st, fmt.Errorf("a pod cannot %q", what)})
		}
		p.breakPage(pod, what, st)
	}
}

// breakPage gives a pod's page a mode, for a time or for good.
func (p *player) breakPage(pod *podProcess, mode string, st Statement) {
	pod.page = pageMode{name: mode, text: st.Text}
	if text := st.optionOr("value", ""); text != "" {
		pod.page.value = st.parseInterval(text)
	}
	until := p.start.Add(p.length)
	if d := st.parseDuration("for", 0); d > 0 {
		until = time.Now().Add(d)
		pod.pageUntil = until
	}
	if mode == "refuse" { // the process no longer listens, and serves no connection that it has
		pod.closeConnections()
	}
	p.noteSlowPages()
	switch mode {
	case "slow", "cached", "no-newline", "duplicate", "redirect": // good pages to a good scraper
	default:
		p.noteTrouble(pod.service.name, "page of "+pod.name+" "+pageModes[mode], until)
	}
}
