// The root command, and the flags that every command has.

package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/command"
)

const rootHelp = `Explain what HorizontalPodAutoscalers do, and find what keeps their metrics from them.

It acts with your own rights, through kube-apiserver. Only hold changes anything. If you lack a right, it names what it could not read, and
goes on.

` + exitCodesHelp

const exitCodesHelp = `Exit codes:
  0  fine
  1  something is broken or faulty, or the command failed
  2  wrong command line`

// pluginProgram holds the flags of every command, and its input and output.
type pluginProgram struct {
	in         io.Reader
	out, errs  io.Writer
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
	allSpaces  bool
	output     string
	noHeaders  bool
	started    bool // cobra accepted command and flags
	watching   bool
}

// newKubectlRootCommand returns the command line of the plugin.
func newKubectlRootCommand(p *pluginProgram) *cobra.Command {
	cmd := &cobra.Command{
		Use:           "kubectl-tachometer",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl tachometer"},
		Short:         "Explain autoscalers and their metrics",
		Long:          rootHelp,
		SilenceUsage:  true, // an error is easier to see without two screens of flags below it
		SilenceErrors: true, // main prints it
		PersistentPreRunE: func(*cobra.Command, []string) error {
			p.started = true
			return nil
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{command.DescribeFlagError(cmd, err)} })
	bindKubectlConnectionFlags(p, cmd.PersistentFlags())
	p.registerFlagCompletions(cmd)
	for _, named := range []*cobra.Command{
		newKubectlDoctorCommand(p), newKubectlExplainCommand(p), newPluginMetricsCommand(p), newKubectlReplayCommand(p), newKubectlBudgetCommand(p),
	} {
		acceptTypeAndName(named)
		cmd.AddCommand(named)
	}
	cmd.AddCommand(
		newPluginTopCommand(p), newKubectlTryCommand(p), newKubectlLintCommand(p), newKubectlDashboardCommand(p), newKubectlHoldCommand(p), newKubectlVersionCommand(p),
	)
	command.RejectUnknownShells(cmd)
	rejectFileCompletions(cmd)
	return cmd
}

// rejectFileCompletions keeps a shell from offering files as arguments of commands that take none.
func rejectFileCompletions(cmd *cobra.Command) {
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, child := range cmd.Commands() {
		rejectFileCompletions(child)
	}
}

// bindKubectlConnectionFlags adds kubectl's own flags for the cluster, the user and the namespace, and -v.
func bindKubectlConnectionFlags(p *pluginProgram, flags *pflag.FlagSet) {
	names := clientcmd.RecommendedConfigOverrideFlags("")
	names.AuthOverrideFlags.Username.LongName, names.AuthOverrideFlags.Password.LongName = "", "" // kube-apiserver no longer accepts passwords
	clientcmd.BindOverrideFlags(&p.overrides, flags, names)
	flags.StringVar(&p.kubeconfig, "kubeconfig", "", "kubeconfig `file`; empty: $KUBECONFIG, then ~/.kube/config")
	logging := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(logging)
	verbosity := logging.Lookup("v")
	verbosity.Usage = "log level; 6 shows the requests"
	flags.AddGoFlag(verbosity)
}

// bindKubectlOutputFlags adds -o with the formats, and --no-headers.
func bindKubectlOutputFlags(p *pluginProgram, cmd *cobra.Command, formats ...string) {
	formats = append(formats, jsonPathFormat+"TEMPLATE")
	flags := cmd.Flags()
	flags.StringVarP(&p.output, "output", "o", "", "output `format`: "+strings.Join(formats, ", ")+"; empty: a table")
	flags.BoolVar(&p.noHeaders, "no-headers", false, "print tables without their header")
	formats[len(formats)-1] = jsonPathFormat
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)) // fails for an unknown flag alone
}

func bindKubectlNamespaceFlag(p *pluginProgram, flags *pflag.FlagSet) {
	flags.BoolVarP(&p.allSpaces, "all-namespaces", "A", false, "all namespaces, instead of the context's")
}

