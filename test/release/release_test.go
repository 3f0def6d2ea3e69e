package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestReproducible makes the files of a release twice, and expects the same checksums of the same files.
func TestReproducible(t *testing.T) {
	t.Parallel()
	var sums []string
	folder := ""
	for range 2 {
		folder = t.TempDir()
		args := []string{"-version", "v1.2.3", "-root", "../..", "-out", folder, "-images=false", "-systems", runtime.GOOS + "/" + runtime.GOARCH}
		if err := run(t.Context(), args); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(folder, "checksums.txt"))
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, string(text))
	}
	if sums[0] != sums[1] {
		t.Errorf("two builds:\n%s\n%s", sums[0], sums[1])
	}
	system := "_v1.2.3_" + runtime.GOOS + "_" + runtime.GOARCH
	for _, want := range []string{
		"adapter.yaml", "adapter-resource-metrics.yaml", "scaler.yaml", "notes.md", "licenses.md", "tachometer-adapter-1.2.3.tgz", "tachometer-scaler-1.2.3.tgz",
		"tachometer-adapter" + system + ".tar.gz", "tachometer-adapter" + system + ".spdx.json", "tachometer-scaler" + system + ".tar.gz",
	} {
		if !strings.Contains(sums[0], "  "+want+"\n") {
			t.Errorf("no %s in\n%s", want, sums[0])
		}
	}
	for _, chart := range []string{"tachometer-adapter", "tachometer-scaler"} {
		file := filepath.Join(folder, chart+"-1.2.3.tgz")
		text := readPacked(t, file, chart+"/Chart.yaml")
		if !strings.Contains(text, "\nversion: 1.2.3\n") || !strings.Contains(text, "appVersion: v1.2.3\n") || !strings.Contains(text, "description: ") {
			t.Errorf("%s has other versions:\n%s", file, text)
		}
	}
	licenses := readPacked(t, filepath.Join(folder, "tachometer-scaler"+system+".tar.gz"), "THIRD_PARTY_LICENSES")
	if !strings.Contains(licenses, "==== github.com/twmb/franz-go v") || !strings.Contains(licenses, "Redistributions in binary form must reproduce") {
		t.Errorf("the scaler's archive lacks the licences of its modules: %d bytes", len(licenses))
	}
	notes, err := os.ReadFile(filepath.Join(folder, "notes.md"))
	if err != nil || !strings.HasPrefix(string(notes), "# v1.2.3\n") || !strings.Contains(string(notes), "helm install tachometer-adapter tachometer-adapter-1.2.3.tgz") {
		t.Errorf("notes.md does not begin with the version and the install (%v):\n%.600s", err, notes)
	}
	checkSBOM(t, filepath.Join(folder, "tachometer-adapter"+system+".spdx.json"))
	for program, maxBytes := range map[string]int{"tachometer-adapter": 70_000_000, "tachometer-scaler": 45_000_000} {
		checkProgramSize(t, program, readPacked(t, filepath.Join(folder, program+system+".tar.gz"), program), maxBytes)
	}
}

// krewPlugin is a manifest of krew, https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest.
type krewPlugin struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   map[string]string `json:"metadata"`
	Spec       struct {
		Version          string `json:"version"`
		Homepage         string `json:"homepage"`
		ShortDescription string `json:"shortDescription"`
		Description      string `json:"description"`
		Platforms        []struct {
			URI      string `json:"uri"`
			SHA256   string `json:"sha256"`
			Bin      string `json:"bin"`
			Selector struct {
				MatchLabels map[string]string `json:"matchLabels"`
			} `json:"selector"`
		} `json:"platforms"`
	} `json:"spec"`
}

