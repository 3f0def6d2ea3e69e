// Package replay compares the recorded decisions of an autoscaler with another spec's decisions on the same load.
package replay

import (
	"fmt"
	"io"
	"math"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/records"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
)

// maxListed bounds the differences that Print lists.
const maxListed = 20

// Comparison is the recorded run of an autoscaler beside a computed one.
type Comparison struct {
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	Source    explainapi.Source `json:"source"`
	From      time.Time         `json:"from"`
	Until     time.Time         `json:"until"`
	// Looks is the number of recorded looks, Computed the number with all inputs.
	Looks    int `json:"looks"`
	Computed int `json:"computed"`
	// NotJudged is the number of looks that differ so shortly after a gap of the record that a wish of the gap may decide them.
	NotJudged int `json:"notJudged,omitempty"`
	// Reproduced is the number of looks for which the arithmetic gives the recorded decision again from the recorded spec.
	Reproduced int `json:"reproduced"`
	// NotReproduced are the looks of which that is not so, each with its cause.
	NotReproduced []Difference `json:"notReproduced,omitempty"`
	// Missing is the first reason why a look could not be computed.
	Missing  string          `json:"missing,omitempty"`
	Recorded replay.Summary  `json:"recorded"`
	Other    *replay.Summary `json:"other,omitempty"`
	// Differences are the looks at which the other spec wants another number.
	Differences []Difference `json:"differences,omitempty"`
}

// Difference is a look with two numbers.
type Difference struct {
	Time     time.Time `json:"time"`
	Recorded int32     `json:"recorded"`
	Computed int32     `json:"computed"`

	look int // its index among all looks
}

// Compare runs a complete record through the arithmetic, with its own specs and, unless it is nil, with another spec.
func Compare(log *explainapi.DecisionLog, other *autoscalingv2.HorizontalPodAutoscalerSpec) (*Comparison, error) {
	c := &Comparison{Namespace: log.Namespace, Name: log.Name, Source: log.Source}
	looks := replay.Reproduce(log, replay.Settings())
	if len(looks) == 0 {
		return nil, fmt.Errorf("there is no recorded decision of hpa/%s in this time; the record is %s", log.Name, records.DescribeBegin(log.Source))
	}
	c.From, c.Until, c.Looks = looks[0].Time, looks[len(looks)-1].Time, len(looks)
	for i, l := range looks {
		switch {
		case l.Missing != "":
			if c.Missing == "" {
				c.Missing = l.Missing
			}
			continue
		case l.Differs() && l.AfterGap:
			c.NotJudged++
		case l.Differs():
			c.NotReproduced = append(c.NotReproduced, Difference{l.Time, l.Recorded, l.Computed, i})
		default:
			c.Reproduced++
		}
		c.Computed++
	}
	c.Recorded = replay.Summarize(looks, func(l replay.Look) int32 { return l.Recorded })
	if other == nil {
		return c, nil
	}
	return c, c.addOtherReplay(log, other)
}

func (c *Comparison) addOtherReplay(log *explainapi.DecisionLog, other *autoscalingv2.HorizontalPodAutoscalerSpec) error {
	looks, err := replay.Simulate(log, other, replay.Settings())
	if err != nil {
		return err
	}
	computed := 0
	for i, l := range looks {
		if l.Missing == "" {
			computed++
		} else if c.Missing == "" {
			c.Missing = l.Missing
		}
		if l.Recorded != l.Computed && !l.Unknown {
			c.Differences = append(c.Differences, Difference{l.Time, l.Recorded, l.Computed, i})
		}
	}
	if computed == 0 {
		return fmt.Errorf("no look can be computed with the other spec: %s", c.Missing)
	}
	s := replay.Summarize(looks, func(l replay.Look) int32 { return l.Computed })
	c.Other = &s
	return nil
}

// Print writes the comparison as tables.
func (c *Comparison) Print(out io.Writer, opts output.TableOptions) error {
	fmt.Fprintf(out, "hpa/%s from %s to %s UTC: %s, %d with all inputs.\n", plaintext.Clean(c.Name), c.From.UTC().Format(output.DateLayout),
		c.Until.UTC().Format(output.ChooseTimeLayout(c.From, c.Until)), output.Count(c.Looks, "look"), c.Computed)
	fmt.Fprintf(out, "Recorded by %s; %s.\n", plaintext.Clean(records.NameRecorders(c.Source)), records.DescribeBegin(c.Source))
	for _, note := range records.ListSourceNotes(c.Source) {
		fmt.Fprintln(out, plaintext.Clean(note))
	}
	if c.Missing != "" {
		fmt.Fprintln(out, "First look without: "+plaintext.Clean(c.Missing)+".")
	}
	fmt.Fprintf(out, "The recorded spec gives %d of %d recorded decisions again.\n", c.Reproduced, c.Computed-c.NotJudged)
	if c.NotJudged > 0 {
		fmt.Fprintf(out, "Not judged, since the record has a gap before them: %s.\n", output.Count(c.NotJudged, "look"))
	}
	fmt.Fprintln(out)
	table := output.Table{Header: []string{"SPEC", "LOWEST", "HIGHEST", "POD-MINUTES", "SHORT", "CHANGES", "FLAPS"}}
	addReplayRow(&table, "recorded", c.Recorded)
	if c.Other != nil {
		addReplayRow(&table, "other", *c.Other)
	}
	if err := table.Print(out, opts); err != nil {
		return err
	}
	layout := output.ChooseTimeLayout(c.Source.Time, c.From, c.Until)
	if err := printReplayDifferences(out, layout, "Not given again, since an earlier wish or change is not in the record, or a window ends within the look", c.NotReproduced, opts); err != nil {
		return err
	}
	return printReplayDifferences(out, layout, "The other spec wants", c.Differences, opts)
}

func addReplayRow(table *output.Table, name string, s replay.Summary) {
	table.Add(name, fmt.Sprint(s.Lowest), fmt.Sprint(s.Highest), fmt.Sprintf("%.1f", s.PodMinutes), output.Duration(time.Duration(math.Round(s.SecondsShort))*time.Second),
		fmt.Sprint(s.Changes), fmt.Sprint(s.Flaps))
}

// printReplayDifferences writes the looks at which a difference begins or changes.
func printReplayDifferences(out io.Writer, layout, title string, all []Difference, opts output.TableOptions) error {
	if len(all) == 0 {
		return nil
	}
	table := output.Table{Header: []string{"TIME (UTC)", "RECORDED", "COMPUTED"}}
	left := 0
	for i, d := range all {
		if i > 0 && d.look == all[i-1].look+1 && d.Recorded == all[i-1].Recorded && d.Computed == all[i-1].Computed {
			continue
		}
		if len(table.Rows) >= maxListed {
			left++
			continue
		}
		table.Add(d.Time.UTC().Format(layout), fmt.Sprint(d.Recorded), fmt.Sprint(d.Computed))
	}
	fmt.Fprintf(out, "\n%s:\n", title)
	if err := table.Print(out, opts); err != nil {
		return err
	}
	if left > 0 {
		fmt.Fprintf(out, "and %d more; -o json has all\n", left)
	}
	return nil
}
