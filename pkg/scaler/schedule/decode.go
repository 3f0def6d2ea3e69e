package schedule

// This file decodes schedules and their lists; decode_window.go decodes the windows.

import (
	"regexp"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// Limits of the numbers and durations in a file.
const (
	maxReplicaCount = hold.MaxReplicas
	minFor          = time.Minute          // pods need as long to become ready
	maxFor          = 31 * 24 * time.Hour  // a longer window is a permanent setting
	maxOnce         = 366 * 24 * time.Hour // a window with from and to: a season
	minRampStep     = time.Second          // the controller writes a hold no more often
	maxRampSteps    = 100
	maxWindows      = 500 // the leader searches the next change of each
)

// calendarDecoder decodes schedules and collects their faults.
type calendarDecoder struct{ *strict.Decoder }

// DecodeAll decodes a list of schedules. Their names must differ.
func DecodeAll(d *strict.Decoder, path string, n *yaml.Node) []Schedule {
	var all []Schedule
	first := map[string]string{}
	d.DecodeSequence(path, n, func(path string, n *yaml.Node) {
		s := Decode(d, path, n)
		all = append(all, s)
		if at, again := first[s.Name]; again && s.Name != "" {
			d.AddFault(path+".name", "%s is already the name of %s", s.Name, at)
			return
		}
		first[s.Name] = path
	})
	return all
}

// Decode decodes a schedule and adds every error in it to the faults of strictly. With a fault, the schedule serves only to find
// further faults.
func Decode(strictly *strict.Decoder, path string, n *yaml.Node) Schedule {
	d := &calendarDecoder{strictly}
	s := Schedule{Zone: time.UTC}
	var namespace string
	var workloads, windows, except deferredNode
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"name":      d.Text(&s.Name),
		"namespace": d.Text(&namespace),
		"workloads": workloads.keepDeferredYAMLNode,
		"zone":      func(path string, n *yaml.Node) { s.Zone = d.timeZoneFromYAML(path, n) },
		"windows":   windows.keepDeferredYAMLNode,
		"except":    except.keepDeferredYAMLNode,
		"paused":    d.Bool(&s.Paused),
		"verify":    d.Text(&s.Verify),
		"gates":     func(path string, n *yaml.Node) { s.Gates = d.DecodeTexts(path, n) },
		"notify":    func(path string, n *yaml.Node) { s.Notify = d.DecodeTexts(path, n) },
	})
	if d.HasFault(path) {
		return s
	}
	d.Require(path, "name", "namespace", "workloads", "windows")
	d.validateScheduleName(path+".name", s.Name)
	d.validateScheduleName(path+".namespace", namespace)
	workloads.decodeDeferredYAMLNode(func(path string, n *yaml.Node) { s.Workloads = d.scheduleWorkloadsFromYAML(path, n, namespace) })
	except.decodeDeferredYAMLNode(func(path string, n *yaml.Node) { s.Except = d.exceptionsFromYAML(path, n) })
	windows.decodeDeferredYAMLNode(func(path string, n *yaml.Node) { s.Windows = d.scheduleWindowsFromYAML(path, n, &s) })
	d.resolveExceptions(path+".except", &s)
	return s
}

// deferredNode is a node to decode after its siblings, because it depends on keys that may follow it.
type deferredNode struct {
	path string
	node *yaml.Node
}

func (l *deferredNode) keepDeferredYAMLNode(path string, n *yaml.Node) { l.path, l.node = path, n }

func (l *deferredNode) decodeDeferredYAMLNode(f strict.FieldDecoder) {
	if l.node != nil {
		f(l.path, l.node)
	}
}

// scheduleNamePattern matches a Kubernetes namespace and the name of a schedule, which becomes part of a hold's ID.
var scheduleNamePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (d *calendarDecoder) validateScheduleName(path, text string) {
	if text != "" && !scheduleNamePattern.MatchString(text) {
		d.AddFault(path, "%q: use lower-case letters, digits and -, at most 63", strict.Shorten(text))
	}
}

func (d *calendarDecoder) timeZoneFromYAML(path string, n *yaml.Node) *time.Location {
	var text string
	d.Text(&text)(path, n)
	if d.HasFault(path) {
		return time.UTC
	}
	zone, err := time.LoadLocation(text)
	if err != nil || text == "Local" { // Local depends on the scaler's machine
		d.AddFaultAtLine(path, n.Line, "%s is not a time zone; write a name such as Europe/Berlin or UTC", strict.DescribeNode(n))
		return time.UTC
	}
	return zone
}

// objectNamePattern matches the name of any object with replicas.
var objectNamePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

func (d *calendarDecoder) scheduleWorkloadsFromYAML(path string, n *yaml.Node, namespace string) []hold.Workload {
	var all []hold.Workload
	d.scheduleItemsFromYAML(path, n, func(path string, n *yaml.Node) {
		var text string
		d.Text(&text)(path, n)
		if d.HasFault(path) {
			return
		}
		t, err := hold.ParseWorkload(text, namespace)
		switch {
		case err != nil:
			d.AddFaultAtLine(path, n.Line, "%s", err.Error())
		case !objectNamePattern.MatchString(t.Name):
			d.AddFaultAtLine(path, n.Line, "%q is not a valid object name", strict.Shorten(t.Name))
		case slices.Contains(all, t):
			d.AddFaultAtLine(path, n.Line, "%s is in the list already", strict.DescribeNode(n))
		default:
			all = append(all, t)
		}
	})
	return all
}

// scheduleItemsFromYAML decodes a list and rejects an empty one.
func (d *calendarDecoder) scheduleItemsFromYAML(path string, n *yaml.Node, item strict.FieldDecoder) {
	d.DecodeSequence(path, n, item)
	d.RejectEmpty(path, n)
}

// isPlausibleYear rejects mistyped years.
func isPlausibleYear(t time.Time) bool { return t.Year() >= 2000 && t.Year() < 2200 }

// momentFormats are the formats of a point in time without an offset, read on the clocks of the schedule's zone.
var momentFormats = []string{minuteFormat, time.DateTime, "2006-01-02T15:04", "2006-01-02T15:04:05"}

// parseMoment parses a point in time: with an offset, or in one of the formats on the clocks of the zone.
func parseMoment(text string, zone *time.Location, formats []string) (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339, text); err == nil && isPlausibleYear(t) {
		return t.In(zone), true
	}
	for _, format := range formats {
		if t, err := time.Parse(format, text); err == nil && isPlausibleYear(t) {
			return firstWallInstant(t, zone), true
		}
	}
	return time.Time{}, false
}

// scheduleMomentFromYAML decodes a point in time, with an offset or on the clocks of the zone.
func (d *calendarDecoder) scheduleMomentFromYAML(path string, n *yaml.Node, zone *time.Location) time.Time {
	const want = "a date and time such as 2026-11-27 08:00 or 2026-11-27T08:00:00+01:00"
	if !d.ValidateScalar(path, n, want, "!!timestamp", "!!str") {
		return time.Time{}
	}
	if t, ok := parseMoment(n.Value, zone, momentFormats); ok {
		return t
	}
	d.AddFaultAtLine(path, n.Line, "must be %s, not %s", want, strict.DescribeNode(n))
	return time.Time{}
}
