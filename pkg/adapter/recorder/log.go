// This file turns records into the objects of the API.

package recorder

import (
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// List returns the autoscalers of a namespace, or of all for an empty one, sorted.
func (r *Recorder) List(namespace string) []types.NamespacedName {
	var keys []types.NamespacedName
	r.mu.RLock()
	for key := range r.records {
		if namespace == "" || key.Namespace == namespace {
			keys = append(keys, key)
		}
	}
	r.mu.RUnlock()
	slices.SortFunc(keys, func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) })
	return keys
}

// Current is an autoscaler as it was last observed, and the begin of its record. Spec and Status are shared and must not be changed.
type Current struct {
	Spec   *autoscalingv2.HorizontalPodAutoscalerSpec
	Status *explainapi.Status
	Since  time.Time
}

// Current returns an autoscaler as it was last observed; ok is false if it is not known.
func (r *Recorder) Current(key types.NamespacedName) (c Current, ok bool) {
	r.mu.RLock()
	rec := r.records[key]
	r.mu.RUnlock()
	if rec == nil {
		return Current{}, false
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	c = Current{Status: rec.looks.status, Since: rec.since}
	if rec.spec != nil {
		c.Spec = rec.spec.spec
	}
	return c, true
}

// Log returns the decisions of an autoscaler from a time on, each with its pods and its status. It returns nil if the autoscaler is
// not known. The error says that the record is damaged, which is a bug.
func (r *Recorder) Log(key types.NamespacedName, since time.Time) (*explainapi.DecisionLog, error) {
	r.mu.RLock()
	rec := r.records[key]
	r.mu.RUnlock()
	if rec == nil {
		return nil, nil
	}
	rec.mu.Lock()
	r.encodePendingAnswers(rec)
	blocks, spec, uid := rec.snapshotBlocks(since), rec.spec, rec.uid
	source := explainapi.Source{UnknownBefore: rec.since.UTC(), Gaps: rec.listGapsSince(since)}
	rec.mu.Unlock()
	r.boundRecords()
	log := &explainapi.DecisionLog{Source: source, Decisions: []explainapi.Decision{}}
	log.Name, log.Namespace, log.UID = key.Name, key.Namespace, uid
	if err := addBlocksToDecisionLog(log, blocks); err != nil {
		return nil, err
	}
	if len(log.Specs) == 0 && spec != nil {
		log.Specs = []explainapi.SpecVersion{spec.exportSpecVersion()}
	}
	log.Complete()
	first := 0
	for first < len(log.Decisions) && log.Decisions[first].Time.Before(since) {
		first++
	}
	log.Decisions = log.Decisions[first:]
	return log, nil
}

// listGapsSince returns the gaps of the kept record that end after a time.
func (r *record) listGapsSince(since time.Time) []explainapi.Gap {
	var gaps []explainapi.Gap
	for _, g := range r.gaps {
		if g.Until.After(since) && g.Until.After(r.since) {
			gaps = append(gaps, g)
		}
	}
	return gaps
}

func (v *specVersion) exportSpecVersion() explainapi.SpecVersion {
	return explainapi.SpecVersion{From: v.from.UTC(), ResourceVersion: v.seen, Spec: *v.spec}
}

// addBlocksToDecisionLog decodes blocks into the log.
func addBlocksToDecisionLog(log *explainapi.DecisionLog, blocks []*block) error {
	var b decisionBuilder
	var newest *specVersion
	for _, block := range blocks {
		if block.spec != newest {
			newest = block.spec
			b.specs = append(b.specs, newest.exportSpecVersion())
		}
		entries, err := block.decodeBlockEntries()
		if err != nil {
			return err
		}
		for i := range entries {
			b.addDecisionEntry(&entries[i], i == 0)
		}
	}
	log.Specs, log.Decisions = b.specs, append(log.Decisions, b.decisions...)
	return nil
}
