// The decoding of the section surge.

package surge

import (
	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// Decode decodes the section surge of the scaler's configuration.
func Decode(d *strict.Decoder, path string, n *yaml.Node) Config {
	var c Config
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"mode": func(path string, n *yaml.Node) {
			c.Mode = Mode(d.DecodeEnum(path, n, string(ModeObserve), string(ModeAct), string(ModeOff)))
		},
		"budget": decodeSurgePodBudget(d, &c.Budget),
		"notify": func(path string, n *yaml.Node) { c.Notify = d.DecodeTexts(path, n) },
		"autoscalers": func(path string, n *yaml.Node) {
			d.DecodeSequence(path, n, func(path string, n *yaml.Node) {
				c.Autoscalers = append(c.Autoscalers, decodeLaneAutoscaler(d, path, n))
			})
		},
	})
	return c
}

// decodeLaneAutoscaler decodes an element of autoscalers.
func decodeLaneAutoscaler(d *strict.Decoder, path string, n *yaml.Node) AutoscalerRule {
	var r AutoscalerRule
	maximum := 0
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"namespace":   d.Text(&r.Namespace),
		"selector":    decodeSurgeSelector(d, &r.Selector),
		"maxReplicas": d.Integer(&maximum, 1, maxHoldReplicas),
		"budget":      decodeSurgePodBudget(d, &r.Budget),
	})
	if r.Namespace == "" && !d.HasFault(path+".namespace") {
		d.AddFault(path+".namespace", "required: the namespace of the autoscalers")
	}
	if r.Selector == nil && !d.HasFault(path+".selector") {
		d.AddFault(path+".selector", "required: labels of the autoscalers, such as app=web")
	}
	r.MaxReplicas = int32(maximum) //nolint:gosec // bounded above
	return r
}

// maxHoldReplicas is the largest number that the schema of Holds allows.
const maxHoldReplicas = 10_000

// decodeSurgePodBudget returns the decoder of a budget such as 3/h.
func decodeSurgePodBudget(d *strict.Decoder, to *int) strict.FieldDecoder {
	return func(path string, n *yaml.Node) {
		text := ""
		d.Text(&text)(path, n)
		if d.HasFault(path) {
			return
		}
		var err error
		if *to, err = parseSurgeBudget(text); err != nil {
			d.AddFaultAtLine(path, n.Line, "%v", err)
		}
	}
}

func decodeSurgeSelector(d *strict.Decoder, to *labels.Selector) strict.FieldDecoder {
	return func(path string, n *yaml.Node) {
		text := ""
		d.Text(&text)(path, n)
		if d.HasFault(path) {
			return
		}
		parsed, err := labels.Parse(text)
		if err != nil {
			d.AddFaultAtLine(path, n.Line, "is no label selector such as app=web: %v", err)
			return
		}
		*to = parsed
	}
}
