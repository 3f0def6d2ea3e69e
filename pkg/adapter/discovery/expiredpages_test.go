package discovery

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// expiredPages are the continue tokens that a pageServer has forgotten, as kube-apiserver does when etcd compacts between two pages.
type expiredPages struct {
	times         int  // pages with a token that get 410
	offersInexact bool // the 410 has a token of the rest at its newest version
	wholeLists    int  // requests without a limit
}

// inexactToken marks a token of the rest of a list at its newest version. It never expires.
const inexactToken = "inexact-"

// answerExpired answers a request whose token has expired, and reports whether it did.
func (e *expiredPages) answerExpired(w http.ResponseWriter, r *http.Request) bool {
	query := r.URL.Query()
	if query.Get("limit") == "" {
		e.wholeLists++
	}
	token := query.Get("continue")
	if token == "" || strings.HasPrefix(token, inexactToken) || e.times == 0 {
		return false
	}
	e.times--
	status := apierrors.NewResourceExpired("The provided continue parameter is too old to display a consistent list result.").Status()
	status.APIVersion, status.Kind = "v1", "Status"
	if e.offersInexact {
		status.Continue = inexactToken + token
	}
	text, _ := json.Marshal(status)
	w.WriteHeader(http.StatusGone)
	_, _ = w.Write(text)
	return true
}

// parsePageToken returns the position of a token.
func parsePageToken(token string) int {
	begin, _ := strconv.Atoi(strings.TrimPrefix(token, inexactToken))
	return begin
}

// TestExpiredPages: a list that expires between two pages is completed in pages, never requested as a whole.
func TestExpiredPages(t *testing.T) {
	t.Parallel()
	for name, expired := range map[string]expiredPages{
		"once, with a token of the rest":   {times: 1, offersInexact: true},
		"always, with a token of the rest": {times: 1000, offersInexact: true},
		"once, without":                    {times: 1},
		"twice, without":                   {times: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &pageServer{pods: newPagePods(100, 10), expired: expired}
			syncPages(t, s)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.expired.wholeLists > 0 {
				t.Errorf("%d lists without a limit", s.expired.wholeLists)
			}
		})
	}
}
