package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// DefaultParallel pods are asked at a time: enough that twenty take a few seconds, few enough that asking does not slow them.
const DefaultParallel = 10

// Options of a Checker; the zero value is right.
type Options struct {
	// Transport asks all pods; nil: one for each, without proxies, which takes any certificate. Redirects are not followed either way.
	Transport http.RoundTripper
	// Parallel is how many new pods are asked at a time, and beside each an old one; 0: DefaultParallel.
	Parallel int
}

// Checker asks pods and judges their answers. It may be used concurrently.
type Checker struct{ opts Options }

// New returns a Checker.
func New(opts Options) *Checker {
	opts.Parallel = cmp.Or(opts.Parallel, DefaultParallel)
	return &Checker{opts}
}

// Run asks the new pods for their readiness and then, if all are, what the spec says, the old ones beside them if it compares; a
// sample of at most as many, of those that are ready. The error is for what could not be asked at all, such as a pod without a port;
// whatever the pods answer or fail to is in the report, which is empty beside an error. When ctx ends, so does Run, with its cause.
func (c *Checker) Run(ctx context.Context, spec Spec, now, old []corev1.Pod) (Report, error) {
	spec = spec.Complete()
	if err := spec.Validate(); err != nil {
		return Report{}, fmt.Errorf("verification: %w", err)
	}
	if len(now) == 0 {
		return Report{}, errors.New("no pods to ask")
	}
	r := &run{Checker: c, spec: spec, all: newTally(), allOld: newTally()}
	for i := range now {
		a, err := resolve(spec, &now[i])
		if err != nil {
			return Report{}, err
		}
		r.now = append(r.now, a)
	}
	r.sample(old)
	return r.do(ctx)
}

// run is one verification.
type run struct {
	*Checker
	spec        Spec
	now, old    []addresses
	all, allOld *tally
}

// sample picks the old pods to compare with, spread over all that can be asked.
func (r *run) sample(old []corev1.Pod) {
	if r.spec.Slower == 0 {
		return
	}
	var all []addresses
	for i := range old {
		if a, err := resolve(r.spec, &old[i]); err == nil && ready(&old[i]) {
			all = append(all, a)
		}
	}
	n := min(len(all), len(r.now))
	for i := range n {
		r.old = append(r.old, all[i*len(all)/n])
	}
}

// ready tells whether a pod serves and will go on to.
func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
		}
	}
	return false
}

func (r *run) do(ctx context.Context) (Report, error) {
	pods := make([]PodReport, len(r.now), len(r.now)+len(r.old))
	r.each(ctx, func(i int) { pods[i] = r.readiness(ctx, &r.now[i]) })
	report := Report{Pods: pods}
	if ctx.Err() != nil {
		return Report{}, fmt.Errorf("ask the pods: %w", context.Cause(ctx))
	}
	report.Verdicts = append(report.Verdicts, judgeReadiness(pods))
	if r.spec.URL != "" && report.Verdicts[0].Passed {
		report.Pods = r.load(ctx, pods)
		if ctx.Err() != nil {
			return Report{}, fmt.Errorf("ask the pods: %w", context.Cause(ctx))
		}
		report.New, report.Old = r.all.summary(), r.allOld.summary()
		report.Verdicts = append(report.Verdicts, r.judge(&report)...)
	}
	report.Passed = passed(report.Verdicts)
	return report, nil
}

// each calls f for every new pod, some at a time, and returns when all calls have.
func (r *run) each(ctx context.Context, f func(i int)) {
	var calls sync.WaitGroup
	defer calls.Wait()
	room := make(chan struct{}, r.opts.Parallel)
	for i := range r.now {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		calls.Go(func() {
			defer func() { <-room }()
			f(i)
		})
	}
}

// readiness asks the readiness addresses of a pod, of which most have one.
func (r *run) readiness(ctx context.Context, a *addresses) PodReport {
	report := PodReport{Name: a.name, Readiness: readyOK}
	if len(a.ready) == 0 {
		report.Readiness = a.skipped
	}
	for i := range a.ready {
		c := newClient(r.opts.Transport, a.ready[i].host, 1)
		_, cause := c.ask(ctx, &a.ready[i])
		c.close()
		if cause != "" {
			report.Readiness = cause
			break
		}
	}
	return report
}

// load asks every new pod, and an old one beside it while there are any, so that both meet the same moment.
func (r *run) load(ctx context.Context, pods []PodReport) []PodReport {
	older := make([]PodReport, len(r.old))
	r.each(ctx, func(i int) {
		var beside sync.WaitGroup
		if i < len(r.old) {
			beside.Go(func() { older[i] = PodReport{Name: r.old[i].name, Old: true, Summary: r.ask(ctx, &r.old[i], r.allOld)} })
		}
		pods[i].Summary = r.ask(ctx, &r.now[i], r.all)
		beside.Wait()
	})
	return append(pods, older...)
}

// ask sends the requests to one pod.
func (r *run) ask(ctx context.Context, a *addresses, total *tally) Summary {
	c := newClient(r.opts.Transport, a.load.host, r.spec.Concurrency)
	defer c.close()
	t := c.load(ctx, a.load, r.spec)
	total.merge(t)
	return t.summary()
}
