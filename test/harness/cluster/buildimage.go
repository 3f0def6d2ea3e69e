//go:build unix

// Builds of container images from a Dockerfile, with the Go and the caches of this machine and no registry.

package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ImageBuild holds the options of BuildImage.
type ImageBuild struct {
	Context string            // folder of the Dockerfile and of the files that it copies
	Target  string            // stage to build; empty: the last stage
	Tag     string            // NAME:TAG in the archive
	Archive string            // file to write, replaced if it exists
	Args    map[string]string // build arguments beside BUILDER
	// Architecture of the image, such as arm64; empty: this machine's. The builder runs on this machine all the same.
	Architecture string
	// Timestamp of the image and its files, for archives that two builds make alike; zero: now.
	Timestamp time.Time
	Install   bool      // install buildah if it is missing and root may
	Log       io.Writer // gets the builder's output; nil: only an error shows it
}

// BuildImage builds a target of a Dockerfile without any registry, for LoadImage to load. The Dockerfile must take its builder image
// from the build argument BUILDER, and its last stages must be from scratch. BuildImage replaces the builder image by a stand-in with
// this machine's own shell, Go, and module and build caches, so that it downloads nothing again. It requires root or the right to
// create user namespaces.
func BuildImage(ctx context.Context, build ImageBuild) error {
	if err := buildWithBuildah(ctx, build); err != nil {
		return fmt.Errorf("build image %s: %w", build.Tag, err)
	}
	return nil
}

func buildWithBuildah(ctx context.Context, build ImageBuild) (err error) {
	if build.Log == nil {
		build.Log = io.Discard
	}
	tools := []nodeTool{{"buildah", "buildah"}}
	if build.Install {
		if err := installTools(ctx, build.Log, tools); err != nil {
			return err
		}
	}
	paths, missing := findNodeTools(tools)
	if len(missing) > 0 {
		return errors.New("missing programs; " + installHint(missing))
	}
	work, err := os.MkdirTemp("", "tachometer-image-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	b := &builder{buildah: paths["buildah"], work: work, log: build.Log}
	return b.buildInBuilder(ctx, build)
}

// builder runs buildah with its own storage and removes the storage afterwards: Go's caches keep the compiled packages.
type builder struct {
	buildah, work string
	log           io.Writer
}

func (b *builder) buildInBuilder(ctx context.Context, build ImageBuild) error {
	toolchain, err := readGoEnv(ctx)
	if err != nil {
		return err
	}
	archive := filepath.Join(b.work, "builder.tar")
	host, err := packBuilder(archive, toolchain)
	if err != nil {
		return err
	}
	if err := b.runBuildah(ctx, "pull", "docker-archive:"+archive); err != nil {
		return err
	}
	idFile := filepath.Join(b.work, "id") // a name would end up in the archive
	args := []string{"bud", "--isolation", "chroot", "--layers=false", "--pull=false", "--build-arg", "BUILDER=" + builderTag, "--iidfile", idFile}
	for _, volume := range host {
		args = append(args, "--volume", volume)
	}
	if build.Target != "" {
		args = append(args, "--target", build.Target)
	}
	if build.Architecture != "" {
		args = append(args, "--arch", build.Architecture)
	}
	if !build.Timestamp.IsZero() {
		args = append(args, "--timestamp", strconv.FormatInt(build.Timestamp.Unix(), 10))
	}
	for _, name := range sortedImageFiles(build.Args) {
		args = append(args, "--build-arg", name+"="+build.Args[name])
	}
	if err := b.runBuildah(ctx, append(args, build.Context)...); err != nil {
		return err
	}
	id, err := os.ReadFile(idFile)
	if err != nil {
		return err
	}
	built := filepath.Join(b.work, "result.tar")
	if err := b.runBuildah(ctx, "push", strings.TrimSpace(string(id)), "docker-archive:"+built+":"+build.Tag); err != nil {
		return err
	}
	return copyToBuilder(build.Archive, built)
}

func (b *builder) runBuildah(ctx context.Context, args ...string) error {
	storage := []string{"--storage-driver", "vfs", "--root", filepath.Join(b.work, "root"), "--runroot", filepath.Join(b.work, "run")}
	cmd := exec.CommandContext(ctx, b.buildah, append(storage, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+b.work) // buildah would leave files in /var/tmp
	// Processes started by buildah end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var output bytes.Buffer
	cmd.Stdout = io.MultiWriter(b.log, &output)
	cmd.Stderr = cmd.Stdout
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("buildah %s: %w\n%s", args[0], err, output.String())
	}
	return nil
}

const builderTag = "localhost/tachometer-builder:latest"

// goEnv holds the Go settings that a build inside the builder shares with builds outside.
type goEnv struct{ GOROOT, GOMODCACHE, GOCACHE, GOPROXY, GOSUMDB, GONOSUMDB, GONOPROXY, GOPRIVATE, GOFLAGS string }

func readGoEnv(ctx context.Context) (goEnv, error) {
	var env goEnv
	out, err := exec.CommandContext(ctx, "go", "env", "-json").Output()
	if err != nil {
		return env, fmt.Errorf("go env: %w", err)
	}
	return env, json.Unmarshal(out, &env)
}

// The paths of this machine's caches in the builder. Dockerfiles usually mount their own caches elsewhere and so do not cover these.
const (
	builderModules = "/go/host/mod"
	builderCache   = "/go/host/cache"
)

// packBuilder writes the stand-in for the builder's image: a skeleton with this machine's files mounted into it. It returns
// the mounts.
func packBuilder(archive string, env goEnv) (volumes []string, err error) {
	certificates, err := findCertificates()
	if err != nil {
		return nil, err
	}
	links, volumes, err := systemFolders()
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(env.GOROOT, "/usr/") {
		volumes = append(volumes, env.GOROOT+":"+env.GOROOT+":ro")
	}
	for _, folder := range []string{env.GOMODCACHE, env.GOCACHE} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
	}
	volumes = append(volumes, env.GOMODCACHE+":"+builderModules, env.GOCACHE+":"+builderCache)
	return volumes, PackImage(archive, Image{
		Tag:   builderTag,
		Files: map[string]string{"/etc/ssl/certs/ca-certificates.crt": certificates, "/etc/passwd": "/etc/passwd", "/etc/group": "/etc/group"},
		Links: links,
		Env:   env.builderEnvironment(),
	})
}

