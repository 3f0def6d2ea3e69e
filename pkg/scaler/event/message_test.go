package event

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// recordTime is the time of the messages in this file by their source.
var recordTime = time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)

// newRecordMessage returns a message with all that a record of Kafka has.
func newRecordMessage(data string, headers map[string]string) Message {
	return Message{Source: SourceKafka, Data: []byte(data), Headers: headers, Key: "black-friday", Position: "sales/2/4711", Time: recordTime}
}

func TestD23MessagesAsTheyAre(t *testing.T) {
	t.Parallel()
	at := recordTime.Add(time.Hour)
	plain := Event{ID: "sales/2/4711", Type: "FLASH_SALE_START", At: recordTime, TTL: DefaultTTL, Fields: map[string]any{}}
	shopCopy := func() Event {
		return Event{ID: "/shop#7", Type: "sale.start", At: at, TTL: DefaultTTL, Fields: map[string]any{"pods": json.Number("20"), "source": "/shop", "specversion": "1.0"}}
	}
	shop := shopCopy()
	const structured = `{"specversion":"1.0","id":"7","source":"/shop","type":"sale.start","time":"2026-11-27T09:00:00Z","data":{"pods":20}}`
	binary := map[string]string{"ce_specversion": "1.0", "ce_id": "7", "ce_source": "/shop", "ce_type": "sale.start", "ce_time": "2026-11-27T09:00:00Z"}
	long := map[string]string{"id": strings.Repeat("ä", 200)}
	for name, c := range map[string]struct {
		m    Message
		want func(e *Event)
		base Event
	}{
		"a word":                    {newRecordMessage("FLASH_SALE_START", nil), nil, plain},
		"a word and a line end":     {newRecordMessage("FLASH_SALE_START\n", nil), nil, plain},
		"a word in quotes":          {newRecordMessage(`"FLASH_SALE_START"`, nil), nil, plain},
		"a type alone":              {newRecordMessage(`{"type":"FLASH_SALE_START"}`, nil), nil, plain},
		"a type by a header":        {newRecordMessage(`{}`, map[string]string{"type": "FLASH_SALE_START"}), nil, plain},
		"an empty id and a header":  {newRecordMessage(`{"type":"FLASH_SALE_START","id":"","at":null}`, map[string]string{"id": "a", "time": "2026-11-27T09:00:00Z"}), func(e *Event) { e.ID, e.At = "a", at }, plain},
		"id and time by headers":    {newRecordMessage("FLASH_SALE_START", map[string]string{"id": "a", "time": "2026-11-27T09:00:00Z"}), func(e *Event) { e.ID, e.At = "a", at }, plain},
		"seconds and ttl by header": {newRecordMessage("FLASH_SALE_START", map[string]string{"at": "1795770000", "ttl": "600"}), func(e *Event) { e.At, e.TTL = at, 10*time.Minute }, plain},
		"milliseconds by header":    {newRecordMessage("FLASH_SALE_START", map[string]string{"at": "1795770000000"}), func(e *Event) { e.At = at }, plain},
		"microseconds by header":    {newRecordMessage("FLASH_SALE_START", map[string]string{"at": "1795770000000000"}), func(e *Event) { e.At = at }, plain},
		"nanoseconds":               {newRecordMessage(`{"type":"FLASH_SALE_START","at":1795770000000000000}`, nil), func(e *Event) { e.At = at }, plain},
		"seconds with a fraction":   {newRecordMessage(`{"type":"FLASH_SALE_START","at":1795770000.000000000,"ttl":1800.0}`, nil), func(e *Event) { e.At = at }, plain},
		"a ttl with a fraction":     {newRecordMessage(`{"type":"FLASH_SALE_START","ttl":"90.5"}`, nil), func(e *Event) { e.TTL = 90*time.Second + 500*time.Millisecond }, plain},
		"an id that is too long": {newRecordMessage("FLASH_SALE_START", long), func(e *Event) {
			e.ID = shortenEventID(long["id"])
		}, plain},
		"its own fields win":                                      {newRecordMessage(validEventJSON, map[string]string{"id": "other", "type": "OTHER", "at": "2027-01-01T00:00:00Z"}), nil, Event{ID: "a-1", Type: "FLASH_SALE_START", At: recordTime, TTL: 30 * time.Minute, Fields: map[string]any{"sale": "black-friday", "pods": json.Number("20")}}},
		"a CloudEvent, structured":                                {newRecordMessage(structured, nil), nil, shop},
		"a CloudEvent by content type":                            {newRecordMessage(`{"id":"7","source":"/shop","type":"sale.start","time":"2026-11-27T09:00:00Z","specversion":"1.0","data":"{\"pods\":20}"}`, map[string]string{"content-type": "application/cloudevents+json; charset=utf-8"}), nil, shop},
		"a CloudEvent, binary":                                    {newRecordMessage(`{"pods":20}`, binary), nil, shop},
		"a CloudEvent's extension is a field, and its ttl counts": {newRecordMessage("", mergeHeaders(binary, "ce_pods", "20", "ce_ttl", "1h")), func(e *Event) { e.TTL, e.Fields["pods"] = time.Hour, "20" }, shopCopy()},
		"data with an id of its own":                              {newRecordMessage(`{"pods":20,"id":"order 8","type":"x"}`, binary), nil, shop},
		"a byte order mark before an object":                      {newRecordMessage("\ufeff{\"type\":\"FLASH_SALE_START\"}\r\n", nil), nil, plain},
		"a null, and a type in a header":                          {newRecordMessage("null", map[string]string{"type": "FLASH_SALE_START"}), nil, plain},
		"a time without seconds":                                  {newRecordMessage(`{"type":"FLASH_SALE_START","at":"2026-11-27T09:00Z"}`, nil), func(e *Event) { e.At = at }, plain},
		"an offset without a colon":                               {newRecordMessage(`{"type":"FLASH_SALE_START","at":"2026-11-27T09:00:00.000+0000"}`, nil), func(e *Event) { e.At = at }, plain},
		"a type in a header alone":                                {newRecordMessage("", map[string]string{"type": "FLASH_SALE_START"}), nil, plain},
		"a byte order mark before a word":                         {newRecordMessage("\ufeffFLASH_SALE_START", nil), nil, plain},
		"a CloudEvent with data in base64":                        {newRecordMessage(`{"specversion":"1.0","id":"7","source":"/shop","type":"sale.start","time":"2026-11-27T09:00:00Z","data_base64":"eyJwb2RzIjoyMH0="}`, nil), nil, shop},
		"a CloudEvent whose version is a number":                  {newRecordMessage(strings.Replace(structured, `"1.0"`, "1.0", 1), nil), func(e *Event) { e.Fields["specversion"] = json.Number("1.0") }, shopCopy()},
		"a CloudEvent in binary mode, both prefixes":              {newRecordMessage(`{"pods":20}`, mergeHeaders(binary, "ce-id", "8")), nil, shop},
		"a CloudEvent in binary mode, data of a form":             {newRecordMessage("pods=20", mergeHeaders(binary, "ce_pods", "20")), func(e *Event) { e.Fields["pods"] = "20" }, shopCopy()},
		"a CloudEvent over HTTP":                                  {newRecordMessage(`{"pods":20}`, renameHeaders(binary, "ce_", "ce-")), nil, shop},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := c.base
			if c.want != nil {
				c.want(&want)
			}
			got, err := Format{TTL: DefaultTTL}.ParseMessage(c.m)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
}

func mergeHeaders(headers map[string]string, more ...string) map[string]string {
	all := maps.Clone(headers)
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

func renameHeaders(headers map[string]string, from, to string) map[string]string {
	all := map[string]string{}
	for k, v := range headers {
		all[strings.Replace(k, from, to, 1)] = v
	}
	return all
}

// TestD23FieldsOfOtherSystems reads a message that another system wrote for itself.
func TestD23FieldsOfOtherSystems(t *testing.T) {
	t.Parallel()
	f := Format{TTL: time.Hour, Fields: map[string]FieldPlace{
		"id": "data.meta.seq", "type": "data.meta.name", "at": "data.meta.millis", "sale": "key", "pods": "header.X-Pods", "region": "data.where.region", "none": "data.meta.none",
	}}
	m := newRecordMessage(`{"meta":{"seq":17,"name":"SALE","millis":1795770000000},"where":{"region":"eu"},"id":"not this one"}`, map[string]string{"x-pods": "30"})
	got, err := f.ParseMessage(m)
	if err != nil {
		t.Fatal(err)
	}
	delete(got.Fields, "meta")
	delete(got.Fields, "where")
	want := Event{ID: "17", Type: "SALE", At: recordTime.Add(time.Hour), TTL: time.Hour, Fields: map[string]any{"sale": "black-friday", "pods": "30", "region": "eu"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	f.Fields = map[string]FieldPlace{"at": "timestamp"}
	if got, err := f.ParseMessage(newRecordMessage(`{"type":"T","at":"2030-01-01T00:00:00Z"}`, nil)); err != nil || !got.At.Equal(recordTime) {
		t.Errorf("%+v, %v; want the record's time", got, err)
	}
}

// TestD23FieldsInLists reads fields within lists, booleans, and numbers in any form.
func TestD23FieldsInLists(t *testing.T) {
	t.Parallel()
	const data = `{"orders":[{"kind":"x"},{"kind":"SALE","pods":[10,20.5,"30"],"live":true,"empty":[]}],"0":{"1":"a key of digits"},"matrix":[[1,2],[3,4]]}`
	for place, want := range map[FieldPlace]any{
		"data.orders.1.kind": "SALE", "data.orders.1.pods.0": json.Number("10"), "data.orders.1.pods.1": json.Number("20.5"), "data.orders.1.pods.2": "30",
		"data.orders.1.live": true, "data.0.1": "a key of digits", "data.matrix.1.0": json.Number("3"),
		"data.orders.2.kind": nil, "data.orders.-1.kind": nil, "data.orders.+1.kind": nil, "data.orders.last": nil, "data.orders.1.empty.0": nil, "data.orders.0.kind.0": nil,
		"data.orders.99999999999999999999": nil,
	} {
		got, err := Format{TTL: time.Hour, Fields: map[string]FieldPlace{"found": place, "type": "data.orders.1.kind"}}.ParseMessage(newRecordMessage(data, nil))
		if err != nil || got.Type != "SALE" || got.Fields["found"] != want {
			t.Errorf("%s: %v, %+v, %v; want %v", place, got.Fields["found"], got, err, want)
		}
	}
}

func TestD23WhatIsStillMalformed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data string
		want string
	}{
		"nothing":                        {" \r\n", "type: required"},
		"two words":                      {"FLASH SALE", "not one JSON object"},
		"a number":                       {"5", "not one JSON object"},
		"an open quote":                  {`"FLASH_SALE`, "not one JSON object"},
		"no type":                        {`{"pods":20}`, "type: required"},
		"a list":                         {`["FLASH_SALE_START"]`, "not one JSON object"},
		"a type object":                  {`{"type":{}}`, "type: must be text or a number"},
		"a time without an offset":       {`{"type":"T","at":"2026-11-27T09:00:00"}`, "at: must be a time"},
		"a null alone":                   {"null", "type: required"},
		"time of nowhere":                {`{"type":"T","at":"soon"}`, "at: must be a time"},
		"a key twice in an object":       {`{"type":"T","sale":{"pods":2,"pods":25}}`, `key "pods" twice`},
		"a key twice in a list":          {`{"type":"T","sales":[{"pods":2},{"pods":2,"\u0070ods":25}]}`, `key "pods" twice`},
		"a key twice in data":            {`{"specversion":"1.0","id":"7","source":"/","type":"T","data":{"pods":2,"pods":25}}`, `key "pods" twice`},
		"a key twice in data as text":    {`{"specversion":"1.0","id":"7","source":"/","type":"T","data":"{\"pods\":2,\"pods\":25}"}`, `data: key "pods" twice`},
		"a key twice in data in base64":  {`{"specversion":"1.0","id":"7","source":"/","type":"T","data_base64":"eyJhIjoxLCJhIjoyfQ=="}`, `data: key "a" twice`},
		"data that is not base64":        {`{"specversion":"1.0","id":"7","source":"/","type":"T","data_base64":"{}"}`, "data_base64: illegal base64"},
		"an object cut off":              {`{"type":"T","a":{"b":1}`, "not one JSON object"},
		"a list within a list, too deep": {`{"type":"T","a":` + strings.Repeat("[", 11_000) + strings.Repeat("]", 11_000) + `}`, "not one JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := (Format{TTL: DefaultTTL}).ParseMessage(newRecordMessage(c.data, nil)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v; want %q", err, c.want)
			}
		})
	}
}

