// Draws the page of one autoscaler.

import { h, table, copyButton, time } from "./dom.js";
import { quantity, metricName, clock, span } from "./format.js";
import { stateWord } from "./pages.js";
import { drawChartPanel } from "./charts.js";

// drawAutoscaler returns the page: the sentence, the figures, the charts, and the parts behind them.
export function drawAutoscaler(view, route) {
  const d = view.detail;
  if (!d) return [h("p", { class: "empty" }, view.detailError || "Reading the autoscaler.")];
  return [
    h("div", { class: "title" },
      h("h2", { tabindex: "-1" }, h("span", { class: "muted" }, `${d.namespace} / `), d.name), stateWord(d.state),
      h("span", { class: "muted" }, `scales ${d.target}`)),
    h("p", { class: "sentence" }, d.sentence, " ", copyButton(d.commands.explain, "this sentence")),
    drawFigures(view, d),
    drawChartPanel(d, route),
    h("div", { class: "columns" }, drawPods(view, d), drawDecisions(view, d, route)),
    drawArithmetic(view, d, route), drawCommands(d),
  ];
}

function drawFigures(view, d) {
  const figure = (name, value, command, extra, look) => h("div", { class: look }, h("dt", {}, h("span", {}, name), copyButton(command, name.toLowerCase())), h("dd", {}, value, extra && h("small", {}, extra)));
  return h("dl", { class: "figures" },
    figure("Now", d.replicas, d.commands.numbers, ` in ${d.min}–${d.max}`),
    figure("Wanted", h("span", { class: d.wanted !== d.replicas && "differs" }, d.wanted), d.commands.numbers),
    figure("Ready", d.ready < 0 ? "?" : d.ready, d.commands.pods),
    d.metrics.map((m, i) => figure(metricName(m.name), h("span", { class: m.error && "fault-text" }, quantity(m.value)), d.commands.values?.[i], ` / ${quantity(m.target)}`, "of-metric")),
    figure("Age", time(d.oldestValue, view.age(d.oldestValue)), d.commands.values?.find(Boolean)));
}

function panel(title, body, ...tools) {
  return h("section", { class: "panel", "aria-label": title }, h("header", {}, h("h3", {}, title), h("div", { class: "tools" }, tools)), body);
}

function drawPods(view, d) {
  const pods = d.explanation.pods ?? [];
  const metrics = [...new Set(pods.flatMap((p) => p.values.map((v) => v.metric)))];
  const scale = Object.fromEntries(metrics.map((m) => [m, podScale(d, pods, m)]));
  const only = metrics.length === 1;
  const columns = [{ name: "Pod" }, { name: "Ready", class: "nowrap" }, { name: "Metric" }, { name: "Value", class: "number" }, { name: "Target", class: "bar-cell" }, { name: "Age", class: "number" }, { name: "Window", class: "number" }];
  const rows = pods.flatMap((p) => (p.values.length ? p.values : [{}]).map((v, i) => ({
    key: `${p.name}/${v.metric ?? ""}`,
    cells: [
      i === 0 ? p.name : h("span", { class: "hidden" }, p.name), h("span", { class: p.ready ? "" : "differs" }, p.ready ? "ready" : "not ready"),
      metricName(v.metric ?? "–"), v.value ? quantity(v.value) : h("span", { class: p.ready ? "fault-text" : "muted" }, v.note ? "none" : "–"),
      v.note ? h("span", { class: "muted" }, v.note) : drawShare(scale[v.metric], v.value), time(v.time, view.age(v.time)), span(v.window) || "–",
    ].filter((_, n) => !only || n !== 2),
  })));
  const title = only ? `Pods, ${metricName(metrics[0])}` : "Pods";
  return panel(title, rows.length ? h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Values of pods" },
    table("Pods with their values", columns.filter((_, n) => !only || n !== 2), rows, { class: only ? "plain pods" : "plain pods many" }))
    : h("p", { class: "empty" }, "The autoscaler has no pods, or they cannot be read."), copyButton(d.commands.pods, "the pods"));
}

// podScale returns the end of a metric's bars and the place of its target: the target is in view, and no bar leaves the scale.
function podScale(d, pods, metric) {
  const series = d.series.metrics?.find((m) => m.name === metric);
  const target = series && !series.percent && series.share ? series.target : null;
  const values = pods.flatMap((p) => p.values.filter((v) => v.metric === metric && v.value).map((v) => toNumber(v.value)));
  return { target, end: Math.max(...values, target ?? 0) * 1.08 || 1 };
}

function toNumber(text) {
  const parts = /^(-?[\d.]+)([a-zA-Z]*)$/.exec(text);
  const units = { m: 1e-3, u: 1e-6, n: 1e-9, k: 1e3, M: 1e6, G: 1e9, Ki: 1024, Mi: 1024 ** 2, Gi: 1024 ** 3 };
  return parts ? Number(parts[1]) * (units[parts[2]] ?? 1) : 0;
}

