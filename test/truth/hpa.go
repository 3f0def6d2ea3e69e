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
		if fault := (scalingWish{want, all, s.target}).findFault(p.describeScalingLoad(c, &out)); fault != "" {
			p.report.Failures = append(p.report.Failures, fmt.Sprintf("%s at %v: %s", s.reader.id, time.Since(p.start), fault))
		}
	}
	p.scaleService(svc, s.stabilizeReplicas(out.at, all, want))
}

// scalingLoad is the load behind a wish, in events a second: offered, and happened in the windows that the answer may mean.
type scalingLoad struct {
	offered, low, high float64
	batch              float64 // events of a random batch; 0 if nothing is random
	window             time.Duration
}

func (p *player) describeScalingLoad(c rateCase, out *answer) scalingLoad {
	load := scalingLoad{offered: c.offered, low: c.offered, high: c.offered, window: out.window[0]}
	if c.noisy {
		load.low, load.high = p.trueRange(c.totalHistories(), out, p.settings.interval)
		load.batch = max(1, c.families[0].batch)
	}
	return load
}

// scalingWish is what an autoscaler wants.
type scalingWish struct {
	want, current int
	target        float64
}

// findFault returns a fault of a wish for more pods where the load asks for fewer, or the other way round; empty without one.
//
// The right number is Kubernetes's own, current × total / (current × target), with its tolerance
// (kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale, "Algorithm details"), of the load that happened in the
// stated window. Random batches are not what was offered: then the wish must be right for what happened, and chance must
// explain that so much, or so little, happened.
func (w scalingWish) findFault(load scalingLoad) string {
	current := float64(w.current)
	wrong := func(low, high float64) bool {
		return w.want > w.current && high/w.target < current*(1-scaleTolerance) || w.want < w.current && low/w.target > current*(1+scaleTolerance)
	}
	if !wrong(load.offered, load.offered) {
		return ""
	}
	if wrong(load.low, load.high) {
		return fmt.Sprintf("an autoscaler wants %d pods instead of %d; %.2f to %.2f are right", w.want, w.current, load.low/w.target, load.high/w.target)
	}
	happened := load.low
	if w.want < w.current {
		happened = load.high
	}
	batches := load.window.Seconds() / load.batch
	if boundPoissonTail(happened*batches, load.offered*batches) < leastChance {
		return fmt.Sprintf("an autoscaler wants %d pods instead of %d over %v, in which chance does not explain %.4g a second instead of %.4g",
			w.want, w.current, load.window, happened, load.offered)
	}
	return ""
}

// leastChance is the least probability of a load that chance explains. Some 30,000 reads of 10,000 scenarios are of random loads.
const leastChance = 1e-7

// boundPoissonTail returns a bound on the probability that a Poisson number of a mean is n or further from the mean:
// exp(−mean) (e mean)ⁿ / nⁿ (Mitzenmacher and Upfal, Probability and Computing, theorem 5.4).
func boundPoissonTail(n, mean float64) float64 {
	switch {
	case mean <= 0:
		return 0
	case n <= 0:
		return math.Exp(-mean)
	}
	return math.Exp(n - mean - n*math.Log(n/mean))
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
