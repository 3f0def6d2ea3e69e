// This file reads an event from a message: an object with the fields of an event, an object of another system with mapped fields,
// a CloudEvent (cloudevent.go), or nothing but a type.

package event

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// Message is a message as its source received it.
type Message struct {
	Source string
	Data   []byte
	// Headers have lower-case names: the headers of a Kafka record, or the signed headers of a request.
	Headers map[string]string
	// Key is the key of a Kafka record.
	Key string
	// Position identifies the message in its source. An event without an id gets it as its ID.
	Position string
	// Time is the time of the message by its source. An event without a time gets it as At.
	Time time.Time
}

// withMessageDefaults completes a message without a position or a time: the position is unique, and the time is now.
func (m Message) withMessageDefaults(now time.Time) Message {
	if m.Position == "" {
		m.Position = "message/" + rand.Text()
	}
	if m.Time.IsZero() {
		m.Time = now
	}
	return m
}

// Format describes messages of other systems: the places of fields, and a default ttl.
type Format struct {
	// Fields maps fields of events to their places in a message. A field without a place, or absent there, is read under its own name.
	Fields map[string]FieldPlace
	// TTL is the default ttl; 0: every event needs a ttl.
	TTL time.Duration
}

// FieldPlace is the place of a field in a message: key, timestamp, header.NAME or data.PATH, a path through nested objects and, by
// index from 0, lists.
type FieldPlace string

// DefaultTTL is the default ttl: the start of a sale is no news after half an hour.
const DefaultTTL = 30 * time.Minute

// The places of a FieldPlace.
const (
	placeKey       = "key"
	placeTimestamp = "timestamp"
	headerPrefix   = "header."
	dataPrefix     = "data."
)

// findPlacedEventField returns the value at the place. Objects are the fields of the message.
func (p FieldPlace) findPlacedEventField(m *Message, objects map[string]any) (any, bool) {
	switch place := string(p); {
	case place == placeKey:
		return m.Key, m.Key != ""
	case place == placeTimestamp:
		return m.Time.UTC().Format(time.RFC3339Nano), !m.Time.IsZero()
	case strings.HasPrefix(place, headerPrefix):
		v, ok := m.Headers[strings.ToLower(place[len(headerPrefix):])]
		return v, ok
	}
	var v any = objects
	for name := range strings.SplitSeq(strings.TrimPrefix(string(p), dataPrefix), ".") {
		v = findNestedMessageField(v, name)
	}
	return v, v != nil
}

// findNestedMessageField returns a value of an object by its key, or of a list by its index from 0; nil: it is not there.
func findNestedMessageField(v any, name string) any {
	switch v := v.(type) {
	case map[string]any:
		return v[name]
	case []any:
		if i, err := strconv.ParseUint(name, 10, 31); err == nil && i < uint64(len(v)) {
			return v[i]
		}
	}
	return nil
}

// commonFields are the fields of every event.
var commonFields = []string{"id", "type", "at", "ttl"}

// receivedFields are the fields of a message, by where they are from.
type receivedFields struct {
	message *Message
	format  Format
	// attributes are the attributes of a CloudEvent, with at for time; nil for other messages.
	attributes map[string]any
	// body are the fields of the message's object, or of a CloudEvent's data.
	body map[string]any
}

// ParseMessage parses an event. The event shares no memory with the message.
func (f Format) ParseMessage(m Message) (Event, error) {
	if len(m.Data) > MaxBytes {
		return Event{}, fmt.Errorf("%d bytes; the maximum of an event is %d", len(m.Data), MaxBytes)
	}
	if !utf8.Valid(m.Data) {
		return Event{}, errors.New("not UTF-8")
	}
	fields := receivedFields{message: &m, format: f}
	if err := fields.decodeEventMessage(); err != nil {
		return Event{}, err
	}
	var e Event
	if err := fields.readCommonEventFields(&e); err != nil {
		return Event{}, err
	}
	e.Fields = fields.collectEventFields()
	return e, nil
}

// decodeEventMessage sets attributes and body.
func (f *receivedFields) decodeEventMessage() (err error) {
	data := trimMessageText(f.message.Data)
	if attributes := cloudEventHeaderAttributes(f.message.Headers); attributes != nil {
		f.attributes = attributes
		f.body, err = cloudEventDataFields(data)
		return err
	}
	if len(data) == 0 || string(data) == "null" { // the headers may be enough
		return nil
	}
	if word, ok := bareMessageType(data); ok {
		f.body = map[string]any{"type": word}
		return nil
	}
	if f.body, err = eventFieldsFromJSON(data); err != nil {
		return fmt.Errorf("not one JSON object: %w", err)
	}
	if isStructuredCloudEvent(f.body) {
		f.attributes, f.body, err = splitStructuredCloudEvent(f.body)
	}
	return err
}

// byteOrderMark begins the texts of some programs.
var byteOrderMark = []byte("\ufeff")

// trimMessageText returns a text without the blanks around it, and without a byte order mark.
func trimMessageText(data []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(data, byteOrderMark))
}

// bareMessageType returns the type of a message that is nothing else, with or without quotes.
func bareMessageType(data []byte) (string, bool) {
	text := string(data)
	if strings.HasPrefix(text, `"`) && json.Unmarshal(data, &text) != nil {
		return "", false
	}
	letter := text != "" && (text[0]|0x20 >= 'a' && text[0]|0x20 <= 'z')
	return text, letter && len(text) <= maxType && eventTypePattern.MatchString(text)
}