// TestD23BareMessagesAreDelivered: the handler takes the bare message as it stands in a topic.
func TestD23BareMessagesAreDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSaleRule()
		r.Workloads = newWorkloadSpecs(20, "shop")
		b := newHandlerBench(t, nil, Options{}, r)
		for _, data := range []string{"START", `"START"`, `{"type":"START"}`, `{"specversion":"1.0","id":"1","source":"/","type":"START"}`} {
			if err := b.Handle(t.Context(), []byte(data), SourceKafka); err != nil {
				t.Errorf("%s: %v", data, err)
			}
		}
		m := newRecordMessage("START", nil)
		m.Time = time.Now()
		for i, want := range []Outcome{Delivered, Duplicate} {
			if got := errorOutcome(t, b.HandleMessage(t.Context(), m)); got != want {
				t.Errorf("record %d: %s; want %s", i, got, want)
			}
		}
		if got := b.sink.listCalls(); len(got) != 5 {
			t.Errorf("calls %q", got)
		}
	})
}

// TestD23ContentTypeIsNotSigned: a replay of a signed request under another content type is the same event.
func TestD23ContentTypeIsNotSigned(t *testing.T) {
	t.Parallel()
	const body = `{"id":"7","source":"/shop","type":"START","at":"2026-11-27T09:00:00Z","ttl":"30m"}`
	want, err := Format{}.ParseMessage(newRecordMessage(body, map[string]string{"content-type": "application/json"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, contentType := range []string{"application/cloudevents+json", "application/cloudevents-batch+json", ""} {
		got, err := Format{}.ParseMessage(newRecordMessage(body, map[string]string{"content-type": contentType}))
		if err != nil || got.eventIdentity() != want.eventIdentity() {
			t.Errorf("%s: %s, %v; want %s", contentType, got.eventIdentity(), err, want.eventIdentity())
		}
	}
}

// TestD23BrokenDataOfHeaders: the object that a CloudEvent in binary mode has as its data is whole, or the event is malformed.
func TestD23BrokenDataOfHeaders(t *testing.T) {
	t.Parallel()
	headers := map[string]string{"ce_specversion": "1.0", "ce_id": "7", "ce_source": "/shop", "ce_type": "T"}
	for data, want := range map[string]string{`{"pods":2,"pods":25}`: `key "pods" twice`, `{"pods":2`: "data: ", `{"pods":2}{}`: "text follows"} {
		if e, err := (Format{TTL: DefaultTTL}).ParseMessage(newRecordMessage(data, headers)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v", data, e, err)
		}
	}
}

// TestD23TimesThatAreNone: what a parser of floating-point numbers takes for a number is no time.
func TestD23TimesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"NaN", "Inf", "-5", "0x1p30", "1_795_770_000", "1795770000s", "1e22", "+1795770000"} {
		_, err := Format{TTL: DefaultTTL}.ParseMessage(newRecordMessage("T", map[string]string{"at": at}))
		if err == nil || !strings.Contains(err.Error(), "at: must be a time such as 2026-11-27T08:00:00Z, not \""+at+"\"") {
			t.Errorf("%s: %v", at, err)
		}
	}
}
