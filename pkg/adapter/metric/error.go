package metric

import (
	"errors"
	"fmt"
)

// Kind is the meaning of an error for the caller. Only the provider maps it to an API status.
type Kind int

// The kinds of error.
const (
	// KindInternal is a fault of a rule or of this program: retrying does not help, an operator must look.
	KindInternal Kind = iota
	// KindNotFound means a missing rule or object, or a selector that matches no pod.
	KindNotFound
	// KindUnavailable means that the value exists and is not available now. A later read may succeed.
	KindUnavailable
	// KindInvalid means that the request itself is wrong, in any state of the cluster.
	KindInvalid
)

// Error is an error with a kind. Its text is for the reader of `kubectl describe hpa`.
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

// KindOf returns the kind of the outermost Error in err's chain, or KindInternal without any.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	var missing *MissingError
	if errors.As(err, &missing) {
		return KindUnavailable
	}
	return KindInternal
}

// MissingError says that a sum lacks some of its pods. Its kind is KindUnavailable.
type MissingError struct {
	// Omissions are the pods, at least one, in the order of their names.
	Omissions []Omission
}

func (e *MissingError) Error() string {
	return "the sum lacks " + SummarizeOmissions(e.Omissions)
}
