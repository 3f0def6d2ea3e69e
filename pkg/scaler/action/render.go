package action

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// This file renders the merge patches of stepped gates.

// The placeholders of a merge patch. A text that is one placeholder becomes a number.
const (
	percentPlaceholder   = "<<.Percent>>"   // of the step
	remainderPlaceholder = "<<.Remainder>>" // 100 less the percentage
	placeholderStart     = "<<"
)

// renderActionMerge returns the merge patch of a step.
func renderActionMerge(merge json.RawMessage, percent int) (json.RawMessage, error) {
	if !strings.Contains(string(merge), `\u003c\u003c`) && !strings.Contains(string(merge), placeholderStart) {
		return merge, nil
	}
	var v any
	if err := json.Unmarshal(merge, &v); err != nil {
		return nil, fmt.Errorf("read the merge patch: %w", err)
	}
	return json.Marshal(fillActionPlaceholders(v, percent))
}

// fillActionPlaceholders replaces the placeholders in all texts of a JSON value. Keys stay.
func fillActionPlaceholders(v any, percent int) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			v[key] = fillActionPlaceholders(value, percent)
		}
	case []any:
		for i := range v {
			v[i] = fillActionPlaceholders(v[i], percent)
		}
	case string:
		switch v {
		case percentPlaceholder:
			return percent
		case remainderPlaceholder:
			return 100 - percent
		}
		return strings.NewReplacer(percentPlaceholder, strconv.Itoa(percent), remainderPlaceholder, strconv.Itoa(100-percent)).Replace(v)
	}
	return v
}

// dependsOnPercent reports whether the action differs from step to step.
func (a Action) dependsOnPercent() bool {
	if a.Patch == nil {
		return a.Webhook != ""
	}
	one, errOne := renderActionMerge(a.Patch.Merge, 1)
	two, errTwo := renderActionMerge(a.Patch.Merge, 2)
	return errOne == nil && errTwo == nil && string(one) != string(two)
}
