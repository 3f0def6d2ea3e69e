// The processors: half of them stay free for the reads of HPAs and for scrapes.

package apiserver

import (
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/endpoints/responsewriter"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// processorGate bounds the requests of readers and strangers that compute at the same time. Lanes bound requests in flight, but a hundred
// requests that are ready to compute would each come before an HPA's read.
//
// A request gives its place back with the first byte of its response. A request of a metric or of families, and one that is no GET, does so after
// maxProcessorTime: it computes no longer than that, so it waits for a backend or a scrape. So does a read of the records of all replicas, which
// waits for the others. Such reads have places of their own: each holds records of other replicas, and two replicas may wait for each other.
type processorGate struct {
	places, recordReads chan struct{}
	lanes               *requestLanes
	load                *processorLoad
	responses           *responseBudget
}

const (
	// maxProcessorTime is some times the computing time of a metric of a thousand pods.
	maxProcessorTime = 20 * time.Millisecond
	// maxProcessorWait is much less than the timeout of a request: an overload is shed, and does not time out.
	maxProcessorWait = 2 * time.Second
)

// newProcessorGate leaves at least half of the processors to HPAs' reads and scrapes.
func newProcessorGate(lanes *requestLanes, load *processorLoad, limits serverLimits) *processorGate {
	aborted := lanes.metrics.rejections.WithLabelValues(reasonResponse)
	places := max(1, runtime.GOMAXPROCS(0)/2)
	return &processorGate{
		places: make(chan struct{}, places), recordReads: make(chan struct{}, places), lanes: lanes, load: load,
		responses: newResponseBudget(limits.responseBytes, limits.responseBytesPerUser, aborted.Inc),
	}
}

// gateRequestHandler returns a handler that runs next in a place, except for HPAs' reads and requests that need no authorization.
func (g *processorGate) gateRequestHandler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, known := request.UserFrom(r.Context())
		switch {
		case !known || g.lanes.open(r.URL.Path):
			next.ServeHTTP(w, r)
			return
		case g.lanes.isAutoscalingUser(u):
			defer g.load.beginRequestComputation()()
			next.ServeHTTP(w, r)
			return
		}
		release, entered := g.enterProcessorGate(r)
		if !entered {
			rejectFaultyRequest(w, g.lanes.metrics, &requestFault{reasonProcessors, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests,
				"too many requests compute at a time; try again later"})
			return
		}
		defer release()
		if strings.HasPrefix(r.URL.Path, "/apis/") {
			// The library writes a compressed response in small pieces, and holds the whole of it meanwhile: its size must show.
			r.Header.Del("Accept-Encoding")
		}
		next.ServeHTTP(responsewriter.WrapForHTTP1Or2(&budgetedWriter{w, g.responses, u.GetName(), release}), r)
	})
}

// enterProcessorGate waits for a place, for maxProcessorWait. Release gives it back, and may be called after it was given back for the time.
func (g *processorGate) enterProcessorGate(r *http.Request) (release func(), entered bool) {
	wait := time.NewTimer(maxProcessorWait)
	defer wait.Stop()
	needed, waits := []chan struct{}{g.places}, r.Method != http.MethodGet || isMetricAPIPath(r.URL.Path) || isFamilyListPath(r.URL.Path)
	if isAutoscalerRecordRead(r.URL) {
		needed, waits = []chan struct{}{g.recordReads, g.places}, true
	}
	var releases []func()
	release = func() {
		for _, giveBack := range releases {
			giveBack()
		}
	}
	for _, places := range needed {
		select {
		case places <- struct{}{}:
			releases = append(releases, sync.OnceFunc(func() { <-places }))
			continue
		case <-wait.C:
		case <-r.Context().Done():
		}
		release()
		return nil, false
	}
	g.load.awaitFreeProcessor(maxProcessorTime, r.Context().Done())
	giveBack, end := releases[len(releases)-1], g.load.beginRequestComputation()
	releases = append(releases, end)
	if waits {
		time.AfterFunc(maxProcessorTime, giveBack)
	}
	return release, true
}

// isAutoscalerRecordRead reports whether a request reads the records of an autoscaler from all replicas.
func isAutoscalerRecordRead(u *url.URL) bool {
	return strings.HasPrefix(u.Path, "/apis/"+explainapi.GroupVersion.Group+"/") && strings.Contains(u.Path, "/"+explainapi.HPAs+"/") &&
		u.Query().Get(explainapi.ScopeParameter) != explainapi.ScopeReplica
}

// isFamilyListPath reports whether a path is of the list of a namespace's families, which reads the pages of pods.
func isFamilyListPath(path string) bool {
	return strings.HasPrefix(path, "/apis/"+explainapi.GroupVersion.Group+"/") && strings.HasSuffix(path, "/"+explainapi.Metrics)
}

// isMetricAPIPath reports whether a path is of an API with requests that may wait for others.
func isMetricAPIPath(path string) bool {
	group, found := strings.CutPrefix(path, "/apis/")
	group, _, _ = strings.Cut(group, "/")
	return found && strings.HasSuffix(group, "metrics.k8s.io")
}
