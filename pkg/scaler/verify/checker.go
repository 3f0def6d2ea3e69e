// This file runs verifications: first the readiness of all new pods, then the requests to new and old pods.

package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// defaultParallel lets twenty pods take a few seconds, and does not slow them down.
const defaultParallel = 10

// Options are the optional settings of a Checker.
type Options struct {
	// Transport sends all requests; nil: a transport for each pod, without proxies, that accepts any certificate. Redirects are never
	// followed.
	Transport http.RoundTripper
	// Parallel is how many new pods are tested at a time, each beside an old pod; 0: defaultParallel.
	Parallel int
}

// Checker verifies pods. It may be used concurrently.
type Checker struct{ opts Options }

// New returns a Checker.
func New(opts Options) *Checker {
	opts.Parallel = cmp.Or(opts.Parallel, defaultParallel)
	return &Checker{opts}
}

// Run tests the readiness of the new pods. If all are ready, it sends them the requests of the spec. If the spec compares with old pods,
// a sample of the ready old pods gets the requests too, at most as many as the new pods. Responses and failed requests are in the
// report. A verification that takes longer than the spec's Within fails. Run returns an error, and an empty report, if requests cannot be made at all, such as for a pod without a port. When ctx ends,
// Run returns its cause.
func (c *Checker) Run(ctx context.Context, spec Spec, now, old []corev1.Pod) (Report, error) {
	spec = spec.WithDefaults()
	if err := spec.Validate(); err != nil {
		return Report{}, fmt.Errorf("verification: %w", err)
	}
	if len(now) == 0 {
		return Report{}, errors.New("no pods to verify")
	}
	r := &podVerification{Checker: c, spec: spec, newTotal: newRequestTally(), oldTotal: newRequestTally()}
	for i := range now {
		a, err := resolveVerifiedPodChecks(spec, &now[i])
		if err != nil {
			return Report{}, err
		}
		r.newPods = append(r.newPods, a)
	}
	r.sampleOldPodsForVerify(old)
	r.boundPodRequests()
	return r.runPodVerification(ctx)
}

// boundPodRequests reduces the requests to each pod, so that all together are at most maxTotalRequests.
func (r *podVerification) boundPodRequests() {
	r.spec.Requests = min(r.spec.Requests, max(1, maxTotalRequests/(len(r.newPods)+len(r.oldPods))))
	r.spec.Concurrency = min(r.spec.Concurrency, r.spec.Requests)
}

// podVerification is a running verification.
type podVerification struct {
	*Checker
	spec               Spec
	newPods, oldPods   []podChecks
	newTotal, oldTotal *requestTally
}

// sampleOldPodsForVerify selects the old pods to compare with, spread evenly over the serving old pods.
func (r *podVerification) sampleOldPodsForVerify(old []corev1.Pod) {
	if r.spec.Slower == 0 {
		return
	}
	var all []podChecks
	for i := range old {
		if a, err := resolveVerifiedPodChecks(r.spec, &old[i]); err == nil && isPodServing(&old[i]) {
			all = append(all, a)
		}
	}
	n := min(len(all), len(r.newPods))
	for i := range n {
		r.oldPods = append(r.oldPods, all[i*len(all)/n])
	}
}

// isPodServing reports whether a pod is ready and not terminating.
func isPodServing(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
		}
	}
	return false
}

// runPodVerification runs the verification within its time limit.
func (r *podVerification) runPodVerification(ctx context.Context) (Report, error) {
	limited, cancel := context.WithTimeout(ctx, r.spec.specTimeLimit())
	defer cancel()
	pods := make([]PodReport, len(r.newPods), len(r.newPods)+len(r.oldPods))
	r.forEachCheckedPod(limited, func(i int) { pods[i] = r.requestPodReadiness(limited, &r.newPods[i]) })
	report := Report{Pods: pods}
	measured := false
	if limited.Err() == nil {
		report.Verdicts = append(report.Verdicts, decideReadinessVerdict(pods))
		if measured = r.spec.URL != "" && report.Verdicts[0].Passed; measured {
			report.Pods = r.measureVerifiedPods(limited, pods)
			report.New, report.Old = r.newTotal.summarizeRequests(), r.oldTotal.summarizeRequests()
		}
	}
	switch {
	case ctx.Err() != nil:
		return Report{}, fmt.Errorf("verify pods: %w", context.Cause(ctx))
	case limited.Err() != nil:
		report.Pods = nameVerifiedPods(report.Pods, r.newPods)
		report.Verdicts = append(report.Verdicts, Verdict{What: "duration", Got: "not finished", Limit: "at most " + strict.FormatDuration(r.spec.specTimeLimit())})
	case measured:
		report.Verdicts = append(report.Verdicts, r.decideThresholdVerdicts(&report)...)
	}
	report.Passed = allVerdictsPassed(report.Verdicts)
	return report, nil
}

// nameVerifiedPods names the pods that had no turn before the time limit.
func nameVerifiedPods(reports []PodReport, pods []podChecks) []PodReport {
	for i := range pods {
		if reports[i].Name == "" {
			reports[i].Name, reports[i].Readiness = pods[i].podName, "not asked in time"
		}
	}
	return reports
}

// forEachCheckedPod calls f for every new pod, Parallel calls at a time, and returns after all calls. It panics if one of them did.
func (r *podVerification) forEachCheckedPod(ctx context.Context, f func(i int)) {
	var calls panics.Group
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

// requestPodReadiness requests the readiness addresses of a pod. Most pods have only one.
func (r *podVerification) requestPodReadiness(ctx context.Context, a *podChecks) PodReport {
	report := PodReport{Name: a.podName, Readiness: readinessOK}
	if len(a.readiness) == 0 {
		report.Readiness = a.skipReason
	}
	for i := range a.readiness {
		c := newPodClient(r.opts.Transport, a.readiness[i].host, 1)
		_, cause := c.sendPodRequest(ctx, &a.readiness[i])
		c.closeIdle()
		if cause != "" {
			report.Readiness = cause
			break
		}
	}
	return report
}

// measureVerifiedPods sends the requests to every new pod, and at the same time to an old pod, so that both have the same conditions.
func (r *podVerification) measureVerifiedPods(ctx context.Context, pods []PodReport) []PodReport {
	older := make([]PodReport, len(r.oldPods))
	r.forEachCheckedPod(ctx, func(i int) {
		var beside panics.Group
		defer beside.Wait()
		if i < len(r.oldPods) {
			beside.Go(func() {
				older[i] = PodReport{Name: r.oldPods[i].podName, Old: true, Summary: r.measureVerifiedPod(ctx, &r.oldPods[i], r.oldTotal)}
			})
		}
		pods[i].Summary = r.measureVerifiedPod(ctx, &r.newPods[i], r.newTotal)
	})
	return append(pods, older...)
}

// measureVerifiedPod sends the requests to a pod.
func (r *podVerification) measureVerifiedPod(ctx context.Context, a *podChecks, total *requestTally) Summary {
	c := newPodClient(r.opts.Transport, a.load.host, r.spec.Concurrency)
	defer c.closeIdle()
	t := c.sendPodRequests(ctx, a.load, r.spec)
	total.mergeRequestTally(t)
	return t.summarizeRequests()
}
