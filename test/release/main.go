// Release makes the files of a release, reproducibly: two runs at one commit give the same bytes.
//
//	make release VERSION=v0.1.0
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// programs are the folders of cmd with a binary in the release; images are those with an image, by the name of their Dockerfile target.
var (
	programs = []string{"tachometer-adapter", "tachometer-scaler", "kubectl-tachometer"}
	images   = []string{"tachometer-adapter", "tachometer-scaler", "sample"}
	systems  = []system{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}}
)

type system struct{ os, arch string }

// release is one release in the making.
type release struct {
	root    string // of the repository
	out     string // folder of the files
	version string // v1.2.3
	commit  time.Time
	systems []system

	programFlags map[string][]string        // of go build and go list, by program
	licenses     map[string][]moduleLicense // by program, of all systems
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

var versionForm = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`)

func run(ctx context.Context, args []string) error {
	r := release{}
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.StringVar(&r.version, "version", "", "version of the release, such as v0.1.0")
	flags.StringVar(&r.root, "root", ".", "folder of the repository")
	flags.StringVar(&r.out, "out", "dist", "folder for the files; it is removed first")
	withImages := flags.Bool("images", true, "build the image archives, by buildah")
	only := flags.String("systems", "", "systems to build for, such as linux/amd64,darwin/arm64; empty: all")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r.systems = systems
	if *only != "" {
		r.systems = slices.DeleteFunc(slices.Clone(systems), func(s system) bool { return !slices.Contains(strings.Split(*only, ","), s.os+"/"+s.arch) })
	}
	if !versionForm.MatchString(r.version) {
		return fmt.Errorf("-version %q: want vMAJOR.MINOR.PATCH", r.version)
	}
	if err := r.prepareReleaseFolder(ctx); err != nil {
		return err
	}
	steps := []func(context.Context) error{r.buildReleaseBinaries, r.writeLicenses, r.renderReleaseManifests, r.packReleaseCharts, r.writeReleaseNotes}
	if *withImages {
		steps = append(steps, r.buildReleaseImages)
	}
	for _, step := range append(steps, r.writeKrewManifest, r.writeReleaseChecksums) {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// prepareReleaseFolder reads the commit's time and empties the folder of the files.
func (r *release) prepareReleaseFolder(ctx context.Context) error {
	seconds, err := r.runReleaseGit(ctx, "log", "-1", "--format=%ct")
	if err != nil {
		return err
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("time of the commit: %w", err)
	}
	r.commit = time.Unix(unix, 0).UTC()
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	return os.MkdirAll(r.out, 0o755)
}

func (r *release) runReleaseGit(ctx context.Context, args ...string) (string, error) {
	out, err := r.newReleaseCommand(ctx, "git", args...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

func (r *release) newReleaseCommand(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stderr = r.root, os.Stderr
	return cmd
}

// existingReleasePrograms returns the programs that this commit has.
func (r *release) existingReleasePrograms() (found []string) {
	for _, program := range programs {
		if _, err := os.Stat(filepath.Join(r.root, "cmd", program)); err == nil {
			found = append(found, program)
		}
	}
	return found
}

// buildReleaseBinaries builds each program for each system, packs it with all licences, and writes its SBOM from the build's own record.
func (r *release) buildReleaseBinaries(ctx context.Context) error {
	license, err := os.ReadFile(filepath.Join(r.root, "LICENSE"))
	if err != nil {
		return err
	}
	r.licenses = map[string][]moduleLicense{}
	work, err := os.MkdirTemp("", "tachometer-release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }() // a temporary folder
	if err := r.writeAdapterModfile(ctx, work); err != nil {
		return err
	}
	for _, program := range r.existingReleasePrograms() {
		for _, s := range r.systems {
			if err := r.buildReleaseBinary(ctx, program, s, filepath.Join(work, program), license); err != nil {
				return fmt.Errorf("%s for %s/%s: %w", program, s.os, s.arch, err)
			}
		}
	}
	return nil
}

func (r *release) buildReleaseBinary(ctx context.Context, program string, s system, binary string, license []byte) error {
	const flags = "-s -w -X github.com/tachometer-metrics/tachometer/pkg/version.stamped="
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", flags + r.version, "-o", binary}, r.programFlags[program]...)
	build := r.newReleaseCommand(ctx, "go", append(args, "./cmd/"+program)...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+s.os, "GOARCH="+s.arch)
	if err := build.Run(); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	text, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	modules, err := r.listLicenses(ctx, program, s)
	if err != nil {
		return err
	}
	r.licenses[program] = append(r.licenses[program], modules...)
	name := fmt.Sprintf("%s_%s_%s_%s", program, r.version, s.os, s.arch)
	files := []packed{{"LICENSE", license, 0o644}, {"THIRD_PARTY_LICENSES", joinLicenseTexts(modules), 0o644}, {program, text, 0o755}}
	return errors.Join(r.packReleaseArchive(name+".tar.gz", files), r.writeSBOM(name+".spdx.json", program, binary, modules))
}

// writeAdapterModfile writes a copy of go.mod in which pkg/adapter/conntrack replaces a module, as the Dockerfile does, and has the adapter built by it.
func (r *release) writeAdapterModfile(ctx context.Context, folder string) error {
	modfile := filepath.Join(folder, "adapter.mod")
	for from, to := range map[string]string{"go.mod": modfile, "go.sum": filepath.Join(folder, "adapter.sum")} {
		text, err := os.ReadFile(filepath.Join(r.root, from))
		if err != nil {
			return err
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			return err
		}
	}
	edit := r.newReleaseCommand(ctx, "go", "mod", "edit", "-replace=github.com/mwitkow/go-conntrack=./pkg/adapter/conntrack", modfile)
	if err := edit.Run(); err != nil {
		return fmt.Errorf("go mod edit: %w", err)
	}
	r.programFlags = map[string][]string{"tachometer-adapter": {"-modfile=" + modfile, "-tags=grpcnotrace"}}
	return nil
}

// buildReleaseImages writes an archive of each image for each Linux architecture.
func (r *release) buildReleaseImages(ctx context.Context) error {
	for _, image := range images {
		for _, s := range r.systems {
			if s.os != "linux" {
				continue
			}
			archive := filepath.Join(r.out, fmt.Sprintf("%s_%s_%s_%s.image.tar", image, r.version, s.os, s.arch))
			if err := r.buildReleaseImage(ctx, image, s.arch, archive); err != nil {
				return err
			}
		}
	}
	return nil
}
