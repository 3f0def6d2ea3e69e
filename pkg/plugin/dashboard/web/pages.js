// Draws the head, the table of autoscalers, the faults, the holds and the calendar.

import { h, table, copyButton, time } from "./dom.js";
import { quantity, metricName, date } from "./format.js";

// The states from the worst to the best, with the look that repeats the word.
const states = ["broken", "partial", "limited", "off", "rising", "falling", "held", "minimum", "new", "steady"];
const looks = { broken: "fault", partial: "fault", limited: "fault", rising: "moving", falling: "moving" };

export function stateWord(state) {
  return h("span", { class: `state ${looks[state] ?? ""}` }, state);
}

// drawHead returns the children of the head: the scope, the age of what is shown, the switches and the places to go.
export function drawHead(view, route) {
  const places = [
    ["/", "Autoscalers", view.state?.autoscalers.length, false],
    ["/metrics", "Metrics", view.state && new Set(view.state.autoscalers.flatMap((a) => a.metrics.map((m) => m.name))).size, false],
    ["/faults", "Faults", view.state && view.state.faults.length + view.state.targets.failing + (view.state.unread ?? []).length, true],
    ["/holds", "Holds", view.state?.holds.installed ? view.state.holds.items.length : undefined, false],
  ];
  const here = route.path.startsWith("/hpa/") ? "/" : route.path;
  return h("div", {},
    h("div", { class: "bar" },
      h("h1", { class: "brand" },
        h("svg", { viewBox: "0 0 32 32", fill: "none", stroke: "currentColor", "stroke-width": "3", "stroke-linecap": "round", "aria-hidden": "true" },
          h("circle", { cx: 16, cy: 16, r: 13 }), h("path", { d: "M16 17 23 9" })), "Tachometer"),
      view.state && h("p", { class: "scope" },
        view.state.context && ["context ", h("b", {}, view.state.context), ", "],
        view.state.namespace ? ["namespace ", h("b", {}, view.state.namespace)] : "all namespaces"),
      h("div", { class: "controls" },
        h("span", { class: "muted" }, view.state?.time ? ["read ", time(view.state.time, view.age(view.state.time)), " ago"] : "not read yet"),
        h("button", { type: "button", "data-set": `stop=${route.params.get("stop") ? "" : "1"}`, "aria-pressed": String(Boolean(route.params.get("stop"))) },
          route.params.get("stop") ? "Refresh is stopped" : "Stop refresh"),
        h("button", { type: "button", "data-set": `utc=${route.params.get("utc") ? "" : "1"}`, "aria-pressed": String(Boolean(route.params.get("utc"))), title: "Clocks in UTC, as in the commands" }, "UTC"),
        h("span", { class: "segments", role: "group", "aria-label": "Theme" }, ["", "light", "dark"].map((theme) =>
          h("button", { type: "button", "data-set": `theme=${theme}`, "aria-pressed": String((route.params.get("theme") ?? "") === theme) },
            theme ? theme[0].toUpperCase() + theme.slice(1) : "Auto"))))),
    h("nav", { "aria-label": "Pages" }, h("ul", {}, places.map(([path, name, count, alarm]) => h("li", {},
      h("a", { href: route.link(path, { q: "", sort: "" }), "aria-current": path === here && "page" },
        name, " ", count !== undefined && h("span", { class: `count ${alarm && count > 0 ? "alarm" : ""}` }, count)))))),
    view.lost && h("p", { class: "banner", role: "alert" },
      "The program that serves this page does not answer: it has ended, or this machine slept. Numbers below are old."),
    !view.lost && view.state?.failed && h("p", { class: "banner", role: "alert" },
      "Autoscalers cannot be read since ", time(view.state.failed.since, view.age(view.state.failed.since)), ": ", view.state.failed.reason));
}

