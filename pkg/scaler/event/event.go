// Package event brings events to the targets that rules name, as holds.
//
// # What is promised
//
// An event that rules match is delivered to the sink at least once, never after its expiry (at + ttl, or the end of the
// hold it asks for if that is earlier), and once only as far as its id is remembered: a second event with the same id is
// skipped, whatever it says, also after a restart.
//
// Per target, events are delivered in the order in which Handle was called: a target whose sink fails holds up its own
// events, and no other target's. Of several waiting events for one hold of one target the last is delivered, and those
// before it are superseded, also where the sink then refuses the last; a raise does not supersede one that expires later
// than itself.
//
// The promise begins when an event is read. A record of Kafka can be read again for as long as the consumer rewinds
// (a minute, if nothing else is set); a sender over HTTP has its promise with status 202, and none before.
//
// # What a crash does
//
//   - Before the sink was called, or during it: nothing is remembered, so the record is read again, and a sender over HTTP
//     has no answer and sends again. Lost are records that waited for the sink for longer than the consumer rewinds: who
//     wants to outlive a crash during a long outage of the API server rewinds by as much.
//   - After the sink took the event for some of its targets: it is delivered again to all. The sink is idempotent.
//   - After the sink took it, before its id is written (a second, or as long as the API server refuses): it is delivered
//     again. Ids are written in the order of delivery, so if a start is repeated that a later event ended, that later event
//     is repeated too, and the hold is there for as long as it takes to read on.
//   - After its id is written: it is skipped.
package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// MaxBytes bounds one event.
const MaxBytes = 64 << 10

// The bounds of what an event says of itself.
const (
	maxID   = 256
	maxType = 128
	// MinTTL and MaxTTL bound ttl: a shorter one expires on its way, and a longer one would be remembered for too long.
	MinTTL = time.Second
	MaxTTL = 7 * 24 * time.Hour
)

// Event is something that happened, or is about to.
type Event struct {
	// ID tells it from every other event: 1 to 256 printable ASCII characters without spaces.
	ID string
	// Type is what rules look for, such as FLASH_SALE_START.
	Type string
	// At is when it happened by the sender's clock; it expires at At + TTL.
	At  time.Time
	TTL time.Duration
	// Fields are all others: string, json.Number, bool, nil, []any or map[string]any.
	Fields map[string]any
}

// Expiry is the moment from which on the event is not delivered.
func (e *Event) Expiry() time.Time { return e.At.Add(e.TTL) }

var (
	eventIDPattern   = regexp.MustCompile(`^[!-~]+$`)
	eventTypePattern = regexp.MustCompile(`^[A-Za-z0-9_.:/-]+$`)
)

// Parse reads one event: a JSON object with id, type, at (RFC 3339) and ttl (such as 30m), and any other fields. Duplicate
// keys, invalid UTF-8, anything after the object, and more than MaxBytes are errors. The event shares nothing with data.
func Parse(data []byte) (Event, error) {
	if len(data) > MaxBytes {
		return Event{}, fmt.Errorf("%d bytes; an event has up to %d", len(data), MaxBytes)
	}
	if !utf8.Valid(data) {
		return Event{}, errors.New("not UTF-8")
	}
	raw, err := decodeEventFields(data)
	if err != nil {
		return Event{}, fmt.Errorf("not one JSON object: %w", err)
	}
	var e Event
	var at, ttl string
	for _, f := range []struct {
		key string
		to  *string
	}{{"id", &e.ID}, {"type", &e.Type}, {"at", &at}, {"ttl", &ttl}} {
		if *f.to, err = requireTextField(raw, f.key); err != nil {
			return Event{}, err
		}
		delete(raw, f.key)
	}
	if err := e.setCommonFields(at, ttl); err != nil {
		return Event{}, err
	}
	e.Fields = raw
	return e, nil
}

// decodeEventFields reads the keys of an object by hand: the standard decoder takes keys twice, and in any case.
func decodeEventFields(data []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if t, err := d.Token(); err != nil {
		return nil, err
	} else if t != json.Delim('{') {
		return nil, fmt.Errorf("begins with %.20v", t)
	}
	fields := map[string]any{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, _ := t.(string) // the decoder takes nothing else for a key
		if _, again := fields[key]; again {
			return nil, fmt.Errorf("key %q twice", strict.Shorten(key))
		}
		var v any
		if err := d.Decode(&v); err != nil {
			return nil, err
		}
		fields[key] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows it")
	}
	return fields, nil
}

func requireTextField(fields map[string]any, key string) (string, error) {
	v, given := fields[key]
	s, ok := v.(string)
	switch {
	case !given:
		return "", fmt.Errorf("%s: required", key)
	case !ok || s == "":
		return "", fmt.Errorf("%s: must be text", key)
	}
	return s, nil
}

// setCommonFields checks and sets what is of one form in all events.
func (e *Event) setCommonFields(at, ttl string) (err error) {
	switch {
	case len(e.ID) > maxID || !eventIDPattern.MatchString(e.ID):
		return fmt.Errorf("id: must be 1 to %d printable ASCII characters without spaces, not %q", maxID, strict.Shorten(e.ID))
	case len(e.Type) > maxType || !eventTypePattern.MatchString(e.Type):
		return fmt.Errorf("type: must be 1 to %d letters, digits or _.:/-, not %q", maxType, strict.Shorten(e.Type))
	}
	if e.At, err = time.Parse(time.RFC3339, strings.ToUpper(at)); err != nil || e.At.Year() < 2000 || e.At.Year() > 9999 {
		return fmt.Errorf("at: must be a time such as 2026-11-27T08:00:00Z, not %q", strict.Shorten(at))
	}
	span, err := model.ParseDuration(ttl)
	if err != nil || time.Duration(span) < MinTTL || time.Duration(span) > MaxTTL {
		return fmt.Errorf("ttl: must be a duration from %s to %s, such as 30m, not %q",
			strict.FormatDuration(MinTTL), strict.FormatDuration(MaxTTL), strict.Shorten(ttl))
	}
	e.TTL = time.Duration(span)
	return nil
}
