//go:build unix

package cluster

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestFreePorts: the ports of a cluster differ, and no connection or listener at port 0 may take them before the cluster does.
func TestFreePorts(t *testing.T) {
	t.Parallel()
	free, err := freeClusterPorts(50)
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range free {
		if port < minFreePort || port > maxFreePort {
			t.Errorf("port %d", port)
		}
	}
	if slices.Sort(free); len(slices.Compact(free)) != 50 {
		t.Errorf("ports %v", free)
	}
	if _, err := FreePort("192.0.2.1"); err == nil { // not an address of this machine
		t.Error("a port of another machine is free")
	}
}

func TestWhyNoNode(t *testing.T) {
	t.Parallel()
	able := "Name:\tx\nCapEff:\t000001ffffffffff\nNoNewPrivs:\t0\n"
	for _, tt := range []struct {
		name    string
		machine machine
		want    string
	}{
		{name: "able", machine: machine{os: "linux", status: able}},
		{name: "other system", machine: machine{os: "darwin", status: able}, want: "it takes Linux, this is darwin"},
		{name: "not root", machine: machine{os: "linux", user: 1000, status: able}, want: "it takes root"},
		{name: "root in a container", machine: machine{os: "linux", status: "CapEff:\t00000000a80425fb\n"}, want: "this root has no CAP_NET_ADMIN, CAP_SYS_ADMIN"},
		{name: "programs missing", machine: machine{os: "linux", status: able, missing: []string{"containerd", "runc"}}, want: "as root: apt-get install containerd runc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.machine.checkMachine()
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, ErrNoNode) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want ErrNoNode and %q", err, tt.want)
			}
		})
	}
}

// TestInstall puts a fake apt-get before the real program.
func TestInstall(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root may install packages")
	}
	dir := t.TempDir()
	script := "#!/bin/sh\necho \"$@\" >>" + dir + "/calls\ncase $1 in install) printf '#!/bin/sh\\n' >" + dir + "/frobnicate; chmod +x " + dir + "/frobnicate;; esac\n"
	if err := os.WriteFile(filepath.Join(dir, "apt-get"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	tools := []nodeTool{{"sh", "dash"}, {"frobnicate", "frobnicator"}, {"frobnicate", "frobnicator"}}
	if _, missing := findNodeTools(tools); len(missing) != 1 || missing[0] != "frobnicator" {
		t.Fatalf("missing before: got %v, want frobnicator once", missing)
	}
	for range 2 { // the second time all is installed
		if err := installTools(t.Context(), io.Discard, tools); err != nil {
			t.Fatal(err)
		}
	}
	calls, _ := os.ReadFile(filepath.Join(dir, "calls"))
	if want := "update\ninstall -y --no-install-recommends frobnicator\n"; string(calls) != want {
		t.Errorf("apt-get was called with %q, want %q", calls, want)
	}
	if _, missing := findNodeTools(tools); len(missing) != 0 {
		t.Errorf("missing after: %v", missing)
	}
}

func TestBuildOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "built")
	var builds atomic.Int32
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			err := buildProgramOnce(t.Context(), dir, func(target string) error {
				builds.Add(1)
				return os.WriteFile(filepath.Join(target, "program"), nil, 0o600)
			})
			if err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(dir, "program")); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if got := builds.Load(); got != 1 {
		t.Errorf("built %d times, want once", got)
	}
}

func TestBuildThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	broken := errors.New("broken")
	if err := buildProgramOnce(t.Context(), filepath.Join(parent, "built"), func(string) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want the builder's error", err)
	}
	if found, _ := filepath.Glob(filepath.Join(parent, "built")); len(found) > 0 {
		t.Errorf("left behind: %v", found)
	}
	if found, _ := filepath.Glob(filepath.Join(parent, "built.new")); len(found) > 0 {
		t.Errorf("left behind: %v", found)
	}
}

func TestShowProgress(t *testing.T) {
	t.Parallel()
	output := "go: downloading k8s.io/x v1\n" + strings.Repeat("k8s.io/x\n", 30) + "x.go:1: syntax error\n"
	tail := showKubeBuildProgress(io.Discard, strings.NewReader(output), 50, time.Now())
	if !strings.HasSuffix(tail, "\nx.go:1: syntax error") || strings.Contains(tail, "downloading") {
		t.Errorf("got %q, want the last lines", tail)
	}
}

