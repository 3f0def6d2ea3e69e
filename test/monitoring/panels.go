// Package monitoring writes the Grafana dashboards of manifests/monitoring and tests them and the alerts.
package monitoring

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// alertsPage lists the alerts, each with its runbook.
const alertsPage = "https://github.com/tachometer-metrics/tachometer/blob/main/docs/operations.md#alerts"

// query is one PromQL expression of a panel, with the legend of its series.
type query struct{ expr, legend string }

// panel is one panel: a number if stat, otherwise a graph over time. A graph's width is half of the dashboard, a number's a sixth.
type panel struct {
	title, description, unit string
	stat                     bool
	queries                  []query
}

type row struct {
	title  string
	panels []panel
}

// variable is a selector of the dashboard, whose values are those of a label.
type variable struct{ name, expr string }

type board struct {
	uid, title, description string
	variables               []variable
	rows                    []row
}

// buildDashboard returns the JSON of a dashboard, as Grafana imports it.
func buildDashboard(b board) ([]byte, error) {
	//nolint:staticcheck // Grafana before 12 imports this schema only, and Grafana 12 imports it too
	builder := dashboard.NewDashboardBuilder(b.title).Uid(b.uid).Description(b.description).Tags([]string{"tachometer", "autoscaling"}).
		Readonly().Refresh("10s").Time("now-30m", "now").Timezone(common.TimeZoneBrowser).Tooltip(dashboard.DashboardCursorSyncCrosshair).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Prometheus").Type("prometheus"))
	builder.Link(dashboard.NewDashboardLinkBuilder("Alerts and runbooks").Type(dashboard.DashboardLinkTypeLink).Url(alertsPage).TargetBlank(true))
	for _, v := range b.variables {
		builder.WithVariable(dashboard.NewQueryVariableBuilder(v.name).Datasource(dashboardDataSource()).
			Query(dashboard.StringOrMap{String: &v.expr}).Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortAlphabeticalAsc))
	}
	for _, r := range b.rows {
		builder.WithRow(dashboard.NewRowBuilder(r.title))
		for _, p := range r.panels {
			builder.WithPanel(buildDashboardPanel(p))
		}
	}
	built, err := builder.Build()
	if err != nil {
		return nil, fmt.Errorf("build dashboard %s: %w", b.title, err)
	}
	text, err := json.MarshalIndent(built, "", "  ")
	return append(text, '\n'), err
}

func dashboardDataSource() common.DataSourceRef {
	kind, uid := "prometheus", "${datasource}"
	return common.DataSourceRef{Type: &kind, Uid: &uid}
}

func buildDashboardPanel(p panel) cog.Builder[dashboard.Panel] {
	if p.stat {
		built := stat.NewPanelBuilder().Title(p.title).Description(p.description).Unit(p.unit).Datasource(dashboardDataSource()).Height(4).Span(4).
			ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}))
		for i, q := range p.queries {
			built.WithTarget(buildPanelQuery(i, q).Instant())
		}
		return built
	}
	built := timeseries.NewPanelBuilder().Title(p.title).Description(p.description).Unit(p.unit).Datasource(dashboardDataSource()).Height(8).Span(12).
		Min(0).FillOpacity(8).ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom).ShowLegend(true))
	for i, q := range p.queries {
		built.WithTarget(buildPanelQuery(i, q).Range())
	}
	return built
}

func buildPanelQuery(i int, q query) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().RefId(string(rune('A' + i))).Expr(strings.TrimSpace(q.expr)).LegendFormat(q.legend).Datasource(dashboardDataSource())
}
