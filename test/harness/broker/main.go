// Command broker is a Kafka broker for demonstrations, in memory or in a folder, and a client that appends events to its topic.
//
//	broker serve --address 127.0.0.1:9092 --topic sales
//	broker send --brokers 127.0.0.1:9092 --topic sales --type FLASH_SALE_START --ttl 30m --field sale=friday --field pods=20
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := runBrokerCommand(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "broker: %v\n", err)
		os.Exit(1)
	}
}

func runBrokerCommand(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("give a command: serve or send")
	}
	switch args[0] {
	case "serve":
		return serveBroker(ctx, args[1:], out)
	case "send":
		return sendBrokerEvent(ctx, args[1:], out)
	}
	return fmt.Errorf("unknown command %q: use serve or send", args[0])
}

// serveBroker runs the broker until ctx ends. The first printed line is its address; the broker listens by then.
func serveBroker(ctx context.Context, args []string, out io.Writer) error {
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	address := flags.String("address", "127.0.0.1:0", "`HOST:PORT` to listen on, also the address given to clients; port 0 picks a free port")
	topic := flags.String("topic", "sales", "topic to create at the start")
	partitions := flags.Int32("partitions", 1, "partitions of the topic")
	folder := flags.String("data", "", "folder for the records, kept over a restart; empty: memory")
	if err := flags.Parse(args); err != nil {
		return err
	}
	host, text, err := net.SplitHostPort(*address)
	if err != nil {
		return fmt.Errorf("read address: %w", err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return fmt.Errorf("read address: %w", err)
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(1), kfake.SeedTopics(*partitions, *topic), kfake.Ports(int(port)),
		kfake.ListenFn(func(network, address string) (net.Listener, error) { // kfake itself listens on the loopback alone
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return (&net.ListenConfig{}).Listen(ctx, network, net.JoinHostPort(host, port))
		}),
	}
	if *folder != "" {
		opts = append(opts, kfake.DataDir(*folder))
	}
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		return fmt.Errorf("start broker: %w", err)
	}
	defer c.Close()
	fmt.Fprintln(out, c.ListenAddrs()[0])
	<-ctx.Done()
	return nil
}

// sendBrokerEvent appends one event and prints it.
func sendBrokerEvent(ctx context.Context, args []string, out io.Writer) error {
	flags := pflag.NewFlagSet("send", pflag.ContinueOnError)
	brokers := flags.StringSlice("brokers", nil, "`HOST:PORT` of brokers")
	topic := flags.String("topic", "sales", "topic to append to")
	kind := flags.String("type", "", "type of the event")
	id := flags.String("id", rand.Text(), "id of the event (default random)")
	ttl := flags.String("ttl", "30m", "time to live of the event")
	fields := flags.StringArray("field", nil, "another field, `NAME=VALUE`: a JSON value, and text otherwise")
	data := flags.String("data", "", "the whole record, verbatim; replaces --type, --id, --ttl and --field")
	timeout := flags.Duration("timeout", 10*time.Second, "how long to try")
	if err := flags.Parse(args); err != nil {
		return err
	}
	record := []byte(*data)
	if len(record) == 0 {
		var err error
		if record, err = composeBrokerEvent(*id, *kind, *ttl, *fields, time.Now()); err != nil {
			return err
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(*brokers...), kgo.DefaultProduceTopic(*topic), kgo.ProducerLinger(0))
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	// One key, hence one partition: a start and its end stay in order.
	if err := client.ProduceSync(ctx, &kgo.Record{Key: []byte("events"), Value: record}).FirstErr(); err != nil {
		return fmt.Errorf("append event: %w", err)
	}
	fmt.Fprintf(out, "%s\n", record)
	return nil
}

// composeBrokerEvent returns an event with the current time.
func composeBrokerEvent(id, kind, ttl string, fields []string, now time.Time) ([]byte, error) {
	if kind == "" {
		return nil, errors.New("--type: required")
	}
	e := map[string]any{}
	for _, f := range fields {
		name, value, ok := strings.Cut(f, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--field %q: want NAME=VALUE", f)
		}
		e[name] = value
		if json.Valid([]byte(value)) {
			e[name] = json.RawMessage(value)
		}
	}
	e["id"], e["type"], e["ttl"], e["at"] = id, kind, ttl, now.UTC().Format(time.RFC3339Nano)
	return json.Marshal(e)
}
