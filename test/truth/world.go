package truth

// The world: services, their pods and processes, and the events of their lives.

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// world is all that the adapter looks at, and the truth about it.
type world struct {
	mu       sync.Mutex // guards all below against page handlers
	cluster  *fakeCluster
	settings adapterSettings
	start    time.Time
	advanced time.Time // the counts are complete up to this time
	rng      *rand.Rand
	services []*service
	hosts    map[string]*podProcess // by IP
	ips      int
	troubles []trouble
	due      []dueEvent        // sorted by time
	changes  []func()          // of the cluster, that the watches have not told so far
	lag      time.Duration     // of the watches behind the world
	selected map[string]string // the app that each Service selects
}

// trouble is a time in which the world gives the adapter a reason to refuse.
type trouble struct {
	service     string // "" concerns all
	from, until time.Time
	why         string
}

type dueEvent struct {
	at time.Time
	do func()
}

// service is a Deployment of pods.
type service struct {
	name               string
	families           []*metricFamily
	pods               []*podProcess // that exist in the cluster
	departed           []*podProcess
	boot, grace, drain time.Duration
	delay              time.Duration // of each page
	annotated          bool
	ports              string // "two": two containers have a port named metrics
	lastOrdinal        int
	lastMove           time.Time // when load last moved between pods
	// lost are the shares of pods that ended without notice, with their times.
	lost []lostShare
}

type lostShare struct {
	at    time.Time
	share float64
}

// podProcess is a pod and the process in it.
type podProcess struct {
	service                   *service
	moved                     time.Time // to another URL
	name, uid, ip             string
	port                      int
	created, started, stopped time.Time
	deleted                   time.Time
	readyChanged              time.Time // the pod became ready, or stopped being ready
	running, ready, deleting  bool
	phase                     corev1.PodPhase // of a pod that has ended
	serving                   bool
	weight                    float64
	counts                    map[*metricFamily]*podCounts
	page                      pageMode
	pageUntil                 time.Time
	workers, turn             int
	labelled                  bool // each of the workers writes its number as a label
	cached                    string
	cachedAt                  time.Time
	conns                     []net.Conn
}

func newWorld(seed uint64) *world {
	return &world{
		cluster: newFakeCluster(), start: time.Now(), advanced: time.Now(), rng: rand.New(rand.NewPCG(seed, 1)),
		hosts: map[string]*podProcess{}, selected: map[string]string{},
		settings: adapterSettings{interval: 2 * time.Second, maxWindow: time.Minute},
	}
}

// runAfter runs an event of the world after a time.
func (w *world) runAfter(d time.Duration, do func()) {
	at := time.Now().Add(d)
	i, _ := slices.BinarySearchFunc(w.due, at, func(e dueEvent, t time.Time) int {
		if e.at.After(t) {
			return 1
		}
		return -1
	})
	w.due = slices.Insert(w.due, i, dueEvent{at, do})
}

// noteTrouble records a reason for refusals, from now until some scrapes after the time.
func (w *world) noteTrouble(service, why string, until time.Time) {
	w.troubles = append(w.troubles, trouble{service, time.Now(), until.Add(w.lag + 4*w.settings.interval + time.Second), why})
}

// advanceCounts counts the events up to now. The caller holds w.mu.
func (w *world) advanceCounts(now time.Time) {
	if !now.After(w.advanced) {
		return
	}
	for _, s := range w.services {
		serving := s.servingPods()
		for _, f := range s.families {
			w.advanceFamily(f, s.pods, serving, now)
		}
	}
	w.advanced = now
}

func (w *world) advanceFamily(f *metricFamily, pods, serving []*podProcess, now time.Time) {
	if f.kind == "gauge" {
		return
	}
	if len(f.history) == 0 {
		f.history.recordCount(w.advanced, 0)
	}
	offered := f.offerLoad(w.advanced, now)
	spreadLoad(f, serving, offered, w.rng)
	before := f.history[len(f.history)-1].count
	counted := 0.0
	for _, p := range pods {
		c := p.counts[f]
		if c == nil {
			continue
		}
		if len(c.history) == 0 {
			c.history.recordCount(w.advanced, 0)
		}
		last := c.history[len(c.history)-1].count
		counted += c.total - last
		c.history.recordCount(now, c.total)
	}
	f.history.recordCount(now, before+counted)
}

// servingPods returns the pods that get load.
func (s *service) servingPods() []*podProcess {
	var out []*podProcess
	for _, p := range s.pods {
		if p.serving && p.running {
			out = append(out, p)
		}
	}
	return out
}

func (s *service) findFamily(name string) *metricFamily {
	for _, f := range s.families {
		if f.name == name {
			return f
		}
	}
	return nil
}

func (w *world) findService(name string) *service {
	for _, s := range w.services {
		if s.name == name {
			return s
		}
	}
	return nil
}

