package config

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

	"tachometer/pkg/strict"
)

const (
	// settle lets whoever writes the file finish: a few events belong to one change.
	settle = 100 * time.Millisecond
	// poll finds what no event tells: symlinks into other folders, network file systems, no inotify left.
	poll = 10 * time.Second
)

// ReadFile reads a configuration file, and no more of it than Load accepts.
func ReadFile(path string) ([]byte, error) {
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

// Watch calls apply with the content of the file at path whenever it differs from what it was, which is last
// at first; with an error when it cannot be read, once for each different one. It sees edits, renames and
// the symlink swaps of mounted ConfigMaps, within a fraction of a second. Calls come one at a time. It
// returns nil after ctx has ended.
func Watch(ctx context.Context, path string, last []byte, apply func(data []byte, err error)) error {
	w := watch{path: path, last: last, apply: apply}
	return w.run(ctx, settle, poll)
}

type watch struct {
	path    string
	apply   func([]byte, error)
	last    []byte
	lastErr string
}

func (w *watch) run(ctx context.Context, settle, poll time.Duration) error {
	var events <-chan fsnotify.Event
	var errs <-chan error
	add := func() {}
	if watcher, err := fsnotify.NewWatcher(); err != nil {
		klog.FromContext(ctx).Info("file events unavailable, polling the configuration", "err", err, "interval", poll)
	} else {
		defer func() { _ = watcher.Close() }() // nothing was written
		events, errs = watcher.Events, watcher.Errors
		// The folder, since the file is replaced rather than written; again and again, in case it is replaced too.
		add = func() { _ = watcher.Add(filepath.Dir(w.path)) } // where that fails, polling finds the change
	}
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	add()
	w.check() // what changed before the folder was watched
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
			klog.FromContext(ctx).V(1).Info("file events lost, reading the configuration", "err", err)
			w.check()
		case <-settled:
			settled = nil
			w.check()
		case <-ticker.C:
			add()
			w.check()
		}
	}
}

// check reads the file and tells if it changed.
func (w *watch) check() {
	data, err := ReadFile(w.path)
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
