// The usage source that reads all kubelets: the schedule of reads, and the health of the loop.

package resourcemetrics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/panics"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// Node is a node with the address of its kubelet.
type Node struct {
	Name string
	// UID tells a node from a later one of the same name; it may be empty.
	UID string
	// Address is the kubelet's host:port; empty if the node has no address yet.
	Address string
}

// KubeletOptions are the settings of a KubeletSource. A zero field means its default.
type KubeletOptions struct {
	// Interval is the time between two reads of a kubelet: 15 s, the longest time between two measurements of a kubelet.
	Interval time.Duration
	// MaxConcurrent bounds the concurrent reads: 32.
	MaxConcurrent int
	// MaxPageBytes bounds a page: 16 MiB, tens of thousands of containers on a node.
	MaxPageBytes int64
	// Seed spreads the reads over time. Replicas with different seeds do not read a kubelet at the same moment.
	Seed uint64
	// Registerer registers the self-metrics; nil: registers none.
	Registerer prometheus.Registerer
}

func (o KubeletOptions) withDefaults() KubeletOptions {
	o.Interval = cmp.Or(o.Interval, 15*time.Second)
	o.MaxConcurrent = cmp.Or(o.MaxConcurrent, 32)
	o.MaxPageBytes = cmp.Or(o.MaxPageBytes, 16<<20)
	return o
}

// kubeletReadTimeout bounds a read of a kubelet.
func (o KubeletOptions) kubeletReadTimeout() time.Duration { return min(10*time.Second, o.Interval) }

// maxUsageAge is the greatest age of a served usage: four reads.
const maxUsageAge = time.Minute

// minUsageWindow is the shortest time that a CPU usage is computed over, see windowLimits.
const minUsageWindow = 10 * time.Second

// KubeletSource is the UsageSource that reads every node's kubelet. It needs neither Prometheus nor metrics-server.
type KubeletSource struct {
	listNodes func() []Node
	transport http.RoundTripper
	opts      KubeletOptions
	limits    windowLimits
	families  *exposition.Families
	metrics   *kubeletMetrics
	panics    *panics.Guard

	mu       sync.Mutex // guards all below, and the fields of kubeletState from current on
	random   *rand.Rand
	kubelets map[string]*kubeletState // by node name
	latest   latestUsage
	lastTick time.Time
	warm     bool
}

var _ UsageSource = (*KubeletSource)(nil)

// NewKubeletSource returns a source that reads the current nodes through transport, see NewKubeletTransport. It starts nothing. nodes
// must be safe for concurrent use.
func NewKubeletSource(nodes func() []Node, transport http.RoundTripper, opts KubeletOptions) *KubeletSource {
	opts = opts.withDefaults()
	metrics := newKubeletMetrics(opts.Registerer)
	return &KubeletSource{
		listNodes: nodes, transport: transport, opts: opts,
		limits:   windowLimits{minWindow: minUsageWindow, maxGap: max(maxUsageAge, 4*opts.Interval)},
		families: listKubeletFamilies(),
		metrics:  metrics,
		panics:   panics.NewGuard("read of a kubelet", metrics.panics),
		random:   rand.New(rand.NewPCG(opts.Seed, 0)),
		kubelets: map[string]*kubeletState{},
		latest:   newLatestUsage(),
	}
}

// kubeletState is the state of a node's kubelet. The reader and the histories belong to the read in progress.
type kubeletState struct {
	node    string
	reader  *kubeletReader
	history usageHistory
	pods    map[containerID]usageHistory
	machine nodeMachine // the histories have its counters

	current     nodeMachine // guarded by KubeletSource.mu, as are all below
	dueAt       time.Time   // of the next read
	busy        bool        // a read is in progress
	reads       int         // finished reads
	lastFailure string      // cause of the last read's failure; empty after a success
	removed     bool        // the node is gone: the page of a read in progress is dropped
}

// nodeMachine tells apart the machines that have one node name after each other: their counters have nothing in common.
type nodeMachine struct{ uid, address string }