// findPod returns a pod by name, such as web-1.
func (w *world) findPod(name string) *podProcess {
	for _, s := range w.services {
		for _, p := range s.pods {
			if p.name == name {
				return p
			}
		}
	}
	return nil
}

// addPod creates a pod. A pod of the start has run for a while.
func (w *world) addPod(s *service, old bool) {
	s.lastOrdinal++
	w.createPod(s, fmt.Sprintf("%s-%d", s.name, s.lastOrdinal), old)
}

func (w *world) createPod(s *service, name string, old bool) {
	w.ips++
	p := &podProcess{
		service: s, name: name, uid: fmt.Sprintf("uid-%d", w.ips), readyChanged: time.Now(), port: 9102, weight: 1, workers: 1,
		ip: fmt.Sprintf("10.0.%d.%d", w.ips/250, 1+w.ips%250), created: time.Now(), counts: map[*metricFamily]*podCounts{},
	}
	w.hosts[p.ip] = p
	s.pods = append(s.pods, p)
	if old {
		p.created = p.created.Add(-time.Hour)
		w.startProcess(p, p.created)
		w.setServing(p, true)
		s.lastMove = w.start.Add(-time.Hour)
		return
	}
	w.noteTrouble(s.name, "pod "+name+" starts", time.Now().Add(s.boot))
	w.publishPod(p)
	w.runAfter(s.boot/2, func() { w.startProcess(p, time.Now()) })
	w.runAfter(s.boot, func() { w.setServing(p, true) })
}

// startProcess starts the process of a pod: its counts begin at zero.
func (w *world) startProcess(p *podProcess, started time.Time) {
	if p.deleting && !p.running || p.phase != "" {
		return
	}
	w.advanceCounts(time.Now())
	p.running, p.started = true, started
	for _, f := range p.service.families {
		began := newPodCounts(f, w.rng)
		if before := p.counts[f]; before != nil { // what was counted stays true
			began.history, began.total = before.history, before.total
		}
		if started.Before(w.start) {
			began.shiftSeries(f.base)
		}
		p.counts[f] = began
	}
	w.publishPod(p)
}

// lacksSeries reports whether the page of a running pod has no counter so far for the events to come.
func (p *podProcess) lacksSeries() bool {
	return slices.ContainsFunc(p.service.families, func(f *metricFamily) bool {
		return p.counts[f] != nil && slices.ContainsFunc(f.series, func(s string) bool { _, ok := p.counts[f].bySeries[s]; return !ok })
	})
}

// setServing makes a pod ready or not ready; load moves at once.
func (w *world) setServing(p *podProcess, serving bool) {
	if serving && (p.deleting || !p.running || p.phase != "") {
		return
	}
	w.advanceCounts(time.Now())
	if p.ready != serving {
		p.readyChanged = time.Now()
	}
	if serving && p.lacksSeries() {
		// A sum waits for the proof that they began at zero: nothing else grows on the pod's page.
		w.noteTrouble(p.service.name, "counters begin in pod "+p.name, time.Now())
	}
	p.ready, p.serving = serving, serving
	p.service.noteMove()
	w.publishPod(p)
}

// noteMove records that load moved between the pods just now. If nobody serves any more, the load has ended.
func (s *service) noteMove() {
	s.lastMove = time.Now()
	if len(s.servingPods()) > 0 {
		return
	}
	for _, f := range s.families {
		f.rateChanged = time.Now()
	}
}

// stopProcess ends the process of a pod and its connections.
func (w *world) stopProcess(p *podProcess) {
	w.advanceCounts(time.Now())
	if n := len(p.service.servingPods()); p.serving && n > 0 {
		p.service.lost = append(p.service.lost, lostShare{time.Now(), 1 / float64(n)})
	}
	if p.ready {
		p.readyChanged = time.Now()
	}
	served := p.serving
	p.running, p.ready, p.serving, p.stopped = false, false, false, time.Now()
	p.service.lastMove = time.Now()
	if served {
		p.service.noteMove()
	}
	p.closeConnections()
}