// drawAutoscalers returns the table of autoscalers.
export function drawAutoscalers(view, route) {
  const query = (route.params.get("q") ?? "").toLowerCase();
  const sort = route.params.get("sort") || "state";
  const rows = view.state.autoscalers.filter((a) => `${a.namespace}/${a.name} ${a.state} ${a.sentence}`.toLowerCase().includes(query));
  sortRows(rows, sort);
  const columns = [
    { name: "Autoscaler", by: "name" }, { name: "State", by: "state", class: "state-cell" },
    { name: "Now", by: "replicas", class: "number" }, { name: "Wanted", by: "wanted", class: "number" }, { name: "Ready", by: "ready", class: "number" },
    { name: "Limits", class: "nowrap" }, { name: "Value / target", class: "values" }, { name: "Age", class: "number" }, { name: "Why", class: "why" },
  ];
  for (const c of columns) {
    if (!c.by) continue;
    const descending = sort === `-${c.by}`;
    c.sorted = descending ? "descending" : sort === c.by && "ascending";
    c.head = h("button", { type: "button", "data-set": `sort=${sort === c.by ? "-" : ""}${c.by}` }, c.name);
  }
  return [
    h("div", { class: "title" }, h("h2", { tabindex: "-1" }, "Autoscalers"), copyButton(view.state.command, "this table"),
      drawFilter("autoscalers")),
    h("section", { class: "panel", "aria-label": "Autoscalers" }, rows.length
      ? table("Autoscalers with their replicas, values and reasons", columns, rows.map((a) => drawRow(view, route, a)), { class: "autoscalers" })
      : h("p", { class: "empty" }, describeNoRows(view, query))),
  ];
}

function describeNoRows(view, query, noun = "autoscaler") {
  if (!view.state.time) return "Reading the cluster.";
  if (query) return `No ${noun} matches “${query}”.`;
  return view.state.namespace ? `There is no autoscaler in namespace ${view.state.namespace}. Start with -A for all namespaces.` : "There is no autoscaler in the cluster.";
}

function sortRows(rows, sort) {
  const by = sort.replace(/^-/, "");
  const key = { name: (a) => `${a.namespace}/${a.name}`, state: (a) => states.indexOf(a.state) }[by] ?? ((a) => a[by]);
  rows.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
  if (sort.startsWith("-")) rows.reverse();
}

function drawRow(view, route, a) {
  const differs = a.wanted !== a.replicas && "differs";
  return {
    key: `${a.namespace}/${a.name}`,
    cells: [
      [h("a", { class: "name", href: route.link(`/hpa/${a.namespace}/${a.name}`, { q: "", sort: "", open: "" }) }, a.name), h("div", { class: "muted" }, a.namespace)],
      stateWord(a.state), h("span", {}, a.replicas), h("span", { class: differs }, a.wanted),
      h("span", { class: a.ready >= 0 && a.ready < a.replicas && "differs" }, a.ready < 0 ? "?" : a.ready),
      [drawRange(a), h("span", { class: "muted limits" }, `${a.min}–${a.max}`)],
      a.metrics.map((m) => h("div", { class: "metric" }, h("span", { class: "muted" }, metricName(m.name)),
        h("span", { class: m.error && "fault-text" }, `${quantity(m.value)} / ${quantity(m.target)}`))),
      time(a.oldestValue, view.age(a.oldestValue)), a.sentence,
    ],
  };
}

// drawRange returns the scale from minReplicas to maxReplicas: the dot is the number now, the ring the number wanted.
function drawRange(a) {
  const place = (n) => 6 + 84 * Math.min(1, Math.max(0, (n - a.min) / Math.max(1, a.max - a.min)));
  return h("svg", { class: "range", viewBox: "0 0 96 14", "aria-hidden": "true" },
    h("line", { class: "rail", x1: 6, x2: 90, y1: 7, y2: 7 }),
    [6, 90].map((x) => h("line", { class: "tick", x1: x, x2: x, y1: 3, y2: 11 })),
    a.wanted !== a.replicas && h("circle", { class: "ring", cx: place(a.wanted), cy: 7, r: 4 }),
    h("circle", { class: "dot", cx: place(a.replicas), cy: 7, r: 3.5 }));
}

// drawMetrics returns each metric with the autoscalers that scale on it, and what they read.
export function drawMetrics(view, route) {
  const query = (route.params.get("q") ?? "").toLowerCase();
  const columns = [{ name: "Metric" }, { name: "Autoscaler" }, { name: "Value", class: "number" }, { name: "Target", class: "number" }, { name: "Age", class: "number" }];
  const rows = view.state.autoscalers.flatMap((a) => a.metrics.map((m, i) => ({
    key: `${m.name} ${a.namespace}/${a.name} ${i}`,
    cells: [
      [metricName(m.name), " ", copyButton(a.commands.values?.[i], `${m.name}, ${a.namespace}/${a.name}`), m.error && h("div", { class: "fault-text" }, m.error)],
      [h("a", { class: "name", href: route.link(`/hpa/${a.namespace}/${a.name}`, {}) }, a.name), h("div", { class: "muted" }, a.namespace)],
      h("span", { class: m.error && "fault-text" }, quantity(m.value)), quantity(m.target), m.error ? "–" : time(a.oldestValue, view.age(a.oldestValue)),
    ],
  })));
  const shown = rows.filter((row) => row.key.toLowerCase().includes(query));
  shown.sort((a, b) => (a.key < b.key ? -1 : 1));
  return [
    h("div", { class: "title" }, h("h2", { tabindex: "-1" }, "Metrics"), drawFilter("metrics")),
    h("section", { class: "panel", "aria-label": "Metrics" }, shown.length
      ? table("Metrics with the autoscalers that scale on them", columns, shown, { class: "by-metric" })
      : h("p", { class: "empty" }, describeNoRows(view, rows.length > 0 && query, "metric"))),
    drawFamilies(view.state.families, query),
  ];
}