// TestKrewManifest reads the plugin's manifest strictly, and expects what krew's index asks of one: the archive of each system, by its checksum.
func TestKrewManifest(t *testing.T) {
	t.Parallel()
	r := release{root: "../..", out: t.TempDir(), version: "v1.2.3", systems: systems}
	for _, s := range systems {
		files := []packed{{"LICENSE", []byte("Apache"), 0o644}, {"kubectl-tachometer", []byte(s.os + s.arch), 0o755}}
		if err := r.packReleaseArchive("kubectl-tachometer_v1.2.3_"+s.os+"_"+s.arch+".tar.gz", files); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(r.writeKrewManifest(t.Context()), r.writeReleaseChecksums(t.Context())); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(r.out, "krew.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var plugin krewPlugin
	if err := yaml.UnmarshalStrict(text, &plugin); err != nil {
		t.Fatal(err)
	}
	if plugin.APIVersion != "krew.googlecontainertools.github.com/v1alpha2" || plugin.Kind != "Plugin" || plugin.Metadata["name"] != "tachometer" || plugin.Spec.Version != "v1.2.3" {
		t.Errorf("krew.yaml: %s %s %v %s", plugin.APIVersion, plugin.Kind, plugin.Metadata, plugin.Spec.Version)
	}
	if s := plugin.Spec.ShortDescription; s == "" || len(s) > 50 || plugin.Spec.Homepage == "" || plugin.Spec.Description == "" || len(plugin.Spec.Platforms) != len(systems) {
		t.Errorf("krew.yaml: shortDescription %q, homepage %q, %d platforms", s, plugin.Spec.Homepage, len(plugin.Spec.Platforms))
	}
	sums, err := os.ReadFile(filepath.Join(r.out, "checksums.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range plugin.Spec.Platforms {
		s, file := systems[i], filepath.Base(p.URI)
		if !strings.HasSuffix(p.URI, "/releases/download/v1.2.3/"+file) || !strings.Contains(string(sums), p.SHA256+"  "+file+"\n") {
			t.Errorf("krew.yaml: %s has the checksum %q", p.URI, p.SHA256)
		}
		if want := map[string]string{"os": s.os, "arch": s.arch}; !maps.Equal(p.Selector.MatchLabels, want) || readPacked(t, filepath.Join(r.out, file), p.Bin) != s.os+s.arch {
			t.Errorf("krew.yaml: selector %v, bin %q", p.Selector.MatchLabels, p.Bin)
		}
	}
}

// checkProgramSize notices a dependency that calls methods by name, as text/template does: the linker then keeps every method of every type, 20 MB or
// more. `go build -ldflags=-dumpdep` shows the function, marked ReflectMethod.
func checkProgramSize(t *testing.T, name, program string, maxBytes int) {
	t.Helper()
	if len(program) > maxBytes {
		t.Errorf("%s has %d bytes, want at most %d: does it import text/template, or a function marked ReflectMethod?", name, len(program), maxBytes)
	}
}

// readPacked returns a file of a tar.gz.
func readPacked(t *testing.T, file, name string) string {
	t.Helper()
	archive, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	expanded, err := gzip.NewReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	for in := tar.NewReader(expanded); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			t.Fatalf("%s has no %s", file, name)
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Name == name {
			text, err := io.ReadAll(in)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
	}
}

// checkSBOM expects the program and some dependencies, with their licences, in the SBOM.
func checkSBOM(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Packages []struct{ Name, LicenseDeclared string }
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	licenses := map[string]string{}
	for _, p := range document.Packages {
		licenses[p.Name] = p.LicenseDeclared
	}
	for name, want := range map[string]string{
		"tachometer-adapter": "Apache-2.0", "github.com/prometheus/prometheus": "Apache-2.0", "go": "BSD-3-Clause", "github.com/beorn7/perks": "MIT",
	} {
		if licenses[name] != want {
			t.Errorf("%s: licence of %s is %q, want %q", filepath.Base(file), name, licenses[name], want)
		}
	}
}

func TestVersionForm(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"", "1.2.3", "v1.2", "v1.2.3-dirty dirt"} {
		if err := run(t.Context(), []string{"-version", version}); err == nil || !strings.Contains(err.Error(), "want vMAJOR.MINOR.PATCH") {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

// TestChangelogSection: the notes are the section of this version, also beside one that begins alike and below an empty Unreleased.
func TestChartChanges(t *testing.T) {
	t.Parallel()
	const section = "Words.\n\n### FEATURE\n\nThe adapter:\n\n* `a: b` ([the page](docs/a.md)).\n\n### BUGFIX\n\n* c\n\n### OTHER\n\n* d\n"
	r := release{version: "v1.2.3-rc.1"}
	text, err := r.versionReleaseChart([]byte("name: tachometer-adapter\nversion: 0.0.0\nannotations: {artifacthub.io/license: Apache-2.0}\n"), section)
	if err != nil {
		t.Fatal(err)
	}
	var meta struct {
		Version, AppVersion string
		Annotations         map[string]string
	}
	if err := yaml.Unmarshal(text, &meta); err != nil {
		t.Fatal(err)
	}
	var changes []chartChange
	if err := yaml.UnmarshalStrict([]byte(meta.Annotations["artifacthub.io/changes"]), &changes); err != nil {
		t.Fatal(err)
	}
	if want := []chartChange{{"added", "`a: b` (the page)."}, {"fixed", "c"}}; !slices.Equal(changes, want) {
		t.Errorf("changes %q, want %q", changes, want)
	}
	if meta.Version != "1.2.3-rc.1" || meta.AppVersion != "v1.2.3-rc.1" || meta.Annotations["artifacthub.io/prerelease"] != "true" || meta.Annotations["artifacthub.io/license"] != "Apache-2.0" {
		t.Errorf("Chart.yaml:\n%s", text)
	}
}

func TestChangelogSection(t *testing.T) {
	t.Parallel()
	const changelog = "# Changelog\n\n## Unreleased\n\n## 0.1.10 (2027-02-01)\n\n* ten\n\n## [v0.1.1] - 2027-01-01\n\n* one\n\n### more\n\n* two\n"
	for version, want := range map[string]string{"0.1.1": "* one\n\n### more\n\n* two\n", "0.1.10": "* ten\n", "0.1": "", "0.2.0": ""} {
		got, err := findChangelogSection(changelog, version)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", version, got, err, want)
		}
	}
	if got, err := findChangelogSection("## Unreleased\n\n* new\n", "0.2.0"); got != "* new\n" || err != nil {
		t.Errorf("unreleased: %q, %v", got, err)
	}
}
