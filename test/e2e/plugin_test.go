package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// buildPlugin builds kubectl-tachometer once, and returns its folder.
var buildPlugin = sync.OnceValues(func() (string, error) {
	folder := filepath.Join(s.Root, "bin") // as `make build`
	build := exec.Command("go", "-C", s.Root, "build", "-o", folder+string(filepath.Separator), "./cmd/kubectl-tachometer")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build kubectl-tachometer: %w\n%s", err, out)
	}
	return folder, nil
})

// newPluginCommand returns `kubectl tachometer …`, with the plugin in the PATH and the cluster's kubeconfig.
func newPluginCommand(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	folder, err := buildPlugin()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", `PATH="` + folder + `:$PATH" exec kubectl tachometer "$@"`, "sh"}, args...)...)
	cmd.Env = append(os.Environ(), s.Cluster.Env()...)
	return cmd
}

// runPlugin runs `kubectl tachometer …`, logs and returns its output, and its exit code.
func runPlugin(ctx context.Context, t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	out, code = runPluginQuietly(ctx, t, args...)
	t.Logf("$ kubectl tachometer %s → %d\n%s", strings.Join(args, " "), code, out)
	return out, code
}

func runPluginQuietly(ctx context.Context, t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	cmd := newPluginCommand(ctx, t, args...)
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) && ctx.Err() == nil {
		t.Fatal(err)
	}
	return both.String(), cmd.ProcessState.ExitCode()
}

// steadyAnswers is the number of answers in a row with a value after which both replicas have enough pages under load.
const steadyAnswers = 8

// TestPlugin runs each command as a user does: the built program, started by kubectl, with a plain kubeconfig.
func TestPlugin(t *testing.T) {
	needNode(t)
	send(t, low)
	rule := filepath.Join(t.TempDir(), "rule.yaml")
	config := "apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nrules:\n- metric: tried_per_second\n" +
		"  query: sum by (namespace, pod) (rate(http_requests_total[$window]))\n"
	if err := os.WriteFile(rule, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	const ns, explained = stack.SampleNamespace, `^\d pods?: request_per_second is [1-9][\d.]*/s over \d pods?, target 50`
	steady := 0
	err := stack.Wait(t.Context(), time.Minute, func(ctx context.Context) error { // idle pods read 0/s, and the first seconds of load nothing, in each replica by its own pages
		out, _ := runPluginQuietly(ctx, t, "explain", "hpa/sample", "-n", ns)
		if steady++; !regexp.MustCompile(explained).MatchString(out) {
			steady = 0
		}
		if steady < steadyAnswers {
			return fmt.Errorf("%d answers in a row have a value, want %d; the last:\n%s", steady, steadyAnswers, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"apply", "-f", filepath.Join(s.Root, "manifests/scaler/crd/crd.yaml")},
		{"wait", "--for=condition=Established", "--timeout=60s", "crd/holds." + hold.GroupVersion.Group},
	} {
		if _, err := s.Kubectl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		args []string
		code int
		want string // a regular expression
	}{
		{[]string{"version"}, 0, `(?m)^Client Version: .*\nKubernetes Version: v1\.\d+`},
		{[]string{"explain", "hpa/sample", "-n", ns}, 0, explained},
		{[]string{"explain", "hpa/sample", "-n", ns, "--since", "10m"}, 0, `(?s)CAUSE.*request_per_second .*Recorded by tachometer-adapter-.*unknown before 20\d\d-`},
		{[]string{"explain", "hpa/nobody", "-n", ns}, 1, `nobody`},
		{[]string{"top", "-n", ns}, 0, `(?m)^sample `},
		{[]string{"metrics", "deployment/sample", "-n", ns}, 0, `http_requests_total`},
		{[]string{"try", "-f", rule, "-n", ns, "-l", "app.kubernetes.io/name=sample"}, 0, `tried_per_second`},
		{[]string{"lint", "--all", "-n", ns}, 0, `.`},
		{[]string{"doctor", "-n", ns}, 0, `Nothing is broken`},
		{[]string{"replay", "hpa/sample", "-n", ns, "--since", "10m"}, 0, `The recorded spec gives (\d+) of \d+ recorded decisions again`},
		{[]string{"budget", "-n", ns}, 0, `(?m)^sample `},
		{[]string{"hold", "status", "-n", ns, "-o", "text"}, 0, `no holds`},
		{[]string{"walk"}, 2, `unknown command "walk"`},
	} {
		out, code := runPlugin(t.Context(), t, step.args...)
		if code != step.code || !regexp.MustCompile(step.want).MatchString(out) {
			t.Errorf("kubectl tachometer %v: exit code %d, want %d and %s in\n%s", step.args, code, step.code, step.want, out)
		}
	}
	fetchDashboard(t)
}

// fetchDashboard starts the dashboard, reads its page and its table of autoscalers, and ends it as Ctrl+C does.
func fetchDashboard(t *testing.T) {
	t.Helper()
	cmd := newPluginCommand(t.Context(), t, "dashboard", "--no-open", "--port", "0", "-n", stack.SampleNamespace)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	out, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = cmd.Stdout
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	address := ""
	for lines := bufio.NewScanner(out); address == "" && lines.Scan(); {
		t.Log(lines.Text())
		address = regexp.MustCompile(`http://127\.0\.0\.1:\d+/\S*`).FindString(lines.Text())
	}
	ended := make(chan error, 1)
	go func() {
		_, _ = io.Copy(io.Discard, out)
		ended <- cmd.Wait()
	}()
	page, err := http.Get(address)
	if err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	defer page.Body.Close()
	text, err := io.ReadAll(page.Body)
	if err != nil || page.StatusCode != http.StatusOK || !bytes.Contains(text, []byte("<html")) {
		t.Errorf("%s: %s (%v)\n%.500s", address, page.Status, err, text)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the dashboard ends by Ctrl+C with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the dashboard runs 10 s after Ctrl+C")
		_ = cmd.Process.Kill()
	}
}
