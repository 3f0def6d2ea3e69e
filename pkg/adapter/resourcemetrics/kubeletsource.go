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
)

// Node is a node and where its kubelet listens.
type Node struct {
	Name string
	// Address is the kubelet's host:port; empty where the node has none yet.
	Address string
}

// KubeletOptions are what a Kubelets can be told. The zero value of each means its default.
type KubeletOptions struct {
	// Interval is the time between two reads of a kubelet: 15 s, as long as a kubelet takes at most to measure anew.
	Interval time.Duration
	// Timeout bounds one read: 10 s, or the interval if that is shorter.
	Timeout time.Duration
	// MaxAge is the age beyond which a usage is not served: 60 s, four reads.
	MaxAge time.Duration
	// MaxConcurrent bounds the reads at a time: 32.
	MaxConcurrent int
	// MaxPageBytes bounds a page: 16 MiB, tens of thousands of containers on a node.
	MaxPageBytes int64
	// Seed spreads the reads over time. Replicas with different seeds do not ask a kubelet at the same moment.
	Seed uint64
	// Registerer takes the self-metrics; nil for none.
	Registerer prometheus.Registerer
}

func (o KubeletOptions) withDefaults() KubeletOptions {
	o.Interval = cmp.Or(o.Interval, 15*time.Second)
	o.Timeout = min(cmp.Or(o.Timeout, 10*time.Second), o.Interval)
	o.MaxAge = cmp.Or(o.MaxAge, time.Minute)
	o.MaxConcurrent = cmp.Or(o.MaxConcurrent, 32)
	o.MaxPageBytes = cmp.Or(o.MaxPageBytes, 16<<20)
	return o
}

// minUsageWindow is the least time that a CPU usage is computed over, see limits.
const minUsageWindow = 10 * time.Second

// KubeletSource is the Source that reads every node's kubelet: it needs neither Prometheus nor metrics-server.
type KubeletSource struct {
	listNodes func() []Node
	transport http.RoundTripper
	opts      KubeletOptions
	limits    windowLimits
	families  *exposition.Families
	metrics   *kubeletMetrics

	mu       sync.Mutex // guards what follows, and the kubelets' own fields where they say so
	random   *rand.Rand
	kubelets map[string]*kubeletState // by name of the node
	latest   latestUsage
	lastTick time.Time
	warm     bool
}

var _ UsageSource = (*KubeletSource)(nil)

// NewKubeletSource returns a source that reads the nodes of the moment through transport (see KubeletTransport); nodes must be
// safe for concurrent use.
func NewKubeletSource(nodes func() []Node, transport http.RoundTripper, opts KubeletOptions) *KubeletSource {
	opts = opts.withDefaults()
	return &KubeletSource{
		listNodes: nodes, transport: transport, opts: opts,
		limits:   windowLimits{minWindow: minUsageWindow, maxGap: max(opts.MaxAge, 4*opts.Interval)},
		families: kubeletFamilies(),
		metrics:  newKubeletMetrics(opts.Registerer),
		random:   rand.New(rand.NewPCG(opts.Seed, 0)),
		kubelets: map[string]*kubeletState{},
		latest:   newLatestUsage(),
	}
}

// kubeletState is the one of a node. The reader and the histories belong to the read in progress.
type kubeletState struct {
	node    string
	reader  *kubeletReader
	history usageHistory
	pods    map[containerID]usageHistory

	address     string    // guarded by Kubelets.mu, as all that follows
	dueAt       time.Time // of the next read
	busy        bool      // a read is in progress
	reads       int       // that ended
	lastFailure string    // why the last read failed; empty if it did not
	removed     bool      // the node is no longer there: what a read in progress brings is dropped
}

// dueCheckInterval is how often Run looks for reads that are due.
const dueCheckInterval = 500 * time.Millisecond

