// The recorder of autoscalers, and the API group explain over it.

package main

import (
	"fmt"
	"os"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apiserver"
	podDiscovery "github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/explain"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/recorder"
)

// buildAdapterProgramRecorder builds the recorder, where autoscalers are watched.
func (a *adapter) buildAdapterProgramRecorder(start *parsedConfig, metrics metricsRegistry) {
	if start.legacy != nil {
		return
	}
	a.recorder = recorder.New(recorder.Options{Now: a.clock.Now, Autoscalers: a.opts.server.Autoscalers, Registerer: metrics})
}

// observeAdapterProgramAutoscalers returns the observer of autoscalers; nil without a recorder.
func (a *adapter) observeAdapterProgramAutoscalers() podDiscovery.AutoscalerObserver {
	if a.recorder == nil {
		return nil
	}
	return a.recorder
}

// addAdapterProgramExplanations makes the server record what it answers, and serve the records.
func (a *adapter) addAdapterProgramExplanations(deps *apiserver.Dependencies) error {
	if a.recorder == nil {
		return nil
	}
	replica, err := os.Hostname() // the name of the pod
	if err != nil {
		return fmt.Errorf("find the name of this replica: %w", err)
	}
	a.recorder.SetScaleTargets(a.discovery)
	deps.Provider = a.recorder.Record(deps.Provider)
	api := explain.New(explain.Deps{
		Records: a.recorder, Discovery: a.discovery, Scrapes: a.scraper, Replica: replica, Now: a.clock.Now,
		Reading: a.newAdapterProgramReadingDeps(), Config: a.running.Load,
		Families: func(resource, metric string, external bool) []string {
			return demandRules{a.rules.getAdapterProgramRules()}.Families(resource, metric, external)
		},
	})
	deps.Groups = append(deps.Groups, apiserver.Group{Info: api.Group(), Definitions: api.Definitions})
	return nil
}
