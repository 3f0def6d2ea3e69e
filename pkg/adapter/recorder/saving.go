// This file saves and restores the records while the adapter runs.

package recorder

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

// saveInterval is the time between two saves: a crash loses four looks of an autoscaler at most.
const saveInterval = time.Minute

// RestoreRecords reads the file of Options.Directory. Each record waits for its autoscaler, and ends if the autoscaler is gone. Call it before
// the first autoscaler is observed. A file that cannot be read is logged, and the record starts empty.
func (r *Recorder) RestoreRecords(ctx context.Context) {
	if r.opts.Directory == "" {
		return
	}
	partial, _ := filepath.Glob(filepath.Join(r.opts.Directory, partialPattern)) // the pattern is valid
	for _, name := range partial {
		_ = os.Remove(name)
	}
	saved, err := r.readRecordFile()
	if err != nil {
		klog.FromContext(ctx).Error(err, "Record of decisions starts empty, its file cannot be read", "directory", r.opts.Directory)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.saved, r.log = saved, klog.FromContext(ctx)
	r.log.Info("Record of decisions restored", "hpas", len(saved))
}

// RunSaves writes the records into the file of Options.Directory every minute and at its end, until ctx ends. A failed save is logged once until
// one succeeds.
func (r *Recorder) RunSaves(ctx context.Context) error {
	ticker := time.NewTicker(saveInterval)
	defer ticker.Stop()
	for failing := false; ; {
		isEnd := false
		select {
		case <-ctx.Done():
			isEnd = true
		case <-ticker.C:
		}
		err := r.saveRecords()
		r.metrics.countSave(err)
		if err != nil && !failing {
			klog.FromContext(ctx).Error(err, "Record of decisions cannot be saved", "directory", r.opts.Directory)
		}
		if failing = err != nil; isEnd {
			return nil
		}
	}
}

// restoreRecord gives a new record the blocks that the file has of its autoscaler. The caller holds mu.
func (r *Recorder) restoreRecord(rec *record) {
	saved := r.saved[rec.key]
	delete(r.saved, rec.key)
	if saved == nil || types.UID(saved.UID) != rec.uid {
		return
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	bytes, err := rec.restoreSavedRecord(saved)
	if err != nil {
		rec.blocks, rec.bytes = nil, 0
		r.log.Error(err, "Record of decisions starts empty, the saved one is damaged", "namespace", rec.key.Namespace, "hpa", rec.key.Name)
		return
	}
	r.addClosedBlockBytes(rec, bytes)
}
