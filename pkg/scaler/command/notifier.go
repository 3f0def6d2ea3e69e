// The messages of --notify.

package command

import (
	"context"
	"errors"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
)

// withCommandNotifiers runs do with a queue for the named senders, and waits until they have their messages.
func withCommandNotifiers(ctx context.Context, names []string, do func(context.Context, *notify.MessageQueue) error) error {
	senders := map[string]notify.Sender{}
	for _, name := range names {
		sender, err := notify.ParseSender(name, notify.SenderOptions{})
		if err != nil {
			return WithExitCode(err, ExitUsage)
		}
		senders[name] = sender
	}
	queue := notify.NewMessageQueue(senders, notify.MessageQueueOptions{})
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	sent := make(chan error, 1)
	go func() { sent <- queue.Run(sending) }()
	err := do(ctx, queue)
	cancel()
	return joinUndeliveredError(errors.Join(err, <-sent), queue.Undelivered())
}

// joinUndeliveredError adds the messages that no receiver took to the error of a command. After a success the exit code says that
// the change stays.
func joinUndeliveredError(err, undelivered error) error {
	if err == nil && undelivered != nil {
		return WithExitCode(undelivered, ExitUnfinished)
	}
	return errors.Join(err, undelivered)
}
