package kubeapi

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// openTestWatch returns the lines of a watch of pods from a version on.
func openTestWatch(t *testing.T, s *Server, from int) *bufio.Scanner {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/api/v1/pods?watch=1&resourceVersion=%d", s.http.URL, from), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return bufio.NewScanner(response.Body)
}

// TestWatch: a watch sees what came and went after its version, in order, and is told to list again if it is too far behind.
func TestWatch(t *testing.T) {
	t.Parallel()
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.SetPod(NewPod("shop", "web-0", "web", "127.0.0.1:8080")) // version 2
	lines := openTestWatch(t, s, 2)
	s.SetPod(NewPod("shop", "web-1", "web", "127.0.0.1:8080"))
	s.SetPod(NewPod("shop", "web-1", "web", "127.0.0.2:8080"))
	s.RemovePod("shop", "web-0")
	s.RemovePod("shop", "web-0") // it is gone: no event
	s.SetPod(NewPod("shop", "web-2", "web", "127.0.0.1:8080"))
	for _, want := range []struct{ kind, pod string }{{"ADDED", "web-1"}, {"MODIFIED", "web-1"}, {"DELETED", "web-0"}, {"ADDED", "web-2"}} {
		if !lines.Scan() || !strings.Contains(lines.Text(), fmt.Sprintf(`"type":%q`, want.kind)) || !strings.Contains(lines.Text(), fmt.Sprintf(`"name":%q`, want.pod)) {
			t.Errorf("event %.200s, want %s of %s", lines.Text(), want.kind, want.pod)
		}
	}
	for range keptWatchEvents {
		s.SetPod(NewPod("shop", "web-2", "web", "127.0.0.1:8080"))
	}
	if behind := openTestWatch(t, s, 2); !behind.Scan() || !strings.Contains(behind.Text(), `"code":410`) || behind.Scan() {
		t.Errorf("a watch that is too far behind: %.200s", behind.Text())
	}
}
