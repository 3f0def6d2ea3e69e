package explain

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/peer"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// loggedPeers are other replicas with their logs.
type loggedPeers []*explainapi.DecisionLog

func (p loggedPeers) ReadLogs(context.Context, types.NamespacedName, time.Duration) []peer.Answer {
	var answers []peer.Answer
	for _, log := range p {
		answers = append(answers, peer.Answer{Replica: "adapter-2", Log: log})
	}
	return answers
}

func mergeWithPeer(t *testing.T, own, other *explainapi.DecisionLog) *explainapi.DecisionLog {
	t.Helper()
	api := New(Deps{Records: dealtRecords{log: own}, Peers: loggedPeers{other}, Replica: "adapter-1", Now: func() time.Time { return own.Source.Time }})
	log, err := api.readMergedDecisionLog(t.Context(), types.NamespacedName{Namespace: "shop", Name: "web"}, 0)
	if err != nil || log == nil {
		t.Fatalf("log %v: %v", log, err)
	}
	return log
}

// TestReplicaClocks: the reads of a replica with a wrong clock have their places among the others, in the answering replica's time.
func TestReplicaClocks(t *testing.T) {
	t.Parallel()
	for _, wrong := range []time.Duration{0, 20 * time.Second, -20 * time.Second, time.Hour} {
		logs := dealLog(newWholeLog(), 2, func(look int) int { return look % 2 })
		other := *logs[1]
		other.Decisions, other.Specs = slices.Clone(other.Decisions), slices.Clone(other.Specs)
		alignReplicaClock(&other, other.Source.Time.Add(wrong), other.Source.Time.Add(wrong))
		other.Source.Time = other.Source.Time.Add(wrong)
		if diff := cmp.Diff(newWholeLog().Decisions, mergeWithPeer(t, logs[0], &other).Decisions); diff != "" {
			t.Errorf("%s (-whole +merged):\n%s", wrong, diff)
		}
	}
}

// TestReplicasOfDeletedAutoscaler: an autoscaler that was made again has no decisions of the deleted one.
func TestReplicasOfDeletedAutoscaler(t *testing.T) {
	t.Parallel()
	logs := dealLog(newWholeLog(), 2, func(look int) int { return look % 2 })
	deleted, made := logs[0], logs[1]
	deleted.Specs, made.Specs = slices.Clone(deleted.Specs), slices.Clone(made.Specs)
	deleted.UID, deleted.Specs[0].ResourceVersion = "1", "99"
	made.UID, made.Specs[0].ResourceVersion = "2", "100"
	for name, log := range map[string]*explainapi.DecisionLog{"of the other": mergeWithPeer(t, made, deleted), "its own": mergeWithPeer(t, deleted, made)} {
		if log.UID != "2" || len(log.Decisions) != len(made.Decisions) || len(log.Source.Recorders()) != 1 {
			t.Errorf("%s is old: UID %s, %d decisions, recorded by %v", name, log.UID, len(log.Decisions), log.Source.Recorders())
		}
	}
}
