// The command replay: recorded decisions, computed again with another spec.

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/replay"
)

const replayHelp = `Run what the adapter recorded of an autoscaler through the HPA's own arithmetic: with the recorded spec, which must give the
recorded decisions again, and with the spec of a file.

Where the other spec has another number of pods, the recorded total is spread evenly over them. That holds for a load, such as a
rate or a queue. It rejects a metric that depends on the number of pods in another way, such as a latency.

SHORT is the time with fewer pods than the metrics asked for, before windows, policies and limits; each look holds until the next.
Targets and tolerance are those of the row's own spec.`

func newKubectlReplayCommand(p *pluginProgram) *cobra.Command {
	var file string
	since := time.Hour
	cmd := &cobra.Command{
		Use: "replay hpa/NAME [-f FILE]", Short: "Compare the recorded decisions with those of another spec", Long: replayHelp,
		Example: `  kubectl tachometer replay hpa/web -n shop --since 30m -f new-hpa.yaml`,
		Args:    requireOneHPAArg, ValidArgsFunction: p.completeHPANames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.replayHPARecord(cmd.Context(), args[0], file, since)
		},
	}
	cmd.Flags().StringVarP(&file, "filename", "f", "", "`file` with the HorizontalPodAutoscaler to compare with; - is standard input")
	bindRecordSinceFlag(&since, cmd)
	bindKubectlOutputFlags(p, cmd, "json", "yaml")
	return cmd
}

func bindRecordSinceFlag(since *time.Duration, cmd *cobra.Command) {
	cmd.Flags().DurationVar(since, "since", *since, "the `time` span of the record, back from now")
}

// checkRecordSinceFlag rejects a time span that is none.
func checkRecordSinceFlag(since time.Duration) error {
	if since <= 0 {
		return usageError{fmt.Errorf("--since %s is not above 0; use for example 30m", since)}
	}
	return nil
}

func (p *pluginProgram) replayHPARecord(ctx context.Context, arg, file string, since time.Duration) error {
	if err := errors.Join(p.checkOutputFormat("json", "yaml"), checkRecordSinceFlag(since)); err != nil {
		return err
	}
	name, err := parseHPAArg(arg)
	if err != nil {
		return err
	}
	other, err := p.readReplayedSpec(ctx, file, name)
	if err != nil {
		return err
	}
	log, err := p.readDecisionLog(ctx, name, since)
	if err != nil {
		return err
	}
	comparison, err := replay.Compare(log, other)
	if err != nil {
		return err
	}
	if printed, err := p.printAsOutputFormat("Replay", comparison); printed || err != nil {
		return err
	}
	return comparison.Print(p.out, p.newTableOptionsFromFlags())
}

// readReplayedSpec returns the spec of the autoscaler in a file: by its name, or the only one. It returns nil without a file.
func (p *pluginProgram) readReplayedSpec(ctx context.Context, file, name string) (*autoscalingv2.HorizontalPodAutoscalerSpec, error) {
	if file == "" {
		return nil, nil
	}
	objects, err := inventory.ReadFiles(ctx, []string{file}, inventory.FileOptions{In: p.in, Namespace: "default"})
	if err != nil {
		return nil, err
	}
	for i := range objects.HPAs {
		if objects.HPAs[i].Name == name || len(objects.HPAs) == 1 {
			return &objects.HPAs[i].Spec, validateHPAFile(file, objects, &objects.HPAs[i])
		}
	}
	return nil, fmt.Errorf("%s has no HorizontalPodAutoscaler %s", file, name)
}
