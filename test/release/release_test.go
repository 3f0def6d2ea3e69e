package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
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
		"adapter.yaml", "adapter-resource-metrics.yaml", "scaler.yaml", "notes.md", "tachometer-adapter-1.2.3.tgz",
		"tachometer-adapter" + system + ".tar.gz", "tachometer-adapter" + system + ".spdx.json", "tachometer-scaler" + system + ".tar.gz",
	} {
		if !strings.Contains(sums[0], "  "+want+"\n") {
			t.Errorf("no %s in\n%s", want, sums[0])
		}
	}
	checkChart(t, filepath.Join(folder, "tachometer-adapter-1.2.3.tgz"))
	checkSBOM(t, filepath.Join(folder, "tachometer-adapter"+system+".spdx.json"))
}

// checkChart expects the release's version in the chart.
func checkChart(t *testing.T, file string) {
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
			t.Fatalf("%s has no Chart.yaml", file)
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Name != "tachometer-adapter/Chart.yaml" {
			continue
		}
		text, err := io.ReadAll(in)
		if err != nil || !strings.Contains(string(text), "\nversion: 1.2.3\n") || !strings.Contains(string(text), "appVersion: v1.2.3\n") {
			t.Errorf("%v:\n%s", err, text)
		}
		return
	}
}

// checkSBOM expects the program's direct dependencies in its SBOM.
func checkSBOM(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var document struct{ Packages []struct{ Name string } }
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, p := range document.Packages {
		names[p.Name] = true
	}
	for _, want := range []string{"tachometer-adapter", "k8s.io/client-go", "github.com/prometheus/prometheus", "go"} {
		if !names[want] {
			t.Errorf("%s does not name %s", filepath.Base(file), want)
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