// dueCheckInterval is the time between two checks for due reads.
const dueCheckInterval = 500 * time.Millisecond

// Run reads the kubelets until ctx ends. Then it waits for the reads in progress, and returns nil.
func (k *KubeletSource) Run(ctx context.Context) error {
	defer utilnet.CloseIdleConnectionsFor(k.transport)
	var reads sync.WaitGroup
	defer reads.Wait()
	slots := make(chan struct{}, k.opts.MaxConcurrent)
	for {
		for _, due := range k.reserveDueKubeletReads(time.Now()) {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			k.recordKubeletTick(time.Now())
			reads.Go(func() {
				defer func() { <-slots }()
				k.runKubeletRead(ctx, due)
			})
		}
		if !retry.Sleep(ctx, dueCheckInterval) {
			return nil
		}
	}
}

func (k *KubeletSource) recordKubeletTick(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lastTick = now
}

// kubeletRead is a read to do.
type kubeletRead struct {
	kubelet *kubeletState
	machine nodeMachine
}

// reserveDueKubeletReads returns the due reads, the longest overdue first, and marks them as started. New nodes are due at once.
func (k *KubeletSource) reserveDueKubeletReads(now time.Time) []kubeletRead {
	nodes := k.listNodes()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lastTick = now
	k.updateKubelets(nodes, now)
	var overdue []*kubeletState
	for _, u := range k.kubelets {
		if !u.busy && !u.dueAt.After(now) {
			overdue = append(overdue, u)
		}
	}
	slices.SortFunc(overdue, func(a, b *kubeletState) int {
		return cmp.Or(a.dueAt.Compare(b.dueAt), cmp.Compare(a.node, b.node))
	})
	jobs := make([]kubeletRead, len(overdue))
	for i, u := range overdue {
		u.busy = true
		jobs[i] = kubeletRead{u, u.current}
	}
	return jobs
}

// updateKubelets adds and removes kubelets, as the nodes came and went. The caller holds k.mu.
func (k *KubeletSource) updateKubelets(nodes []Node, now time.Time) {
	present := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		present[n.Name] = true
		u, known := k.kubelets[n.Name]
		if !known {
			u = &kubeletState{node: n.Name, dueAt: now, reader: newKubeletReader(k.transport, exposition.PageOptions{
				Families: k.families, MaxBytes: k.opts.MaxPageBytes, MaxLabels: maxPageLabels, MaxSamples: maxPageSamples,
				AllFamilies: true,
			})}
			k.kubelets[n.Name] = u
		}
		u.current = nodeMachine{n.UID, n.Address}
	}
	for name, u := range k.kubelets {
		if !present[name] {
			u.removed = true
			delete(k.kubelets, name)
			k.latest.removeNodeUsage(name)
		}
	}
	k.metrics.nodes.Set(float64(len(k.kubelets)))
}

// The page is the kubelet's own: these bounds only protect the memory from pages of other servers.
const (
	maxPageLabels  = 16
	maxPageSamples = 200000
)

var errNoAddress = errors.New("the node has no address")

// runKubeletRead reads a kubelet, and stores its page and the outcome.
func (k *KubeletSource) runKubeletRead(ctx context.Context, j kubeletRead) {
	start := time.Now()
	p, err := kubeletPage{}, errNoAddress
	if j.machine.address != "" {
		bounded, cancel := context.WithTimeout(ctx, k.opts.kubeletReadTimeout())
		p, err = k.readKubeletSafely(bounded, j, start)
		cancel()
	}
	end := time.Now()
	if err != nil && ctx.Err() != nil {
		return // the end of the program is not a failure of the kubelet
	}
	k.metrics.observeKubeletRead(err, end.Sub(start))
	if err == nil {
		k.recordKubeletPage(j, p)
	}
	k.finishKubeletRead(ctx, j.kubelet, err, start)
}

