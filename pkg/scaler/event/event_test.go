package event

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

const validEventJSON = `{"id":"a-1","type":"FLASH_SALE_START","at":"2026-11-27T08:00:00Z","ttl":"30m","sale":"black-friday","pods":20}`

func TestParseReadsWhatIsThere(t *testing.T) {
	t.Parallel()
	got, err := Parse([]byte(validEventJSON))
	if err != nil {
		t.Fatal(err)
	}
	want := Event{
		ID: "a-1", Type: "FLASH_SALE_START", At: time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC), TTL: 30 * time.Minute,
		Fields: map[string]any{"sale": "black-friday", "pods": json.Number("20")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func TestParseRejects(t *testing.T) {
	t.Parallel()
	with := func(key, value string) string {
		fields := map[string]string{"id": `"a"`, "type": `"T"`, "at": `"2026-11-27T08:00:00Z"`, "ttl": `"1m"`}
		fields[key] = value
		var b strings.Builder
		for _, k := range []string{"id", "type", "at", "ttl"} {
			if fields[k] != "" {
				fmt.Fprintf(&b, ",%q:%s", k, fields[k])
			}
		}
		return "{" + strings.TrimPrefix(b.String(), ",") + "}"
	}
	if _, err := Parse([]byte(with("", ""))); err != nil {
		t.Fatalf("the event that the others differ from: %v", err)
	}
	for name, c := range map[string]struct{ data, want string }{
		"nothing":        {"", "id: required"},
		"a list":         {"[1]", "not one JSON object: a list"},
		"a batch":        {"[" + validEventJSON + "," + validEventJSON + "]", "send each event in a message of its own"},
		"cut off":        {validEventJSON[:40], "not one JSON object"},
		"two objects":    {validEventJSON + validEventJSON, "text follows"},
		"a key twice":    {`{"id":"a","id":"b"}`, `key "id" twice`},
		"not UTF-8":      {"{\"id\":\"\xff\"}", "UTF-8"},
		"too long":       {`{"id":"` + strings.Repeat("a", MaxBytes) + `"}`, "bytes"},
		"deep":           {`{"x":` + strings.Repeat("[", 30000) + strings.Repeat("]", 30000) + `}`, "not one JSON object"},
		"no id":          {with("id", ""), "id: required"},
		"id of another":  {strings.Replace(with("", ""), `"id"`, `"ID"`, 1), "id: required"},
		"empty id":       {with("id", `""`), "id: required"},
		"null for id":    {with("id", `null`), "id: required"},
		"no type":        {with("type", ""), "type: required"},
		"type in quotes": {with("type", `"a\"b"`), "type: must be"},
		"no at":          {with("at", ""), "at: required"},
		"object for id":  {with("id", `{}`), "id: must be text or a number"},
		"list for at":    {with("at", `[1]`), "at: must be text or a number"},
		"at as a date":   {with("at", `"2026-11-27"`), "at: must be a time"},
		"at long ago":    {with("at", `"0001-01-01T00:00:00Z"`), "at: must be a time"},
		"no ttl":         {with("ttl", ""), "ttl: required"},
		"ttl fraction":   {with("ttl", `0.5`), `ttl: must be a duration from 1s to 1w, such as 30m, not "0.5"`},
		"ttl zero":       {with("ttl", `0`), `not "0"`},
		"ttl too short":  {with("ttl", `"10ms"`), "ttl: must be a duration"},
		"ttl too long":   {with("ttl", `"8d"`), "ttl: must be a duration"},
		"ttl negative":   {with("ttl", `"-5m"`), "ttl: must be a duration"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Parse([]byte(c.data)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v; want one about %q", err, c.want)
			}
		})
	}
}

// TestD23NumbersForText: an id, a time in seconds or milliseconds, a ttl in seconds and a count may be numbers, or numbers as text. An id of any form is
// an id.
func TestD23NumbersForText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Event{
		`{"id":7,"type":"T","at":1764230400,"ttl":90,"pods":"20"}`:                  {ID: "7"},
		`{"id":"7","type":"T","at":"1764230400000","ttl":"90","pods":20.0}`:         {ID: "7"},
		`{"id":"a b","type":"T","at":"2025-11-27T08:00:00Z","ttl":"90s","pods":20}`: {ID: "sha256:c8687a08aa5d6ed2044328fa6a697ab8e96dc34291e8c2034ae8c38e6fcc6d65"},
	} {
		e, err := Parse([]byte(text))
		if err != nil || e.ID != want.ID || !e.At.Equal(time.Date(2025, 11, 27, 8, 0, 0, 0, time.UTC)) || e.TTL != 90*time.Second {
			t.Errorf("%s: %+v, %v", text, e, err)
		}
		if n, err := (ReplicaCount{Field: "pods", MaxValue: 30}).resolveEventReplicas(&e); err != nil || n != 20 {
			t.Errorf("%s: %d replicas, %v", text, n, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		validEventJSON, `{}`, `{"id":"a","type":"T","at":"2026-11-27T08:00:00+01:00","ttl":"1d"}`, `{"id":"a","type":"T","at":"2026-11-27t08:00:00z","ttl":"1m","x":[1,{"y":null}]}`, `{"id":"a","id":"b"}`, "[]", "FLASH_SALE_START", `{"specversion":"1.0","id":"a","source":"/","type":"T","time":"2026-11-27T08:00:00Z","ttl":"1m","data":{"pods":7}}`, "{\"a\":1e999}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Parse(data)
		if e.Fields["specversion"] != nil {
			return // a CloudEvent has its fields elsewhere
		}
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Errorf("%d bytes of error: a log line is no place for an event", len(err.Error()))
			}
			return
		}
		if e.ID == "" || e.Type == "" || e.TTL < MinTTL || e.TTL > MaxTTL || !e.Expiry().After(e.At) {
			t.Fatalf("event out of its bounds: %+v", e)
		}
		// Parse, Marshal and Parse again give the same event.
		again := map[string]any{"id": e.ID, "type": e.Type, "at": e.At.Format(time.RFC3339Nano), "ttl": strict.FormatDuration(e.TTL)}
		for k, v := range e.Fields {
			again[k] = v
		}
		text, err := json.Marshal(again)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > MaxBytes {
			return // Marshal escapes < and >, which makes the text longer
		}
		other, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !other.At.Equal(e.At) {
			t.Errorf("at %s; want %s", other.At, e.At)
		}
		other.At = e.At
		if diff := cmp.Diff(e, other); diff != "" {
			t.Errorf("read again (-first +second):\n%s", diff)
		}
	})
}
