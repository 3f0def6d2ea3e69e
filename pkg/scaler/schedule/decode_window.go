package schedule

// This file decodes windows: their times, cron patterns, weekdays and ramps.

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/netresearch/go-cron"
	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

func (d *calendarDecoder) scheduleWindowsFromYAML(path string, n *yaml.Node, s *Schedule) []Window {
	var all []Window
	d.RejectLong(path, n, maxWindows)
	if d.HasFault(path) {
		return nil
	}
	d.scheduleItemsFromYAML(path, n, func(path string, n *yaml.Node) { all = append(all, d.scheduleWindowFromYAML(path, n, s)) })
	return all
}

func (d *calendarDecoder) scheduleWindowFromYAML(path string, n *yaml.Node, s *Schedule) Window {
	var w Window
	var minReplicas, maxReplicas int
	before := len(d.Faults)
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"name":        d.Text(&w.Name),
		"cron":        d.Text(&w.Cron),
		"for":         d.Duration(&w.For, minFor, maxFor),
		"start":       func(path string, n *yaml.Node) { w.Start = d.timeOfDayFromYAML(path, n, false) },
		"end":         func(path string, n *yaml.Node) { w.End = d.timeOfDayFromYAML(path, n, true) },
		"days":        func(path string, n *yaml.Node) { w.Days = d.weekdaysFromYAML(path, n) },
		"from":        func(path string, n *yaml.Node) { w.From = d.scheduleMomentFromYAML(path, n, s.Zone) },
		"to":          func(path string, n *yaml.Node) { w.To = d.scheduleMomentFromYAML(path, n, s.Zone) },
		"minReplicas": d.Integer(&minReplicas, 0, maxReplicaCount),
		"maxReplicas": d.Integer(&maxReplicas, 1, maxReplicaCount),
		"ramp":        func(path string, n *yaml.Node) { w.Ramp = d.rampFromYAML(path, n) },
	})
	w.MinReplicas, w.MaxReplicas = int32(minReplicas), int32(maxReplicas) //nolint:gosec // at most maxReplicaCount
	if d.HasFault(path) {
		return Window{}
	}
	d.Require(path, "minReplicas")
	d.validateWindowKind(path)
	if len(d.Faults) > before { // further faults would only be consequences
		return Window{}
	}
	d.completeScheduleWindow(path, &w, s)
	return w
}

// windowKinds are the three ways to write the times of a window, each with its required and its optional keys.
var windowKinds = []struct{ needs, may []string }{
	{needs: []string{"cron", "for"}}, {needs: []string{"start", "end"}, may: []string{"days"}}, {needs: []string{"from", "to"}},
}

// validateWindowKind rejects a window without times, and a window that mixes two ways to write them.
func (d *calendarDecoder) validateWindowKind(path string) {
	chosen := -1
	for i, kind := range windowKinds {
		for _, key := range append(slices.Clone(kind.needs), kind.may...) {
			switch at := path + "." + key; {
			case !d.HasKey(at):
			case chosen >= 0 && chosen != i:
				d.AddFault(at, "does not go with %s: a window has cron and for, start and end, or from and to", windowKinds[chosen].needs[0])
			default:
				chosen = i
			}
		}
	}
	if chosen < 0 {
		d.AddFault(path, "no time given: a window has cron and for, start and end, or from and to")
		return
	}
	d.Require(path, windowKinds[chosen].needs...)
}

// maxWindowName is the most characters of a window's name.
const maxWindowName = 80

// completeScheduleWindow checks keys that depend on each other, and sets the window's starts.
func (d *calendarDecoder) completeScheduleWindow(path string, w *Window, s *Schedule) {
	w.Name = strings.Join(strings.Fields(w.Name), " ")
	if plaintext.Clean(w.Name) != w.Name || utf8.RuneCountInString(w.Name) > maxWindowName {
		d.AddFault(path+".name", "has control characters or more than %d characters", maxWindowName)
	}
	if w.MaxReplicas > 0 && w.MaxReplicas < w.MinReplicas {
		d.AddFault(path+".maxReplicas", "%d is below minReplicas %d", w.MaxReplicas, w.MinReplicas)
	}
	var shortest time.Duration
	switch {
	case w.Cron != "":
		shortest = w.For
		d.parseCronStarts(path, w)
	case !w.From.IsZero():
		shortest = w.To.Sub(w.From)
		d.validateOnceWindow(path, w, s)
	default:
		shortest = w.windowWallDuration()
		if w.Start == w.End {
			d.AddFault(path+".end", "equals start; for whole days write 00:00 and 24:00, or cron and for: 24h")
		}
		w.starts = dailyStarts{w.Start, w.Days}
	}
	if shortest > 0 && w.Ramp.Over > shortest {
		d.AddFault(path+".ramp.over", "%s is longer than the window's %s", strict.FormatDuration(w.Ramp.Over), strict.FormatDuration(shortest))
	}
}

// windowWallDuration returns how long a window of times of day lasts on the clock.
func (w *Window) windowWallDuration() time.Duration {
	minutes := w.End - w.Start
	if minutes <= 0 {
		minutes += 24 * 60
	}
	return time.Duration(minutes) * time.Minute
}

