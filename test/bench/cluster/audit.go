// Requests of the adapter and of the HPA controller, counted in the API server's audit log.

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// adapterUser is the adapter's user name in the API server.
const adapterUser = "system:serviceaccount:" + stack.AdapterNamespace + ":tachometer-adapter"

// auditPolicy makes the API server log the reads of custom metrics, and all requests of the adapter.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: ["` + adapterUser + `"]
- level: Metadata
  users: ["system:serviceaccount:kube-system:horizontal-pod-autoscaler"]
  resources: [{group: custom.metrics.k8s.io}]
- level: None
`

// audit is the content of the API server's audit log over a time.
type audit struct {
	reads    int            // of autoscalers' metrics
	read     map[string]int // by metric path
	refused  int            // reads with an error as response
	reason   string
	periods  figures // between two reads of an autoscaler's metric
	latency  figures // of a read, as the API server sees it
	adapter  map[string]int
	requests int // all requests of the adapter
}

// event has the fields of a log line that the audit reads.
type event struct {
	Stage, Verb, RequestURI string
	User                    struct{ Username string }
	ObjectRef               struct{ Resource, Subresource string }
	ResponseStatus          struct {
		Code    int
		Message string
	}
	RequestReceivedTimestamp, StageTimestamp time.Time
}

func readAudit(path string, from, to time.Time) (*audit, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	a, err := parseAudit(file, from, to)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return a, nil
}

// parseAudit reads the lines of requests between two times.
func parseAudit(log io.Reader, from, to time.Time) (*audit, error) {
	a := &audit{read: map[string]int{}, adapter: map[string]int{}}
	last := map[string]time.Time{}
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return a, nil // an unfinished line follows the last newline
		}
		if err != nil {
			return nil, err
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, err
		}
		if at := e.RequestReceivedTimestamp; at.Before(from) || at.After(to) {
			continue
		}
		if e.User.Username == adapterUser {
			a.countAuditedRequest(&e)
		} else {
			a.countAuditedHPARead(&e, last)
		}
	}
}

// countAuditedRequest counts a request of the adapter. It counts a watch once, although the log has its begin and its end.
func (a *audit) countAuditedRequest(e *event) {
	if (e.Verb == "watch") != (e.Stage == "ResponseStarted") {
		return
	}
	what := e.ObjectRef.Resource
	if what == "" {
		what, _, _ = strings.Cut(e.RequestURI, "?")
	}
	if e.ObjectRef.Subresource != "" {
		what += "/" + e.ObjectRef.Subresource
	}
	a.adapter[e.Verb+" "+what]++
	a.requests++
}

func (a *audit) countAuditedHPARead(e *event, last map[string]time.Time) {
	if e.Stage != "ResponseComplete" {
		return
	}
	a.reads++
	a.read[e.RequestURI]++
	a.latency = append(a.latency, e.StageTimestamp.Sub(e.RequestReceivedTimestamp))
	if e.ResponseStatus.Code != 200 {
		a.refused++
		a.reason = fmt.Sprintf("%d %s", e.ResponseStatus.Code, e.ResponseStatus.Message)
	}
	if before, ok := last[e.RequestURI]; ok {
		a.periods = append(a.periods, e.RequestReceivedTimestamp.Sub(before))
	}
	last[e.RequestURI] = e.RequestReceivedTimestamp
}

// listAuditedRequestKinds lists the adapter's kinds of requests, the most frequent first.
func (a *audit) listAuditedRequestKinds() string {
	names := slices.SortedFunc(maps.Keys(a.adapter), func(x, y string) int {
		if a.adapter[x] != a.adapter[y] {
			return a.adapter[y] - a.adapter[x]
		}
		return strings.Compare(x, y)
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, a.adapter[name])
	}
	return strings.Join(names, ", ")
}
