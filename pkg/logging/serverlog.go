package logging

import (
	"log"
	"strings"

	"k8s.io/klog/v2"
)

// NewServerLog returns the ErrorLog of an http.Server. Any client can cause its lines, so only panics, which are bugs, are errors.
func NewServerLog() *log.Logger { return log.New(serverLog{}, "", 0) }

// serverLog takes the lines of an http.Server.
type serverLog struct{}

// Write implements io.Writer.
func (serverLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if strings.Contains(text, "panic") {
		klog.Background().Error(nil, "Request ended in a panic", "reason", text)
	} else {
		klog.Background().V(4).Info("Connection failed", "reason", text)
	}
	return len(line), nil
}
