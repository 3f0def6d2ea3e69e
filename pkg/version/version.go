// Package version says which build a program is.
package version

// version is set by the linker: -ldflags '-X github.com/tachometer-metrics/tachometer/pkg/version.version=v1.2.3'.
var version = "dev"

// String returns the version that was stamped in, or "dev" for an unstamped build.
func String() string { return version }
