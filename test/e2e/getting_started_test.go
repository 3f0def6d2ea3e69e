package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// step is a block of commands of docs/getting-started.md.
type step struct {
	heading, commands string
	printed           *regexp.Regexp
}

// wantPrinted is what each block of commands prints, by its heading.
var wantPrinted = map[string][]*regexp.Regexp{
	"The adapter": {regexp.MustCompile(`STATUS: deployed`)},
	"A service":   {regexp.MustCompile(`deployment "sample" successfully rolled out`)},
	"An HPA":      {regexp.MustCompile(`horizontalpodautoscaler.autoscaling/sample created`)},
	"A number": {
		regexp.MustCompile(`"name":"request_per_second".*"value":"[1-9]`),
		regexp.MustCompile(`Deployment/sample +[0-9]+m?/50`),
	},
	"Remove": {regexp.MustCompile(`release "tachometer-adapter" uninstalled`)},
}

// TestGettingStarted runs the commands of docs/getting-started.md, one block after the other, on a cluster without an adapter, and
// reports the seconds until the first number.
func TestGettingStarted(t *testing.T) {
	steps := readSteps(t)
	needNode(t)
	helm := buildHelm(t)
	emptyCluster(t)
	began := time.Now()
	for _, step := range steps {
		out := runCommands(t, step.commands, helm)
		if !step.printed.MatchString(out) {
			t.Fatalf("%s: the output does not match %v:\n%s\n%s", step.heading, step.printed, step.commands, out)
		}
		t.Logf("%5.1f s after the first command: %s", time.Since(began).Seconds(), step.heading)
	}
}

// readSteps returns the page's blocks of commands. Blocks that are called elsewhere need another cluster.
func readSteps(t *testing.T) []step {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "getting-started.md"))
	if err != nil {
		t.Fatal(err)
	}
	var steps []step
	count := map[string]int{}
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		heading, body, _ := strings.Cut(section, "\n")
		for _, block := range strings.Split(body, "```sh\n")[1:] {
			commands, _, _ := strings.Cut(block, "```")
			number := count[heading]
			count[heading]++
			if number >= len(wantPrinted[heading]) {
				t.Fatalf("the test does not know what block %d under %q prints", number+1, heading)
			}
			steps = append(steps, step{heading, commands, wantPrinted[heading][number]})
		}
	}
	for heading, want := range wantPrinted {
		if count[heading] != len(want) {
			t.Errorf("the page has %d blocks of commands under %q, want %d", count[heading], heading, len(want))
		}
	}
	return steps
}

// buildHelm returns a folder with Helm 4, from the module of the charts' tests.
func buildHelm(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "-C", filepath.Join(s.Root, "test", "helm"), "build", "-o", folder, "helm.sh/helm/v4/cmd/helm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build helm: %v\n%s", err, out)
	}
	return folder
}

// emptyCluster removes adapter and sample, and installs them again at the end of the test.
func emptyCluster(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if err := install(context.Background()); err != nil {
			t.Error(err)
		}
	})
	for _, folder := range []string{"test/e2e/manifests/sample", "test/e2e/manifests/adapter"} {
		if _, err := s.Kubectl(t.Context(), "delete", "-k", filepath.Join(s.Root, folder), "--ignore-not-found", "--timeout=2m"); err != nil {
			t.Fatal(err)
		}
	}
	for _, namespace := range []string{stack.SampleNamespace, stack.AdapterNamespace} {
		if _, err := s.Kubectl(t.Context(), "wait", "--for=delete", "namespace/"+namespace, "--timeout=2m"); err != nil {
			t.Fatal(err)
		}
	}
}

// runCommands runs a block of commands as a shell of a person would, in the repository's folder, and stops at the first that fails.
func runCommands(t *testing.T, commands, helm string) string {
	t.Helper()
	shell := exec.CommandContext(t.Context(), "sh", "-e", "-c", commands)
	shell.Dir = s.Root
	shell.Env = append(os.Environ(), s.Cluster.Env()...)
	for i, entry := range shell.Env {
		if path, found := strings.CutPrefix(entry, "PATH="); found {
			shell.Env[i] = "PATH=" + helm + string(os.PathListSeparator) + path
		}
	}
	shell.Env = append(shell.Env, "HELM_CACHE_HOME="+helm, "HELM_CONFIG_HOME="+helm, "HELM_DATA_HOME="+helm)
	out, err := shell.CombinedOutput()
	if err != nil {
		why, _ := s.Kubectl(context.WithoutCancel(t.Context()), "describe", "hpa", "--all-namespaces")
		t.Fatalf("%v\n%s\n%s\n%s", err, commands, out, why)
	}
	return string(out)
}