// drawFilter returns the field whose text the address keeps as q.
function drawFilter(noun) {
  return h("div", { class: "tools" }, h("input", { type: "search", id: "filter", placeholder: "Filter", "aria-label": `Filter ${noun}`, autocomplete: "off", spellcheck: "false" }));
}

// drawFamilies returns the metric families that the pods expose, with the metrics that serve them.
function drawFamilies({ items, all, gaps = [], replica, error, command }, query) {
  if (!command) return null;
  const shown = items.filter((f) => `${f.name} ${f.type} ${f.help ?? ""} ${f.metrics} ${f.demanded}`.toLowerCase().includes(query));
  const title = "Families that the pods expose";
  const more = all > items.length ? `, the first ${items.length} of ${all}` : "";
  const columns = [{ name: "Family" }, { name: "Type" }, { name: "Pods", class: "number" }, { name: "Metrics", class: "why" }, { name: "Demanded by" }];
  return h("section", { class: "panel", "aria-label": title },
    h("header", {}, h("h3", {}, title, replica && h("span", { class: "muted" }, ` as ${replica} reads them from one pod of each workload${more}`)), copyButton(command, "the families")),
    error && h("p", { class: "empty fault-text" }, error),
    gaps.map((gap) => h("p", { class: "empty fault-text" }, gap)),
    shown.length > 0 && table(title, columns, shown.map((f) => ({
      key: f.name,
      cells: [[h("span", { class: "name" }, f.name), f.help && h("div", { class: "muted" }, f.help)], f.type, f.targets, f.metrics.replaceAll(",", ", "), f.demanded],
    })), { class: "families" }),
    items.length > 0 && shown.length === 0 && h("p", { class: "empty" }, `No family matches “${query}”.`),
    !error && gaps.length === 0 && items.length === 0 && h("p", { class: "empty" }, "No pod that is annotated or autoscaled exposes a family."));
}

// drawFaults returns the metrics that fail, and the resources that could not be read.
export function drawFaults(view, route) {
  const { faults, unread = [] } = view.state;
  const columns = [{ name: "Autoscaler" }, { name: "Metric" }, { name: "Pod" }, { name: "Cause", class: "why" }, { name: "Find the cause" }];
  return [
    h("div", { class: "title" }, h("h2", { tabindex: "-1" }, "Faults")),
    h("section", { class: "panel", "aria-label": "Metrics and pods without a value" },
      h("header", {}, h("h3", {}, "Metrics and ready pods without a value")),
      faults.length
        ? table("Metrics and pods without a value", columns, faults.map((f) => ({
          key: `${f.namespace}/${f.name}/${f.metric}/${f.pod ?? ""}`,
          cells: [
            [h("a", { class: "name", href: route.link(`/hpa/${f.namespace}/${f.name}`, {}) }, f.name), h("div", { class: "muted" }, f.namespace)],
            metricName(f.metric), f.pod ?? h("span", { class: "muted" }, "all"), h("span", { class: "fault-text" }, f.reason),
            [h("code", {}, "doctor"), " ", copyButton(f.command, `the cause of ${f.namespace}/${f.name}`)],
          ],
        })))
        : h("p", { class: "empty" }, "Every metric has a value for every ready pod.")),
    drawTargets(view.state.targets),
    unread.length > 0 && h("section", { class: "panel", "aria-label": "Not read" },
      h("header", {}, h("h3", {}, "Could not be read with your rights")),
      table("Resources that could not be read", [{ name: "Resource" }, { name: "Cause", class: "why" }],
        unread.map((u) => ({ key: u.resource, cells: [u.resource, u.reason] })))),
  ];
}

