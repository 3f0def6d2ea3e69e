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

// NewLogger returns a logger that writes JSON lines with ts, level, msg, service and version to w. Of lines with
// the same level and message only the first 100 of a second are written, and every 100th after: a flood of
// failing requests must not become a flood of log.
func NewLogger(w io.Writer, level zapcore.Level) *zap.Logger {
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = encodeLogTime
	core := zapcore.NewCore(zapcore.NewJSONEncoder(encoding), zapcore.Lock(zapcore.AddSync(w)), level)
	core = zapcore.NewSamplerWithOptions(core, time.Second, 100, 100)
	return zap.New(core).With(zap.String("service", serviceName), zap.String("version", version.String()))
}

// encodeLogTime writes RFC 3339 in UTC with milliseconds, as the logs of the platform do.
func encodeLogTime(t time.Time, enc zapcore.PrimitiveArrayEncoder) {
	enc.AppendString(t.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
}

// RedisLogger makes go-redis log through log: its logger is one for the whole process, so only main may set it.
type RedisLogger struct{ Log *zap.Logger }

// Printf logs a message of the Redis client; it is a warning, as what fails a request is logged there too.
func (l RedisLogger) Printf(ctx context.Context, format string, args ...any) {
	l.Log.Warn("Redis client", traceField(ctx), zap.String("reason", fmt.Sprintf(format, args...)))
}
