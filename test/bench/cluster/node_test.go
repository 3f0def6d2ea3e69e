package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// The working folder of the program is test/, that of `go -C test run`. Its default folders are those of the repository.
func TestShippedAdapterIsInTheRepository(t *testing.T) {
	s, err := parseClusterBenchSettings(nil)
	if err != nil {
		t.Fatal(err)
	}
	root, err := stack.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, s.adapter, "kustomization.yaml")); err != nil {
		t.Errorf("the adapter's folder by default: %v", err)
	}
	if !slices.Contains(s.chainBehaviors(), laneBehavior) {
		t.Errorf("the chain of the shipped adapter compares %q, want the surge lane too", s.chainBehaviors())
	}
}
