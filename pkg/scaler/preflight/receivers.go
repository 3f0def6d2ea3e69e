// The notifiers and the sources of events.

package preflight

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event/kafka"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
)

// checkNotifiersConnect connects to every notifier, or sends it a test message.
func (o *Inspection) checkNotifiersConnect(ctx context.Context) (all []Result) {
	for _, name := range slices.Sorted(maps.Keys(o.Config.Notify)) {
		n := o.Config.Notify[name]
		if o.Send {
			err := o.sendTestMessages(ctx, n.Unfiltered().NewSender(notify.SenderOptions{}))
			all = append(all, newCheckResult("notifier", name, "took a test message", err, "check the URL or the key in the notifier's file, and the NetworkPolicy"))
			continue
		}
		err := connectNotifier(ctx, n)
		all = append(all, newCheckResult("notifier", name, "reachable; --send has it take a test message", err, "mount the Secret with the notifier's file, and allow the connection in the NetworkPolicy"))
	}
	return all
}

// connectNotifier connects to a notifier within checkTimeout.
func connectNotifier(ctx context.Context, n notify.SenderConfig) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return n.Connect(ctx)
}

// sendTestMessages sends a failure, which every notifier takes, and its end.
func (o *Inspection) sendTestMessages(ctx context.Context, to notify.Sender) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	m := notify.Message{
		Kind: notify.KindRolledBack, Severity: notify.SeverityCritical, Time: o.Now, Outcome: "test message of tachometer-scaler check: nothing has failed",
		Workload: hold.Workload{APIVersion: "v1", Kind: "Test", Namespace: o.LeaseNamespace, Name: "check"}, Hold: "check", By: "tachometer-scaler check",
	}
	if err := to.Send(ctx, m); err != nil {
		return err
	}
	m.Kind, m.Outcome = notify.KindEnded, "test of tachometer-scaler check is over"
	return to.Send(ctx, m)
}

// checkEventSources checks the sources of events: the brokers answer and know the topic, and the files of the endpoint are readable.
func (o *Inspection) checkEventSources(ctx context.Context) (all []Result) {
	if cfg := o.Config.Events.Kafka; cfg != nil {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		err := kafka.New(*cfg, nil, kafka.Options{}).CheckTopic(ctx)
		all = append(all, newCheckResult("kafka", "topic "+cfg.Topic, "the brokers know it", err, "check brokers, tls and sasl of events.kafka, and the NetworkPolicy"))
	}
	cfg := o.Config.Events.HTTP
	if cfg == nil {
		return all
	}
	for _, file := range cfg.SecretFiles {
		err := checkSecretFile(file)
		all = append(all, newCheckResult("http", file, "has a secret", err, "mount the Secret with this key"))
	}
	if cfg.CertFile != "" {
		_, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		all = append(all, newCheckResult("http", cfg.CertFile, "has a certificate and its key", err, "mount the Secret with the certificate and its key"))
	}
	return all
}

// checkSecretFile returns an error for a file that is missing or empty.
func checkSecretFile(file string) error {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return fmt.Errorf("read the secret: %w", err)
	case info.Size() == 0:
		return errors.New("the file is empty")
	}
	return nil
}
