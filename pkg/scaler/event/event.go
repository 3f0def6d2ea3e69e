// Package event turns events into holds: it parses messages and CloudEvents, matches the rules, and delivers the commands for starts and
// ends in their order.
//
// # Delivery
//
// An event that matches a rule is delivered to the sink at least once, and never after its expiry: at + ttl, or the end of its hold if
// earlier. An end does not expire before the longest hold of its rule: nothing else would end that. An event is delivered only once while
// its id is remembered: a second event with the same type and id is skipped, with any content, also after a restart.
//
// For each workload, events are delivered in the order of the calls of Handle. A failing workload delays its own events, and no other
// workload's. Of several waiting events for the same hold of a workload, the last supersedes the others, even if the sink then rejects
// it. A raise does not supersede a raise that expires later.
//
// Starts and ends of the same hold are applied by their at, in any order of arrival: an end or a start supersedes an earlier start that comes
// later, and an end does not end the hold of a later start. Of a start and an end of the same moment, the end counts.
//
// The guarantee begins when an event is read. A Kafka record can be read again within the consumer's rewind, by default the longest hold of
// a rule. A sender over HTTP has the guarantee with status 202, and not before.
//
// # Crashes
//
//   - Before or during the call of the sink: no id is remembered, so the record is read again, and a sender over HTTP gets no response
//     and sends again. Records that waited longer than the rewind are lost.
//   - After the sink took the event for some of its workloads: it is delivered to all again. The sink is idempotent.
//   - After the sink took it, and before its id is written (a second, or as long as the API server rejects the write): it is delivered
//     again. Ids are written in the order of delivery. So if a start is repeated after its end was delivered, the end is repeated too,
//     and the hold exists until the reader reaches the end.
//   - After its id is written: it is skipped.
package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// MaxBytes bounds an event.
const MaxBytes = 64 << 10

// Limits of the fields of every event.
const (
	maxID   = 256
	maxType = 128
	// MinTTL and MaxTTL bound ttl. A shorter ttl expires in transit; a longer ttl keeps the event's id in memory for too long.
	MinTTL = time.Second
	MaxTTL = 7 * 24 * time.Hour
)

// Event is an occurrence that a sender announces, such as the start of a sale.
type Event struct {
	// ID is unique among the events of the type: 1 to 256 printable ASCII characters without spaces.
	ID string
	// Type selects the rules, such as FLASH_SALE_START.
	Type string
	// At is the time of the event by the sender's clock. The event expires at At + TTL.
	At  time.Time
	TTL time.Duration
	// Fields are all other fields: string, json.Number, bool, nil, []any or map[string]any.
	Fields map[string]any
}

// eventIdentity tells the event from others: a start and its end may have the id of their sale.
func (e *Event) eventIdentity() string { return e.Type + " " + e.ID }

// Expiry returns the moment from which on the event is not delivered.
func (e *Event) Expiry() time.Time { return e.At.Add(e.TTL) }

var (
	eventIDPattern   = regexp.MustCompile(`^[!-~]+$`)
	eventTypePattern = regexp.MustCompile(`^[A-Za-z0-9_.:/-]+$`)
)

// Parse parses an event that has all fields itself: a JSON object with id, type, at (RFC 3339) and ttl (such as 30m), and any other fields,
// or a CloudEvent with a ttl. Duplicate keys, invalid UTF-8, text after the object, and more than MaxBytes are errors.
func Parse(data []byte) (Event, error) { return Format{}.ParseMessage(Message{Data: data}) }

// eventFieldsFromJSON decodes an object token by token, because encoding/json accepts duplicate keys and ignores their case.
func eventFieldsFromJSON(data []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	var object json.RawMessage
	if err := d.Decode(&object); err != nil { // it bounds the depth too
		return nil, err
	}
	if object[0] == '[' {
		return nil, errors.New("a list; send each event in a message of its own")
	}
	if object[0] != '{' {
		return nil, fmt.Errorf("begins with %.20s", object)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text follows the object")
	}
	d = json.NewDecoder(bytes.NewReader(object))
	d.UseNumber()
	v, err := decodeEventJSONValue(d)
	fields, _ := v.(map[string]any)
	return fields, err
}

// decodeEventJSONValue decodes the next value of valid JSON. An object inside has each key once too.
func decodeEventJSONValue(d *json.Decoder) (any, error) {
	t, err := d.Token()
	switch {
	case err != nil:
		return nil, err
	case t == json.Delim('{'):
		return decodeEventJSONObject(d)
	case t == json.Delim('['):
		return decodeEventJSONList(d)
	}
	return t, nil
}

// decodeEventJSONObject decodes the rest of an object.
func decodeEventJSONObject(d *json.Decoder) (any, error) {
	fields := map[string]any{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, _ := t.(string) // the decoder rejects any other key
		if _, again := fields[key]; again {
			return nil, fmt.Errorf("key %q twice", strict.Shorten(key))
		}
		if fields[key], err = decodeEventJSONValue(d); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return fields, err
}

// decodeEventJSONList decodes the rest of a list.
func decodeEventJSONList(d *json.Decoder) (any, error) {
	all := []any{}
	for d.More() {
		v, err := decodeEventJSONValue(d)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	_, err := d.Token()
	return all, err
}