func TestKubernetesVersion(t *testing.T) {
	t.Parallel()
	version, err := kubernetesVersion("kube/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	stamps := kubeVersionStamps(version)
	for _, want := range []string{"component-base/version.gitVersion=" + version, "client-go/pkg/version.gitMajor=1"} {
		if !strings.Contains(stamps, want) {
			t.Errorf("stamps %q lack %q", stamps, want)
		}
	}
	if _, err := kubernetesVersion("go.mod"); err == nil {
		t.Error("a go.mod without Kubernetes: no error")
	}
}

func TestKubeModFile(t *testing.T) {
	t.Parallel()
	for minor, want := range map[string]string{"": "kubernetes-1.37.mod", "1.36": "go.mod", "1.37": "kubernetes-1.37.mod"} {
		if file, err := kubeModFile("kube", minor); err != nil || file != want {
			t.Errorf("%q: got %q, %v, want %s", minor, file, err, want)
		}
	}
	if _, err := kubeModFile("kube", "1.3"); err == nil || !strings.Contains(err.Error(), "there are v1.36.") {
		t.Errorf("1.3: got %v, want an error with the versions", err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"tachometer": true, "e2e-1": true, "1": true, "": false, "a/b": false, "..": false, "A": false, "-a": false, "a-": false,
		strings.Repeat("a", 40): true, strings.Repeat("a", 41): false,
	} {
		if _, err := clusterDir("/tmp", name); (err == nil) != ok {
			t.Errorf("name %q: got %v, want ok %t", name, err, ok)
		}
	}
	if a, b := clusterLinkName("/tmp/a"), clusterLinkName("/tmp/b"); a == b || len(a+"n") > 15 {
		t.Errorf("link names %q and %q: want two of at most 14 characters", a, b)
	}
}

func TestNodeNetworksAreApart(t *testing.T) {
	t.Parallel()
	var all []netip.Prefix
	for number := range networks {
		n := nodeNetwork(number)
		for _, cidr := range []string{n.Pods, n.Services, n.Address + "/30"} {
			prefix := netip.MustParsePrefix(cidr).Masked()
			for _, other := range all {
				if prefix.Overlaps(other) {
					t.Fatalf("network %d: %s overlaps %s", number, prefix, other)
				}
			}
			all = append(all, prefix)
		}
	}
}

func TestPackImage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program, archive := filepath.Join(dir, "program"), filepath.Join(dir, "image.tar")
	if err := os.WriteFile(program, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	image := Image{Tag: "a/b:c", Files: map[string]string{"/bin/p": program}, Links: map[string]string{"/p": "bin/p"}, Entrypoint: []string{"/p"}, User: "7"}
	if err := PackImage(archive, image); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	files := untar(t, data)
	var manifest []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil || len(manifest) != 1 {
		t.Fatalf("manifest %s: %v", files["manifest.json"], err)
	}
	if got := manifest[0].RepoTags; len(got) != 1 || got[0] != "a/b:c" {
		t.Errorf("tags %v, want a/b:c", got)
	}
	config := string(files[manifest[0].Config])
	for _, want := range []string{`"User":"7"`, `"Entrypoint":["/p"]`, imageDigest(files[manifest[0].Layers[0]]), runtime.GOARCH} {
		if !strings.Contains(config, want) {
			t.Errorf("configuration %s lacks %s", config, want)
		}
	}
	if got := untar(t, files[manifest[0].Layers[0]])["bin/p"]; string(got) != "content" {
		t.Errorf("the program in the layer is %q", got)
	}
	if err := PackImage(archive, Image{Files: map[string]string{"/x": filepath.Join(dir, "none")}}); err == nil {
		t.Error("a file that is not there: no error")
	}
}

func untar(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSweep: a start that was killed at its first step leaves a folder without state; the next start removes it.
func TestSweep(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	for _, dir := range []string{"begun/pki", "old" + failedSuffix} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := sweepDeadClusters(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(base, "*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != "old"+failedSuffix {
		t.Errorf("left: %v, %v; want only the kept logs", left, err)
	}
}

func TestBuildImage(t *testing.T) {
	if testing.Short() {
		t.Skip("an image takes seconds; run without -short")
	}
	if _, missing := findNodeTools([]nodeTool{{"buildah", "buildah"}}); len(missing) > 0 || os.Geteuid() != 0 {
		t.Skip("SKIPPED: it takes root and buildah; ", installHint([]string{"buildah"}))
	}
	t.Parallel()
	context := t.TempDir()
	for name, content := range map[string]string{"go.mod": "module program\n", "main.go": "package main\n\nfunc main() {}\n"} {
		if err := os.WriteFile(filepath.Join(context, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := copyToBuilder(filepath.Join(context, "Dockerfile"), "testdata/image/Dockerfile"); err != nil {
		t.Fatal(err)
	}
	build := ImageBuild{
		Context: context, Target: "program", Tag: "tachometer/program:test",
		Archive: filepath.Join(context, "out", "program.tar"), Args: map[string]string{"GREETING": "hello"},
	}
	for range 2 { // the second replaces the first
		if err := BuildImage(t.Context(), build); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(build.Archive)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"tachometer/program:test", "GREETING=hello", "65532:65532"} {
		if !bytes.Contains(data, []byte(want)) {
			t.Errorf("the archive lacks %q", want)
		}
	}
	if len(data) > 4<<20 {
		t.Errorf("the archive has %d bytes: something of the builder is in it", len(data))
	}
	build.Target = "none"
	if err := BuildImage(t.Context(), build); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a target that is not there: got %v, want its name", err)
	}
}
