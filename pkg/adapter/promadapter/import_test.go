package promadapter

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/golden"
)

// TestImport translates each configuration of testdata/import and compares the result with its golden file.
func TestImport(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/import/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, ".native.yaml") {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			native, notes, err := Import(loadConfig(t, string(data)), "")
			if got := strings.Count(string(native), "\n# "); err == nil && got < len(notes) {
				t.Errorf("%d notes and %d comments", len(notes), got)
			}
			untranslatable := path == "testdata/import/resource.yaml" || path == "testdata/import/chart.yaml"
			if untranslatable != (err != nil) || untranslatable && len(notes) == 0 {
				t.Errorf("Import: %v, %q", err, notes)
			} else if err == nil {
				if _, _, err := rule.Load(native); err != nil {
					t.Errorf("the native format rejects it: %v", err)
				}
			}
			file := strings.TrimSuffix(path, ".yaml") + ".native.yaml"
			golden.Compare(t, file, string(native))
		})
	}
}

// FuzzImport: every translation is a valid native configuration.
func FuzzImport(f *testing.F) {
	addSeedConfigs(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Load(data)
		if err != nil {
			return
		}
		native, notes, err := Import(c, "http://a:9090")
		if err != nil {
			return
		}
		if _, _, err := rule.Load(native); err != nil {
			t.Errorf("%v\nnotes %q\n%s", err, notes, native)
		}
	})
}
