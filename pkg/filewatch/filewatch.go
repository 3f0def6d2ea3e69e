// Package filewatch watches a configuration file for the changes of edited files and of mounted ConfigMaps.
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
	// settleTime lets a writer finish: one change causes several events.
	settleTime = 100 * time.Millisecond
	// pollInterval finds changes without events: symlinks into other folders, network file systems, exhausted inotify watches.
	pollInterval = 10 * time.Second
)

// Read reads a configuration file: at most one byte more than strict accepts, so that strict rejects a longer file.
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

// Watch calls apply with the content of the file at path after each change; last is the content before the first change. When the file
// cannot be read, Watch calls apply with an error, once for each different error. Watch sees edits, renames and the symlink swaps of
// mounted ConfigMaps within a fraction of a second. Calls never overlap. Watch returns nil after ctx has ended.
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
		defer func() { _ = watcher.Close() }() // closing loses no data
		events, errs = watcher.Events, watcher.Errors
		// Watches the folder, since a change replaces the file; again at each poll, in case the folder is replaced too.
		add = func() { _ = watcher.Add(filepath.Dir(w.path)) } // after an error, polling finds the change
	}
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	add()
	w.applyFileWatchChange() // finds changes from before the watch
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
			w.applyFileWatchChange()
		case <-settled:
			settled = nil
			w.applyFileWatchChange()
		case <-ticker.C:
			add()
			w.applyFileWatchChange()
		}
	}
}

// applyFileWatchChange reads the file, and calls apply if it changed.
func (w *fileWatch) applyFileWatchChange() {
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