// closeConnections closes the connections that the process has accepted.
func (p *podProcess) closeConnections() {
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// deletePod deletes a pod as the kubelet does: it is announced, load moves away, the process ends, the object goes.
func (w *world) deletePod(p *podProcess) {
	if p.deleting {
		return
	}
	s := p.service
	p.deleting, p.deleted, s.lastMove = true, time.Now(), time.Now()
	w.noteTrouble(s.name, "pod "+p.name+" leaves", time.Now().Add(s.grace))
	w.publishPod(p)
	if n := len(s.servingPods()); p.serving && w.lag >= s.grace { // it is gone before the adapter knows
		s.lost = append(s.lost, lostShare{time.Now(), 1 / float64(n)})
	}
	w.runAfter(s.drain, func() { w.setServing(p, false) })
	w.runAfter(s.grace, func() { w.stopProcess(p); w.removePod(p) })
}

// killPod ends a pod without notice.
func (w *world) killPod(p *podProcess) {
	w.noteTrouble(p.service.name, "pod "+p.name+" is killed", time.Now())
	w.stopProcess(p)
	w.removePod(p)
}

func (w *world) removePod(p *podProcess) {
	s := p.service
	s.pods = slices.DeleteFunc(s.pods, func(o *podProcess) bool { return o == p })
	s.departed = append(s.departed, p)
	delete(w.hosts, p.ip)
	if w.findPod(p.name) == nil {
		w.notifyLater(func() { w.cluster.removePod(p.name) })
	}
}

// restartProcess ends a pod's process and starts it again in the same pod.
func (w *world) restartProcess(p *podProcess, down time.Duration) {
	w.noteTrouble(p.service.name, "pod "+p.name+" restarts", time.Now().Add(down))
	w.stopProcess(p)
	w.publishPod(p)
	stopped := p.stopped
	w.runAfter(down, func() {
		if !p.deleting && w.hosts[p.ip] == p && p.stopped.Equal(stopped) { // another restart has its own start, a pod that is gone none
			w.startProcess(p, time.Now())
			w.setServing(p, true)
		}
	})
}

// publishPod writes the pod's object to the cluster.
func (w *world) publishPod(p *podProcess) {
	if w.hosts[p.ip] != p {
		return
	}
	object := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: p.name, UID: types.UID(p.uid), Labels: map[string]string{"app": p.service.name},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "ReplicaSet", Name: p.service.name, UID: types.UID(p.service.name), Controller: new(true),
			}},
			CreationTimestamp: toAPITime(p.created), Annotations: map[string]string{"prometheus.io/port": fmt.Sprint(p.port)},
		},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "app"}}},
		Status: corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
			Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: toAPITime(p.readyChanged),
		}}},
	}
	if p.service.ports == "two" {
		delete(object.Annotations, "prometheus.io/port")
		object.Spec.Containers = []corev1.Container{
			{Name: "app", Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 9102}}},
			{Name: "proxy", Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 15090}}},
		}
	}
	if p.service.annotated {
		object.Annotations["prometheus.io/scrape"] = "true"
	}
	if !p.started.IsZero() {
		object.Status.Phase, object.Status.PodIP = corev1.PodRunning, p.ip
		object.Status.PodIPs = []corev1.PodIP{{IP: p.ip}}
		object.Status.ContainerStatuses = []corev1.ContainerStatus{p.containerStatus()}
	}
	if p.ready {
		object.Status.Conditions[0].Status = corev1.ConditionTrue
	}
	if p.phase != "" {
		object.Status.Phase = p.phase
		object.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	}
	if p.deleting {
		at := toAPITime(p.deleted.Add(p.service.grace))
		object.DeletionTimestamp, object.DeletionGracePeriodSeconds = &at, new(int64(p.service.grace.Seconds()))
	}
	w.notifyLater(func() { w.cluster.storePod(object) })
}

// notifyLater changes the cluster as soon as its watches know.
func (w *world) notifyLater(change func()) {
	if w.lag == 0 || !time.Now().After(w.start) {
		w.notifyNow(change)
		return
	}
	w.runAfter(w.lag, func() { w.notifyNow(change) })
}

// notifyNow changes the cluster once the adapters have seen all earlier changes: see tellWatches.
func (w *world) notifyNow(change func()) {
	if !time.Now().After(w.start) { // before the adapters start
		change()
		return
	}
	w.changes = append(w.changes, change)
}

// containerStatus returns the state of the pod's container as the kubelet writes it.
func (p *podProcess) containerStatus() corev1.ContainerStatus {
	s := corev1.ContainerStatus{Name: "app", Ready: p.ready, Started: new(bool)}
	if p.running {
		*s.Started = true
		s.State.Running = &corev1.ContainerStateRunning{StartedAt: toAPITime(p.started)}
	} else {
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}
	}
	if !p.stopped.IsZero() {
		s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{FinishedAt: toAPITime(p.stopped)}
	}
	return s
}

// toAPITime returns a time as the API keeps it: in whole seconds.
func toAPITime(t time.Time) metav1.Time { return metav1.NewTime(t.Truncate(time.Second)) }

// scaleService adds or deletes pods. The youngest go first.
func (w *world) scaleService(s *service, want int) {
	var staying []*podProcess
	for _, p := range s.pods {
		if !p.deleting {
			staying = append(staying, p)
		}
	}
	for n := len(staying); n < want; n++ {
		w.addPod(s, false)
	}
	for n := len(staying); n > want; n-- {
		w.deletePod(staying[n-1])
	}
}

// rollOut replaces all pods, one at a time.
func (w *world) rollOut(s *service) {
	for i, p := range slices.Clone(s.pods) {
		w.runAfter(time.Duration(i)*(s.boot+time.Second), func() {
			w.addPod(s, false)
			w.runAfter(s.boot, func() { w.deletePod(p) })
		})
	}
}