function drawShare(scale, value) {
  if (!scale || !value) return null;
  const width = (n) => (100 * n) / scale.end;
  return h("svg", { class: "share", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    h("rect", { class: "ground", x: 0, y: 1, width: 100, height: 6 }), h("rect", { class: "fill", x: 0, y: 1, width: width(toNumber(value)), height: 6 }),
    scale.target !== null && h("line", { class: "tick", x1: width(scale.target), x2: width(scale.target), y1: 0, y2: 8 }));
}

function drawDecisions(view, d, route) {
  const open = route.params.get("open") ?? "";
  const items = d.decisions.map((c) => {
    const id = `decision-${c.time}`;
    const words = c.fault === "lost" ? "value lost" : c.fault === "back" ? "value back" : `${c.from} → ${c.to}`;
    return h("li", { "data-key": id },
      h("div", { class: "decision" },
        h("time", { datetime: c.time, class: "nowrap" }, clock(c.scaledAt || c.time)), h("span", { class: `change ${c.fault === "lost" ? "fault-text" : ""}` }, words),
        h("span", { class: "muted since" }, time(c.scaledAt || c.time, view.age(c.scaledAt || c.time)), " ago"),
        h("button", { type: "button", class: "expand", "data-set": `open=${open === c.time ? "" : c.time}`, "aria-expanded": String(open === c.time), "aria-controls": open === c.time && id },
          "Arithmetic", h("span", { class: "hidden" }, ` of the decision at ${clock(c.time)}`)),
        h("p", {}, c.unexplained && "Read before the decision, and different when it was taken: ", c.sentence)),
      open === c.time && h("div", { id }, drawSteps(c.metrics, c.changes)));
  });
  const known = h("p", { class: "empty" },
    items.length ? (d.recorded ? "Recorded by the adapter since " : "Known since ") : "No decision since ", clock(d.knownSince), ".",
    items.length > 0 && (d.recorded ? " Each sentence is of the values that the controller read." : " Each sentence is of the values read last before the decision."));
  return panel("Decisions", [
    d.decisionsError && h("p", { class: "empty fault-text" }, !d.recorded && "The adapter's record cannot be read, so these are the decisions since this program was started: ", d.decisionsError),
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "List of decisions" }, items.length > 0 && h("ol", { class: "decisions" }, items), known),
  ], d.recorded ? copyButton(d.commands.decisions, "the decisions") : copyButton(d.commands.events, "the autoscaler's events"));
}

// drawSteps returns the arithmetic of metrics, step by step.
function drawSteps(metrics, changes = []) {
  return [
    (metrics ?? []).map((m) => h("div", { class: "steps" },
      h("h4", {}, metricName(m.name), h("span", { class: "muted" }, m.error ? "" : `: ${quantity(m.total)}, target ${quantity(m.target)}`)),
      m.error ? h("p", { class: "fault-text" }, m.error) : h("ol", {}, (m.steps ?? []).map((s) => h("li", {}, s))))),
    changes.length > 0 && h("div", { class: "steps" }, h("h4", {}, "It changes"), h("ul", {}, changes.map((c) => h("li", {}, c)))),
  ];
}

function drawArithmetic(view, d, route) {
  const e = d.explanation;
  const shown = route.params.get("steps") !== "0";
  const holds = Object.fromEntries((e.stabilization ?? []).map((s) => [s.direction, s]));
  const body = shown && h("div", { class: "body", id: "arithmetic" },
    drawSteps(e.metrics, e.changes),
    h("h4", {}, "Behavior"),
    table("Policies and windows", [{ name: "Direction" }, { name: "Policy" }, { name: "Window", class: "nowrap" }, { name: "Holds now" }],
      (e.policies ?? []).map((p, i) => ({ key: `${p.direction}${i}`, cells: [p.direction, p.text, span(holds[p.direction]?.window) || "0s", holds[p.direction]?.holds ? "yes" : "no"] }))),
    e.conditions?.length > 0 && [h("h4", {}, "Conditions"),
      table("Conditions of the autoscaler", [{ name: "Condition" }, { name: "Status" }, { name: "Since", class: "number" }, { name: "Meaning", class: "why" }],
        e.conditions.map((c, i) => ({ key: `${c.type}${i}`, cells: [c.type, `${c.status}, ${c.reason}`, time(c.since, view.age(c.since)), c.meaning || c.message] })))],
    e.unknown?.length > 0 && [h("h4", {}, "Not known"), h("ul", { class: "muted" }, e.unknown.map((u) => h("li", {}, u)))]);
  return panel("Arithmetic now", body,
    h("button", { type: "button", class: "expand", "data-set": `steps=${shown ? "0" : ""}`, "aria-expanded": String(shown), "aria-controls": shown && "arithmetic" }, shown ? "Hide" : "Show"));
}

function drawCommands(d) {
  const c = d.commands;
  const lines = [["the sentence and the steps", c.explain], ["the first fault", c.doctor], ["now, wanted, limits", c.numbers], ["decisions of the last hour", c.decisions], ["events", c.events], ["pods", c.pods],
    ...d.metrics.map((m, i) => [`values of ${metricName(m.name)}`, c.values?.[i]])];
  return panel("The same in a terminal", h("ul", { class: "commands body" },
    lines.filter(([, command]) => command).map(([subject, command]) => h("li", { "data-key": command },
      h("span", {}, subject), h("code", {}, command), copyButton(command, subject)))));
}

