// Package filewatch reads a configuration file, and again whenever it changes, in the ways that files and mounted ConfigMaps do.
package filewatch

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

const (
	// settleTime lets a writer finish: a few events belong to one change.
	settleTime = 100 * time.Millisecond
	// pollInterval finds changes without events: symlinks into other folders, network file systems, no inotify left.
	pollInterval = 10 * time.Second
)

// Read reads a configuration file, and at most one byte more than strict accepts.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, strict.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return data, nil
}

// Watch calls apply with the content of the file at path whenever it differs from the content before, which is last
// at first. It calls apply with an error when the file cannot be read, once for each different error. It sees edits, renames and
// the symlink swaps of mounted ConfigMaps, within a fraction of a second. Calls come one at a time. It returns nil after ctx
// has ended.
func Watch(ctx context.Context, path string, last []byte, apply func(data []byte, err error)) error {
	w := fileWatch{path: path, last: last, apply: apply}
	return w.watchFile(ctx, settleTime, pollInterval)
}

type fileWatch struct {
	path    string
	apply   func([]byte, error)
	last    []byte
	lastErr string
}

func (w *fileWatch) watchFile(ctx context.Context, settle, poll time.Duration) error {
	var events <-chan fsnotify.Event
	var errs <-chan error
	add := func() {}
	if watcher, err := fsnotify.NewWatcher(); err != nil {
		klog.FromContext(ctx).Info("File events unavailable, polling the configuration", "err", err, "interval", poll)
	} else {
		defer func() { _ = watcher.Close() }() // nothing was written
		events, errs = watcher.Events, watcher.Errors
		// The folder, since the file is replaced rather than written; again and again, in case it is replaced too.
		add = func() { _ = watcher.Add(filepath.Dir(w.path)) } // where that fails, polling finds the change
	}
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	add()
	w.applyChange() // what changed before the folder was watched
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-events:
			if settled == nil {
				settled = time.After(settle)
			}
		case err := <-errs:
			klog.FromContext(ctx).V(1).Info("File events lost, reading the configuration", "err", err)
			w.applyChange()
		case <-settled:
			settled = nil
			w.applyChange()
		case <-ticker.C:
			add()
			w.applyChange()
		}
	}
}

// applyChange reads the file, and calls apply if it changed.
func (w *fileWatch) applyChange() {
	data, err := Read(w.path)
	if err != nil {
		if err.Error() != w.lastErr {
			w.lastErr = err.Error()
			w.apply(nil, err)
		}
		return
	}
	if w.lastErr == "" && bytes.Equal(data, w.last) {
		return
	}
	w.last, w.lastErr = data, ""
	w.apply(data, nil)
}
