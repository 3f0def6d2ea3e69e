// Package version says which build a program is.
package version

import (
	"cmp"
	"runtime/debug"
)

// stamped is set by the linker: -ldflags '-X github.com/tachometer-metrics/tachometer/pkg/version.stamped=v1.2.3'.
var stamped string

// String returns the stamped version; without a stamp the version that the go command recorded, as go install MODULE@VERSION does;
// without both "dev".
func String() string {
	recorded := ""
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "(devel)" {
		recorded = info.Main.Version
	}
	return cmp.Or(stamped, recorded, "dev")
}
