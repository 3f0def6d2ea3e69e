package integration

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Series of one gauge, each with its own bit, so that a sum identifies its series. Label values with special characters must neither
// break a query nor act as a pattern.
const (
	dot = 1 << iota
	letter
	pipe
	quotes
	pattern
	none
	every = 1<<iota - 1
)

var versions = map[int]string{
	dot:     `{version="v1.0"}`,
	letter:  `{version="v1x0"}`,
	pipe:    `{version="v1.0|v1x0"}`,
	quotes:  `{version="\"v1.0\\\",x=\"'` + "`" + `\n"}`,
	pattern: `{version=".*"}`,
	none:    ``,
}

// TestMetricSelectors reads a metric through every operator of a metric selector.
func TestMetricSelectors(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	var b strings.Builder
	for value, labels := range versions {
		fmt.Fprintf(&b, "version_in_use%s %d\n", labels, value)
	}
	newPod(t, namespace, "web", nil, text(b.String()))
	path := func(selector string) string { return podsPath(namespace, "version_in_use", "", selector) }
	eventually(t, 20*time.Second, func(ctx context.Context) error {
		found, err := admin.values(ctx, path(""))
		if err != nil {
			return err
		}
		return agree(found, map[string]float64{"web": every}, 0)
	})
	for selector, want := range map[string]float64{
		"version=v1.0":                         dot,
		"version==v1.0":                        dot,
		"version!=v1.0":                        every - dot,
		"version in (v1.0)":                    dot,
		"version in (v1.0,v2)":                 dot,
		"version in (v1.0,v1x0)":               dot + letter,
		"version notin (v1.0)":                 every - dot,
		"version notin (v1.0,v1x0)":            every - dot - letter,
		"version":                              every - none,
		"!version":                             none,
		"version,version!=v1x0":                every - none - letter,
		"version in (v1.0,v1x0),version!=v1.0": letter,
		"!other,version=v1x0":                  letter,
	} {
		// Each selector is a new demand, of a family that is already scraped.
		eventually(t, 10*time.Second, func(ctx context.Context) error {
			found, err := admin.values(ctx, path(selector))
			if err != nil {
				return err
			}
			if err := agree(found, map[string]float64{"web": want}, 0); err != nil {
				t.Errorf("%s: %v", selector, err)
			}
			return nil
		})
	}
	for selector, tc := range map[string]struct {
		code int32
		says string
	}{
		"version=v3":  {http.StatusServiceUnavailable, "1 pod: 1 absent"},
		"version > 5": {http.StatusBadRequest, "operator"},
		"version < 5": {http.StatusBadRequest, "operator"},
		"version=":    {http.StatusBadRequest, "empty label"},
		// No Kubernetes label can have these values.
		`version="v1.0"`:                {http.StatusBadRequest, "Invalid value"},
		`version in (.*,x)`:             {http.StatusBadRequest, "Invalid value"},
		`version=v1.0"} or vector(1) #`: {http.StatusBadRequest, "unable to parse"},
		`ver"sion=v1.0`:                 {http.StatusBadRequest, "Invalid value"},
	} {
		eventually(t, 10*time.Second, func(ctx context.Context) error {
			found, err := admin.values(ctx, path(selector))
			if err == nil {
				t.Errorf("%s: served %v", selector, found)
				return nil
			}
			return rejected(err, tc.code, tc.says)
		})
	}
}
