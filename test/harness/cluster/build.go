//go:build unix

// Builds of Kubernetes, the supervisor and the pause program, kept in the cache of the user.

package cluster

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// programs are the files that a cluster runs, all built from Go modules.
type programs struct {
	Bin       string // folder that holds kube and the link kubectl
	Kube      string // every Kubernetes program and etcd
	Supervise string
	Pause     string // for the pod sandbox's image
}

// clusterCacheDir is this project's folder in the user's cache.
func clusterCacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache folder: %w", err)
	}
	return filepath.Join(dir, "tachometer"), nil
}

// Build compiles the programs that clusters run, unless they are in the user's cache folder. A later Start then needs no compilation.
// log gets the progress and may be nil.
func Build(ctx context.Context, log io.Writer) error {
	if log == nil {
		log = io.Discard
	}
	_, err := ensurePrograms(ctx, log)
	return err
}

// ensurePrograms builds the programs missing in the cache. Concurrent callers build once.
func ensurePrograms(ctx context.Context, log io.Writer) (programs, error) {
	source, err := kubeSourceDir()
	if err != nil {
		return programs{}, err
	}
	cache, err := clusterCacheDir()
	if err != nil {
		return programs{}, err
	}
	kube, err := ensureKube(ctx, log, filepath.Join(source, "kube"), cache)
	if err != nil {
		return programs{}, fmt.Errorf("build Kubernetes: %w", err)
	}
	tools, err := ensureTools(ctx, source, cache)
	if err != nil {
		return programs{}, fmt.Errorf("build the cluster's own programs: %w", err)
	}
	return programs{
		Bin: kube, Kube: filepath.Join(kube, "kube"),
		Supervise: filepath.Join(tools, "supervise"), Pause: filepath.Join(tools, "pause"),
	}, nil
}

// kubeSourceDir returns the folder of this package's sources: the folder at compile time or, if the path was trimmed, the folder where
// the go command finds the module from the working folder.
func kubeSourceDir() (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok {
		dir := filepath.Dir(file)
		if _, err := os.Stat(filepath.Join(dir, "kube", "go.mod")); err == nil {
			return dir, nil
		}
	}
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tachometer-metrics/tachometer/test/harness/cluster").Output()
	if err != nil {
		return "", fmt.Errorf("find the sources of test/harness/cluster: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// MinorVariable is the environment variable that selects the minor version of Kubernetes; empty: defaultMinor. kube has a module file for
// each version.
const MinorVariable = "TACHOMETER_KUBERNETES"

// defaultMinor is the version that clusters run.
const defaultMinor = "1.37"

// kubeModFile returns the module file in the folder module that requires Kubernetes minor.
func kubeModFile(module, minor string) (string, error) {
	minor = cmp.Or(minor, defaultMinor)
	files, err := filepath.Glob(filepath.Join(module, "*.mod"))
	if err != nil {
		return "", err
	}
	var known []string
	for _, file := range files {
		version, err := kubernetesVersion(file)
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(version, "v"+minor+".") {
			return filepath.Base(file), nil
		}
		known = append(known, version)
	}
	return "", fmt.Errorf("%s=%s: no Kubernetes of that minor version; there are %s", MinorVariable, minor, strings.Join(known, ", "))
}

// ensureKube returns the folder of the Kubernetes programs, built from the version and sources in module.
func ensureKube(ctx context.Context, log io.Writer, module, cache string) (string, error) {
	modFile, err := kubeModFile(module, os.Getenv(MinorVariable))
	if err != nil {
		return "", err
	}
	version, err := kubernetesVersion(filepath.Join(module, modFile))
	if err != nil {
		return "", err
	}
	sum, err := hashSourceFiles(module, modFile, strings.TrimSuffix(modFile, "mod")+"sum", "main.go")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "kubernetes", version+"-"+sum)
	return dir, buildProgramOnce(ctx, dir, func(target string) error {
		if err := buildKube(ctx, log, module, modFile, filepath.Join(target, "kube")); err != nil {
			return err
		}
		return os.Symlink("kube", filepath.Join(target, "kubectl"))
	})
}

// ensureTools returns the folder of the supervisor and the pause program.
func ensureTools(ctx context.Context, source, cache string) (string, error) {
	names := []string{"go.mod"}
	for _, folder := range []string{"cmd/supervise", "cmd/pause", "internal/supervisor", "internal/process"} {
		files, err := filepath.Glob(filepath.Join(source, folder, "*.go"))
		if err != nil {
			return "", err
		}
		for _, file := range files {
			names = append(names, filepath.Join(folder, filepath.Base(file)))
		}
	}
	sum, err := hashSourceFiles(source, names...)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "tools", sum)
	return dir, buildProgramOnce(ctx, dir, func(target string) error {
		cmd := goBuildCommand(ctx, source, "-o", target+"/", "./cmd/supervise", "./cmd/pause")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
}

// buildProgramOnce runs build with a fresh folder, which becomes dir, unless dir exists. If several processes need dir, a single
// process builds and the others wait.
func buildProgramOnce(ctx context.Context, dir string, build func(target string) error) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	unlock, err := lockBuildFile(ctx, dir+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	target := dir + ".new"
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	if err := os.Mkdir(target, 0o755); err != nil {
		return err
	}
	if err := build(target); err != nil {
		return errors.Join(err, os.RemoveAll(target))
	}
	return os.Rename(target, dir)
}

// lockBuildFile waits until no other process holds the lock. The kernel releases it with the process.
func lockBuildFile(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	taken := func() bool {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		return err == nil
	}
	if waited := pollClusterEvery(ctx, 200*time.Millisecond, taken); waited != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, errors.Join(waited, err))
	}
	return func() { file.Close() }, nil
}

func goBuildCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	return cmd
}

