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
	spec = spec.WithDefaults()
	if err := spec.Validate(); err != nil {
		return Report{}, fmt.Errorf("verification: %w", err)
	}
	if len(now) == 0 {
		return Report{}, errors.New("no pods to ask")
	}
	r := &podVerification{Checker: c, spec: spec, newTotal: newRequestTally(), oldTotal: newRequestTally()}
	for i := range now {
		a, err := resolvePodChecks(spec, &now[i])
		if err != nil {
			return Report{}, err
		}
		r.newPods = append(r.newPods, a)
	}
	r.sampleOldPods(old)
	return r.verifyPods(ctx)
}

// podVerification is one verification.
type podVerification struct {
	*Checker
	spec               Spec
	newPods, oldPods   []podChecks
	newTotal, oldTotal *requestTally
}

// sampleOldPods picks the old pods to compare with, spread over all that can be asked.
func (r *podVerification) sampleOldPods(old []corev1.Pod) {
	if r.spec.Slower == 0 {
		return
	}
	var all []podChecks
	for i := range old {
		if a, err := resolvePodChecks(r.spec, &old[i]); err == nil && isServingPod(&old[i]) {
			all = append(all, a)
		}
	}
	n := min(len(all), len(r.newPods))
	for i := range n {
		r.oldPods = append(r.oldPods, all[i*len(all)/n])
	}
}

// isServingPod tells whether a pod serves and will go on to.
func isServingPod(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
		}
	}
	return false
}

func (r *podVerification) verifyPods(ctx context.Context) (Report, error) {
	pods := make([]PodReport, len(r.newPods), len(r.newPods)+len(r.oldPods))
	r.forEachNewPod(ctx, func(i int) { pods[i] = r.requestReadiness(ctx, &r.newPods[i]) })
	report := Report{Pods: pods}
	if ctx.Err() != nil {
		return Report{}, fmt.Errorf("ask the pods: %w", context.Cause(ctx))
	}
	report.Verdicts = append(report.Verdicts, decideReadiness(pods))
	if r.spec.URL != "" && report.Verdicts[0].Passed {
		report.Pods = r.measureAllPods(ctx, pods)
		if ctx.Err() != nil {
			return Report{}, fmt.Errorf("ask the pods: %w", context.Cause(ctx))
		}
		report.New, report.Old = r.newTotal.summarizeRequests(), r.oldTotal.summarizeRequests()
		report.Verdicts = append(report.Verdicts, r.decideThresholds(&report)...)
	}
	report.Passed = allPassed(report.Verdicts)
	return report, nil
}

// forEachNewPod calls f for every new pod, some at a time, and returns when all calls have.
func (r *podVerification) forEachNewPod(ctx context.Context, f func(i int)) {
	var calls sync.WaitGroup
	defer calls.Wait()
	room := make(chan struct{}, r.opts.Parallel)
	for i := range r.newPods {
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

// requestReadiness asks the readiness addresses of a pod, of which most have one.
func (r *podVerification) requestReadiness(ctx context.Context, a *podChecks) PodReport {
	report := PodReport{Name: a.podName, Readiness: readinessOK}
	if len(a.readiness) == 0 {
		report.Readiness = a.skipReason
	}
	for i := range a.readiness {
		c := newPodClient(r.opts.Transport, a.readiness[i].host, 1)
		_, cause := c.sendRequest(ctx, &a.readiness[i])
		c.closeIdle()
		if cause != "" {
			report.Readiness = cause
			break
		}
	}
	return report
}

// measureAllPods asks every new pod, and an old one beside it while there are any, so that both meet the same moment.
func (r *podVerification) measureAllPods(ctx context.Context, pods []PodReport) []PodReport {
	older := make([]PodReport, len(r.oldPods))
	r.forEachNewPod(ctx, func(i int) {
		var beside sync.WaitGroup
		if i < len(r.oldPods) {
			beside.Go(func() {
				older[i] = PodReport{Name: r.oldPods[i].podName, Old: true, Summary: r.measurePod(ctx, &r.oldPods[i], r.oldTotal)}
			})
		}
		pods[i].Summary = r.measurePod(ctx, &r.newPods[i], r.newTotal)
		beside.Wait()
	})
	return append(pods, older...)
}

// measurePod sends the requests to one pod.
func (r *podVerification) measurePod(ctx context.Context, a *podChecks, total *requestTally) Summary {
	c := newPodClient(r.opts.Transport, a.load.host, r.spec.Concurrency)
	defer c.closeIdle()
	t := c.sendRequests(ctx, a.load, r.spec)
	total.mergeTally(t)
	return t.summarizeRequests()
}
