// The rules for CPU and memory.

package rule

import "time"

// UsageRuleSet has the rules for metrics.k8s.io. It must not change once a reader has it.
type UsageRuleSet struct {
	CPU, Memory UsageRules
	// Window is the declared window of CPU usage; 0: the values' own.
	Window time.Duration
}

// UsageRules are the rules of CPU, in cores, or of memory, in bytes. They are external, so that every container has a result of its own. A
// query of Containers has Query.Namespace and the names of pods as Query.Objects, a query of Nodes the names of nodes. A rule is nil without
// a query for it. The labels of a result name its object.
type UsageRules struct {
	Containers, Nodes                                   *Rule
	NamespaceLabel, PodLabel, ContainerLabel, NodeLabel string
}
