package main

// This file holds the pictures of docs/dashboard.md to their sources: the files of the page, and the data that it shows.

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	pageFolder     = "../../pkg/plugin/dashboard/web"
	picturesFolder = "../../docs"
	// sourcesFile stands beside the pictures, with the checksums of their sources when they were taken.
	sourcesFile = "dashboard-sources.sha256"
)

// TestScreenshotsAreFresh: since the pictures were taken, neither a file of the page nor the data that it shows has changed.
func TestScreenshotsAreFresh(t *testing.T) {
	if *updateScreenshots != "" {
		t.Skip("SKIPPED: -screenshots takes the pictures now")
	}
	taken, err := os.ReadFile(filepath.Join(picturesFolder, sourcesFile))
	if err != nil {
		t.Fatal(err)
	}
	if now := hashPictureSources(t, servePage(t)); now != string(taken) {
		t.Errorf("docs/dashboard-*.png are older than the dashboard: run make update-screenshots, and look at them.\nnow:\n%s\nwhen they were taken:\n%s", now, taken)
	}
}

// writePictureSources records the sources of the pictures that were just taken into a folder.
func writePictureSources(t *testing.T, served *servedPage, folder string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, sourcesFile), []byte(hashPictureSources(t, served)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// hashPictureSources returns a line for each file of the page and for its data, in the form of sha256sum.
func hashPictureSources(t *testing.T, served *servedPage) string {
	t.Helper()
	var sums strings.Builder
	err := fs.WalkDir(os.DirFS(pageFolder), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(pageFolder, name))
		fmt.Fprintf(&sums, "%x  web/%s\n", sha256.Sum256(data), name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"api/state", "api/autoscalers/shop/web"} {
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(served.get(t, name)), name)
	}
	return sums.String()
}

// get returns a response of the page's server.
func (p *servedPage) get(t *testing.T, name string) []byte {
	t.Helper()
	response := httptest.NewRecorder()
	p.server.Handler().ServeHTTP(response, httptest.NewRequestWithContext(t.Context(), http.MethodGet, p.url(name), http.NoBody))
	if response.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", name, response.Code, response.Body)
	}
	return response.Body.Bytes()
}
