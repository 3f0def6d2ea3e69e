package sample

import (
	"context"
	"testing"
)

const (
	parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	trace  = "0af7651916cd43dd8448eb211c80319c"
)

func TestTraceIDOfTraceparent(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, header, want string }{
		{"version 00", parent, trace},
		{"later version", "cc" + parent[2:], trace},
		{"later version with more", "cc" + parent[2:] + "-more", trace},
		{"version 00 with more", parent + "-more", ""},
		{"later version run on", "cc" + parent[2:] + "0", ""},
		{"version ff", "ff" + parent[2:], ""},
		{"upper case", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", ""},
		{"trace all zero", "00-00000000000000000000000000000000-b7ad6b7169203331-01", ""},
		{"parent all zero", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", ""},
		{"short", parent[:54], ""},
		{"wrong separator", "00_" + parent[3:], ""},
		{"empty", "", ""},
	} {
		if got, ok := parseTraceparent(tc.header); got != tc.want || ok != (tc.want != "") {
			t.Errorf("%s: got %q, %v, want %q", tc.name, got, ok, tc.want)
		}
	}
}

func FuzzTraceparent(f *testing.F) {
	f.Add(parent)
	f.Add("cc" + parent[2:] + "-more")
	f.Add("")
	f.Fuzz(func(t *testing.T, header string) {
		ctx, id := withTraceID(context.Background(), header)
		if len(id) != 32 || !isTraceHex(id) || requestTraceID(ctx) != id {
			t.Errorf("trace ID %q of %q", id, header)
		}
		if given, ok := parseTraceparent(header); ok && given != id {
			t.Errorf("trace ID %q of %q, want %q", id, header, given)
		}
	})
}