// builderEnvironment returns the environment of a build.
func (env goEnv) builderEnvironment() []string {
	settings := []string{
		"PATH=" + env.GOROOT + "/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "GOPATH=/go", "GOMODCACHE=" + builderModules, "GOCACHE=" + builderCache, "GOTOOLCHAIN=local",
		"GOPROXY=" + env.GOPROXY, "GOSUMDB=" + env.GOSUMDB, "GONOSUMDB=" + env.GONOSUMDB, "GONOPROXY=" + env.GONOPROXY, "GOPRIVATE=" + env.GOPRIVATE,
		// The builder has git, unlike the real builder image: Go would look for a repository.
		"GOFLAGS=" + strings.TrimSpace(env.GOFLAGS+" -buildvcs=false"),
	}
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		if value := os.Getenv(name); value != "" {
			settings = append(settings, name+"="+value)
		}
	}
	return settings
}

// systemFolders returns the folders with the shell and its libraries: links (on current systems all but /usr), and
// folders to mount.
func systemFolders() (links map[string]string, volumes []string, err error) {
	links = map[string]string{}
	for _, folder := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/alternatives"} {
		info, err := os.Lstat(folder)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return nil, nil, err
		case info.Mode()&os.ModeSymlink != 0:
			if links[folder], err = os.Readlink(folder); err != nil {
				return nil, nil, err
			}
		default:
			volumes = append(volumes, folder+":"+folder+":ro")
		}
	}
	return links, volumes, nil
}

// findCertificates returns the path of this machine's bundle of certificate authorities; distributions differ.
func findCertificates() (string, error) {
	for _, path := range []string{
		os.Getenv("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem",
	} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no certificate authorities; as root: apt-get install ca-certificates")
}

func copyToBuilder(to, from string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(target, source); err != nil {
		return errors.Join(err, target.Close())
	}
	return target.Close()
}
