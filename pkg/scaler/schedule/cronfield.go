package schedule

// This file checks the fields of a cron pattern before the library parses them: the library accepts some mistakes, and explains others by its own
// options.

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// cronFieldForm is the form of one of the five fields.
type cronFieldForm struct {
	name     string
	min, max int
	words    []string // for min and the numbers after it
}

var cronFieldForms = []cronFieldForm{
	{name: "minute", max: 59},
	{name: "hour", max: 23},
	{name: "day of month", min: 1, max: 31},
	{name: "month", min: 1, max: 12, words: []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{name: "day of week", max: 7, words: weekdayWords[:]},
}

// cronShorthands are the patterns that the field-less forms stand for.
var cronShorthands = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * sun", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// describeCronFault returns the fault of a pattern in lower case with single spaces; empty: the library may parse it.
func describeCronFault(pattern string) string {
	const want = "must be minute, hour, day of month, month and day of week, such as 0 8 * * mon-fri"
	fields := strings.Split(pattern, " ")
	switch {
	case cronShorthands[pattern] != "":
		return fmt.Sprintf("write %s for %s", cronShorthands[pattern], pattern)
	case strings.HasPrefix(pattern, "@every"):
		return want + "; for every half hour write */30 * * * *"
	case strings.Contains(fields[0], "="):
		return want + "; the zone is a key of the schedule"
	case len(fields) == 6:
		return want + ", without seconds"
	case len(fields) != len(cronFieldForms):
		return want
	}
	for i, form := range cronFieldForms {
		for _, item := range strings.Split(fields[i], ",") {
			if fault := form.describeItemFault(item); fault != "" {
				return fmt.Sprintf("%s %q: %s", form.name, strict.Shorten(item), fault)
			}
		}
	}
	return ""
}

// describeItemFault returns the fault of one item of a field, such as 8, mon-fri or */15; empty: nothing.
func (f cronFieldForm) describeItemFault(item string) string {
	values, step, stepped := strings.Cut(item, "/")
	if n, ok := parseCronNumber(step); stepped && (!ok || n < 1 || n > f.max-f.min) {
		return fmt.Sprintf("the step after / must be from 1 to %d", f.max-f.min)
	}
	if values == "*" || values == "?" {
		return ""
	}
	from, to, ranged := strings.Cut(values, "-")
	if f.isCronValue(from) && (!ranged || f.isCronValue(to)) {
		return ""
	}
	text := fmt.Sprintf("must be from %d to %d", f.min, f.max)
	if len(f.words) > 0 {
		text += fmt.Sprintf(", or a word such as %s", f.words[1])
	}
	if extendedCronPattern.MatchString(item) {
		text += "; there is no L, W, #, H or ~"
	}
	return text
}

// extendedCronPattern matches items of other programs' patterns, such as l, 15w, 5l, 1#2, h and 0~30.
var extendedCronPattern = regexp.MustCompile(`^(l|lw|l-[0-9]+|[0-9]+[lw]|h|h\(.*|.*[#~].*)$`)

// isCronValue reports whether a text is a number or a word of the field.
func (f cronFieldForm) isCronValue(text string) bool {
	n, ok := parseCronNumber(text)
	return ok && n >= f.min && n <= f.max || slices.Contains(f.words, text)
}

// parseCronNumber parses digits, without a sign.
func parseCronNumber(text string) (int, bool) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}
