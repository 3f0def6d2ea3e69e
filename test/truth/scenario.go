package truth

// The text of a scenario: its statements, parser and printer.

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Statement is one line of a scenario: `at 60s scale web 10`, `read total deployment web request_per_second every 1s`.
type Statement struct {
	// At is the time since the start at which the statement takes effect. A line without `at` has 0.
	At time.Duration
	// Verb is the kind of the statement, Args its positional words, Options its pairs of key and value, in the order of the line.
	Verb    string
	Args    []string
	Options [][2]string
	// Text is the rest of the line behind ": ", such as a rule's query.
	Text string
	// Line is the line in the source, 0 for a generated statement.
	Line int
}

// Scenario is a named list of statements.
type Scenario struct {
	Name       string
	Statements []Statement
	// Comments are the lines that begin with #, without it.
	Comments []string
}

// grammar names each verb's positional words and options.
var grammar = map[string]struct {
	args    int
	options []string
}{
	"run":        {1, nil},
	"scrape":     {0, []string{"interval", "timeout", "max-series", "max-samples", "max-concurrent"}},
	"max-window": {1, nil},
	"max-age":    {1, nil},
	"replicas":   {1, nil},
	"watch":      {0, []string{"lag"}},
	"rule":       {1, []string{"window", "resource", "external", "aggregate", "on-missing", "max-age", "namespaced", "from"}},
	"service":    {1, []string{"pods", "boot", "grace", "drain", "annotated", "delay", "ports"}},
	"counter":    {2, []string{"rate", "series", "batch", "poisson", "spread", "type", "base", "counts-scrapes", "rounding", "created"}},
	"gauge":      {2, []string{"value", "wobble", "timestamped", "type", "dotted"}},
	"histogram":  {2, []string{"rate", "latency"}},
	"summary":    {2, []string{"rate", "latency"}},
	"hpa":        {2, []string{"target", "min", "max", "every"}},
	"read":       {4, []string{"every", "from", "to", "truth", "demand", "selector"}},
	"expect":     {2, []string{"from", "to", "within", "low", "high", "most", "than"}},
	"scale":      {2, nil},
	"rollout":    {1, nil},
	"rate":       {3, []string{"over"}},
	"value":      {3, nil},
	"latency":    {3, nil},
	"move":       {3, nil},
	"expire":     {2, nil},
	"weight":     {2, nil},
	"pod":        {2, []string{"down", "for", "value"}},
	"selector":   {2, nil},
	"annotate":   {1, nil},
	"forget":     {1, nil},
	"restart":    {1, nil},
	"reload":     {0, nil},
}

// Parse reads a scenario. Its error has every fault, each with its line.
func Parse(name, text string) (Scenario, error) {
	s := Scenario{Name: name}
	var faults []string
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if comment, ok := strings.CutPrefix(line, "#"); ok {
			s.Comments = append(s.Comments, strings.TrimSpace(comment))
			continue
		}
		if line == "" {
			continue
		}
		st, err := parseStatement(line)
		if err != nil {
			faults = append(faults, fmt.Sprintf("line %d: %v", i+1, err))
		}
		st.Line = i + 1
		s.Statements = append(s.Statements, st)
	}
	if len(faults) > 0 {
		return s, fmt.Errorf("parse scenario %s: %s", name, strings.Join(faults, "; "))
	}
	return s, nil
}

func parseStatement(line string) (Statement, error) {
	var st Statement
	head, text, _ := strings.Cut(line, ": ")
	st.Text = strings.TrimSpace(text)
	words := strings.Fields(strings.TrimSuffix(head, ":"))
	if words[0] == "at" && len(words) > 2 {
		at, err := time.ParseDuration(words[1])
		if err != nil {
			return st, fmt.Errorf("at: %w", err)
		}
		st.At, words = at, words[2:]
	}
	form, ok := grammar[words[0]]
	if !ok {
		return st, fmt.Errorf("unknown statement %q", words[0])
	}
	st.Verb, words = words[0], words[1:]
	if len(words) < form.args {
		return st, fmt.Errorf("%s takes %d words", st.Verb, form.args)
	}
	st.Args, words = words[:form.args], words[form.args:]
	for len(words) > 0 {
		if !slices.Contains(form.options, words[0]) || len(words) < 2 {
			return st, fmt.Errorf("%s has no option %q with a value; it has %v", st.Verb, words[0], form.options)
		}
		st.Options = append(st.Options, [2]string{words[0], words[1]})
		words = words[2:]
	}
	return st, nil
}

// String returns the statement as a line that Parse reads.
func (st Statement) String() string {
	var b strings.Builder
	if st.At > 0 {
		fmt.Fprintf(&b, "at %v ", st.At)
	}
	b.WriteString(strings.Join(append([]string{st.Verb}, st.Args...), " "))
	for _, o := range st.Options {
		fmt.Fprintf(&b, " %s %s", o[0], o[1])
	}
	if st.Text != "" {
		b.WriteString(": " + st.Text)
	}
	return b.String()
}

// String returns the scenario as a text that Parse reads.
func (s Scenario) String() string {
	var b strings.Builder
	for _, c := range s.Comments {
		fmt.Fprintf(&b, "# %s\n", c)
	}
	for _, st := range s.Statements {
		b.WriteString(st.String() + "\n")
	}
	return b.String()
}

// optionOr returns the value of an option, or a default.
func (st Statement) optionOr(key, missing string) string {
	for _, o := range st.Options {
		if o[0] == key {
			return o[1]
		}
	}
	return missing
}

// parseDuration returns an option as a duration.
func (st Statement) parseDuration(key string, missing time.Duration) time.Duration {
	d, err := time.ParseDuration(st.optionOr(key, missing.String()))
	if err != nil {
		panic(scenarioFault{st, err})
	}
	return d
}

// parseNumber returns an option as a number; "10%" is 0.1.
func (st Statement) parseNumber(key string, missing float64) float64 {
	text := st.optionOr(key, "")
	if text == "" {
		return missing
	}
	return st.parseArgument(text)
}

func (st Statement) parseArgument(text string) float64 {
	digits, percent := strings.CutSuffix(text, "%")
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		panic(scenarioFault{st, err})
	}
	if percent {
		f /= 100
	}
	return f
}

func (st Statement) parseInterval(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(scenarioFault{st, err})
	}
	return d
}

// scenarioFault is the panic of a statement that cannot be played: Run turns it into an error.
type scenarioFault struct {
	Statement
	err error
}

// errNoFamily is the fault of a reader whose truth is about a family that no service has.
var errNoFamily = errors.New("no service has the family of its truth")

func (f scenarioFault) Error() string {
	return fmt.Sprintf("line %d: %s: %v", f.Line, f.Statement, f.err)
}
