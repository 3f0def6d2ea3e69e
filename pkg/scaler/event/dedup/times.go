package dedup

import (
	"cmp"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

// This file remembers the times of starts and ends, beside the ids.

const (
	// timesKey is the key of the times in the ConfigMap's data.
	timesKey = "times"
	// maxTimes times take 240 kB; with maxStoredIDs ids they fit into an object.
	maxTimes = 4000
)

// eventTimes maps the hashes of keys to times. An expired time is forgotten.
type eventTimes map[idHash]eventTime

// eventTime is the time of an event, in whole nanoseconds since 1970, and the time until which it is remembered.
type eventTime struct{ at, until time.Time }

var _ event.CommandTimes = (*DeliveryStore)(nil)

// LatestAt implements event.CommandTimes.
func (s *DeliveryStore) LatestAt(key string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.times[hashEventID(key)].at
}

// NoteAt implements event.CommandTimes.
func (s *DeliveryStore) NoteAt(key string, at, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.times.noteEventTime(hashEventID(key), eventTime{at, until}) {
		return
	}
	if len(s.times) > maxTimes+maxTimes/10 {
		s.times.forgetEventTimes(time.Now())
	}
	s.scheduleSetWriteLocked()
}

// noteEventTime keeps the later of two times of a key, and reports whether the new time is later.
func (t eventTimes) noteEventTime(k idHash, n eventTime) bool {
	if !n.at.After(t[k].at) {
		return false
	}
	t[k] = n
	return true
}

// forgetEventTimes forgets expired times, and the times above maxTimes that expire first.
func (t eventTimes) forgetEventTimes(now time.Time) {
	maps.DeleteFunc(t, func(_ idHash, n eventTime) bool { return !now.Before(n.until) })
	if excess := len(t) - maxTimes; excess > 0 {
		for _, k := range t.sortEventTimes()[:excess] {
			delete(t, k)
		}
	}
}

// sortEventTimes returns the keys in the order of their expiry.
func (t eventTimes) sortEventTimes() []idHash {
	return slices.SortedFunc(maps.Keys(t), func(a, b idHash) int {
		return cmp.Or(t[a].until.Compare(t[b].until), slices.Compare(a[:], b[:]))
	})
}

// encodeEventTimes returns a line for each time: the hash in base64, the expiry in seconds and the time in nanoseconds since 1970.
func (t eventTimes) encodeEventTimes() string {
	var b strings.Builder
	for _, k := range t.sortEventTimes() {
		b.WriteString(base64.RawURLEncoding.EncodeToString(k[:]))
		b.WriteByte(' ')
		b.WriteString(strconv.FormatInt(t[k].until.Unix(), 10))
		b.WriteByte(' ')
		b.WriteString(strconv.FormatInt(t[k].at.UnixNano(), 10))
		b.WriteByte('\n')
	}
	return b.String()
}

// mergeEventTimes adds the times in text, and returns the number of invalid lines.
func (t eventTimes) mergeEventTimes(text string) (bad int) {
	for line := range strings.Lines(text) {
		end := strings.LastIndexByte(line, ' ')
		nanos, err := strconv.ParseInt(strings.TrimSuffix(line[end+1:], "\n"), 10, 64)
		k, until, ok := parseEventExpiryLine(line[:max(end, 0)])
		if err != nil || !ok {
			bad++
			continue
		}
		t.noteEventTime(k, eventTime{time.Unix(0, nanos), until})
	}
	return bad
}
