// Package records reads for the plugin the explanations, decision logs, targets and metrics of the adapter's API group explain.
package records

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

// ErrNotServed means that the cluster does not serve the API.
var ErrNotServed = errors.New("the adapter does not serve " + explainapi.GroupVersion.Group + ": it is older than this plugin, follows prometheus-adapter's rules, or lacks the APIService " + explainapi.APIService)

// ReadExplanation reads an autoscaler as a replica of the adapter knows it now.
func ReadExplanation(ctx context.Context, r reading.Reader, namespace, name string) (*explainapi.Explanation, error) {
	e := &explainapi.Explanation{}
	return e, readRecords(ctx, r, recordsPath(namespace)+explainapi.HPAs+"/"+url.PathEscape(name), e)
}

// ListExplanations reads the autoscalers of a namespace, or of all for an empty one.
func ListExplanations(ctx context.Context, r reading.Reader, namespace string) (*explainapi.ExplanationList, error) {
	l := &explainapi.ExplanationList{}
	return l, readRecords(ctx, r, recordsPath(namespace)+explainapi.HPAs, l)
}

// ListTargets reads the targets that a replica of the adapter scrapes in a namespace, or in all for an empty one.
func ListTargets(ctx context.Context, r reading.Reader, namespace string) (*explainapi.TargetList, error) {
	l := &explainapi.TargetList{}
	return l, readRecords(ctx, r, recordsPath(namespace)+explainapi.Targets, l)
}

// ListMetrics reads the metric families on the pages of a namespace's pods that the label selector matches (empty: all), and the demanded
// metrics.
func ListMetrics(ctx context.Context, r reading.Reader, namespace, selector string) (*explainapi.MetricList, error) {
	l, path := &explainapi.MetricList{}, recordsPath(namespace)+explainapi.Metrics
	if selector != "" {
		path += "?labelSelector=" + url.QueryEscape(selector)
	}
	return l, readRecords(ctx, r, path, l)
}

// ReadLog reads the decisions of an autoscaler back to a time span before now, complete.
func ReadLog(ctx context.Context, r reading.Reader, namespace, name string, since time.Duration) (*explainapi.DecisionLog, error) {
	l := &explainapi.DecisionLog{}
	path := recordsPath(namespace) + explainapi.HPAs + "/" + url.PathEscape(name) + "/" + explainapi.Decisions
	if err := readRecords(ctx, r, path+"?"+explainapi.SinceParameter+"="+url.QueryEscape(since.String()), l); err != nil {
		return nil, err
	}
	for _, d := range l.Decisions {
		if d.Spec < 0 || d.Spec >= len(l.Specs) {
			return nil, fmt.Errorf("the log of %s/%s is damaged: it lacks spec %d of its decisions", namespace, name, d.Spec)
		}
	}
	l.Complete()
	return l, nil
}

// NameRecorders names the replicas with records in an answer.
func NameRecorders(s explainapi.Source) string {
	names := slices.DeleteFunc(s.Recorders(), func(name string) bool { return name == "" })
	if len(names) == 0 {
		return "no replica of the adapter"
	}
	return strings.Join(names, " and ")
}

// DescribeBegin says from when on the record of an answer knows the autoscaler: "unknown before 2026-11-28 12:00:00 UTC".
func DescribeBegin(s explainapi.Source) string {
	if s.UnknownBefore.IsZero() {
		return "unknown until now"
	}
	return "unknown before " + s.UnknownBefore.UTC().Format(output.DateLayout) + " UTC"
}

// beginSlack is the difference between the begins of two replicas' records that matters to nobody: replicas start together.
const beginSlack = time.Minute

// ListSourceNotes returns a note for each replica with a missing part of an answer, or a part that begins late, and for each gap of a part.
func ListSourceNotes(s explainapi.Source) []string {
	notes := listGapNotes(s.Replica, s.Gaps, s.Time)
	for _, r := range s.Replicas {
		notes = append(notes, listGapNotes(r.Name, r.Gaps, s.Time)...)
		switch {
		case r.Error != "":
			notes = append(notes, fmt.Sprintf("%s gave no record (%s): looks whose reads reached it are missing.", r.Name, r.Error))
		case r.UnknownBefore.Sub(s.UnknownBefore) > beginSlack:
			notes = append(notes, fmt.Sprintf("%s has no record before %s UTC: looks whose reads reached it are missing.", r.Name,
				r.UnknownBefore.UTC().Format(output.ChooseTimeLayout(s.Time, r.UnknownBefore))))
		}
	}
	return notes
}

// listGapNotes returns a note for each gap of a replica's record.
func listGapNotes(replica string, gaps []explainapi.Gap, now time.Time) []string {
	var notes []string
	for _, g := range gaps {
		layout := output.ChooseTimeLayout(now, g.From, g.Until)
		notes = append(notes, fmt.Sprintf("%s restarted: it has no record from %s to %s UTC.", replica, g.From.UTC().Format(layout), g.Until.UTC().Format(layout)))
	}
	return notes
}

func recordsPath(namespace string) string {
	root := "/apis/" + explainapi.GroupVersion.String() + "/"
	if namespace == "" {
		return root
	}
	return root + "namespaces/" + url.PathEscape(namespace) + "/"
}

// readRecords reads a path into out. The error is ErrNotServed where the API does not exist.
func readRecords(ctx context.Context, r reading.Reader, path string, out any) error {
	data, err := r.Read(ctx, path)
	switch {
	case apierrors.IsNotFound(err) && !strings.Contains(err.Error(), "this replica"):
		return ErrNotServed
	case err != nil:
		return fmt.Errorf("read %s: %w", explainapi.GroupVersion.Group, err)
	}
	if string(bytes.TrimSpace(data)) == "null" {
		return fmt.Errorf("the answer of %s is empty", explainapi.GroupVersion.Group)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("parse the answer of %s: %w", explainapi.GroupVersion.Group, err)
	}
	return nil
}
