package filewatch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// applied is one call of a watch.
type applied struct {
	data string
	err  error
}

// startWatch watches until the test ends. The returned function waits for the next call.
func startWatch(t *testing.T, path, last string, poll time.Duration) (next func() applied) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	calls, done := make(chan applied), make(chan error)
	w := &fileWatch{path: path, last: []byte(last), apply: func(data []byte, err error) {
		select {
		case calls <- applied{string(data), err}:
		case <-ctx.Done():
		}
	}}
	go func() { done <- w.watchFile(ctx, time.Millisecond, poll) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return func() applied { return <-calls }
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wait takes calls until one has the text: a write in place may be seen half done.
func wait(t *testing.T, next func() applied, text string) {
	t.Helper()
	for {
		switch a := next(); {
		case a.err == nil && a.data == text:
			return
		case a.err != nil || a.data != "":
			t.Fatalf("got %q, %v; want %q", a.data, a.err, text)
		}
	}
}

// never is a poll interval that ends after the test: only events can show a change.
const never = time.Hour

func TestWatch(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, path, text string){
		"write in place": write,
		"editor's rename": func(t *testing.T, path, text string) {
			write(t, path+"~", text)
			must(t, os.Rename(path+"~", path))
		},
		"symlink swap of a mounted ConfigMap": func(t *testing.T, path, text string) {
			dir := filepath.Dir(path)
			data := filepath.Join(dir, fmt.Sprintf("..%d", len(text)))
			must(t, os.MkdirAll(data, 0o700))
			write(t, filepath.Join(data, filepath.Base(path)), text)
			must(t, os.Symlink(filepath.Base(data), filepath.Join(dir, "..data_tmp")))
			must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
			if fi, err := os.Lstat(path); err == nil && fi.Mode().IsRegular() {
				must(t, os.Remove(path)) // as it was before the first swap
				must(t, os.Symlink(filepath.Join("..data", filepath.Base(path)), path))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "config.yaml")
			write(t, path, "1")
			if strings.HasPrefix(name, "symlink") {
				change(t, path, "1")
			}
			next := startWatch(t, path, "0", never)
			wait(t, next, "1") // differs from last: the folder is watched by now
			for _, text := range []string{"22", "333", "4444"} {
				change(t, path, text)
				wait(t, next, text)
			}
		})
	}
}

func TestWatchRemoved(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, "1")
	next := startWatch(t, path, "", never)
	wait(t, next, "1")
	must(t, os.Remove(path))
	if a := next(); a.err == nil || !strings.HasPrefix(a.err.Error(), "read configuration: open ") {
		t.Errorf("got %q, %v; want an error of reading", a.data, a.err)
	}
	must(t, os.Symlink("/nowhere/else", path)) // a different file, the same error: no second call
	must(t, os.Remove(path))
	write(t, path, "1")
	wait(t, next, "1") // the same content, but the error is over
}

// Where no event comes, polling finds the change: here the link's target is in a folder without a watch.
func TestWatchPolls(t *testing.T) {
	t.Parallel()
	path, elsewhere := filepath.Join(t.TempDir(), "config.yaml"), filepath.Join(t.TempDir(), "config.yaml")
	write(t, elsewhere, "1")
	must(t, os.Symlink(elsewhere, path))
	next := startWatch(t, path, "1", time.Millisecond)
	write(t, elsewhere, "2")
	wait(t, next, "2")
}

func TestWatchUnchanged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, "1")
	next := startWatch(t, path, "1", never)
	write(t, filepath.Join(filepath.Dir(path), "other.yaml"), "2") // an event, but not ours
	write(t, path, "3")
	wait(t, next, "3")
}

func TestReadFileBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, strings.Repeat("#", 3*strict.MaxBytes))
	data, err := Read(path)
	if err != nil || len(data) != strict.MaxBytes+1 {
		t.Errorf("read %d bytes, %v; want %d", len(data), err, strict.MaxBytes+1)
	}
}

func TestWatchExported(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, "1")
	ctx, cancel := context.WithCancel(context.Background())
	err := Watch(ctx, path, nil, func(data []byte, err error) {
		if string(data) != "1" || err != nil {
			t.Errorf("got %q, %v", data, err)
		}
		cancel()
	})
	if err != nil {
		t.Error(err)
	}
}
