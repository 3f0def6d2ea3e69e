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

// minWindow is the least time that a CPU usage is computed over, see limits.
const minWindow = 10 * time.Second

// Kubelets is the Source that reads every node's kubelet: it needs neither Prometheus nor metrics-server.
type Kubelets struct {
	nodes     func() []Node
	transport http.RoundTripper
	opts      KubeletOptions
	limits    limits
	families  *exposition.Families
	measured  *kubeletInstruments

	mu       sync.Mutex // guards what follows, and the kubelets' own fields where they say so
	random   *rand.Rand
	kubelets map[string]*kubelet // by name of the node
	table    table
	ticked   time.Time
	warm     bool
}

var _ Source = (*Kubelets)(nil)

// NewKubelets returns a source that reads the nodes of the moment through transport (see KubeletTransport); nodes must be
// safe for concurrent use.
func NewKubelets(nodes func() []Node, transport http.RoundTripper, opts KubeletOptions) *Kubelets {
	opts = opts.withDefaults()
	return &Kubelets{
		nodes: nodes, transport: transport, opts: opts,
		limits:   limits{window: minWindow, gap: max(opts.MaxAge, 4*opts.Interval)},
		families: families(),
		measured: newKubeletInstruments(opts.Registerer),
		random:   rand.New(rand.NewPCG(opts.Seed, 0)),
		kubelets: map[string]*kubelet{},
		table:    newTable(),
	}
}

// kubelet is the one of a node. The reader and the histories belong to the read in progress.
type kubelet struct {
	node    string
	reader  *reader
	history history
	pods    map[container]history

	address string    // guarded by Kubelets.mu, as all that follows
	due     time.Time // of the next read
	busy    bool      // a read is in progress
	reads   int       // that ended
	failing string    // why the last read failed; empty if it did not
	gone    bool      // the node is no longer there: what a read in progress brings is dropped
}

// tick is how often Run looks for reads that are due.
const tick = 500 * time.Millisecond

// Run reads the kubelets until ctx ends; then it waits for the reads in progress and returns nil.
func (k *Kubelets) Run(ctx context.Context) error {
	defer utilnet.CloseIdleConnectionsFor(k.transport)
	var reads sync.WaitGroup
	defer reads.Wait()
	slots := make(chan struct{}, k.opts.MaxConcurrent)
	for {
		for _, due := range k.due(time.Now()) {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			k.tick(time.Now())
			reads.Go(func() {
				defer func() { <-slots }()
				k.read(ctx, due)
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tick):
		}
	}
}

func (k *Kubelets) tick(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ticked = now
}

// job is one read to do.
type job struct {
	kubelet *kubelet
	address string
}

// due returns the reads that are due, the longest overdue first, and counts them as begun. New nodes are due at once.
func (k *Kubelets) due(now time.Time) []job {
	nodes := k.nodes()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ticked = now
	k.follow(nodes, now)
	var overdue []*kubelet
	for _, u := range k.kubelets {
		if !u.busy && !u.due.After(now) {
			overdue = append(overdue, u)
		}
	}
	slices.SortFunc(overdue, func(a, b *kubelet) int {
		return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.node, b.node))
	})
	jobs := make([]job, len(overdue))
	for i, u := range overdue {
		u.busy = true
		jobs[i] = job{u, u.address}
	}
	return jobs
}

// follow makes the kubelets those of the nodes.
func (k *Kubelets) follow(nodes []Node, now time.Time) {
	there := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		there[n.Name] = true
		u, known := k.kubelets[n.Name]
		if !known {
			u = &kubelet{node: n.Name, due: now, reader: newReader(k.transport, exposition.Page{
				Families: k.families, MaxBytes: k.opts.MaxPageBytes, MaxLabels: maxLabels, MaxSamples: maxSamples,
			})}
			k.kubelets[n.Name] = u
		}
		u.address = n.Address
	}
	for name, u := range k.kubelets {
		if !there[name] {
			u.gone = true
			delete(k.kubelets, name)
			k.table.drop(name)
		}
	}
	k.measured.nodes.Set(float64(len(k.kubelets)))
}

// The page is the kubelet's own: these bounds only keep what is not one from taking memory.
const (
	maxLabels  = 16
	maxSamples = 200000
)

var errNoAddress = errors.New("the node has no address")

// read does one read and takes what it brings.
func (k *Kubelets) read(ctx context.Context, j job) {
	start := time.Now()
	p, err := page{}, errNoAddress
	if j.address != "" {
		bounded, cancel := context.WithTimeout(ctx, k.opts.Timeout)
		p, err = j.kubelet.reader.read(bounded, j.address, start)
		cancel()
	}
	end := time.Now()
	if err != nil && ctx.Err() != nil {
		return // the end of the program is no failure of the kubelet
	}
	k.measured.observe(err, end.Sub(start))
	if err == nil {
		k.take(j.kubelet, p)
	}
	k.finish(ctx, j.kubelet, err, start)
}

// take makes what a page tells be served.
func (k *Kubelets) take(u *kubelet, p page) {
	u.history = u.history.next(p.node, k.limits)
	pods := make(map[container]history, len(p.containers))
	for c, r := range p.containers {
		pods[c] = u.pods[c].next(r, k.limits)
	}
	u.pods = pods
	node, entries := nodeEntry(u.node, u.history, k.limits), podEntries(u.node, pods, k.limits)
	k.mu.Lock()
	defer k.mu.Unlock()
	if !u.gone {
		k.table.put(node, entries)
	}
}

// finish ends a read that began at start. A change from well to ill, or back, is logged once.
func (k *Kubelets) finish(ctx context.Context, u *kubelet, err error, start time.Time) {
	_, text := cause(err)
	k.mu.Lock()
	was := u.failing
	u.failing, u.busy = text, false
	u.reads++
	// A little less than the interval, by a random amount: kubelets that became due together drift apart.
	u.due = start.Add(k.opts.Interval - time.Duration(k.random.Int64N(int64(k.opts.Interval)/10+1)))
	k.measured.failing.Set(float64(k.countFailing()))
	k.mu.Unlock()
	switch {
	case text != "" && was == "":
		klog.FromContext(ctx).Info("Kubelet cannot be read", "node", u.node, "cause", text, "err", err)
	case text == "" && was != "":
		klog.FromContext(ctx).Info("Kubelet is read again", "node", u.node)
	}
}

func (k *Kubelets) countFailing() int {
	n := 0
	for _, u := range k.kubelets {
		if u.failing != "" {
			n++
		}
	}
	return n
}

// Live returns an error if no read was begun or looked for lately: the loop hangs. It is nil before Run.
func (k *Kubelets) Live(now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if age := now.Sub(k.ticked); !k.ticked.IsZero() && age > 30*time.Second+k.opts.Timeout {
		return fmt.Errorf("kubelets were last looked after %s ago", age.Round(time.Second))
	}
	return nil
}

// Warm returns nil once every node was read twice, or tried: a usage needs two samples, and a replica that called itself
// ready before would take reads from one that can answer them. Once warm it stays so.
func (k *Kubelets) Warm() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.warm {
		return nil
	}
	if k.ticked.IsZero() {
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
