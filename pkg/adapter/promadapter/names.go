package promadapter

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// names are the metrics of a rule in the native format, and the series of each.
type names struct {
	metric        string // of a rule with one series
	match, except string // else
	series        string // with ${1} for what match takes from the name
	pattern       *affix // of the metrics' names
	template      string // of a metric's name, with NAME for what match takes from it
}

// affix is the set of texts that begin with prefix and end with suffix, which do not overlap; or prefix alone, if exact.
type affix struct {
	prefix, suffix string
	exact          bool
	some           bool // with something between them
}

// meets tells whether a text can be in both sets.
func (a affix) meets(b affix) bool {
	return (strings.HasPrefix(a.prefix, b.prefix) || strings.HasPrefix(b.prefix, a.prefix)) &&
		(strings.HasSuffix(a.suffix, b.suffix) || strings.HasSuffix(b.suffix, a.suffix))
}

// expr is the set as a regular expression without anchors, with open and shut around what varies.
func (a affix) expr(open, shut string) string {
	body := ".*"
	if a.some || a.prefix == "" && a.suffix == "" {
		body = ".+"
	}
	if a.exact {
		return open + regexp.QuoteMeta(a.prefix) + shut
	}
	return open + regexp.QuoteMeta(a.prefix) + body + regexp.QuoteMeta(a.suffix) + shut
}

// placeholder stands for what a person has to fill in.
const placeholder = "NAME"

var errNotEvident = errors.New("which series a metric's name is from is not evident")

// namesOf turns name.matches and name.as around. It succeeds where one text goes over from the series' name to the
// metric's, between texts that do not vary.
func namesOf(r *Rule) (names, error) {
	c := &r.compiled
	if series := c.selector.name; series != "" {
		if !c.passes(series) {
			return names{}, errors.New("serves nothing: its filters exclude its only series, " + series)
		}
		return names{metric: c.metricName(series), series: series}, nil
	}
	before, after, whole, err := splitAs(c)
	if err != nil {
		return names{}, err
	}
	m, ok := takenBy(c.matches.String(), whole)
	switch {
	case !ok:
		return names{}, fmt.Errorf("name.matches: %w", errNotEvident)
	case whole:
		// The whole name goes over, which matches restricts.
		return finish(r, affix{}, before, after, m)
	}
	return finish(r, affix{prefix: m.prefix, suffix: m.suffix}, before, after, affix{some: m.some})
}

// splitAs is name.as around its only reference, and whether that is to the whole match.
func splitAs(c *compiled) (before, after string, whole bool, err error) {
	refs := reference.FindAllStringSubmatchIndex(c.as, -1)
	switch {
	case len(refs) == 0:
		return "", "", false, errors.New("name.as gives several series one name; which of them is meant is not evident")
	case len(refs) > 1:
		return "", "", false, fmt.Errorf("name.as: %w", errNotEvident)
	}
	at := refs[0]
	text := strings.Trim(c.as[at[0]:at[1]], "${}")
	whole = text == "0"
	if !whole && (c.matches.NumSubexp() != 1 || !hasGroup(c.matches, text)) {
		return "", "", false, fmt.Errorf("name.as: %w", errNotEvident)
	}
	before, after = c.as[:at[0]], c.as[at[1]:]
	if strings.Contains(before+after, "$") {
		return "", "", false, fmt.Errorf("name.as: %w", errNotEvident)
	}
	return before, after, whole, nil
}

// takenBy is the set of names that name.matches matches from end to end. Unless the whole of it is taken, its group must
// be all that varies.
func takenBy(expr string, whole bool) (affix, bool) {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return affix{}, false
	}
	re = re.Simplify()
	var f form
	if !f.read(re) || !f.varies || !f.begins && f.before != "" || !f.ends && f.after != "" {
		return affix{}, false
	}
	if group := groupOf(re); !whole && (group == nil || group.Op != syntax.OpStar && group.Op != syntax.OpPlus) {
		return affix{}, false
	}
	return affix{prefix: f.before, suffix: f.after, some: f.some}, true
}

// groupOf is what is in the first group.
func groupOf(re *syntax.Regexp) *syntax.Regexp {
	if re.Op == syntax.OpCapture {
		return re.Sub[0]
	}
	for _, sub := range re.Sub {
		if g := groupOf(sub); g != nil {
			return g
		}
	}
	return nil
}

