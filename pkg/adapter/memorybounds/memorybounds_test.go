package memorybounds

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/golden"
)

func readDocument(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("../../../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestBoundsTogether: all bounds together take half of the shipped container's memory at most. docs/operations.md links their list.
func TestBoundsTogether(t *testing.T) {
	t.Parallel()
	var list strings.Builder
	sum := int64(0)
	for _, b := range List() {
		sum += b.Bytes
		fmt.Fprintf(&list, "%4.0f MiB  %s\n", float64(b.Bytes)/mib, b.Part)
	}
	fmt.Fprintf(&list, "%4.0f MiB  together\n", float64(sum)/mib)
	golden.Compare(t, "testdata/bounds.golden", list.String())
	for _, path := range []string{"manifests/adapter/deployment.yaml", "manifests/helm/tachometer-adapter/values.yaml"} {
		limits := regexp.MustCompile(`memory: (\d+)Mi`).FindAllStringSubmatch(readDocument(t, path), -1)
		if len(limits) == 0 {
			t.Fatalf("%s has no memory limit", path)
		}
		limit, err := strconv.ParseInt(limits[len(limits)-1][1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if sum > limit*mib/2 {
			t.Errorf("all bounds take %d MiB, want at most half of the %d MiB of %s", sum/mib, limit, path)
		}
	}
}
