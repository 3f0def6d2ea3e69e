package main

import (
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// chartChange is an entry of the annotation artifacthub.io/changes, from which registries of charts show what a version changed.
type chartChange struct {
	Kind        string `json:"kind"`
	Description string `json:"description"`
}

// changeKinds are Artifact Hub's kinds of a change, by the sections of CHANGELOG.md.
var changeKinds = map[string]string{
	"CHANGE": "changed", "FEATURE": "added", "ENHANCEMENT": "changed", "PERF": "changed", "BUGFIX": "fixed", "SECURITY": "security",
}

// changelogLink is a link of Markdown: its target is a file of the repository, which a chart does not have.
var changelogLink = regexp.MustCompile(`\[([^\]]+)\]\([^)]+\)`)

// formatChartChanges returns the entries of a release's section of the changelog, as the annotation.
func formatChartChanges(section string) (string, error) {
	var changes []chartChange
	kind := ""
	for line := range strings.Lines(section) {
		if heading, ok := strings.CutPrefix(line, "### "); ok {
			kind = changeKinds[strings.TrimSpace(heading)]
		}
		if entry, ok := strings.CutPrefix(line, "* "); ok && kind != "" {
			changes = append(changes, chartChange{kind, changelogLink.ReplaceAllString(strings.TrimSpace(entry), "$1")})
		}
	}
	text, err := yaml.Marshal(changes)
	return string(text), err
}
