package schedule

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/golden"
)

// TestBadFiles checks the complete error text of every invalid file.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".bad.yaml")
		names[name] = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := loadSchedules(readTestFile(t, file))
			if err == nil {
				t.Fatal("taken")
			}
			reportDiff(t, badFiles[name], strings.Split(err.Error(), "\n"))
		})
	}
	reportDiff(t, slices.Sorted(maps.Keys(badFiles)), slices.Sorted(maps.Keys(names)))
}

func readTestFile(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// compareGoldenText compares text with a file.
func compareGoldenText(t *testing.T, file, got string) {
	t.Helper()
	golden.Compare(t, file, got)
}
