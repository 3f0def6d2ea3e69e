// This file renders the merge patches of stepped gates.

package action

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// The placeholders of a merge patch. A text that is one placeholder becomes a number, except where the API has only texts.
const (
	percentPlaceholder   = "<<.Percent>>"   // of the step
	remainderPlaceholder = "<<.Remainder>>" // 100 less the percentage
	placeholderStart     = "<<"
)

// RenderMerge returns the merge patch of a step.
func (p *Patch) RenderMerge(percent int) (json.RawMessage, error) {
	if !strings.Contains(string(p.Merge), `\u003c\u003c`) && !strings.Contains(string(p.Merge), placeholderStart) {
		return p.Merge, nil
	}
	var v map[string]any
	if err := unmarshalExactly(p.Merge, &v); err != nil {
		return nil, fmt.Errorf("read the merge patch: %w", err)
	}
	isText := p.APIVersion == "v1" && (p.Kind == "ConfigMap" || p.Kind == "Secret")
	for key, value := range v {
		v[key] = fillPatchPlaceholders(value, percent, isText && (key == "data" || key == "stringData"))
	}
	return json.Marshal(v)
}

// fillPatchPlaceholders replaces the placeholders in all texts of a JSON value. Keys stay. The values of annotations and labels are texts in every
// object, as is all that isText says.
func fillPatchPlaceholders(v any, percent int, isText bool) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			v[key] = fillPatchPlaceholders(value, percent, isText || key == "annotations" || key == "labels")
		}
	case []any:
		for i := range v {
			v[i] = fillPatchPlaceholders(v[i], percent, isText)
		}
	case string:
		switch {
		case v == percentPlaceholder && !isText:
			return percent
		case v == remainderPlaceholder && !isText:
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
	one, errOne := a.Patch.RenderMerge(1)
	two, errTwo := a.Patch.RenderMerge(2)
	return errOne == nil && errTwo == nil && string(one) != string(two)
}
