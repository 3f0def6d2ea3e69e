package preflight

import (
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
)

// TestGrantingCommands: each missing right has the command that grants it, to the user that was checked.
func TestGrantingCommands(t *testing.T) {
	t.Parallel()
	const account = "--serviceaccount=tachometer:tachometer-scaler"
	scale := Right{Namespace: "shop", Group: "apps", Resource: "deployments", Subresource: "scale", Verb: "patch"}
	for name, c := range map[string]struct {
		right   Right
		isBound bool
		want    string
	}{
		"a namespace without the binding": {scale, false, "kubectl -n shop create rolebinding tachometer-scaler --clusterrole=tachometer-scaler-workloads " + account},
		"a role of an older version":      {scale, true, applyRoles},
		"a resource of another group": {
			Right{Namespace: "shop", Group: "argoproj.io", Resource: "rollouts", Subresource: "scale", Verb: "patch"}, true,
			"kubectl -n shop create role tachometer-scaler-patch-rollouts-scale --verb=patch --resource=rollouts.argoproj.io/scale && " +
				"kubectl -n shop create rolebinding tachometer-scaler-patch-rollouts-scale --role=tachometer-scaler-patch-rollouts-scale " + account,
		},
		"an object of a gate": {
			Right{Namespace: "shop", Resource: "configmaps", Verb: "patch", Name: "gate"}, true,
			"kubectl -n shop create role tachometer-scaler-patch-configmaps-gate --verb=patch --resource=configmaps --resource-name=gate && " +
				"kubectl -n shop create rolebinding tachometer-scaler-patch-configmaps-gate --role=tachometer-scaler-patch-configmaps-gate " + account,
		},
		"a cluster-scoped object of a gate": {
			Right{Group: "example.org", Resource: "edges", Verb: "get", Name: "cdn"}, true,
			"kubectl create clusterrole tachometer-scaler-get-edges-cdn --verb=get --resource=edges.example.org --resource-name=cdn && " +
				"kubectl create clusterrolebinding tachometer-scaler-get-edges-cdn --clusterrole=tachometer-scaler-get-edges-cdn " + account,
		},
		"the lease":         {Right{Namespace: "tachometer", Group: "coordination.k8s.io", Resource: "leases", Verb: "create"}, true, applyRoles},
		"the ids of events": {Right{Namespace: "tachometer", Resource: "configmaps", Verb: "update", Name: "tachometer-scaler-events"}, false, applyRoles},
	} {
		if got := describeGrantingCommand(c.right, account, "tachometer", c.isBound); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
	elsewhere := Right{Namespace: "ops", Group: "coordination.k8s.io", Resource: "leases", Verb: "create"}
	if got := describeGrantingCommand(elsewhere, account, "ops", false); !strings.HasPrefix(got, "kubectl -n ops create role tachometer-scaler-create-leases ") {
		t.Errorf("the lease in another namespace: %s", got)
	}
}

// TestWorkloadsRoleGrants: a right whose command binds the shipped ClusterRole is in that role.
func TestWorkloadsRoleGrants(t *testing.T) {
	t.Parallel()
	w := newWorld(t, everything)
	rules, bound := readShippedRules(t), 0
	for _, r := range listControllerRights(w.Config, w.Mapper, w.LeaseNamespace, w.LeaseName) {
		if !strings.Contains(describeGrantingCommand(r, "--user=x", w.LeaseNamespace, false), workloadsRole) {
			continue
		}
		bound++
		if !slices.ContainsFunc(rules, func(rule rbacv1.PolicyRule) bool { return grantsRight(rule, r) }) {
			t.Errorf("%s does not grant %s", workloadsRole, r)
		}
	}
	if bound < 15 {
		t.Errorf("%d rights of the role", bound)
	}
}
