package main

import "testing"

func TestBeside(t *testing.T) {
	t.Parallel()
	of := func(name, mode string, targets int) *result {
		return &result{system: system{name, mode}, targets: targets}
	}
	all := []*result{
		of(peer, wholePages, 100), of(tachometer, wholePages, 100), of(peer, wholePages, 1000), of(askingPeer, namedPages, 1000),
		of(peer, livePages, 100),
	}
	for name, tc := range map[string]struct {
		of   *result
		mode string
		want *result
	}{
		"as many":           {of(tachometer, namedPages, 100), wholePages, all[0]},
		"more than it gets": {of(tachometer, wholePages, 10_000), wholePages, all[2]},
		"fewer":             {of(tachometer, wholePages, 10), wholePages, nil},
		"live":              {of(tachometer, livePages, 100), livePages, all[4]},
	} {
		if got := peerScrapeResult(all, tc.of, tc.mode); got != tc.want {
			t.Errorf("%s: beside %+v", name, got)
		}
	}
}