// buildKube compiles Kubernetes and prints its progress: the first build takes minutes.
func buildKube(ctx context.Context, log io.Writer, module, modFile, output string) error {
	version, err := kubernetesVersion(filepath.Join(module, modFile))
	if err != nil {
		return err
	}
	total, err := countKubePackages(ctx, module, modFile)
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "building Kubernetes %s from its Go modules, once: about 8 minutes on 2 cores, less where Go has built parts of it before\n", version)
	cmd := goBuildCommand(ctx, module, "-modfile", modFile, "-v", "-ldflags", kubeVersionStamps(version), "-o", output, ".")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	last := showKubeBuildProgress(log, stderr, total, started)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go build in %s: %w\n%s", module, err, last)
	}
	fmt.Fprintf(log, "built Kubernetes %s in %s: %s\n", version, time.Since(started).Round(time.Second), filepath.Dir(output))
	return nil
}

// showKubeBuildProgress reads the go command's -v output, writes a line about it every ten seconds, and returns its last lines.
func showKubeBuildProgress(log io.Writer, output io.Reader, total int, started time.Time) string {
	const every = 10 * time.Second
	var tail []string
	compiled := 0
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return strings.Join(tail, "\n")
			}
			if tail = append(tail, line); len(tail) > 20 {
				tail = tail[1:]
			}
			if !strings.Contains(line, " ") { // a package; other lines are sentences
				compiled++
			}
		case now := <-tick.C:
			fmt.Fprintf(log, "  %s: %d of at most %d packages compiled\n", now.Sub(started).Round(time.Second), compiled, total)
		}
	}
}

func countKubePackages(ctx context.Context, module, modFile string) (int, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-modfile", modFile, "-deps", ".")
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("go list -deps in %s: %w\n%s", module, err, &stderr)
	}
	return bytes.Count(out, []byte("\n")), nil
}

var requiresKubernetes = regexp.MustCompile(`(?m)^\s*k8s\.io/kubernetes (v\S+)`)

// kubernetesVersion returns the version of k8s.io/kubernetes required by a go.mod file.
func kubernetesVersion(goMod string) (string, error) {
	data, err := os.ReadFile(goMod)
	if err != nil {
		return "", err
	}
	match := requiresKubernetes.FindSubmatch(data)
	if match == nil {
		return "", fmt.Errorf("read %s: no requirement for k8s.io/kubernetes", goMod)
	}
	return string(match[1]), nil
}

// kubeVersionStamps returns the linker flags that stamp the version into every program, as release builds do.
func kubeVersionStamps(version string) string {
	numbers := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	flags := []string{"-s", "-w"}
	for _, where := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for _, stamp := range []string{"gitVersion=" + version, "gitMajor=" + numbers[0], "gitMinor=" + numbers[1], "gitTreeState=clean"} {
			flags = append(flags, "-X", where+"."+stamp)
		}
	}
	return strings.Join(flags, " ")
}

// hashSourceFiles returns a short digest of the contents of files in dir.
func hashSourceFiles(dir string, names ...string) (string, error) {
	sum := sha256.New()
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n", name, len(data))
		sum.Write(data)
	}
	return hex.EncodeToString(sum.Sum(nil))[:12], nil
}