// readKubeletSafely reads a kubelet's page. A panic is the failure of this read alone.
func (k *KubeletSource) readKubeletSafely(ctx context.Context, j kubeletRead, start time.Time) (p kubeletPage, err error) {
	defer k.panics.Catch(ctx, &err, func() []any { return []any{"node", j.kubelet.node} })
	return j.kubelet.reader.readKubeletPage(ctx, j.machine.address, start)
}

// recordKubeletPage adds a page to the histories, and replaces the usage that the source returns.
func (k *KubeletSource) recordKubeletPage(j kubeletRead, p kubeletPage) {
	u := j.kubelet
	if u.machine != j.machine {
		u.machine, u.history, u.pods = j.machine, usageHistory{}, nil
	}
	u.history = u.history.addContainerReading(p.node, k.limits)
	pods := make(map[containerID]usageHistory, len(p.containers))
	for c, r := range p.containers {
		pods[c] = u.pods[c].addContainerReading(r, k.limits)
	}
	bridgeMissedContainer(pods, u.pods)
	u.pods = pods
	node, entries := newNodePageUsage(u.node, u.history, k.limits), newPodPageUsages(u.node, pods, k.limits)
	k.mu.Lock()
	defer k.mu.Unlock()
	if !u.removed {
		k.latest.replaceNodeUsage(node, entries)
	}
}

// bridgeMissedContainer keeps the reading of a container that a single page lacks, beside other containers of its pod: without it the
// pod's usage would be a part, with the time of the whole. On the second page without it, the container has ended.
func bridgeMissedContainer(pods, before map[containerID]usageHistory) {
	listed := make(map[metric.Object]bool, len(pods))
	for c := range pods {
		listed[c.pod] = true
	}
	for c, h := range before {
		if _, found := pods[c]; !found && listed[c.pod] && !h.missed {
			h.missed = true
			pods[c] = h
		}
	}
}

// finishKubeletRead records the end of a read that began at start. It logs the first failure, and the first success after failures.
func (k *KubeletSource) finishKubeletRead(ctx context.Context, u *kubeletState, err error, start time.Time) {
	_, text := classifyKubeletError(err)
	k.mu.Lock()
	was := u.lastFailure
	u.lastFailure, u.busy = text, false
	u.reads++
	// The interval minus a random share, of a tenth at most: kubelets that became due together drift apart.
	u.dueAt = start.Add(k.opts.Interval - time.Duration(k.random.Int64N(int64(k.opts.Interval)/10+1)))
	k.metrics.failing.Set(float64(k.countFailingKubelets()))
	k.mu.Unlock()
	switch {
	case text != "" && was == "":
		klog.FromContext(ctx).Info("Kubelet cannot be read", "node", u.node, "reason", text, "err", err)
	case text == "" && was != "":
		klog.FromContext(ctx).Info("Kubelet is read again", "node", u.node)
	}
}

func (k *KubeletSource) countFailingKubelets() int {
	n := 0
	for _, u := range k.kubelets {
		if u.lastFailure != "" {
			n++
		}
	}
	return n
}

// Live returns an error if the loop has not checked for due reads lately, and so hangs. It returns nil before Run.
func (k *KubeletSource) Live(now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if age := now.Sub(k.lastTick); !k.lastTick.IsZero() && age > 30*time.Second+k.opts.kubeletReadTimeout() {
		return fmt.Errorf("last check for due reads of kubelets was %s ago", age.Round(time.Second))
	}
	return nil
}

// Warm returns nil once every node had two reads, successful or not. A usage needs two samples, and a replica that is ready earlier
// would take requests from a replica with values. A warm source stays warm.
func (k *KubeletSource) Warm() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.warm {
		return nil
	}
	if k.lastTick.IsZero() {
		return errors.New("kubelets have not been read yet")
	}
	waiting := 0
	for _, u := range k.kubelets {
		if u.reads < 2 {
			waiting++
		}
	}
	if waiting > 0 {
		return fmt.Errorf("%d of %d kubelets have not been read twice yet", waiting, len(k.kubelets))
	}
	k.warm = true
	return nil
}
