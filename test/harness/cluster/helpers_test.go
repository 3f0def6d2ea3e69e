//go:build unix

package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// logWriter writes the progress of a start to the test's log.
type logWriter struct{ t *testing.T }

func (w logWriter) Write(line []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(line), "\n"))
	return len(line), nil
}

// startCluster starts a cluster that ends with the test. Each test has its own folder for clusters, which shows any remains.
func startCluster(t *testing.T, opts Options) *Cluster {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	opts.Log = logWriter{t}
	c, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), downTimeout)
		defer cancel()
		if err := c.Down(ctx); err != nil {
			t.Error(err)
		}
	})
	return c
}

func needNode(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("a cluster with a node takes seconds; run without -short")
	}
	if err := CheckNode(); err != nil {
		t.Skip("SKIPPED: ", err)
	}
}

func kubectl(t *testing.T, c *Cluster, args ...string) string {
	t.Helper()
	out, err := c.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func apply(t *testing.T, c *Cluster, manifest string) {
	t.Helper()
	if err := c.Apply(t.Context(), manifest); err != nil {
		t.Fatal(err)
	}
}

// eventually polls check until it returns nil.
func eventually(t *testing.T, within time.Duration, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	var last error
	if err := pollClusterEvery(ctx, 100*time.Millisecond, func() bool { last = check(); return last == nil }); err != nil {
		t.Fatalf("not within %s: %v", within, last)
	}
}

// want returns an error if kubectl does not print wanted.
func want(t *testing.T, c *Cluster, wanted string, args ...string) func() error {
	return func() error {
		out, err := c.Kubectl(t.Context(), args...)
		if err != nil {
			return err
		}
		if got := strings.TrimSpace(string(out)); got != wanted {
			return fmt.Errorf("kubectl %s: got %q, want %q", strings.Join(args, " "), got, wanted)
		}
		return nil
	}
}

// probeImage builds the program that tests run in pods and packs it.
func probeImage(t *testing.T) (archive, tag string) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "probe"), "./testdata/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	archive, tag = filepath.Join(dir, "probe.tar"), "tachometer/probe:test"
	image := Image{Tag: tag, Files: map[string]string{"/probe": filepath.Join(dir, "probe")}, Entrypoint: []string{"/probe"}, User: "65532"}
	if err := PackImage(archive, image); err != nil {
		t.Fatal(err)
	}
	return archive, tag
}

// processesNaming returns the processes with text in their command line or environment.
func processesNaming(text string) []string {
	var found []string
	if runtime.GOOS != "linux" {
		out, _ := exec.Command("ps", "-axo", "pid=,args=").Output()
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, text) {
				found = append(found, strings.TrimSpace(line))
			}
		}
		return found
	}
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		line, _ := os.ReadFile(folder + "/cmdline")
		environment, _ := os.ReadFile(folder + "/environ")
		if strings.Contains(string(line)+string(environment), text) {
			found = append(found, folder+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// selectedVersion returns the version of Kubernetes that the environment selects.
func selectedVersion(t *testing.T) string {
	t.Helper()
	file, err := kubeModFile("kube", os.Getenv(MinorVariable))
	if err != nil {
		t.Fatal(err)
	}
	version, err := kubernetesVersion(filepath.Join("kube", file))
	if err != nil {
		t.Fatal(err)
	}
	return version
}
