// This file bounds the work of a template: a configuration must load, and an alert must leave, whatever a template repeats.

package notify

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"text/template/parse"

	template "github.com/DataDog/datadog-agent/pkg/template/text"
)

// maxTemplateSteps bounds the rounds of loops and the calls of templates in one message: two for each of the most pods of a hold.
const maxTemplateSteps = 20_000

// maxPrintFormatBytes bounds the format of printf: fmt builds the whole result before anything can stop it.
const maxPrintFormatBytes = 1 << 10

var (
	errTemplateTooManySteps = fmt.Errorf("more than %d rounds of loops and calls of templates", maxTemplateSteps)
	errPrintFormat          = fmt.Errorf("printf takes a format of at most %d bytes, with widths and precisions of at most 9999, and no *", maxPrintFormatBytes)

	wideFormatRegexp = regexp.MustCompile(`[0-9]{5}|\*`)
)

// countStepFunc is the function that each round of a loop and each template calls first.
const countStepFunc = "countTemplateStep"

// parseMessageTemplate parses a template whose execution stays within its bounds.
func parseMessageTemplate(text string) (*template.Template, error) {
	t, err := template.New("webhook").Funcs(messageTemplateFuncs()).Parse(text)
	if err != nil {
		return nil, err
	}
	step := template.Must(template.New("").Funcs(messageTemplateFuncs()).Parse("{{" + countStepFunc + "}}")).Root.Nodes[0]
	for _, each := range t.Templates() {
		if each.Tree != nil {
			addTemplateStep(each.Root, step)
			addTemplateLoopSteps(each.Root, step)
		}
	}
	return t, nil
}

// addTemplateStep makes a list of nodes count a step first.
func addTemplateStep(list *parse.ListNode, step parse.Node) {
	list.Nodes = slices.Insert(list.Nodes, 0, step)
}

// addTemplateLoopSteps makes each round of the loops in a list count a step.
func addTemplateLoopSteps(list *parse.ListNode, step parse.Node) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.RangeNode:
			addTemplateLoopSteps(n.List, step)
			addTemplateLoopSteps(n.ElseList, step)
			addTemplateStep(n.List, step)
		case *parse.IfNode:
			addTemplateLoopSteps(n.List, step)
			addTemplateLoopSteps(n.ElseList, step)
		case *parse.WithNode:
			addTemplateLoopSteps(n.List, step)
			addTemplateLoopSteps(n.ElseList, step)
		}
	}
}

// messageTemplateFuncs returns the functions of templates for one execution. Texts that they make have the bound of a message: a loop may double them.
func messageTemplateFuncs() template.FuncMap {
	steps := 0
	return template.FuncMap{
		countStepFunc: func() (string, error) {
			if steps++; steps > maxTemplateSteps {
				return "", errTemplateTooManySteps
			}
			return "", nil
		},
		"json": func(v any) (string, error) {
			data, err := json.Marshal(v)
			if err != nil {
				return "", err
			}
			return boundTemplateText(string(data))
		},
		"printf": func(format string, args ...any) (string, error) {
			if len(format) > maxPrintFormatBytes || wideFormatRegexp.MatchString(format) {
				return "", errPrintFormat
			}
			return boundTemplateText(fmt.Sprintf(format, args...))
		},
		"print":    func(args ...any) (string, error) { return boundTemplateText(fmt.Sprint(args...)) },
		"println":  func(args ...any) (string, error) { return boundTemplateText(fmt.Sprintln(args...)) },
		"html":     func(args ...any) (string, error) { return boundTemplateText(template.HTMLEscaper(args...)) },
		"js":       func(args ...any) (string, error) { return boundTemplateText(template.JSEscaper(args...)) },
		"urlquery": func(args ...any) (string, error) { return boundTemplateText(template.URLQueryEscaper(args...)) },
	}
}

// boundTemplateText returns a text that fits into a message.
func boundTemplateText(text string) (string, error) {
	if len(text) > maxTemplateBytes {
		return "", errTemplateTooLong
	}
	return text, nil
}
