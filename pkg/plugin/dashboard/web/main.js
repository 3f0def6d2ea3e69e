// Reads the program's data, keeps the state of the page in its URL, and draws.

import { h, morph } from "./dom.js";
import { age, setTimeZone } from "./format.js";
import { drawHead, drawAutoscalers, drawMetrics, drawFaults, drawHolds } from "./pages.js";
import { drawAutoscaler } from "./detail.js";
import { updateCharts, resizeCharts, moveCursor } from "./charts.js";

const pollPause = 2000; // milliseconds; the program reads the cluster every few seconds
const toastTime = 4000;
const clockSkew = 5000; // milliseconds; a smaller difference of clocks may be the time of an answer

const view = {
  state: null, detail: null, detailError: "", lost: false,
  ahead: 0, // milliseconds of the cluster's clock before the browser's
  now: () => Date.now() + view.ahead,
  age: (text) => (text ? age((view.now() - new Date(text)) / 1000) : ""),
};

// compareClocks measures the cluster's clock by an answer of the program. Ages go by it.
function compareClocks(answer) {
  const ahead = new Date(answer.headers.get("Tachometer-Time") ?? NaN) - Date.now();
  view.ahead = Math.abs(ahead) >= clockSkew ? ahead : 0; // also for no time
}

// readRoute returns the state of the page: #/PATH?PARAMETERS.
function readRoute() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const params = new URLSearchParams(query ?? "");
  const link = (to, changes) => {
    const next = new URLSearchParams(params);
    for (const [name, value] of Object.entries(changes)) {
      if (value === "") next.delete(name);
      else next.set(name, value);
    }
    return `#${to}${next.size ? `?${next}` : ""}`;
  };
  return { path: path.startsWith("/") ? path : "/", params, link };
}

let route = readRoute();

function draw() {
  const theme = route.params.get("theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = theme;
  setTimeZone(route.params.get("utc") && "UTC");
  morph(document.getElementById("head"), drawHead(view, route));
  if (!view.state) return;
  morph(document.getElementById("main"), h("div", {}, drawPage()));
  updateCharts(route.path.startsWith("/hpa/") ? view.detail : null, route);
  resizeCharts();
  const filter = document.getElementById("filter");
  if (filter && document.activeElement !== filter) filter.value = route.params.get("q") ?? "";
  document.title = [route.path.startsWith("/hpa/") && view.detail ? `${view.detail.namespace}/${view.detail.name}, ${view.detail.state}` : "", "Tachometer"].filter(Boolean).join(" · ");
}

function drawPage() {
  if (route.path.startsWith("/hpa/")) return drawAutoscaler(view, route);
  if (route.path === "/metrics") return drawMetrics(view, route);
  if (route.path === "/faults") return drawFaults(view, route);
  if (route.path === "/holds") return drawHolds(view);
  return drawAutoscalers(view, route);
}

// load reads what the page shows. Without a change it draws nothing, nor if what it read is unwanted by then.
async function load(unwanted = () => false) {
  const place = route.path;
  try {
    const answer = await fetch(`api/state?after=${view.state?.sequence ?? ""}`);
    if (!answer.ok) throw new Error(await answer.text());
    compareClocks(answer);
    const news = answer.status === 200 ? await answer.json() : null;
    const stale = place.startsWith("/hpa/") && (news || view.detailPath !== place);
    const detail = stale ? await readDetail(place) : null;
    if (unwanted()) return;
    const changed = view.lost;
    view.lost = false;
    if (news) view.state = news;
    if (detail && route.path === place) Object.assign(view, detail);
    if (news || changed || stale) draw();
  } catch {
    if (unwanted()) return;
    view.lost = true;
    draw();
  }
}

async function readDetail(place) {
  const answer = await fetch(`api/autoscalers/${place.slice("/hpa/".length)}`);
  return { detailPath: place, detail: answer.ok ? await answer.json() : null, detailError: answer.ok ? "" : await answer.text() };
}

// poll reads until the user stops the refresh. What arrives after that does not move the page.
async function poll() {
  const stopped = () => route.params.get("stop");
  if (!stopped() && !document.hidden) await load(stopped);
  setTimeout(poll, pollPause);
}

function navigate(hash) {
  if (hash === location.hash) return;
  history.pushState(null, "", hash);
  follow();
}

// follow draws the state that the URL has. Another page takes the focus to its title; another state of a page leaves it.
function follow() {
  const before = route.path;
  route = readRoute();
  if (route.path !== before) {
    view.detail = null;
    view.detailError = "";
    view.detailPath = "";
    scrollTo(0, 0);
  }
  draw();
  if (route.path === before) return;
  load().then(() => document.querySelector("main h2")?.focus());
}

addEventListener("popstate", follow);
addEventListener("hashchange", follow);
addEventListener("resize", resizeCharts);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

document.addEventListener("click", (event) => {
  const copy = event.target.closest("[data-copy]");
  const set = event.target.closest("[data-set]");
  if (copy) copyCommand(copy.dataset.copy);
  else if (set) {
    const [name, value] = set.dataset.set.split(/=(.*)/s);
    navigate(route.link(route.path, { [name]: value }));
  }
});

document.addEventListener("input", (event) => {
  if (event.target.id !== "filter") return;
  history.replaceState(null, "", route.link(route.path, { q: event.target.value }));
  follow();
});

document.addEventListener("keydown", (event) => {
  const chart = event.target.closest?.("[data-chart]");
  if (chart && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
    moveCursor(chart, event.key === "ArrowLeft" ? -1 : 1);
    event.preventDefault();
  } else if (event.key === "/" && event.target === document.body) {
    document.getElementById("filter")?.focus();
    event.preventDefault();
  }
});

// copyCommand copies a command and shows it. Where the browser forbids it, the command can be read.
async function copyCommand(command) {
  let words = `Copied: ${command}`;
  try {
    await navigator.clipboard.writeText(command);
  } catch {
    words = command;
  }
  const toast = document.getElementById("toast");
  toast.textContent = words;
  toast.classList.add("shown");
  clearTimeout(copyCommand.timer);
  copyCommand.timer = setTimeout(() => toast.classList.remove("shown"), toastTime);
}

setInterval(() => {
  for (const element of document.querySelectorAll("[data-age]")) element.textContent = view.age(element.getAttribute("datetime"));
}, 1000);

draw();
poll();
