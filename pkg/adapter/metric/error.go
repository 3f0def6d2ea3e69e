package metric

import (
	"errors"
	"fmt"
)

// Kind tells what an error means for the caller; the provider alone maps it to an API status.
type Kind int

// The kinds of error.
const (
	// KindInternal is a fault of a rule or of this program: retrying does not help, an operator must look.
	KindInternal Kind = iota
	// KindNotFound means that what was asked for does not exist: no rule, no object, no pod selected.
	KindNotFound
	// KindUnavailable means that the value exists but cannot be had now; a later read may get it.
	KindUnavailable
	// KindInvalid means that the request itself cannot be served, whatever the state of the cluster.
	KindInvalid
)

// Error is an error with a kind. Its text is meant for the person who reads `kubectl describe hpa`.
type Error struct {
	Kind Kind
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error without its kind.
func (e *Error) Unwrap() error { return e.Err }

// Errorf formats an error of kind k; %w wraps as in fmt.Errorf.
func Errorf(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Err: fmt.Errorf(format, args...)}
}

// KindOf returns the kind of the outermost Error in err's chain, or KindInternal if there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindInternal
}
