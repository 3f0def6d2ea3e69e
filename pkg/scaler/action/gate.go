// This file decodes gates.

package action

import (
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

const (
	maxGateSteps = 20
	maxGatePause = 24 * time.Hour
	// defaultGatePause is enough for a scrape or two of the new pods.
	defaultGatePause = time.Minute
)

// DecodeGate decodes a gate with its name. The caller resolves the names of webhooks.
func DecodeGate(d *strict.Decoder, path string, n *yaml.Node) (name string, g Gate) {
	g.Pause = defaultGatePause
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"name":       d.Text(&name),
		"namespaces": func(path string, n *yaml.Node) { g.Namespaces = d.DecodeTexts(path, n) },
		"open":       func(path string, n *yaml.Node) { g.Open = Decode(d, path, n) },
		"shut":       func(path string, n *yaml.Node) { g.Shut = Decode(d, path, n) },
		"steps":      func(path string, n *yaml.Node) { g.Steps = gateStepsFromYAML(d, path, n) },
		"pause":      d.Duration(&g.Pause, time.Second, maxGatePause),
		"approval":   d.Bool(&g.Approval),
		"after":      func(path string, n *yaml.Node) { g.After = DecodeWatch(d, path, n) },
	})
	if d.HasFault(path) {
		return name, g
	}
	d.Require(path, "name", "namespaces", "open")
	if !namespacePattern.MatchString(name) {
		d.AddFault(path+".name", "%q: use lower-case letters, digits and -, at most 63", strict.Shorten(name))
	}
	validateGate(d, path, &g)
	return name, g
}

// gateStepsFromYAML decodes rising percentages that end with 100.
func gateStepsFromYAML(d *strict.Decoder, path string, n *yaml.Node) (steps []int) {
	d.DecodeSequence(path, n, func(path string, n *yaml.Node) {
		var percent int
		d.Integer(&percent, 1, 100)(path, n)
		if len(steps) > 0 && percent <= steps[len(steps)-1] {
			d.AddFault(path, "is not above the step before")
		}
		steps = append(steps, percent)
	})
	d.RejectLong(path, n, maxGateSteps)
	if len(steps) == 0 || steps[len(steps)-1] != 100 {
		d.AddFault(path, "must end with 100")
	}
	return steps
}

// validateGate checks keys that depend on each other.
func validateGate(d *strict.Decoder, path string, g *Gate) {
	steps := len(g.Steps) == 0
	for i, a := range g.Open {
		steps = steps || a.dependsOnPercent()
		if a.Webhook != "" && len(g.Shut) == 0 {
			d.AddFault(strict.IndexPath(path+".open", i), "is a webhook, which cannot be restored: the gate needs shut")
		}
		if a.Patch != nil && len(g.Steps) == 0 && a.dependsOnPercent() {
			d.AddFault(strict.IndexPath(path+".open", i), "has a placeholder, but the gate has no steps")
		}
		if a.Patch != nil && strings.Contains(removePatchPlaceholders(string(a.Patch.Merge)), `\u003c\u003c`) {
			d.AddFault(strict.IndexPath(path+".open", i), "has an unknown placeholder; write %s or %s", percentPlaceholder, remainderPlaceholder)
		}
	}
	for key, actions := range map[string][]Action{"open": g.Open, "shut": g.Shut} {
		for i, a := range actions {
			if len(g.Namespaces) > 1 && a.Patch != nil && a.Patch.Namespace != "" {
				d.AddFault(strict.IndexPath(path+"."+key, i)+".patch.namespace", "makes one gate of %d namespaces, whose holds would shut it for each other: write a gate for each", len(g.Namespaces))
			}
		}
	}
	if !steps {
		d.AddFault(path+".steps", "have no effect: no patch of open has %s, and there is no webhook", percentPlaceholder)
	}
	if len(g.Open) == 0 {
		d.AddFault(path+".open", "is empty")
	}
}

// removePatchPlaceholders returns JSON, as json.Marshal escapes it, without the known placeholders.
func removePatchPlaceholders(merge string) string {
	for _, known := range []string{percentPlaceholder, remainderPlaceholder} {
		merge = strings.ReplaceAll(merge, strings.NewReplacer("<", `\u003c`, ">", `\u003e`).Replace(known), "")
	}
	return merge
}
