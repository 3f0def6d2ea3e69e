// Package image tests the images that the Dockerfile builds.
package image

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster"
)

// Bounds of the images, uncompressed. An adapter or a scaler far above has lost the linker's elimination of unused methods: test/arch has the rule.
const (
	maxSampleBytes  = 15_000_000
	maxAdapterBytes = 66_000_000
	maxScalerBytes  = 44_000_000
)

func TestSampleImage(t *testing.T) {
	img := build(t, "sample")
	img.check(t, "sample", "8080/tcp", maxSampleBytes)
	runsStatically(t, img.files["sample"])
}

func TestAdapterImage(t *testing.T) {
	img := build(t, "tachometer-adapter")
	img.check(t, "tachometer-adapter", "6443/tcp", maxAdapterBytes)
	runsStatically(t, img.files["tachometer-adapter"])
}

func TestScalerImage(t *testing.T) {
	img := build(t, "tachometer-scaler")
	img.check(t, "tachometer-scaler", "8443/tcp", maxScalerBytes)
	runsStatically(t, img.files["tachometer-scaler"])
}

// check checks the promises of every image of the Dockerfile.
func (i image) check(t *testing.T, program, port string, maxBytes int) {
	t.Helper()
	t.Logf("uncompressed: %.2f MB in %d files", float64(i.size())/1e6, len(i.files))
	if size := i.size(); size >= maxBytes {
		t.Errorf("the image has %d bytes, want under %d", size, maxBytes)
	}
	wantFiles := []string{program, "etc/ssl/certs/ca-certificates.crt"} // and so no shell
	slices.Sort(wantFiles)
	if diff := cmp.Diff(wantFiles, slices.Sorted(maps.Keys(i.files))); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if i.config.User != "65532:65532" {
		t.Errorf("user %q, want a number that is not root's", i.config.User)
	}
	if diff := cmp.Diff([]string{"/" + program}, i.config.Entrypoint); diff != "" || len(i.config.Cmd) > 0 {
		t.Errorf("entrypoint (-want +got), command %v:\n%s", i.config.Cmd, diff)
	}
	if _, ok := i.config.ExposedPorts[port]; !ok {
		t.Errorf("ports %v, want %s", i.config.ExposedPorts, port)
	}
	if got, want := i.config.Labels["org.opencontainers.image.source"], "https://github.com/tachometer-metrics/tachometer"; got != want {
		t.Errorf("source label %q, want %q", got, want)
	}
	if got := i.config.Labels["org.opencontainers.image.version"]; got != version {
		t.Errorf("version label %q, want %q", got, version)
	}
	if certificates := string(i.files["etc/ssl/certs/ca-certificates.crt"]); !strings.Contains(certificates, "BEGIN CERTIFICATE") {
		t.Error("the CA certificates are empty")
	}
}

// runsStatically runs the image's program and checks its version stamp.
func runsStatically(t *testing.T, program []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, program, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), file, "--version").Output()
	if err != nil || strings.TrimSpace(string(out)) != version {
		t.Errorf("--version prints %q, %v, want %q", out, err, version)
	}
}

const version = "v0.0.0-test"

// image is the content of an archive.
type image struct {
	config struct {
		User            string
		Entrypoint, Cmd []string
		ExposedPorts    map[string]any
		Labels          map[string]string
	}
	files map[string][]byte // by path, without a leading slash
}

// size returns the sum of all files: the Dockerfile copies every file once, so no layer overwrites another.
func (i image) size() (n int) {
	for _, content := range i.files {
		n += len(content)
	}
	return n
}

// build runs the repository's Dockerfile without a registry.
func build(t *testing.T, target string) image {
	t.Helper()
	if _, err := exec.LookPath("buildah"); err != nil {
		t.Skip("SKIPPED: building an image needs buildah; on Debian, as root: apt-get install buildah")
	}
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: building an image without a registry needs root")
	}
	archive := filepath.Join(t.TempDir(), target+".tar")
	err := cluster.BuildImage(t.Context(), cluster.ImageBuild{
		Context: "../../..", Target: target, Tag: target + ":test", Archive: archive,
		Args: map[string]string{"VERSION": version}, Log: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return read(t, archive)
}

// read returns the image in an archive in the format of `docker save`.
func read(t *testing.T, archive string) image {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	entries := untar(t, file)

	var manifest []struct {
		Config string
		Layers []string
	}
	decode(t, entries["manifest.json"], &manifest)
	if len(manifest) != 1 {
		t.Fatalf("%d images in the archive", len(manifest))
	}
	img := image{files: map[string][]byte{}}
	outer := struct{ Config any }{&img.config}
	decode(t, entries[manifest[0].Config], &outer)
	for _, layer := range manifest[0].Layers {
		maps.Copy(img.files, untar(t, strings.NewReader(string(entries[layer]))))
	}
	return img
}

// untar returns the regular files of an archive; links resolve to their targets.
func untar(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(path.Clean(header.Name), "/")
		switch header.Typeflag {
		case tar.TypeReg:
			if files[name], err = io.ReadAll(archive); err != nil {
				t.Fatal(err)
			}
		case tar.TypeSymlink, tar.TypeLink:
			files[name] = files[path.Join(path.Dir(name), header.Linkname)]
		}
	}
}

func decode(t *testing.T, doc []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(doc, into); err != nil {
		t.Fatalf("decode %.100q: %v", doc, err)
	}
}
