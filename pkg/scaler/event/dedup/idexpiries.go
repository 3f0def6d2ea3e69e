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

// idHash is the first half of the SHA-256 of an id: two ids that share it do not happen, and its length does not depend on the sender.
type idHash [16]byte

func hashID(id string) idHash {
	sum := sha256.Sum256([]byte(id))
	return idHash(sum[:16])
}

// idExpiries are keys with the time from which on they are forgotten.
type idExpiries map[idHash]time.Time

// encodeLines is a line for each: the key in base64, a space, the time in seconds since 1970. Sorted, so that a person sees in the
// difference of two what was added.
func (s idExpiries) encodeLines() string {
	var b strings.Builder
	b.Grow(len(s) * 34)
	for _, k := range s.sortByExpiry() {
		b.WriteString(base64.RawURLEncoding.EncodeToString(k[:]))
		b.WriteByte(' ')
		b.WriteString(strconv.FormatInt(s[k].Unix(), 10))
		b.WriteByte('\n')
	}
	return b.String()
}

// sortByExpiry are the keys, the one that is forgotten first in front.
func (s idExpiries) sortByExpiry() []idHash {
	return slices.SortedFunc(maps.Keys(s), func(a, b idHash) int {
		return cmp.Or(s[a].Compare(s[b]), slices.Compare(a[:], b[:]))
	})
}

// mergeLines adds what text says, and counts the lines that say nothing. Of two times for a key the later holds.
func (s idExpiries) mergeLines(text string) (bad int) {
	for line := range strings.Lines(text) {
		k, until, ok := parseIDLine(strings.TrimSuffix(line, "\n"))
		switch {
		case !ok:
			bad++
		case until.After(s[k]):
			s[k] = until
		}
	}
	return bad
}

func parseIDLine(line string) (k idHash, until time.Time, ok bool) {
	first, second, _ := strings.Cut(line, " ")
	sum, err := base64.RawURLEncoding.Strict().DecodeString(first)
	if err != nil || len(sum) != len(k) {
		return k, until, false
	}
	seconds, err := strconv.ParseInt(second, 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<40 {
		return k, until, false
	}
	return idHash(sum), time.Unix(seconds, 0), true
}

// forgetExpired forgets what is over at now, and of what is left all but most. It counts the latter.
func (s idExpiries) forgetExpired(now time.Time, most int) (forgotten int) {
	maps.DeleteFunc(s, func(_ idHash, until time.Time) bool { return !now.Before(until) })
	if len(s) <= most {
		return 0
	}
	early := s.sortByExpiry()[:len(s)-most]
	for _, k := range early {
		delete(s, k)
	}
	return len(early)
}

// metrics are the self-metrics of a Set.
type metrics struct {
	ids                         prometheus.Gauge
	forgotten, writes, failures prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
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
