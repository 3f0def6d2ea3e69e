// Draws the numbers of an autoscaler over time with uPlot.

import { h } from "./dom.js";
import { number, metricName, clock } from "./format.js";

const ranges = { "5m": 300, "15m": 900, "1h": 3600 };
const drawn = new Map(); // of the page that is shown: the element of a chart → its uPlot and its specification

// drawChartPanel returns the panel without its canvases: updateCharts fills the elements with data-chart.
export function drawChartPanel(d, route) {
  const range = chosenRange(route);
  const chosen = chosenMetric(d, route);
  const metrics = d.series.metrics ?? [];
  return h("section", { class: "panel", "aria-label": "Over time" },
    h("header", {}, h("h3", {}, "Over time"),
      h("div", { class: "tools" },
        metrics.length > 1 && h("span", { class: "segments", role: "group", "aria-label": "Metric" }, metrics.map((m, i) =>
          h("button", { type: "button", "data-set": `metric=${i || ""}`, "aria-pressed": String(m === chosen) }, metricName(m.name)))),
        h("span", { class: "segments", role: "group", "aria-label": "Time range" }, Object.keys(ranges).map((r) =>
          h("button", { type: "button", "data-set": `range=${r}`, "aria-pressed": String(r === range) }, r))))),
    h("div", { class: "charts", "data-metric": chosen?.name }, listCharts(d, chosen).map((spec) => h("figure", { "data-key": spec.id },
      h("figcaption", {}, h("b", {}, spec.title), spec.lines.map((line) => h("span", { class: `key ${line.look}` }, line.name, " ",
        h("span", { "data-keep": true, "data-value": `${spec.id}/${line.name}` }, "")))),
      h("div", { class: "chart", "data-keep": true, "data-chart": spec.id, tabindex: "0", role: "img", "aria-label": describeChart(spec, d, range) })))));
}

function chosenRange(route) {
  return ranges[route.params.get("range")] ? route.params.get("range") : "15m";
}

function chosenMetric(d, route) {
  return d.series.metrics?.[Number(route.params.get("metric") || 0)] ?? d.series.metrics?.[0];
}

// listCharts returns the specifications of the charts: load, value beside its target, and pods.
function listCharts(d, m) {
  const s = d.series;
  const flat = (n) => s.time.map(() => n);
  const charts = [];
  if (m) {
    const unit = m.rate ? "/s" : "";
    const name = metricName(m.name);
    charts.push({ id: "load", title: `Load: ${name} of all`, unit: name === "cpu" ? " cores" : unit, lines: [{ name: "load", look: "", data: m.load, fill: true }] });
    const value = { id: "value", title: m.percent ? `${name}, percent of the requests` : m.share ? `${name} for each pod` : name, unit: m.percent ? "%" : unit, lines: [{ name: "value", look: "", data: m.value }] };
    if (m.target !== null) value.lines.push({ name: "target", look: "limit", data: flat(m.target) });
    charts.push(value);
  }
  charts.push({ id: "pods", title: "Pods", unit: "", lines: [
    { name: "ready", look: "second", data: s.ready, step: true, fill: true }, { name: "wanted", look: "", data: s.wanted, step: true },
    { name: "maximum", look: "limit", data: flat(d.max) }] });
  return charts;
}

// describeChart returns a chart in words.
function describeChart(spec, d, range) {
  const from = d.series.time.findIndex((t) => t >= d.series.time.at(-1) - ranges[range]);
  const words = spec.lines.map((line) => {
    const values = line.data.slice(from).filter((v) => v !== null);
    if (values.length === 0) return `${line.name} is not known`;
    const [low, high, last] = [Math.min(...values), Math.max(...values), values.at(-1)].map((n) => number(n) + spec.unit);
    return low === high ? `${line.name} ${last}` : `${line.name} ${last}, between ${low} and ${high}`;
  });
  return `${spec.title}, last ${range}: ${words.join("; ")}. Arrow keys read single values.`;
}

