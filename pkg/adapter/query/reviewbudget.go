// The budget of an evaluation for a review: every reviewer may write its expression.

package query

import (
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

const (
	// maxReviewedSamples bounds the samples that a review reads, and the samples that its evaluation holds: 30 of 8,000 series, in 4 MB.
	maxReviewedSamples = memorybounds.ReviewedSamples
	// maxReviewedLabelBytes bounds the labels that its operations hold at a time: three operations on 6,000 buckets.
	maxReviewedLabelBytes = memorybounds.ReviewedLabels
)

// reviewSampleBudget counts the samples that a scan reads. A nil budget has no bound.
type reviewSampleBudget struct {
	cost rule.EvaluationCost

	series, samples          int
	labelBytes, longestBytes int
}

func (b *reviewSampleBudget) resetReviewBudget() {
	if b != nil {
		*b = reviewSampleBudget{cost: b.cost}
	}
}

// spendReviewBudget counts a series, and returns false beyond the budget.
func (b *reviewSampleBudget) spendReviewBudget(l labels.Labels, samples int) bool {
	if b == nil {
		return true
	}
	size := int(l.ByteSize())
	b.series, b.samples = b.series+1, b.samples+samples
	b.labelBytes, b.longestBytes = b.labelBytes+size, max(b.longestBytes, size)
	return b.reviewBudgetError() == nil
}

// reviewBudgetError returns the bound that is exceeded, or nil.
func (b *reviewSampleBudget) reviewBudgetError() error {
	if b == nil {
		return nil
	}
	if b.samples > maxReviewedSamples {
		return fmt.Errorf("reads more than %d samples, the limit of a review; select fewer series, or a shorter range", maxReviewedSamples)
	}
	if b.cost.LabelBytes(b.series, b.labelBytes, b.longestBytes) > maxReviewedLabelBytes {
		return fmt.Errorf("would hold more than %d MiB of labels, the limit of a review; select fewer series, or write fewer operations and calls of label_replace",
			maxReviewedLabelBytes>>20)
	}
	return nil
}
