package truth

// A small model of the HorizontalPodAutoscaler's arithmetic, with an average value of a Pods metric as its target.

import (
	"fmt"
	"math"
	"time"
)

// autoscaler scales a service by a Pods metric.
type autoscaler struct {
	reader          *reader
	service         string
	target          float64
	least, most     int
	every           time.Duration
	next            time.Time
	recommendations []recommendation
}

type recommendation struct {
	at       time.Time
	replicas int
}

// The controller's defaults.
const (
	scaleTolerance      = 0.1
	stabilizationWindow = 5 * time.Minute
)

// addAutoscaler adds an autoscaler and its reader.
func (p *player) addAutoscaler(st Statement) {
	s := &autoscaler{
		service: st.Args[0], target: st.parseNumber("target", 100), least: int(st.parseNumber("min", 1)),
		most: int(st.parseNumber("max", 20)), every: st.parseDuration("every", 15*time.Second),
		reader: &reader{id: "hpa-" + st.Args[0], kind: "pods", subject: st.Args[0], metric: st.Args[1]},
	}
	s.reader.truth = []string{"rate", "http_requests_total"}
	s.next = p.start.Add(20 * time.Second)
	p.scalers = append(p.scalers, s)
	p.storeDemand(s.reader)
}

// runAutoscaler reads and scales once.
func (p *player) runAutoscaler(s *autoscaler) {
	s.next = s.next.Add(s.every)
	r := s.reader
	out := p.readAnswer(p.replicas[0], r, 0)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.judgeAnswer(r, p.replicas[0], &out)
	r.answers = append(r.answers, out)
	if out.err != nil {
		return // the controller keeps the replicas
	}
	svc := p.findService(s.service)
	all := 0
	for _, pod := range svc.pods {
		if pod.deleting {
			continue
		}
		all++
	}
	want := desiredReplicas(all, out.values, s.target)
	c := p.describeRateCase(r, p.replicas[0])
	if out.verdict != verdictWrong && out.at.Sub(c.lastRate) > c.reference+retainedIntervals*p.settings.interval {
		p.judgeScaling(s, want, all, c.offered)
	}
	p.scaleService(svc, s.stabilizeReplicas(out.at, all, want))
}

// judgeScaling fails a wish for more pods where the truth asks for fewer, and the other way round.
func (p *player) judgeScaling(s *autoscaler, want, current int, offered float64) {
	right := offered / s.target
	if want > current && right < float64(current)*(1-scaleTolerance) || want < current && right > float64(current)*(1+scaleTolerance) {
		p.report.Failures = append(p.report.Failures, fmt.Sprintf("%s at %v: an autoscaler wants %d pods instead of %d; %.2f are right",
			s.reader.id, time.Since(p.start), want, current, right))
	}
}

// desiredReplicas is the controller's arithmetic: the mean over pods with a value; pods without one count as the target on the way
// down, and as nothing on the way up.
func desiredReplicas(current int, values map[string]float64, target float64) int {
	if len(values) == 0 {
		return current
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	missing := max(0, current-len(values))
	ratio := sum / float64(len(values)) / target
	if missing == 0 {
		if math.Abs(ratio-1) <= scaleTolerance {
			return current
		}
		return int(math.Ceil(ratio * float64(len(values))))
	}
	if ratio < 1 {
		sum += float64(missing) * target
	}
	adjusted := sum / float64(len(values)+missing) / target
	if math.Abs(adjusted-1) <= scaleTolerance || ratio < 1 && adjusted > 1 || ratio > 1 && adjusted < 1 {
		return current
	}
	want := int(math.Ceil(adjusted * float64(len(values)+missing)))
	if adjusted < 1 && want > current || adjusted > 1 && want < current {
		return current
	}
	return want
}

// stabilizeReplicas applies the policies: at most twice or four more at a time, and down only by the greatest wish of the window.
func (s *autoscaler) stabilizeReplicas(now time.Time, current, want int) int {
	s.recommendations = append(s.recommendations, recommendation{now, want})
	greatest := want
	for _, r := range s.recommendations {
		if now.Sub(r.at) < stabilizationWindow {
			greatest = max(greatest, min(r.replicas, current))
		}
	}
	want = max(want, min(greatest, current))
	return min(max(want, s.least), s.most, max(2*current, current+4))
}
