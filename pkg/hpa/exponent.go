// Values of metrics APIs that take too much memory.

package hpa

import (
	"encoding/json"
	"errors"
	"regexp"
)

// hugeExponentPattern matches an exponent of five digits or more. The greatest quantity is below 1e19.
var hugeExponentPattern = regexp.MustCompile(`[eE][-+]?[0-9]{5,}`)

// ErrHugeExponent is the error of CheckValueExponents.
var ErrHugeExponent = errors.New("a value has an exponent of five digits or more")

// checkedExponent stands for a quantity, and takes none with a huge exponent.
type checkedExponent struct{}

// UnmarshalJSON implements json.Unmarshaler.
func (checkedExponent) UnmarshalJSON(data []byte) error {
	if hugeExponentPattern.Match(data) {
		return ErrHugeExponent
	}
	return nil
}

// CheckValueExponents returns an error for the list of a metrics API with a value such as 1e-2147483648: resource.Quantity writes out all its
// digits, which takes gigabytes.
func CheckValueExponents(list []byte) error {
	var checked struct {
		Items []struct {
			Value checkedExponent `json:"value"`
		} `json:"items"`
	}
	if err := json.Unmarshal(list, &checked); errors.Is(err, ErrHugeExponent) {
		return ErrHugeExponent
	}
	return nil
}