// jsonPathFormat begins the format of a template: jsonpath='{.items[*].name}'.
const jsonPathFormat = "jsonpath="

// checkOutputFormat rejects a format that the command does not have.
func (p *pluginProgram) checkOutputFormat(formats ...string) error {
	if template, isTemplate := strings.CutPrefix(p.output, jsonPathFormat); isTemplate {
		if err := output.CheckTemplate(template); err != nil {
			return usageError{fmt.Errorf("the template of -o %s: %w", p.output, err)}
		}
		return nil
	}
	if p.output == "" || slices.Contains(formats, p.output) {
		return nil
	}
	return usageError{fmt.Errorf("unknown output format %q; use one of %s, %sTEMPLATE", p.output, strings.Join(formats, ", "), jsonPathFormat)}
}

// printAsOutputFormat prints an object as -o says, and reports whether it did: it leaves an empty format, wide and name to the command.
func (p *pluginProgram) printAsOutputFormat(kind string, object any) (bool, error) {
	template, isTemplate := strings.CutPrefix(p.output, jsonPathFormat)
	switch {
	case isTemplate:
		return true, output.PrintTemplate(p.out, template, kind, object)
	case p.output == "json", p.output == "yaml":
		return true, output.PrintObject(p.out, p.output, kind, object)
	}
	return false, nil
}

// newTableOptionsFromFlags returns the options of the flags.
func (p *pluginProgram) newTableOptionsFromFlags() output.TableOptions {
	return output.TableOptions{NoHeaders: p.noHeaders, WithNamespace: p.allSpaces, Wide: p.output == "wide"}
}

// warnUnreadResources says on standard error which resources could not be read.
func (p *pluginProgram) warnUnreadResources(unread []inventory.Unread) {
	for _, u := range unread {
		fmt.Fprintf(p.errs, "did not read %s: %s\n", u.Resource, plaintext.Clean(u.Reason))
	}
}

// acceptTypeAndName lets a command take TYPE NAME for TYPE/NAME, as kubectl does.
func acceptTypeAndName(cmd *cobra.Command) {
	check, run := cmd.Args, cmd.RunE
	cmd.Args = func(cmd *cobra.Command, args []string) error { return check(cmd, joinTypeAndName(args)) }
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return run(cmd, joinTypeAndName(args)) }
}

func joinTypeAndName(args []string) []string {
	if len(args) == 2 && !strings.Contains(args[0]+args[1], "/") {
		return []string{args[0] + "/" + args[1]}
	}
	return args
}

// rejectArgs rejects a command line with arguments.
func rejectArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no arguments, but got %q; see %[1]s --help", cmd.CommandPath(), args[0])}
	}
	return nil
}

// requireOneHPAArg rejects a command line without one autoscaler.
func requireOneHPAArg(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("name one autoscaler, hpa/NAME; kubectl tachometer top -A lists them")}
	}
	return nil
}

// isObjectName reports whether a name is one segment of an API path: another one would read another object.
func isObjectName(name string) bool {
	return name != "" && len(content.IsPathSegmentName(name)) == 0
}

// rejectNameInAllNamespaces rejects -A beside the name of an autoscaler.
func (p *pluginProgram) rejectNameInAllNamespaces(name string) error {
	if !p.allSpaces {
		return nil
	}
	return usageError{fmt.Errorf("hpa/%s is in one namespace: give -n NAMESPACE instead of -A", name)}
}

// parseHPAArg parses hpa/NAME or NAME.
func parseHPAArg(arg string) (string, error) {
	kind, name, found := strings.Cut(arg, "/")
	if !found {
		kind, name = "hpa", arg
	}
	kind, _, _ = strings.Cut(strings.ToLower(kind), ".") // as -o name writes it: horizontalpodautoscaler.autoscaling
	switch kind {
	case "hpa", "horizontalpodautoscaler", "horizontalpodautoscalers":
		if isObjectName(name) {
			return name, nil
		}
	}
	return "", usageError{fmt.Errorf("%q names no autoscaler; write hpa/NAME", arg)}
}
