// The flag --dry-run, as kubectl has it.

package command

import (
	"github.com/spf13/pflag"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// The values of --dry-run.
const (
	dryRunNone   = "none"
	dryRunClient = "client"
	dryRunServer = "server"
)

// dryRunValue is the value of --dry-run.
type dryRunValue string

var _ pflag.Value = (*dryRunValue)(nil)

// addDryRunFlag adds --dry-run; without a value it is client.
func addDryRunFlag(flags *pflag.FlagSet, to *dryRunValue) {
	*to = dryRunNone
	flags.Var(to, "dry-run", "none, client or server: client prints the changes without making them; "+
		"server also has the API server check the Hold, and stores nothing")
	flags.Lookup("dry-run").NoOptDefVal = dryRunClient
}

// Set implements pflag.Value.
func (d *dryRunValue) Set(text string) error {
	switch text {
	case dryRunNone, "false":
		*d = dryRunNone
	case dryRunClient, "true":
		*d = dryRunClient
	case dryRunServer:
		*d = dryRunServer
	default:
		return UsageErrorf("must be none, client or server")
	}
	return nil
}

// String implements pflag.Value.
func (d *dryRunValue) String() string { return string(*d) }

// Type implements pflag.Value.
func (d *dryRunValue) Type() string { return "mode" }

// isDryRunCommand reports whether nothing may be stored.
func (d *dryRunValue) isDryRunCommand() bool { return *d != dryRunNone }

// holdClientFor returns the client that stores holds, or only has them checked.
func (c *Connection) holdClientFor(d dryRunValue) *hold.Client {
	if d == dryRunServer {
		return c.Holds.DryRun()
	}
	return c.Holds
}

// markDryRun adds to a message that nothing was stored.
func (d *dryRunValue) markDryRun(message string) string {
	switch *d {
	case dryRunClient:
		return message + " (dry run)"
	case dryRunServer:
		return message + " (server dry run)"
	}
	return message
}
