package decisions

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

const (
	// pollInterval is the time between two reads of all records. A record ends with its autoscaler, and with the adapter.
	pollInterval = 10 * time.Second
	// watchDelay is the time by which a watch may show a status before the adapter's record does.
	watchDelay = 5 * time.Second
)

// wish is the number of pods that the HPA controller wrote.
type wish struct {
	replicas int32
	scaled   int64     // lastScaleTime in Unix seconds; 0 for none
	seen     time.Time // when a watch showed it
}

func (w wish) equal(o wish) bool { return w.replicas == o.replicas && w.scaled == o.scaled }

// testimony has the facts about one autoscaler: its wishes as watched, and its records.
type testimony struct {
	key     types.NamespacedName
	created time.Time
	wishes  []wish
	// logs are complete records, each with the time of its read. One that begins later than the one before follows a lost record.
	logs []*explainapi.DecisionLog
}

// Witness watches all autoscalers of a cluster, and reads their records, while tests run. It is safe for concurrent use.
type Witness struct {
	client kubernetes.Interface
	get    func(ctx context.Context, path string) ([]byte, error)

	mu   sync.Mutex // guards the fields below
	seen map[types.UID]*testimony
}

// NewWitness returns a Witness. get reads a path of the cluster's API.
func NewWitness(client kubernetes.Interface, get func(ctx context.Context, path string) ([]byte, error)) *Witness {
	return &Witness{client: client, get: get, seen: map[types.UID]*testimony{}}
}

// Run watches and reads until ctx ends.
func (w *Witness) Run(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(w.client, 0)
	_, err := factory.Autoscaling().V2().HorizontalPodAutoscalers().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: w.observe, UpdateFunc: func(_, changed any) { w.observe(changed) },
	})
	if err != nil {
		return fmt.Errorf("watch autoscalers: %w", err)
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			w.ReadRecords(ctx)
		}
	}
}

func (w *Witness) observe(object any) {
	h, ok := object.(*autoscalingv2.HorizontalPodAutoscaler)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.seen[h.UID]
	if t == nil {
		t = &testimony{key: types.NamespacedName{Namespace: h.Namespace, Name: h.Name}, created: h.CreationTimestamp.Time}
		w.seen[h.UID] = t
	}
	next := wish{replicas: h.Status.DesiredReplicas, seen: time.Now()}
	if h.Status.LastScaleTime != nil {
		next.scaled = h.Status.LastScaleTime.Unix()
	}
	if n := len(t.wishes); n == 0 || !t.wishes[n-1].equal(next) {
		t.wishes = append(t.wishes, next)
	}
}

// ReadRecords reads the record of each autoscaler now. An unreadable record, such as the one of a deleted autoscaler, stays as it was.
func (w *Witness) ReadRecords(ctx context.Context) {
	w.mu.Lock()
	newest := map[types.NamespacedName]*testimony{} // of several with a name
	for _, t := range w.seen {
		if o := newest[t.key]; o == nil || o.wishes[0].seen.Before(t.wishes[0].seen) {
			newest[t.key] = t
		}
	}
	w.mu.Unlock()
	for key, t := range newest {
		log, err := w.readRecord(ctx, key)
		if err != nil {
			continue // the adapter is gone for a moment, as tests will have it
		}
		w.mu.Lock()
		t.addRecord(log)
		w.mu.Unlock()
	}
}

func (w *Witness) readRecord(ctx context.Context, key types.NamespacedName) (*explainapi.DecisionLog, error) {
	ctx, cancel := context.WithTimeout(ctx, pollInterval)
	defer cancel()
	data, err := w.get(ctx, "/apis/"+explainapi.GroupVersion.String()+"/namespaces/"+key.Namespace+"/horizontalpodautoscalers/"+key.Name+"/decisions?since=3h")
	if err != nil {
		return nil, err
	}
	log := &explainapi.DecisionLog{}
	if err := json.Unmarshal(data, log); err != nil {
		return nil, fmt.Errorf("parse the record of %s: %w", key, err)
	}
	log.Complete()
	return log, nil
}

// addRecord keeps a record, instead of the newest one if it goes on where that began.
func (t *testimony) addRecord(log *explainapi.DecisionLog) {
	if len(log.Decisions) == 0 || log.Decisions[0].Time.Before(t.created) { // nothing yet, or of an autoscaler of the same name before
		return
	}
	n := len(t.logs)
	if n > 0 && !log.Decisions[0].Time.After(t.logs[n-1].Decisions[0].Time) {
		t.logs[n-1] = log
		return
	}
	t.logs = append(t.logs, log)
}

// Verdict judges all records that were read, and compares them with the watched wishes.
func (w *Witness) Verdict() (v Verdict, autoscalers int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, uid := range slices.Sorted(maps.Keys(w.seen)) {
		t := w.seen[uid]
		if len(t.logs) == 0 {
			continue
		}
		autoscalers++
		judged := time.Time{}
		for _, log := range t.logs {
			v.Add(Judge(log, judged))
			judged = log.Decisions[len(log.Decisions)-1].Time.Add(time.Nanosecond)
			if lost := t.findLostWish(log); lost != "" {
				v.Differences = append(v.Differences, lost)
			}
		}
	}
	return v, autoscalers
}

// findLostWish compares a record with the watched wishes: within its time it must have the same, in the same order. It returns the
// difference in words.
func (t *testimony) findLostWish(log *explainapi.DecisionLog) string {
	recorded := listRecordedWishes(log)
	for len(recorded) > 0 && !slices.ContainsFunc(t.wishes, recorded[0].equal) { // before the watch began
		recorded = recorded[1:]
	}
	if len(recorded) == 0 {
		return ""
	}
	for first := range t.wishes {
		if !isPrefixOf(recorded, t.wishes[first:]) {
			continue
		}
		next := first + len(recorded)
		if next == len(t.wishes) || t.wishes[next].seen.After(log.Source.Time.Add(-watchDelay)) {
			return ""
		}
	}
	return fmt.Sprintf("%s: the controller wrote the wishes %v, and recorded are %v until %s", t.key, t.wishes, recorded, log.Source.Time.Format(time.RFC3339))
}

func isPrefixOf(recorded, watched []wish) bool {
	return len(recorded) <= len(watched) && slices.EqualFunc(recorded, watched[:len(recorded)], wish.equal)
}

// listRecordedWishes returns the changes of wishes in a record.
func listRecordedWishes(log *explainapi.DecisionLog) []wish {
	var all []wish
	for _, d := range log.Decisions {
		if d.Status == nil {
			continue
		}
		next := wish{replicas: d.Status.DesiredReplicas}
		if !d.Status.LastScaleTime.IsZero() {
			next.scaled = d.Status.LastScaleTime.Unix()
		}
		if n := len(all); n == 0 || !all[n-1].equal(next) {
			all = append(all, next)
		}
	}
	return all
}

// String shows a wish as REPLICAS@SCALED.
func (w wish) String() string {
	if w.scaled == 0 {
		return fmt.Sprintf("%d@never", w.replicas)
	}
	return fmt.Sprintf("%d@%s", w.replicas, time.Unix(w.scaled, 0).UTC().Format(time.TimeOnly))
}
