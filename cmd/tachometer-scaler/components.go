// The components of a configuration, and how they are wired.

package main

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/command"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/controller"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event/dedup"
	httpevent "github.com/tachometer-metrics/tachometer/pkg/scaler/event/http"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event/kafka"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/surge"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/watch"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

// runConfiguredComponents runs the components of one configuration until ctx ends. Every replica accepts events over HTTP and writes their holds to
// the workloads; the leader runs all other components too.
func (s *componentReloader) runConfiguredComponents(ctx context.Context, cfg *preparedConfig) error {
	registry := prometheus.NewRegistry()
	s.health.setComponentMetrics(registry)
	s.queue.SetSenders(cfg.NewSenders())
	live := &rollout.LiveCluster{Client: s.Client, Dynamic: s.Dynamic, Mapper: s.Mapper, Holds: s.Holds}
	caches := rollout.NewCachedCluster(live)
	engine := rollout.New(rollout.Options{
		Cluster: live, Reader: caches, Checker: verify.New(verify.Options{}), Notifier: s.queue, NotifierFault: cfg.NotifierFault, Metrics: rollout.NewMetrics(registry),
		Gates:    action.New(s.Dynamic, s.Mapper, action.Options{Webhooks: cfg.WebhookURLs(), Client: cfg.WebhookClient(), Gates: cfg.Gates()}),
		Watcher:  &watch.Reader{Client: s.Client.CoreV1().RESTClient(), HTTP: webhook.NewClient(nil)},
		Identity: command.IdentifyCaller(), Owner: hold.OwnerOfLease(s.leaseNamespace, s.runCommand.leaseName),
	})
	control := controller.New(controller.Options{
		Engine: engine, Caches: caches, Namespaces: cfg.Namespaces, Schedules: cfg.Schedules, Verifications: cfg.Verifications, Rules: cfg.Events.Rules,
		HoldsBy: "scaler " + s.lead.leaseName, Metrics: controller.NewMetrics(registry),
	})
	ids := dedup.New(s.Client.CoreV1().ConfigMaps(s.leaseNamespace), s.leaseName+"-events", dedup.Options{Registerer: registry})
	events := event.NewHandler(cfg.Events.Rules, control, ids, event.Options{
		VerifySpecs: cfg.Verifications, Registerer: registry, Format: cfg.Events.Format, Times: ids,
	})
	readings, err := surge.NewLaneMetricReader(s.Config, s.Mapper)
	if err != nil {
		return fmt.Errorf("make the client of the surge lane: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	lane := surge.New(surge.Options{
		Config: cfg.Surge, Namespaces: cfg.Namespaces, Reader: caches, Raiser: control, Events: live, Identity: command.IdentifyCaller(),
		Readings: readings, Metrics: surge.NewMetrics(registry),
	})
	group.Go(func() error { return s.lead.runWhileLeading(ctx, control.Run) })
	group.Go(func() error { return s.lead.runWhileLeading(ctx, lane.Run) })
	if len(cfg.Events.Rules) > 0 {
		s.runEventSources(ctx, group, cfg, events, ids, registry)
	}
	return group.Wait()
}

// runEventSources starts the handler and its sources.
func (s *componentReloader) runEventSources(ctx context.Context, group *errgroup.Group, prepared *preparedConfig, events *event.Handler, ids *dedup.DeliveryStore, reg prometheus.Registerer) {
	cfg := prepared.Events
	adding, added := context.WithCancel(context.WithoutCancel(ctx)) // the set outlives the handler, which adds to it
	group.Go(func() error { return ids.Run(adding) })
	group.Go(func() error {
		defer added()
		return events.Run(ctx)
	})
	if cfg.HTTP != nil {
		over := httpevent.New(*cfg.HTTP, events.HandleMessage, httpevent.Options{Registerer: reg, Listener: prepared.events.lendEventListener()})
		group.Go(func() error { return over.Run(ctx) })
	}
	if cfg.Kafka != nil {
		topic := kafka.New(*cfg.Kafka, func(ctx context.Context, m event.Message) error {
			_, err := events.AcceptMessage(ctx, m)
			return err
		}, kafka.Options{Registerer: reg})
		group.Go(func() error {
			return s.lead.runWhileLeading(ctx, func(ctx context.Context) error {
				if !ids.Reload(ctx) { // the ids seen by the previous leader
					return nil
				}
				return topic.Run(ctx)
			})
		})
	}
	klog.FromContext(ctx).Info("Accepting events", "rules", len(cfg.Rules), "http", cfg.HTTP != nil, "kafka", cfg.Kafka != nil)
}
