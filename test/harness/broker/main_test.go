package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event/kafka"
	"github.com/tachometer-metrics/tachometer/test/harness/loopback"
)

// TestServeAndSend reads a sent event back from the broker, also after a restart of the broker.
func TestServeAndSend(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	address := net.JoinHostPort(loopback.Host(), "0") // its port stays free over the restart
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		served := make(chan error, 1)
		go func() {
			served <- runBrokerCommand(ctx, []string{"serve", "--address", address, "--topic", "t", "--data", folder}, w)
		}()
		line, err := bufio.NewReader(r).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		address = strings.TrimSpace(line)
		var sent bytes.Buffer
		if err := runBrokerCommand(ctx, []string{"send", "--brokers", address, "--topic", "t", "--timeout", "1h", "--type", "START", "--ttl", "1m", "--field", "pods=20", "--field", "sale=black friday"}, &sent); err != nil {
			t.Fatal(err)
		}
		got := make(chan string, 10)
		reading, stop := context.WithCancel(ctx)
		read := make(chan error, 1)
		go func() {
			read <- kafka.New(event.KafkaConfig{Brokers: []string{address}, Topic: "t", Rewind: time.Minute}, func(_ context.Context, m event.Message) error {
				got <- string(m.Data)
				return nil
			}, kafka.Options{}).Run(reading)
		}()
		for data := ""; data != strings.TrimSpace(sent.String()); { // after the restart, the first event comes before it
			select {
			case data = <-got:
			case <-ctx.Done():
				t.Fatal("the event was not read")
			}
			if e, err := event.Parse([]byte(data)); err != nil || e.Fields["sale"] != "black friday" {
				t.Errorf("%s: %+v, %v", data, e, err)
			}
		}
		stop()
		cancel()
		if err := <-read; err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

func TestCommandsThatAreNone(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"nothing": {}, "unknown": {"stop"}, "no address": {"serve", "--address", "here"}, "no type": {"send"},
		"a field without value": {"send", "--type", "T", "--field", "a"}, "nobody there": {"send", "--type", "T", "--brokers", "127.0.0.1:1", "--timeout", "100ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := runBrokerCommand(t.Context(), args, io.Discard); err == nil {
				t.Error("no error")
			}
		})
	}
}
