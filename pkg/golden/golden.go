// Package golden compares the output of tests with golden files, which show a reader what a program prints. A test run with -update writes
// the files anew. It is for tests alone.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Updates reports whether the tests run with -update.
func Updates() bool { return *update }

// Compare fails the test where got differs from a file. With -update it first writes the file, and the folders on its path.
func Compare(t testing.TB, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: make update writes it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; make update writes it anew (-file +now):\n%s", file, diff)
	}
}
