// The configuration and the terms of the lane.

// Package surge is a fast lane up for autoscalers that opt in: it reads their metrics each second, and decides whether a hold raises
// their replicas at once. The leader reads the metrics that an autoscaler names each second, computes the autoscaler's wish with
// pkg/hpa, and places a hold as soon as a surge is certain. The autoscaler, which looks every 15 seconds and then obeys its policies,
// finds the pods already there, keeps them, and owns the way down.
//
// Decide is the whole decision, as a pure function. In the mode observe the lane places no hold: Events, the command status, metrics and the log
// show each raise that it would have made, and the seconds until the autoscaler made it.
package surge

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

const (
	// Annotation on a HorizontalPodAutoscaler opts it in, with terms such as "maxReplicas=40,budget=3/h", or out, with "off".
	Annotation = domain.ScalerPrefix + "surge"
	// HoldID is the ID of the lane's holds.
	HoldID = "surge"
)

// Mode is the lane's way with a raise.
type Mode string

// The modes of the lane.
const (
	ModeObserve Mode = "observe" // tells it
	ModeAct     Mode = "act"     // makes it
	ModeOff     Mode = "off"     // the lane reads nothing
)

// DefaultBudget is the default number of raises in an hour: a service has few surges, and a metric that lies has many.
const DefaultBudget = 3

// maxBudget is the largest budget: one raise a minute.
const maxBudget = 60

// Config is the section surge of the scaler's configuration. The zero value observes the autoscalers with the annotation.
type Config struct {
	Mode   Mode // empty: observe
	Budget int  // raises of an autoscaler in an hour; 0: DefaultBudget
	Notify []string
	// Autoscalers opt in without an annotation.
	Autoscalers []AutoscalerRule
}

// AutoscalerRule opts in the autoscalers of a namespace that its selector matches.
type AutoscalerRule struct {
	Namespace string
	Selector  labels.Selector
	Terms
}

// Terms bound the raises of an autoscaler. A zero number has its default.
type Terms struct {
	MaxReplicas int32 // highest number of a raise; 0: the autoscaler's maxReplicas
	Budget      int   // raises in an hour; 0: the configuration's
}

// ModeOrDefault returns the mode of the lane.
func (c *Config) ModeOrDefault() Mode { return cmp.Or(c.Mode, ModeObserve) }

// FindTerms returns the terms of an autoscaler, and whether it opts in. The annotation precedes the configuration's rules, of
// which the first counts. An error describes the annotation's fault; the autoscaler is then out.
func (c *Config) FindTerms(a *autoscalingv2.HorizontalPodAutoscaler) (t Terms, isIn bool, err error) {
	for _, r := range c.Autoscalers {
		if r.Namespace == a.Namespace && r.Selector.Matches(labels.Set(a.Labels)) {
			t, isIn = r.Terms, true
			break
		}
	}
	if text, found := a.Annotations[Annotation]; found {
		if text = strings.TrimSpace(text); text == "off" {
			return Terms{}, false, nil
		}
		own, err := parseSurgeTerms(text)
		if err != nil {
			return Terms{}, false, fmt.Errorf("annotation %s: %w", Annotation, err)
		}
		t, isIn = Terms{MaxReplicas: cmp.Or(own.MaxReplicas, t.MaxReplicas), Budget: cmp.Or(own.Budget, t.Budget)}, true
	}
	t.Budget = cmp.Or(t.Budget, c.Budget, DefaultBudget)
	return t, isIn, nil
}

// checkAnnotationKeys returns an error for an annotation of the scaler that no autoscaler has: a mistyped key opts nothing in.
func checkAnnotationKeys(a *autoscalingv2.HorizontalPodAutoscaler) error {
	for _, key := range slices.Sorted(maps.Keys(a.Annotations)) {
		if strings.HasPrefix(key, domain.ScalerPrefix) && key != Annotation {
			return fmt.Errorf("unknown annotation %s; write %s", key, Annotation)
		}
	}
	return nil
}

// parseSurgeTerms reads terms such as "maxReplicas=40,budget=3/h". An empty text has the defaults.
func parseSurgeTerms(text string) (t Terms, err error) {
	for part := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(part, "=")
		value = strings.TrimSpace(value)
		switch key = strings.TrimSpace(key); key {
		case "":
			if text != "" {
				return t, fmt.Errorf("%s has an empty part; write maxReplicas=40,budget=3/h", strict.Quote(text))
			}
		case "maxReplicas":
			if t.MaxReplicas != 0 {
				return t, errors.New("maxReplicas is there twice")
			}
			n, err := strconv.ParseInt(value, 10, 32)
			if err != nil || n < 1 {
				return t, fmt.Errorf("maxReplicas must be a whole number from 1, not %s", strict.Quote(value))
			}
			t.MaxReplicas = int32(n)
		case "budget":
			if t.Budget != 0 {
				return t, errors.New("budget is there twice")
			}
			if t.Budget, err = parseSurgeBudget(value); err != nil {
				return t, fmt.Errorf("budget %w", err)
			}
		default:
			return t, fmt.Errorf("unknown key %s; write maxReplicas=40,budget=3/h, or off", strict.Quote(key))
		}
	}
	return t, nil
}

var errBudget = errors.New("must be raises in an hour, from 1/h to 60/h")

// parseSurgeBudget reads a budget such as 3/h.
func parseSurgeBudget(text string) (int, error) {
	count, isHourly := strings.CutSuffix(text, "/h")
	n, err := strconv.Atoi(count)
	if !isHourly || err != nil || n < 1 || n > maxBudget {
		return 0, fmt.Errorf("%w, not %s", errBudget, strict.Quote(text))
	}
	return n, nil
}

// The times of the lane.
const (
	// lookInterval is the pause between two looks at an autoscaler.
	lookInterval = time.Second
	// FollowUp is the pause before the second look of a round, where the first found a surge.
	FollowUp = lookInterval / 2
	// hpaPeriod is the default period of the HPA controller, --horizontal-pod-autoscaler-sync-period.
	hpaPeriod = 15 * time.Second
	// holdFor is the length of a hold: within two periods the autoscaler has looked at least once.
	holdFor = 2 * hpaPeriod
	// maxHoldFor bounds a hold with all its extensions: an HPA controller that takes longer is down.
	maxHoldFor = 5 * time.Minute
	// settleFor is the time of good answers before the first raise, after the lane's start and after an outage of the metrics. A
	// restarted adapter has the longest default window again after it.
	settleFor = time.Minute
	// outageAfter is the time of failed answers that make an outage. A single failure in a surge is none.
	outageAfter = 5 * time.Second
	// offFor is the time without a raise after another client undid one.
	offFor = time.Hour
	// budgetPeriod is the time that a budget counts in.
	budgetPeriod = time.Hour
	// unplacedPause is the pause between two log lines about a hold that cannot be placed: each look tries again.
	unplacedPause = time.Minute
	// longestFor is the time after which a longest window that did not come again is forgotten: the configuration changed.
	longestFor = 10 * time.Minute
)
