package schedule

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// The bounds of what a file may say.
const (
	maxReplicaCount = 10_000               // above, it is a slip of the finger
	minFor          = time.Minute          // shorter, pods would not be ready before it is over
	maxFor          = 31 * 24 * time.Hour  // longer is no window but how things are
	maxOnce         = 366 * 24 * time.Hour // of one that happens once: a season
	minRampStep     = time.Second          // of a ramp: a hold is not written more often
	maxRampSteps    = 100
)

// scheduleDecoder reads schedules.
type scheduleDecoder struct{ *strict.Decoder }

// DecodeAll reads a list of schedules, whose names must differ.
func DecodeAll(d *strict.Decoder, path string, n *yaml.Node) []Schedule {
	var all []Schedule
	first := map[string]string{}
	d.Sequence(path, n, func(path string, n *yaml.Node) {
		s := Decode(d, path, n)
		all = append(all, s)
		if at, again := first[s.Name]; again && s.Name != "" {
			d.Wrong(path+".name", "%s is already the name of %s", s.Name, at)
			return
		}
		first[s.Name] = path
	})
	return all
}

// Decode reads a schedule. Everything wrong with it becomes a fault of d; then it is of use for nothing but finding more.
func Decode(strictly *strict.Decoder, path string, n *yaml.Node) Schedule {
	d := &scheduleDecoder{strictly}
	s := Schedule{Zone: time.UTC}
	var namespace string
	var targets, windows, except deferredNode
	d.Mapping(path, n, map[string]strict.Field{
		"name":      d.Text(&s.Name),
		"namespace": d.Text(&namespace),
		"targets":   targets.keepNode,
		"zone":      func(path string, n *yaml.Node) { s.Zone = d.decodeZone(path, n) },
		"windows":   windows.keepNode,
		"except":    except.keepNode,
		"verify":    d.Text(&s.Verify),
		"notify":    func(path string, n *yaml.Node) { s.Notify = d.Texts(path, n) },
	})
	if d.Failed(path) {
		return s
	}
	d.requireScheduleKeys(path, "name", "namespace", "targets", "windows")
	d.validateScheduleName(path+".name", s.Name)
	d.validateScheduleName(path+".namespace", namespace)
	targets.decodeNode(func(path string, n *yaml.Node) { s.Workloads = d.decodeWorkloads(path, n, namespace) })
	except.decodeNode(func(path string, n *yaml.Node) { s.Except = d.decodeDates(path, n) })
	windows.decodeNode(func(path string, n *yaml.Node) { s.Windows = d.decodeWindows(path, n, &s) })
	return s
}

// deferredNode is a node that is read later, since it means something else with what comes after it.
type deferredNode struct {
	path string
	node *yaml.Node
}

func (l *deferredNode) keepNode(path string, n *yaml.Node) { l.path, l.node = path, n }

func (l *deferredNode) decodeNode(f strict.Field) {
	if l.node != nil {
		f(l.path, l.node)
	}
}

// requireScheduleKeys reports the keys that are missing.
func (d *scheduleDecoder) requireScheduleKeys(path string, keys ...string) {
	for _, key := range keys {
		at := strict.JoinPath(path, key)
		if !d.Given(at) && !d.Failed(at) {
			d.Fault(at, d.Line(path), "required")
		}
	}
}

// scheduleNamePattern is that of a Kubernetes namespace, and of a schedule: it becomes part of a hold's ID.
var scheduleNamePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (d *scheduleDecoder) validateScheduleName(path, text string) {
	if text != "" && !scheduleNamePattern.MatchString(text) {
		d.Wrong(path, "%q: use lower-case letters, digits and -, at most 63", strict.Shorten(text))
	}
}

func (d *scheduleDecoder) decodeZone(path string, n *yaml.Node) *time.Location {
	var text string
	d.Text(&text)(path, n)
	if d.Failed(path) {
		return time.UTC
	}
	zone, err := time.LoadLocation(text)
	if err != nil || text == "Local" { // where the scaler happens to run
		d.Fault(path, n.Line, "%s is no time zone; write one such as Europe/Berlin or UTC", strict.Describe(n))
		return time.UTC
	}
	return zone
}

// objectNamePattern is that of any object that has replicas.
var objectNamePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

func (d *scheduleDecoder) decodeWorkloads(path string, n *yaml.Node, namespace string) []hold.Target {
	var all []hold.Target
	d.decodeNonEmptyList(path, n, func(path string, n *yaml.Node) {
		var text string
		d.Text(&text)(path, n)
		if d.Failed(path) {
			return
		}
		t, err := hold.ParseTarget(text, namespace)
		switch {
		case err != nil:
			d.Fault(path, n.Line, "%s", sanitizeText(err.Error()))
		case !objectNamePattern.MatchString(t.Name):
			d.Fault(path, n.Line, "%q is no name of an object", strict.Shorten(t.Name))
		case slices.Contains(all, t):
			d.Fault(path, n.Line, "%s is in the list already", strict.Describe(n))
		default:
			all = append(all, t)
		}
	})
	return all
}

// decodeNonEmptyList reads a list that is not empty.
func (d *scheduleDecoder) decodeNonEmptyList(path string, n *yaml.Node, item strict.Field) {
	d.Sequence(path, n, item)
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		d.Fault(path, n.Line, "is empty")
	}
}

// sanitizeText replaces what a terminal would act on, and bounds the rest.
func sanitizeText(text string) string {
	return strict.Shorten(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, text))
}

func (d *scheduleDecoder) decodeDates(path string, n *yaml.Node) []Date {
	var all []Date
	d.Sequence(path, n, func(path string, n *yaml.Node) {
		const want = "a date such as 2026-12-24"
		if !d.Scalar(path, n, want, "!!timestamp", "!!str") {
			return
		}
		t, err := time.Parse(time.DateOnly, n.Value)
		if err != nil || !isPlausibleYear(t) {
			d.Fault(path, n.Line, "must be %s, not %s", want, strict.Describe(n))
			return
		}
		all = append(all, dateOf(t))
	})
	return all
}

// isPlausibleYear is a year that nobody mistyped.
func isPlausibleYear(t time.Time) bool { return t.Year() >= 2000 && t.Year() < 2200 }

// momentFormats of a point in time: what clocks of the schedule's zone show, unless it has an offset.
var momentFormats = []string{minuteFormat, time.DateTime, "2006-01-02T15:04", "2006-01-02T15:04:05"}

// decodeMoment reads a point in time.
func (d *scheduleDecoder) decodeMoment(path string, n *yaml.Node, zone *time.Location) time.Time {
	const want = "a date and time such as 2026-11-27 08:00 or 2026-11-27T08:00:00+01:00"
	if !d.Scalar(path, n, want, "!!timestamp", "!!str") {
		return time.Time{}
	}
	if t, err := time.Parse(time.RFC3339, n.Value); err == nil && isPlausibleYear(t) {
		return t.In(zone)
	}
	for _, format := range momentFormats {
		if t, err := time.Parse(format, n.Value); err == nil && isPlausibleYear(t) {
			return firstInstant(t, zone)
		}
	}
	d.Fault(path, n.Line, "must be %s, not %s", want, strict.Describe(n))
	return time.Time{}
}
