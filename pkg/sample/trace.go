// This file reads or makes the trace ID of a request.

package sample

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"

	"go.uber.org/zap"
)

// traceHeader returns the trace ID to the caller, for reports about the request.
const traceHeader = "X-Trace-Id"

type traceContextKey struct{}

// withTraceID returns ctx with the trace ID of the traceparent header, or with a new one.
func withTraceID(ctx context.Context, traceparent string) (context.Context, string) {
	id, ok := parseTraceparent(traceparent)
	if !ok {
		var b [16]byte
		rand.Read(b[:]) // never returns an error: it ends the program instead
		id = hex.EncodeToString(b[:])
	}
	return context.WithValue(ctx, traceContextKey{}, id), id
}

func requestTraceID(ctx context.Context) string {
	id, _ := ctx.Value(traceContextKey{}).(string)
	return id
}

func traceIDField(ctx context.Context) zap.Field {
	if id := requestTraceID(ctx); id != "" {
		return zap.String("trace_id", id)
	}
	return zap.Skip()
}

// parseTraceparent returns the trace ID, 32 lower-case hexadecimal digits, of a W3C Trace Context header:
//
//	version "-" trace-id "-" parent-id "-" flags
//
// Versions after 00 may append fields, which it ignores, as the recommendation requires.
func parseTraceparent(header string) (string, bool) {
	const length = 2 + 1 + 32 + 1 + 16 + 1 + 2
	if len(header) < length || header[2] != '-' || header[35] != '-' || header[52] != '-' {
		return "", false
	}
	version, trace, parent, flags := header[:2], header[3:35], header[36:52], header[53:length]
	if !isTraceHex(version) || !isTraceHex(trace) || !isTraceHex(parent) || !isTraceHex(flags) || version == "ff" {
		return "", false
	}
	if len(header) > length && (version == "00" || header[length] != '-') {
		return "", false
	}
	if strings.Trim(trace, "0") == "" || strings.Trim(parent, "0") == "" {
		return "", false
	}
	return trace, true
}

func isTraceHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
