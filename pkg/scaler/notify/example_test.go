package notify_test

import (
	"context"
	"fmt"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
)

// printer is a Sender that prints messages.
type printer struct{}

func (printer) Send(_ context.Context, m notify.Message) error {
	fmt.Printf("%s: %s (hold %s)\n", m.Workload, m.Outcome, m.Hold)
	return nil
}

// A queue has senders by name. Post returns at once; Run sends, and after its context has ended it empties the queues.
func ExampleMessageQueue() {
	queue := notify.NewMessageQueue(map[string]notify.Sender{"oncall": printer{}}, notify.MessageQueueOptions{})
	web := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "web"}
	for _, outcome := range []string{"up: 20 replicas", "failed and rolled back to 2 replicas"} {
		if err := queue.Post([]string{"oncall"}, notify.Message{Outcome: outcome, Workload: web, Hold: "event/sale"}); err != nil {
			fmt.Println(err)
		}
	}
	if err := queue.Post([]string{"pager"}, notify.Message{}); err != nil {
		fmt.Println(err)
	}

	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := queue.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// notify pager: unknown notifier
	// deployment/web in namespace shop: up: 20 replicas (hold event/sale)
	// deployment/web in namespace shop: failed and rolled back to 2 replicas (hold event/sale)
}