// updateCharts fills the charts of the page, and drops those of pages that are gone.
export function updateCharts(d, route) {
  for (const [element, chart] of drawn) {
    if (!element.isConnected || !d) {
      chart.plot.destroy();
      drawn.delete(element);
    }
  }
  if (!d) return;
  const range = ranges[chosenRange(route)];
  const end = d.series.time.at(-1);
  for (const spec of listCharts(d, chosenMetric(d, route))) {
    const element = document.querySelector(`[data-chart="${spec.id}"]`);
    const shape = JSON.stringify([spec.title, spec.lines.map((l) => l.name), document.documentElement.dataset.theme, route.params.get("utc")]);
    let chart = drawn.get(element);
    if (chart && chart.shape !== shape) {
      chart.plot.destroy();
      chart = null;
    }
    const data = [d.series.time, ...spec.lines.map((l) => l.data)];
    if (!chart) {
      chart = { shape, plot: newPlot(element, spec, data) };
      drawn.set(element, chart);
    }
    chart.spec = spec;
    chart.plot.setData(data, false);
    chart.plot.setScale("x", { min: end - range, max: end });
    showValues(spec, data, chart.plot.cursor.idx);
  }
}

// resizeCharts fits the charts to the width of the page.
export function resizeCharts() {
  for (const [element, { plot }] of drawn) {
    if (plot.width !== element.clientWidth) plot.setSize({ width: element.clientWidth, height: element.clientHeight });
  }
}

// showValues writes the values under the cursor, or the last ones, beside the names of the lines.
function showValues(spec, data, index) {
  const at = index ?? data[0].length - 1;
  spec.lines.forEach((line, i) => {
    const place = document.querySelector(`[data-value="${spec.id}/${line.name}"]`);
    const when = index === null || index === undefined || i > 0 ? "" : ` at ${clock(data[0][at] * 1000)}`;
    if (place) place.textContent = number(data[i + 1][at]) + (data[i + 1][at] === null ? "" : spec.unit) + when;
  });
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function newPlot(element, spec, data) {
  const font = '11px system-ui, "DejaVu Sans", sans-serif';
  const axis = { stroke: () => colour("--muted"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false }, font };
  const plot = new uPlot({
    width: element.clientWidth, height: element.clientHeight, padding: [8, 18, 0, 0],
    legend: { show: false }, cursor: { sync: { key: "dashboard" }, y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high || 1) * 1.12] } },
    axes: [
      { ...axis, size: 24, grid: { show: false }, space: 70, values: (_, splits) => splits.map((t) => clock(t * 1000).slice(0, 5)) },
      { ...axis, size: 48, space: 26, values: (_, splits) => splits.map((n) => (spec.id === "pods" && !Number.isInteger(n) ? "" : number(n))) },
    ],
    series: [{}, ...spec.lines.map((line) => ({
      label: line.name, points: { show: false }, spanGaps: false, width: line.look === "limit" ? 1 : 1.75,
      stroke: () => colour(line.look ? "--muted" : "--accent"), dash: line.look === "limit" ? [5, 4] : undefined,
      fill: line.fill ? () => colour(line.look ? "--raised" : "--accent-soft") : undefined,
      paths: line.step ? uPlot.paths.stepped({ align: 1 }) : uPlot.paths.linear(),
    }))],
    hooks: { setCursor: [(u) => { const chart = drawn.get(element); if (chart) showValues(chart.spec, u.data, u.cursor.idx); }] },
  }, data, element);
  return plot;
}

// moveCursor moves the cursor of the charts by a number of points, as arrow keys ask for.
export function moveCursor(element, step) {
  const chart = drawn.get(element);
  if (!chart) return;
  const { plot } = chart;
  const times = plot.data[0];
  const index = Math.min(times.length - 1, Math.max(0, (plot.cursor.idx ?? times.length) + step));
  plot.setCursor({ left: plot.valToPos(times[index], "x"), top: 10 });
}
