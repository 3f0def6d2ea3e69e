// Package version returns the version of a program's build.
package version

import (
	"cmp"
	"runtime/debug"
)

// stamped is set by the linker: -ldflags '-X github.com/tachometer-metrics/tachometer/pkg/version.stamped=v1.2.3'.
var stamped string

// String returns the stamped version. Without a stamp it returns the version that the go command recorded, as go install
// MODULE@VERSION does; else "dev".
func String() string {
	recorded := ""
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "(devel)" {
		recorded = info.Main.Version
	}
	return cmp.Or(stamped, recorded, "dev")
}