// exceptionSkipsWindow reports whether a window without repetition begins at a moment at which the clocks jump ahead.
func (d *calendarDecoder) exceptionSkipsWindow(w *Window) bool {
	since, _ := w.From.ZoneBounds()
	return since.Equal(w.From) && zonedWallTime(since, w.From.Location()).After(zonedWallTime(since.Add(-1), w.From.Location()).Add(1))
}

func (d *calendarDecoder) validateOnceWindow(path string, w *Window, s *Schedule) {
	switch length := w.To.Sub(w.From); {
	case length == 0 && d.exceptionSkipsWindow(w):
		d.AddFault(path+".to", "is the time of from: the clocks of %s jump over both, to %s", s.Zone, w.From.In(s.Zone).Format(minuteFormat))
	case length <= 0:
		d.AddFault(path+".to", "is not after from")
	case length > maxOnce:
		d.AddFault(path+".to", "is more than %s after from", strict.FormatDuration(maxOnce))
	case s.scheduleExceptionOn(w.From.In(s.Zone)) != nil:
		d.AddFault(path+".from", "is on %s, which is in except: the window would never start", calendarDateOf(w.From.In(s.Zone)))
	}
}

// searchYears reach from a 29 February on a given day of the week to the next, even across a century without a leap year.
const searchYears = 41

// parseCronStarts parses the cron pattern of a window and rejects windows that overlap themselves.
func (d *calendarDecoder) parseCronStarts(path string, w *Window) {
	at := path + ".cron"
	w.Cron = strings.ToLower(strings.Join(strings.Fields(w.Cron), " ")) // the library reads the H of THU as its own H syntax
	if fault := describeCronFault(w.Cron); fault != "" {
		d.AddFault(at, "%s", fault)
		return
	}
	starts, err := parseCronPattern(w.Cron)
	if err != nil {
		d.AddFault(at, "not a cron pattern: %s", strict.ShortenPlain(err.Error()))
		return
	}
	// The search begins on a fixed day, so that the same file is valid or invalid on every day.
	last := starts.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).Add(-time.Second))
	if last.IsZero() {
		d.AddFault(at, "never happens")
		return
	}
	w.starts = starts
	for range 400 {
		t := starts.Next(last)
		if gap := t.Sub(last); gap < w.For && !t.IsZero() {
			d.AddFault(path+".for", "%s is longer than the %s from one start to the next", strict.FormatDuration(w.For), strict.FormatDuration(gap))
			return
		}
		if last = t; t.IsZero() || t.Year() > 2032 {
			return
		}
	}
}

// parseCronPattern parses a cron pattern by the rules of crontab(5): with both a day of month and a day of week, either may match.
func parseCronPattern(text string) (*cron.SpecSchedule, error) {
	parser := cron.MustNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.DowOrDom).WithMaxSearchYears(searchYears)
	s, err := parser.Parse(text)
	if err != nil {
		return nil, err
	}
	spec := s.(*cron.SpecSchedule) // other types come from patterns with @ only
	spec.Location = time.UTC
	return spec, nil
}

var timeOfDayPattern = regexp.MustCompile(`^([01][0-9]|2[0-3]):([0-5][0-9])$`)

func (d *calendarDecoder) timeOfDayFromYAML(path string, n *yaml.Node, end bool) TimeOfDay {
	const want = "a time of day such as 08:00"
	if !d.ValidateScalar(path, n, want, "!!str") {
		return 0
	}
	if end && n.Value == "24:00" {
		return 24 * 60
	}
	m := timeOfDayPattern.FindStringSubmatch(n.Value)
	if m == nil {
		d.AddFaultAtLine(path, n.Line, "must be %s, not %s", want, strict.DescribeNode(n))
		return 0
	}
	hours, _ := strconv.Atoi(m[1])
	minutes, _ := strconv.Atoi(m[2])
	return TimeOfDay(60*hours + minutes)
}

// weekdaysFromYAML decodes days of the week and ranges such as mon-fri.
func (d *calendarDecoder) weekdaysFromYAML(path string, n *yaml.Node) []time.Weekday {
	var all []time.Weekday
	d.scheduleItemsFromYAML(path, n, func(path string, n *yaml.Node) {
		first, last, ranged := strings.Cut(strings.ToLower(n.Value), "-")
		if !ranged {
			last = first
		}
		from, to := slices.Index(weekdayWords[:], first), slices.Index(weekdayWords[:], last)
		if n.Kind != yaml.ScalarNode || from < 0 || to < 0 {
			d.AddFaultAtLine(path, n.Line, "must be %s, or two such as mon-fri, not %s", strings.Join(weekdayWords[:], ", "), strict.DescribeNode(n))
			return
		}
		for day := from; ; day = (day + 1) % len(weekdayWords) {
			all = append(all, time.Weekday(day))
			if day == to {
				return
			}
		}
	})
	slices.Sort(all)
	return slices.Compact(all)
}

func (d *calendarDecoder) rampFromYAML(path string, n *yaml.Node) Ramp {
	var r Ramp
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{"over": d.Duration(&r.Over, minRampStep, maxFor), "steps": d.Integer(&r.Steps, 1, maxRampSteps)})
	if d.HasFault(path) {
		return Ramp{}
	}
	d.Require(path, "over", "steps")
	if r.Steps > 0 && r.Over > 0 && r.Over/time.Duration(r.Steps) < minRampStep {
		d.AddFault(path+".steps", "%d over %s are less than %s apart", r.Steps, strict.FormatDuration(r.Over), strict.FormatDuration(minRampStep))
	}
	return r
}