// findCommonEventField looks at the field's place, in the attributes of a CloudEvent, in the body, and in the headers. A field that is empty or null
// is not given.
func (f *receivedFields) findCommonEventField(name string) (any, bool) {
	if place, mapped := f.format.Fields[name]; mapped {
		if v, ok := place.findPlacedEventField(f.message, f.body); ok && v != "" {
			return v, true
		}
	}
	if v := f.attributes[name]; v != nil && v != "" {
		return v, true
	}
	if v := f.body[name]; v != nil && v != "" && (f.attributes == nil || name == "ttl") {
		return v, true
	}
	header := f.message.Headers[name]
	if header == "" && name == "at" {
		header = f.message.Headers["time"]
	}
	return header, header != ""
}

// commonEventFieldText returns a common field as text, or the text that stands for a missing field.
func (f *receivedFields) commonEventFieldText(name, missing string) (string, error) {
	v, given := f.findCommonEventField(name)
	if !given && missing == "" {
		return "", fmt.Errorf("%s: required", name)
	}
	if !given {
		return missing, nil
	}
	text, scalar := formatScalarField(v)
	if !scalar {
		return "", fmt.Errorf("%s: must be text or a number", name)
	}
	return text, nil
}

// readCommonEventFields sets and validates the four fields of every event.
func (f *receivedFields) readCommonEventFields(e *Event) error {
	var at, ttl, messageTime, defaultTTL string
	if !f.message.Time.IsZero() {
		messageTime = f.message.Time.UTC().Format(time.RFC3339Nano)
	}
	if f.format.TTL > 0 {
		defaultTTL = strict.FormatDuration(f.format.TTL)
	}
	for _, field := range []struct {
		to            *string
		name, missing string
	}{{&e.ID, "id", f.message.Position}, {&e.Type, "type", ""}, {&at, "at", messageTime}, {&ttl, "ttl", defaultTTL}} {
		var err error
		if *field.to, err = f.commonEventFieldText(field.name, field.missing); err != nil {
			return err
		}
	}
	e.ID = shortenEventID(f.scopeEventID(e.ID))
	return e.validateCommonFields(convertUnixTime(at), convertUnixSeconds(ttl))
}

// scopeEventID adds the source of a CloudEvent, because its ids are unique only within the source.
func (f *receivedFields) scopeEventID(id string) string {
	if source, ok := f.attributes["source"].(string); ok && source != "" {
		return source + "#" + id
	}
	return id
}

// shortenEventID returns the id, or a hash of an id that is too long or has other characters than an ID.
func shortenEventID(id string) string {
	if len(id) <= maxID && eventIDPattern.MatchString(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// minUnixMillis separates seconds since 1970 from milliseconds: as seconds it is in the year 5138. Microseconds and nanoseconds begin a thousand times
// higher each.
const minUnixMillis = 100_000_000_000

// decimalPattern matches the decimal numbers from 0: ParseFloat reads NaN and 0x10 too.
var decimalPattern = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?([eE]\+?[0-9]+)?$`)

// parseDecimalText parses a decimal number from 0 up to 1e21.
func parseDecimalText(text string) (n float64, ok bool) {
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil && n < 1e21 && decimalPattern.MatchString(text)
}

// convertUnixTime converts a number of seconds, milliseconds, microseconds or nanoseconds since 1970 to RFC 3339. It returns any other text as it is.
func convertUnixTime(text string) string {
	n, ok := parseDecimalText(text)
	if !ok {
		return text
	}
	for n >= minUnixMillis {
		n /= 1000
	}
	return time.UnixMilli(int64(math.Round(n * 1000))).UTC().Format(time.RFC3339Nano)
}

// convertUnixSeconds converts a number of seconds to a duration. It returns any other text as it is.
func convertUnixSeconds(text string) string {
	if n, ok := parseDecimalText(text); ok && n >= MinTTL.Seconds() && n <= MaxTTL.Seconds() {
		return strconv.FormatInt(int64(math.Round(n*1000)), 10) + "ms"
	}
	return text
}

// collectEventFields returns all fields except the common ones. Mapped fields win over the body, and the body over attributes.
func (f *receivedFields) collectEventFields() map[string]any {
	all := map[string]any{}
	maps.Copy(all, f.attributes)
	maps.Copy(all, f.body)
	for name, place := range f.format.Fields {
		if v, ok := place.findPlacedEventField(f.message, f.body); ok {
			all[name] = v
		}
	}
	for _, name := range commonFields {
		delete(all, name)
	}
	return all
}

// validateCommonFields validates the fields of every event, and sets At and TTL.
func (e *Event) validateCommonFields(at, ttl string) (err error) {
	if len(e.Type) > maxType || !eventTypePattern.MatchString(e.Type) {
		return fmt.Errorf("type: must be 1 to %d letters, digits or _.:/-, not %q", maxType, strict.Shorten(e.Type))
	}
	if e.At, err = parseEventTime(strings.ToUpper(at)); err != nil || e.At.Year() < 2000 || e.At.Year() > 9999 {
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

// eventTimeFormats are the formats of a time with its offset: RFC 3339, without seconds (Java, on the full minute), and with an offset without a colon.
var eventTimeFormats = []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05Z0700"}

// parseEventTime parses a time in the first format that fits.
func parseEventTime(text string) (at time.Time, err error) {
	for _, format := range eventTimeFormats {
		if at, err = time.Parse(format, text); err == nil {
			return at, nil
		}
	}
	return at, err
}

// isCommonEventField reports whether every event has the field.
func isCommonEventField(name string) bool { return slices.Contains(commonFields, name) }