// Run reads the kubelets until ctx ends; then it waits for the reads in progress and returns nil.
func (k *KubeletSource) Run(ctx context.Context) error {
	defer utilnet.CloseIdleConnectionsFor(k.transport)
	var reads sync.WaitGroup
	defer reads.Wait()
	slots := make(chan struct{}, k.opts.MaxConcurrent)
	for {
		for _, due := range k.reserveDueReads(time.Now()) {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			k.recordTick(time.Now())
			reads.Go(func() {
				defer func() { <-slots }()
				k.runKubeletRead(ctx, due)
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(dueCheckInterval):
		}
	}
}

func (k *KubeletSource) recordTick(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lastTick = now
}

// kubeletRead is one read to do.
type kubeletRead struct {
	kubelet *kubeletState
	address string
}

// reserveDueReads returns the reads that are due, the longest overdue first, and counts them as begun. New nodes are due at once.
func (k *KubeletSource) reserveDueReads(now time.Time) []kubeletRead {
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
		jobs[i] = kubeletRead{u, u.address}
	}
	return jobs
}

// updateKubelets makes the kubelets those of the nodes.
func (k *KubeletSource) updateKubelets(nodes []Node, now time.Time) {
	there := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		there[n.Name] = true
		u, known := k.kubelets[n.Name]
		if !known {
			u = &kubeletState{node: n.Name, dueAt: now, reader: newKubeletReader(k.transport, exposition.PageOptions{
				Families: k.families, MaxBytes: k.opts.MaxPageBytes, MaxLabels: maxPageLabels, MaxSamples: maxPageSamples,
			})}
			k.kubelets[n.Name] = u
		}
		u.address = n.Address
	}
	for name, u := range k.kubelets {
		if !there[name] {
			u.removed = true
			delete(k.kubelets, name)
			k.latest.removeNodeUsage(name)
		}
	}
	k.metrics.nodes.Set(float64(len(k.kubelets)))
}

// The page is the kubelet's own: these bounds only keep what is not one from taking memory.
const (
	maxPageLabels  = 16
	maxPageSamples = 200000
)

var errNoAddress = errors.New("the node has no address")

// runKubeletRead does one read and takes what it brings.
func (k *KubeletSource) runKubeletRead(ctx context.Context, j kubeletRead) {
	start := time.Now()
	p, err := kubeletPage{}, errNoAddress
	if j.address != "" {
		bounded, cancel := context.WithTimeout(ctx, k.opts.Timeout)
		p, err = j.kubelet.reader.readKubeletPage(bounded, j.address, start)
		cancel()
	}
	end := time.Now()
	if err != nil && ctx.Err() != nil {
		return // the end of the program is no failure of the kubelet
	}
	k.metrics.observeKubeletRead(err, end.Sub(start))
	if err == nil {
		k.storeKubeletPage(j.kubelet, p)
	}
	k.finishKubeletRead(ctx, j.kubelet, err, start)
}

// storeKubeletPage makes what a page tells be served.
func (k *KubeletSource) storeKubeletPage(u *kubeletState, p kubeletPage) {
	u.history = u.history.withReading(p.node, k.limits)
	pods := make(map[containerID]usageHistory, len(p.containers))
	for c, r := range p.containers {
		pods[c] = u.pods[c].withReading(r, k.limits)
	}
	u.pods = pods
	node, entries := newNodePageUsage(u.node, u.history, k.limits), newPodPageUsages(u.node, pods, k.limits)
	k.mu.Lock()
	defer k.mu.Unlock()
	if !u.removed {
		k.latest.replaceNodeUsage(node, entries)
	}
}

// finishKubeletRead ends a read that began at start. A change from well to ill, or back, is logged once.
func (k *KubeletSource) finishKubeletRead(ctx context.Context, u *kubeletState, err error, start time.Time) {
	_, text := classifyKubeletError(err)
	k.mu.Lock()
	was := u.lastFailure
	u.lastFailure, u.busy = text, false
	u.reads++
	// A little less than the interval, by a random amount: kubelets that became due together drift apart.
	u.dueAt = start.Add(k.opts.Interval - time.Duration(k.random.Int64N(int64(k.opts.Interval)/10+1)))
	k.metrics.failing.Set(float64(k.countFailingKubelets()))
	k.mu.Unlock()
	switch {
	case text != "" && was == "":
		klog.FromContext(ctx).Info("Kubelet cannot be read", "node", u.node, "cause", text, "err", err)
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

// Live returns an error if no read was begun or looked for lately: the loop hangs. It is nil before Run.
func (k *KubeletSource) Live(now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if age := now.Sub(k.lastTick); !k.lastTick.IsZero() && age > 30*time.Second+k.opts.Timeout {
		return fmt.Errorf("kubelets were last looked after %s ago", age.Round(time.Second))
	}
	return nil
}

// Warm returns nil once every node was read twice, or tried: a usage needs two samples, and a replica that called itself
// ready before would take reads from one that can answer them. Once warm it stays so.
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