// drawTargets returns the pods whose metrics pages the adapter cannot read.
function drawTargets({ items, failing, all, replica, error, command }) {
  if (!command) return null;
  const title = "Targets that fail";
  const more = failing > items.length ? `, the first ${items.length} of ${failing}` : "";
  return h("section", { class: "panel", "aria-label": title },
    h("header", {}, h("h3", {}, title, replica && h("span", { class: "muted" }, ` as ${replica} scrapes them${more}`)), copyButton(command, "the targets")),
    error && h("p", { class: "empty fault-text" }, error),
    items.length > 0 && table(title, [{ name: "Pod" }, { name: "Cause", class: "why" }, { name: "URL", class: "why" }], items.map((t) => ({
      key: `${t.namespace}/${t.pod}/${t.url}`,
      cells: [[h("span", { class: "name" }, t.pod), h("div", { class: "muted" }, t.namespace)], h("span", { class: "fault-text" }, t.reason), t.url],
    }))),
    !error && items.length === 0 && h("p", { class: "empty" }, all === 1 ? "The adapter reads the only target." : `The adapter reads all ${all} targets.`));
}

// drawHolds returns the holds of the scaler, and the windows of its schedules.
export function drawHolds(view) {
  const { holds } = view.state;
  const columns = [
    { name: "Workload" }, { name: "Hold" }, { name: "State" }, { name: "Replicas", class: "number" }, { name: "Since", class: "number" },
    { name: "Until", class: "nowrap" }, { name: "By" }, { name: "Reason and last message", class: "why" },
  ];
  let body = h("p", { class: "empty" }, "The cluster has no scaler: it knows no resource named holds.");
  if (holds.error) body = h("p", { class: "empty fault-text" }, holds.error);
  else if (holds.items.length > 0) {
    body = table("Holds of the scaler", columns, holds.items.map((d) => ({
      key: `${d.namespace}/${d.name}`,
      cells: [
        [h("span", { class: "name" }, d.workload), h("div", { class: "muted" }, d.namespace)], d.name,
        stateWord(d.paused ? "paused" : d.state), d.replicas, time(d.since, view.age(d.since)),
        d.until ? date(d.until) : "it is released", d.by || "–", [d.reason, d.message && h("div", { class: "muted" }, d.message)],
      ],
    })), { class: "holds" });
  } else if (holds.installed) body = h("p", { class: "empty" }, "No hold is in force.");
  return [
    h("div", { class: "title" }, h("h2", { tabindex: "-1" }, "Holds"), holds.installed && copyButton(holds.command, "the holds")),
    h("section", { class: "panel", "aria-label": "Holds" }, body),
    holds.installed && drawCalendars(view),
  ];
}

function drawCalendars(view) {
  const { items, error } = view.state.calendars;
  if (error) return h("section", { class: "panel", "aria-label": "Calendar" }, h("header", {}, h("h3", {}, "Calendar")), h("p", { class: "empty fault-text" }, error));
  return items.map((c) => {
    const title = `Calendar of configmap/${c.configMap} in namespace ${c.namespace}`;
    return h("section", { class: "panel", "aria-label": title },
      h("header", {}, h("h3", {}, title), copyButton(c.command, title)),
      c.error && h("p", { class: "empty fault-text" }, c.error),
      c.windows.length > 0 && drawWindows(view, c.windows, title),
      !c.error && c.windows.length === 0 && h("p", { class: "empty" }, "No schedule has a window now or in the next year."));
  });
}

// drawWindows returns the windows of schedules: those of now, and the next ones.
function drawWindows(view, windows, title) {
  const columns = [
    { name: "Workload" }, { name: "Schedule" }, { name: "Window" }, { name: "State" }, { name: "minReplicas", class: "number" }, { name: "maxReplicas", class: "number" },
    { name: "From", class: "nowrap" }, { name: "Until", class: "nowrap" },
  ];
  return table(title, columns, windows.map((w) => ({
    key: `${w.namespace}/${w.workload} ${w.schedule} ${w.from} ${w.window}`,
    cells: [
      [h("span", { class: "name" }, w.workload), h("div", { class: "muted" }, w.namespace)], w.schedule, w.window,
      stateWord(w.paused ? "paused" : new Date(w.from) <= view.now() ? "now" : "next"), w.minReplicas, w.maxReplicas ?? "–", date(w.from), date(w.until),
    ],
  })), { class: "holds" });
}
