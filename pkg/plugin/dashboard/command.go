package dashboard

// The page's commands for a terminal.

import (
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

// pageCommandWriter writes commands for one namespace; empty: all.
type pageCommandWriter struct {
	namespace string
	flags     []string
}

func (s *PageServer) newCommandWriter(namespace string) pageCommandWriter {
	if namespace == "" {
		namespace = s.opts.Namespace
	}
	return pageCommandWriter{namespace, s.opts.Flags}
}

// writeShellCommand joins words into a command line, with the namespace and the user's flags behind them.
func (w pageCommandWriter) writeShellCommand(words ...string) string {
	if w.namespace == "" {
		words = append(words, "-A")
	} else {
		words = append(words, "-n", w.namespace)
	}
	return plaintext.JoinShellWords(append(words, w.flags...)...)
}

func (w pageCommandWriter) writeTopCommand() string {
	return w.writeShellCommand("kubectl", "tachometer", "top")
}

func (w pageCommandWriter) writeHoldsCommand() string {
	return w.writeShellCommand("kubectl", "get", "holds", "-o", "wide")
}

func (w pageCommandWriter) writeTargetsCommand() string {
	return w.writeShellCommand("kubectl", "get", explainapi.Targets+"."+explainapi.GroupVersion.Group)
}

func (w pageCommandWriter) writeMetricsCommand() string {
	return w.writeShellCommand("kubectl", "tachometer", "metrics")
}

// writeRawCommand reads a path as the HPA controller does; the path has the namespace.
func (w pageCommandWriter) writeRawCommand(path string) string {
	if path == "" {
		return ""
	}
	return plaintext.JoinShellWords(append([]string{"kubectl", "get", "--raw", path}, w.flags...)...)
}

func (w pageCommandWriter) writeAutoscalerCommands(name, selector string) autoscalerCommands {
	c := autoscalerCommands{
		Explain:   w.writeShellCommand("kubectl", "tachometer", "explain", "hpa/"+name),
		Decisions: w.writeShellCommand("kubectl", "tachometer", "explain", "hpa/"+name, "--since", "1h"),
		Doctor:    w.writeShellCommand("kubectl", "tachometer", "doctor", "hpa/"+name),
		Numbers:   w.writeShellCommand("kubectl", "get", "hpa", name),
		Events:    w.writeShellCommand("kubectl", "describe", "hpa", name),
	}
	if selector != "" {
		c.Pods = w.writeShellCommand("kubectl", "get", "pods", "-l", selector)
	}
	return c
}
