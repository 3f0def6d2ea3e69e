package kubeapi

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// TestWatch: a watch gets the changes after its version, in order, and an error to list again if it is too far behind.
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

// TestPages: a list of the newest state comes in pages, each object once and at one version; a list of any age comes as a whole.
func TestPages(t *testing.T) {
	t.Parallel()
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for i := range 7 {
		s.SetPod(NewPod("shop", fmt.Sprintf("web-%d", i), "web", "127.0.0.1:8080"))
	}
	list := func(query string) (names []string, head metav1.ListMeta) {
		response, err := http.Get(s.http.URL + "/api/v1/pods?" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var pods core.PodList
		if err := json.NewDecoder(response.Body).Decode(&pods); err != nil {
			t.Fatal(err)
		}
		for i := range pods.Items {
			names = append(names, pods.Items[i].Name)
		}
		return names, pods.ListMeta
	}
	var got []string
	version, next := "", ""
	for pages := 1; ; pages++ {
		names, head := list("limit=3&continue=" + url.QueryEscape(next))
		if version = cmp.Or(version, head.ResourceVersion); head.ResourceVersion != version || len(names) > 3 {
			t.Errorf("page %d: %v at version %s, want %s", pages, names, head.ResourceVersion, version)
		}
		s.SetPod(NewPod("shop", "web-0", "web", "127.0.0.1:8080")) // the version of the list stays
		got = append(got, names...)
		if next = head.Continue; next == "" {
			break
		}
	}
	if whole, head := list("limit=3&resourceVersion=0"); len(got) != 7 || !slices.Equal(got, whole) || head.Continue != "" {
		t.Errorf("pages: %v; whole: %v", got, whole)
	}
}
