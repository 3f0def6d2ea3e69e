// The windows of values.

package hpa

import "time"

// MaxWindow bounds the window of a value. A longer one is a mistake of the server, and its nanoseconds could overflow in a calculation.
const MaxWindow = 365 * 24 * time.Hour

// ConvertWindow returns the window of a value, whose seconds a metrics server or a file chooses: at most MaxWindow, and 0 for a negative one.
func ConvertWindow(seconds int64) time.Duration {
	return time.Duration(min(max(seconds, 0), int64(MaxWindow/time.Second))) * time.Second
}
