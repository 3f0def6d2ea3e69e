// Package logging writes the JSON lines of the programs: ts (RFC 3339 in UTC, milliseconds), level, service, caller, msg, and the keys
// of the call.
package logging

import (
	"io"
	"os"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/zap/zapcore"
	"k8s.io/component-base/featuregate"
	logsapi "k8s.io/component-base/logs/api/v1"
	logsjson "k8s.io/component-base/logs/json"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

// timeLayout is RFC 3339 with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// NewConfiguration returns the configuration of a program's logs: JSON, in which service names the program, unless --logging-format says
// text. The format is registered with Kubernetes's logging library, which has one registry for the process: the first service stays. Where
// that fails, applying the configuration reports the unknown format.
func NewConfiguration(service string) *logsapi.LoggingConfiguration {
	if !isJSONLoggingFormatRegistered() {
		_ = logsapi.RegisterLogFormat(logsapi.JSONLogFormat, factory{service}, logsapi.LoggingBetaOptions)
	}
	c := logsapi.NewLoggingConfiguration()
	c.Format = logsapi.JSONLogFormat
	return c
}

// Apply validates a configuration, and has klog write by it. It is called once in a process.
func Apply(c *logsapi.LoggingConfiguration) error {
	if c.Format != logsapi.DefaultLogFormat {
		return logsapi.ValidateAndApply(c, nil)
	}
	streams := &logsapi.LoggingOptions{ErrorStream: harmlessTextWriter{os.Stderr}, InfoStream: harmlessTextWriter{os.Stdout}}
	return logsapi.ValidateAndApplyWithOptions(c, streams, nil)
}

// isJSONLoggingFormatRegistered reports whether the library knows the JSON format.
func isJSONLoggingFormatRegistered() bool {
	c := logsapi.NewLoggingConfiguration()
	c.Format = logsapi.JSONLogFormat
	return len(logsapi.Validate(c, nil, nil)) == 0
}

// factory makes the loggers of one service.
type factory struct{ service string }

var _ logsapi.LogFormatFactory = factory{}

// Feature implements logsapi.LogFormatFactory.
func (f factory) Feature() featuregate.Feature { return logsapi.LoggingBetaOptions }

// Create implements logsapi.LogFormatFactory. Lines go to standard error, unless the options say otherwise.
func (f factory) Create(c logsapi.LoggingConfiguration, o logsapi.LoggingOptions) (logr.Logger, logsapi.RuntimeControl) {
	encoding := zapcore.EncoderConfig{
		TimeKey: "ts", LevelKey: "level", CallerKey: "caller", MessageKey: "msg",
		EncodeTime: encodeLoggingTime, EncodeLevel: encodeLoggingLevel, EncodeDuration: zapcore.StringDurationEncoder, EncodeCaller: zapcore.ShortCallerEncoder,
	}
	logger, control := logsjson.NewJSONLogger(c.Verbosity, zapcore.Lock(logsjson.AddNopSync(harmlessWriter{o.ErrorStream})), nil, &encoding)
	return logger.WithValues("service", f.service), control
}

// harmlessWriter escapes the characters of a line that a terminal obeys. JSON itself demands that only of those below a blank.
type harmlessWriter struct{ io.Writer }

// Write implements io.Writer. It is called with whole lines.
func (w harmlessWriter) Write(line []byte) (int, error) {
	_, err := w.Writer.Write(plaintext.EscapeJSON(line))
	return len(line), err
}

// harmlessTextWriter is harmlessWriter for --logging-format=text, which writes values of several lines as they are.
type harmlessTextWriter struct{ io.Writer }

// Write implements io.Writer. It is called with whole lines.
func (w harmlessTextWriter) Write(lines []byte) (int, error) {
	_, err := io.WriteString(w.Writer, plaintext.CleanLines(string(lines)))
	return len(lines), err
}

func encodeLoggingTime(t time.Time, enc zapcore.PrimitiveArrayEncoder) {
	enc.AppendString(t.UTC().Format(timeLayout))
}

// encodeLoggingLevel writes error, info, or, for the verbosities above 0, which zap counts downwards, debug.
func encodeLoggingLevel(l zapcore.Level, enc zapcore.PrimitiveArrayEncoder) {
	switch {
	case l >= zapcore.ErrorLevel:
		enc.AppendString("error")
	case l >= zapcore.InfoLevel:
		enc.AppendString("info")
	default:
		enc.AppendString("debug")
	}
}
