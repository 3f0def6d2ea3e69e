// This file makes the service's logger.

package sample

import (
	"context"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tachometer-metrics/tachometer/pkg/version"
)

// requestLinesPerSecond is the number of log lines for requests in a second: for status codes below 500, and again for 5xx. More lines would
// cost more than the requests.
const requestLinesPerSecond = 50

// NewLogger returns a logger that writes JSON lines with ts, level, msg, service and version to w. For each level and
// message it writes the first 100 lines of a second, then every 100th: a flood of warnings must not become a flood of
// log lines. Requests have a limit of their own, below this.
func NewLogger(w io.Writer, level zapcore.Level) *zap.Logger {
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = encodeLogTime
	core := zapcore.NewCore(zapcore.NewJSONEncoder(encoding), zapcore.Lock(zapcore.AddSync(w)), level)
	core = zapcore.NewSamplerWithOptions(core, time.Second, 2*requestLinesPerSecond, 100)
	return zap.New(core).With(zap.String("service", serviceName), zap.String("version", version.String()))
}

// encodeLogTime writes RFC 3339 in UTC with milliseconds, like all programs of this project.
func encodeLogTime(t time.Time, enc zapcore.PrimitiveArrayEncoder) {
	enc.AppendString(t.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
}

// RedisLogger makes go-redis log through Log. go-redis has one logger for the whole process, so only main may set it.
type RedisLogger struct{ Log *zap.Logger }

// Printf logs a message of the Redis client as a warning, because a failed request has its own log line.
func (l RedisLogger) Printf(ctx context.Context, format string, args ...any) {
	l.Log.Warn("Redis client reported", traceIDField(ctx), zap.String("reason", fmt.Sprintf(format, args...)))
}
