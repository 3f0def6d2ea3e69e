package main

import (
	"strings"
	"testing"
)

func TestFilesFor(t *testing.T) {
	t.Parallel()
	if err := checkOpenFileLimit(1); err != nil {
		t.Error(err)
	}
	if err := checkOpenFileLimit(1 << 40); err == nil || !strings.Contains(err.Error(), "ulimit -Hn") {
		t.Errorf("a trillion open files: %v", err)
	}
}
