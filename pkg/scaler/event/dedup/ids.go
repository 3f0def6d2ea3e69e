package dedup

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

const fieldManager = hold.FieldManager

// key is the first half of the SHA-256 of an id: two ids that share it do not happen, and its length does not depend on the sender.
type key [16]byte

func hash(id string) key {
	sum := sha256.Sum256([]byte(id))
	return key(sum[:16])
}

// ids are keys with the time from which on they are forgotten.
type ids map[key]time.Time

// text is a line for each: the key in base64, a space, the time in seconds since 1970. Sorted, so that a person sees in the
// difference of two what was added.
func (s ids) text() string {
	var b strings.Builder
	b.Grow(len(s) * 34)
	for _, k := range s.sorted() {
		b.WriteString(base64.RawURLEncoding.EncodeToString(k[:]))
		b.WriteByte(' ')
		b.WriteString(strconv.FormatInt(s[k].Unix(), 10))
		b.WriteByte('\n')
	}
	return b.String()
}

// sorted are the keys, the one that is forgotten first in front.
func (s ids) sorted() []key {
	return slices.SortedFunc(maps.Keys(s), func(a, b key) int {
		return cmp.Or(s[a].Compare(s[b]), slices.Compare(a[:], b[:]))
	})
}

// read adds what text says, and counts the lines that say nothing. Of two times for a key the later holds.
func (s ids) read(text string) (bad int) {
	for line := range strings.Lines(text) {
		k, until, ok := parse(strings.TrimSuffix(line, "\n"))
		switch {
		case !ok:
			bad++
		case until.After(s[k]):
			s[k] = until
		}
	}
	return bad
}

func parse(line string) (k key, until time.Time, ok bool) {
	first, second, _ := strings.Cut(line, " ")
	sum, err := base64.RawURLEncoding.Strict().DecodeString(first)
	if err != nil || len(sum) != len(k) {
		return k, until, false
	}
	seconds, err := strconv.ParseInt(second, 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<40 {
		return k, until, false
	}
	return key(sum), time.Unix(seconds, 0), true
}

// prune forgets what is over at now, and of what is left all but most. It counts the latter.
func (s ids) prune(now time.Time, most int) (forgotten int) {
	maps.DeleteFunc(s, func(_ key, until time.Time) bool { return !now.Before(until) })
	if len(s) <= most {
		return 0
	}
	early := s.sorted()[:len(s)-most]
	for _, k := range early {
		delete(s, k)
	}
	return len(early)
}

// instruments are the self-metrics of a Set.
type instruments struct {
	ids                         prometheus.Gauge
	forgotten, writes, failures prometheus.Counter
}

func newInstruments(r prometheus.Registerer) *instruments {
	f := promauto.With(r)
	return &instruments{
		ids: f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_scaler_event_ids",
			Help: "Ids of events that are remembered, as of the last read or write.",
		}),
		forgotten: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_event_ids_forgotten_total",
			Help: "Ids of events that were forgotten before their time, because there were too many.",
		}),
		writes: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_event_ids_writes_total",
			Help: "Times that the ConfigMap with the ids of events was written.",
		}),
		failures: f.NewCounter(prometheus.CounterOpts{
			Name: "tachometer_scaler_event_ids_failures_total",
			Help: "Reads and writes of the ConfigMap with the ids of events that failed.",
		}),
	}
}
