package integration

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHoldColumns: kubectl get prints a hold's workload, replicas, state, end and owner, under the resource's name and its short name, and more with -o wide.
func TestHoldColumns(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	object := strings.ReplaceAll(launchHold, "NAMESPACE", namespace)
	object = strings.Replace(object, "by: team", `by: team, until: "2126-01-01T00:00:00Z"`, 1)
	if err := shared.Apply(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	status := []string{"-n", namespace, "patch", "hold", "launch", "--subresource=status", "--type=merge", "-p", `{"status":{"state":"Scaled","message":"waiting"}}`}
	if _, err := shared.Kubectl(t.Context(), status...); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args         []string
		columns, row []string // without the age
	}{
		{
			[]string{"get", "holds"}, []string{"NAME", "WORKLOAD", "REPLICAS", "STATE", "UNTIL", "BY", "AGE"},
			[]string{"launch", "shop", "7", "Scaled", "2126-01-01T00:00:00Z", "team"},
		},
		{
			[]string{"get", "hd", "-o", "wide"}, []string{"NAME", "KIND", "WORKLOAD", "REPLICAS", "STATE", "UNTIL", "BY", "MESSAGE", "AGE"},
			[]string{"launch", "Deployment", "shop", "7", "Scaled", "2126-01-01T00:00:00Z", "team", "waiting"},
		},
	} {
		out, err := shared.Kubectl(t.Context(), append([]string{"-n", namespace}, c.args...)...)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if len(lines) != 2 {
			t.Fatalf("kubectl %v:\n%s", c.args, out)
		}
		row := strings.Fields(lines[1])
		if diff := cmp.Diff(c.columns, strings.Fields(lines[0])) + cmp.Diff(c.row, row[:max(len(row)-1, 0)]); diff != "" {
			t.Errorf("kubectl %v (-want +got):\n%s", c.args, diff)
		}
	}
}
