package strict

import "go.yaml.in/yaml/v3"

// maxAliasNodes bounds the values that the aliases of a document stand for: a few bytes of aliases of aliases may stand for any number.
const maxAliasNodes = 10_000

// describeYAMLAliases returns the line and the words for a document with aliases that stand for too many values, or for themselves. The line is 0 for any
// other document. Code that follows aliases comes after it.
func describeYAMLAliases(document *yaml.Node) (line int, message string) {
	left := maxAliasNodes
	if line = findExcessAlias(document, &left, map[*yaml.Node]int{}); line == 0 {
		return 0, ""
	}
	return line, "the aliases (*NAME) up to here stand for more than 10,000 values, or for themselves; write the values out"
}

// findExcessAlias returns the line of the first alias beyond the values that are left; 0 for none.
func findExcessAlias(n *yaml.Node, left *int, counts map[*yaml.Node]int) (line int) {
	if n.Alias != nil {
		if *left -= countExpandedNodes(n.Alias, counts); *left < 0 {
			return n.Line
		}
	}
	for _, child := range n.Content {
		if line = findExcessAlias(child, left, counts); line > 0 {
			return line
		}
	}
	return 0
}

// countExpandedNodes counts the nodes of a value in which each alias counts as its value, up to a number above maxAliasNodes. A value that
// contains itself counts as too many.
func countExpandedNodes(n *yaml.Node, counts map[*yaml.Node]int) int {
	if known, found := counts[n]; found {
		return known
	}
	counts[n] = maxAliasNodes + 1 // until it is counted
	total := 1
	if n.Alias != nil {
		total += countExpandedNodes(n.Alias, counts)
	}
	for _, child := range n.Content {
		if total <= maxAliasNodes {
			total += countExpandedNodes(child, counts)
		}
	}
	counts[n] = min(total, maxAliasNodes+1)
	return counts[n]
}