// finish restricts what goes over by all that the rule says of the series' names, which are fixed around it.
func finish(r *Rule, fixed affix, before, after string, taken affix) (names, error) {
	out := names{series: fixed.prefix + "${1}" + fixed.suffix}
	var not []string
	for _, f := range r.constraints() {
		a, ok := affixOf(f.expr, f.anchored)
		if !ok {
			return names{}, fmt.Errorf("%s: %w", f.what, errNotEvident)
		}
		inner, meets := a.within(fixed)
		switch {
		case f.want && (!meets || inner.exact):
			return names{}, fmt.Errorf("%s: %w", f.what, errNotEvident)
		case f.want:
			if taken, ok = taken.and(inner); !ok {
				return names{}, fmt.Errorf("%s: %w", f.what, errNotEvident)
			}
		case meets && inner == (affix{}):
			return names{}, fmt.Errorf("serves nothing: %s excludes all of its series", f.what)
		case meets:
			not = append(not, "^"+regexp.QuoteMeta(before)+inner.expr("", "")+regexp.QuoteMeta(after)+"$")
		}
	}
	out.match = "^" + regexp.QuoteMeta(before) + taken.expr("(", ")") + regexp.QuoteMeta(after) + "$"
	out.except = strings.Join(not, "|")
	out.template = before + placeholder + after
	out.pattern = &affix{prefix: before + taken.prefix, suffix: taken.suffix + after}
	return out, nil
}

// constraint is what a rule says of the names of its series, apart from name.matches.
type constraint struct {
	what, expr     string
	anchored, want bool
}

func (r *Rule) constraints() []constraint {
	var out []constraint
	for _, m := range r.compiled.selector.matchers {
		if m.Name != model.MetricNameLabel {
			continue // it restricts which metrics there are, and never which series a query reads
		}
		expr := m.Value
		if m.Type == labels.MatchEqual || m.Type == labels.MatchNotEqual {
			if !model.LegacyValidation.IsValidMetricName(m.Value) {
				continue // it is no name, so that no series has it
			}
			expr = regexp.QuoteMeta(m.Value)
		}
		out = append(out, constraint{"seriesQuery: " + m.String(), expr, true, m.Type == labels.MatchRegexp || m.Type == labels.MatchEqual})
	}
	for _, f := range r.SeriesFilters {
		if f.Is != "" {
			out = append(out, constraint{"seriesFilters: is " + f.Is, f.Is, false, true})
		} else {
			out = append(out, constraint{"seriesFilters: isNot " + f.IsNot, f.IsNot, false, false})
		}
	}
	return out
}

// within is what a says of the part of a text between fixed ones; false if no such text is in a.
func (a affix) within(fixed affix) (affix, bool) {
	if a.exact {
		inner, ok := strings.CutPrefix(a.prefix, fixed.prefix)
		inner, ok2 := strings.CutSuffix(inner, fixed.suffix)
		return affix{prefix: inner, exact: true}, ok && ok2 && inner != ""
	}
	var out affix
	switch {
	case strings.HasPrefix(a.prefix, fixed.prefix):
		out.prefix = a.prefix[len(fixed.prefix):]
	case !strings.HasPrefix(fixed.prefix, a.prefix):
		return affix{}, false
	}
	switch {
	case strings.HasSuffix(a.suffix, fixed.suffix):
		out.suffix = strings.TrimSuffix(a.suffix, fixed.suffix)
	case !strings.HasSuffix(fixed.suffix, a.suffix):
		return affix{}, false
	}
	out.some = a.some && len(a.prefix) >= len(fixed.prefix) && len(a.suffix) >= len(fixed.suffix)
	return out, true
}

// and is the intersection, if it has the same form.
func (a affix) and(b affix) (affix, bool) {
	if !a.meets(b) {
		return affix{}, false
	}
	if len(b.prefix) > len(a.prefix) {
		a.prefix = b.prefix
	}
	if len(b.suffix) > len(a.suffix) {
		a.suffix = b.suffix
	}
	a.some = a.some || b.some
	return a, true
}

// affixOf is the set of texts that an expression matches, if it has that form: anchored as PromQL's, or as it is written.
func affixOf(expr string, anchored bool) (affix, bool) {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return affix{}, false
	}
	var f form
	if !f.read(re.Simplify()) {
		return affix{}, false
	}
	begins, ends := anchored || f.begins, anchored || f.ends
	switch {
	case !f.varies && begins && ends:
		return affix{prefix: f.before, exact: true}, true
	case !f.varies && begins:
		return affix{prefix: f.before}, true
	case !f.varies && ends:
		return affix{suffix: f.before}, true
	case f.varies && (begins || f.before == "") && (ends || f.after == ""):
		return affix{prefix: f.before, suffix: f.after, some: f.some}, true
	}
	return affix{}, false
}

// form is an expression of the form ^before.*after$, with or without the anchors.
type form struct {
	begins, ends, varies, some bool
	before, after              string
}

func (f *form) read(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return true
	case syntax.OpBeginText:
		f.begins = true
		return f.before == "" && !f.varies
	case syntax.OpEndText:
		f.ends = true
		return true
	case syntax.OpCapture:
		return f.read(re.Sub[0])
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 || f.ends {
			return false
		}
		if f.varies {
			f.after += string(re.Rune)
		} else {
			f.before += string(re.Rune)
		}
		return true
	case syntax.OpStar, syntax.OpPlus:
		any := re.Sub[0].Op == syntax.OpAnyCharNotNL || re.Sub[0].Op == syntax.OpAnyChar
		if !any || f.varies || f.ends {
			return false
		}
		f.varies, f.some = true, re.Op == syntax.OpPlus
		return true
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if !f.read(sub) {
				return false
			}
		}
		return true
	}
	return false
}
