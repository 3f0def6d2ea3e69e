// The names of holds.

package command

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// setHoldPrefix begins the IDs of the holds that people make with set.
const setHoldPrefix = "set/"

// addScalerReasonFlag adds --reason, which names holds, with its completion.
func addScalerReasonFlag(p *Program, cmd *cobra.Command, to *[]string, usage string) {
	cmd.Flags().StringArrayVar(to, "reason", nil, usage)
	registerScalerCompletion(cmd, "reason", p.completeScalerReasons)
}

// isScalerHoldNamed reports whether --reason names the hold: by its ID, without the prefix set/, or by the name of the object.
func isScalerHoldNamed(h *hold.Object, reasons []string) bool {
	return slices.Contains(reasons, h.HoldID()) || slices.Contains(reasons, strings.TrimPrefix(h.HoldID(), setHoldPrefix)) || slices.Contains(reasons, h.Name)
}
