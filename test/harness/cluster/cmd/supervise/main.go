//go:build unix

// Command supervise runs the processes of one cluster, as specified on its standard input. The harness starts it; it has no
// use by itself.
package main

import (
	"fmt"
	"os"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster/internal/supervisor"
)

func main() {
	if err := supervisor.Run(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "supervise:", err)
		os.Exit(1)
	}
}
