package kubeapi

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

// keptWatchEvents bounds the events for clients that watch from an older version. A client that is further behind lists again.
const keptWatchEvents = 1_000

// apiObject is an object of Kubernetes.
type apiObject interface {
	metav1.Object
	runtime.Object
}

// objectList has the objects of a resource. It answers lists and watches.
type objectList struct {
	apiVersion, kind string

	mu      sync.Mutex // guards the rest
	version int
	objects map[string]json.RawMessage // by namespace/name
	events  []objectEvent              // the newest, each with its own version
	changed chan struct{}              // closed by the next event
}

// objectEvent is an event of a watch.
type objectEvent struct {
	version int
	text    json.RawMessage
}

func newObjectList(apiVersion, kind string) *objectList {
	return &objectList{apiVersion: apiVersion, kind: kind, version: 1, objects: map[string]json.RawMessage{}, changed: make(chan struct{})}
}

// setListedObject adds or replaces an object.
func (l *objectList) setListedObject(o apiObject) {
	o.GetObjectKind().SetGroupVersionKind(schema.FromAPIVersionAndKind(l.apiVersion, l.kind))
	l.mu.Lock()
	defer l.mu.Unlock()
	key := o.GetNamespace() + "/" + o.GetName()
	kind := watch.Added
	if _, known := l.objects[key]; known {
		kind = watch.Modified
	}
	o.SetResourceVersion(strconv.Itoa(l.version + 1))
	text, err := json.Marshal(o)
	if err != nil {
		panic(err) // types of Kubernetes marshal
	}
	l.objects[key] = text
	l.appendWatchEvent(kind, text)
}

// removeListedObject removes an object, if there is one.
func (l *objectList) removeListedObject(namespace, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := namespace + "/" + name
	if text, known := l.objects[key]; known {
		delete(l.objects, key)
		l.appendWatchEvent(watch.Deleted, text)
	}
}

// appendWatchEvent adds an event. The caller holds l.mu.
func (l *objectList) appendWatchEvent(kind watch.EventType, object json.RawMessage) {
	l.version++
	l.events = append(l.events, objectEvent{l.version, marshalWatchEvent(kind, object)})
	if len(l.events) > keptWatchEvents {
		l.events = slices.Clone(l.events[len(l.events)-keptWatchEvents/2:])
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

func marshalWatchEvent(kind watch.EventType, object any) json.RawMessage {
	text, err := json.Marshal(map[string]any{"type": kind, "object": object})
	if err != nil {
		panic(err) // types of Kubernetes marshal
	}
	return text
}

// ServeHTTP answers a list, or a watch until the client ends it.
func (l *objectList) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	switch {
	case q.Get("sendInitialEvents") != "": // clients then list
		writeFailureStatus(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
	case q.Get("watch") != "":
		l.serveWatch(w, r)
	default:
		writeJSONResponse(w, http.StatusOK, l.encodeObjectList(newListedPage(q)))
	}
}

// listedPage is a page of a list: objects behind a key, up to a limit. A limit counts only for a list of the newest state, as with a
// kube-apiserver that has a cache.
type listedPage struct {
	limit          int // 0: all
	version, after string
}

// newListedPage reads limit and continue, which is the version of the list and the last key of the page before.
func newListedPage(q url.Values) (page listedPage) {
	if q.Get("resourceVersion") == "" {
		page.limit, _ = strconv.Atoi(q.Get("limit"))
	}
	page.version, page.after, _ = strings.Cut(q.Get("continue"), " ")
	return page
}

func (l *objectList) encodeObjectList(page listedPage) any {
	l.mu.Lock()
	defer l.mu.Unlock()
	head := metav1.ListMeta{ResourceVersion: cmp.Or(page.version, strconv.Itoa(l.version))}
	items := []json.RawMessage{}
	last := ""
	for _, key := range slices.Sorted(maps.Keys(l.objects)) {
		if key <= page.after {
			continue
		}
		if page.limit > 0 && len(items) == page.limit {
			head.Continue = head.ResourceVersion + " " + last
			break
		}
		items, last = append(items, l.objects[key]), key
	}
	return map[string]any{"apiVersion": l.apiVersion, "kind": l.kind + "List", "items": items, "metadata": head}
}

func (l *objectList) serveWatch(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w).Flush
	from, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	for {
		events, changed, known := l.listEventsSince(from)
		if !known {
			events = []objectEvent{{text: marshalWatchEvent(watch.Error, newFailureStatus(http.StatusGone, metav1.StatusReasonExpired))}}
		}
		for _, e := range events {
			from = e.version
			if _, err := w.Write(append(e.text, '\n')); err != nil {
				return
			}
		}
		if flush() != nil || !known {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// listEventsSince returns the events after a version, and a channel that the next event closes. Known is false if some of the events
// are kept no longer.
func (l *objectList) listEventsSince(from int) (events []objectEvent, changed <-chan struct{}, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, _ := slices.BinarySearchFunc(l.events, from+1, func(e objectEvent, version int) int { return e.version - version })
	known = from >= l.version || len(l.events) > i && l.events[i].version == from+1
	return slices.Clone(l.events[i:]), l.changed, known
}
