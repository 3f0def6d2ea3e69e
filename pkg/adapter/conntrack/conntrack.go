// Package conntrack stands in for github.com/mwitkow/go-conntrack in the adapter's image.
//
// github.com/prometheus/common/config imports that module, which imports golang.org/x/net/trace. The init function there executes templates of
// html/template, so the linker keeps every method of every type: 20 MB. The adapter builds its own transports and never dials through it.
//
// A replace directive in go.mod would forbid go install MODULE/cmd/…@VERSION; therefore only the Dockerfile and test/release replace the module.
package conntrack

import (
	"context"
	"net"
)

type dialContextFunc = func(ctx context.Context, network, address string) (net.Conn, error)

type dialOption func(*dialContextFunc)

// NewDialContextFunc returns the function of DialWithDialContextFunc, or that of a net.Dialer. It counts and traces nothing.
func NewDialContextFunc(options ...dialOption) func(ctx context.Context, network, address string) (net.Conn, error) {
	dial := (&net.Dialer{}).DialContext
	for _, set := range options {
		set(&dial)
	}
	return dial
}

// DialWithDialContextFunc sets the function that dials.
func DialWithDialContextFunc(dial dialContextFunc) dialOption {
	return func(d *dialContextFunc) { *d = dial }
}

// DialWithTracing has no effect.
func DialWithTracing() dialOption { return func(*dialContextFunc) {} }

// DialWithName has no effect: the name is a label of metrics that do not exist.
func DialWithName(string) dialOption { return func(*dialContextFunc) {} }
