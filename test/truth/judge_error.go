package truth

// The judge of errors: an error needs a reason in the world.

import (
	"slices"
	"strings"
	"time"
)

// judgeError accepts an error for which the world gave a reason.
func (p *player) judgeError(r *reader, a *adapterReplica, out *answer) (verdict, string) {
	text := out.err.Error()
	services, families := p.familiesOf(r)
	if strings.Contains(text, "panic") {
		return verdictWrong, text
	}
	if len(families) > 0 && strings.Contains(text, "absent") && !p.lacksFamily(services, families, out.at) {
		return verdictWrong, "absent, although each page has the family: " + text
	}
	if why := p.explainError(r, a, out, services, families); why != "" {
		return verdictRefused, why
	}
	return verdictWrong, "refused without a reason in the world: " + text
}

// explainError returns the reason that the world gives for an error; empty without one.
func (p *player) explainError(r *reader, a *adapterReplica, out *answer, services []*service, families []*metricFamily) string {
	text, trouble := out.err.Error(), p.findTrouble(r, services, out.at)
	switch {
	case r.truth[0] == "none" || r.truth[0] == "any" || len(families) == 0:
		return "there is no right number"
	case trouble != "":
		return trouble
	case !slices.ContainsFunc(services, func(s *service) bool { return len(s.servingPods()) > 0 }):
		return "no pod serves"
	case p.expectsError(r, out):
		return "the scenario expects it"
	case r.truth[0] == "quantile" && p.hadNoEvents(text, listEventHistories(r, services, families), out.at):
		return "there were no events"
	}
	reference := p.describeRateCase(r, a).reference
	for _, t := range p.troubles { // a window may begin in the trouble
		if strings.Contains(text, "warming up") && !out.at.Before(t.from) && out.at.Before(t.until.Add(reference)) {
			return t.why
		}
	}
	if r.truth[0] != "gauge" && p.hasFewEvents(a, families, out.at) {
		return "too few events so far"
	}
	return ""
}

// findTrouble returns the trouble of a read's services at a time; empty without one.
func (p *player) findTrouble(r *reader, services []*service, at time.Time) string {
	for _, t := range p.troubles {
		concerned := t.service == "" || r.kind == "external" || // any pod of the namespace may have the series
			slices.ContainsFunc(services, func(s *service) bool { return s.name == t.service })
		if concerned && !at.Before(t.from) && !at.After(t.until) {
			return t.why
		}
	}
	return ""
}

// hasFewEvents reports whether a replica that started lately saw fewer than twenty events of the families.
func (p *player) hasFewEvents(a *adapterReplica, families []*metricFamily, at time.Time) bool {
	if at.Sub(a.started) >= p.settings.maxWindow+p.settings.interval {
		return false
	}
	events := 0.0
	for _, f := range families { // events that come together count once
		events += (f.history.countAt(at) - f.history.countAt(a.started)) / max(1, f.batch)
	}
	return events < 20
}

// expectsError reports whether a statement of the scenario expects this error.
func (p *player) expectsError(r *reader, out *answer) bool {
	for _, st := range p.expects {
		at := out.at.Sub(p.start)
		if st.Args[0] == r.id && st.Args[1] == "refused" && at >= st.parseDuration("from", 0) && at <= st.parseDuration("to", p.length) {
			return out.meetsExpectation(st)
		}
	}
	return false
}

// lacksFamily reports whether a page lacked its family lately.
func (p *player) lacksFamily(services []*service, families []*metricFamily, now time.Time) bool {
	for i, s := range services {
		for _, pod := range s.pods {
			if pod.counts[families[i]] == nil || pod.page.name == "empty" || len(pod.counts[families[i]].order) == 0 && families[i].kind == "counter" {
				return true
			}
		}
	}
	for _, t := range p.troubles {
		if strings.Contains(t.why, pageModes["empty"]) && now.Before(t.until) {
			return true
		}
	}
	return false
}
