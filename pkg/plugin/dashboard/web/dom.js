// Builds elements, and updates the page in place, so that focus, selection and scroll position stay.

import { date } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const svgTags = new Set(["svg", "line", "circle", "rect", "path"]);

// h returns an element. A false or missing attribute or child is left out; a child that is no element is text.
export function h(tag, attributes, ...children) {
  const element = svgTags.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== undefined && child !== null && child !== false) element.append(child);
  }
  return element;
}

// morph makes the children of an element equal to those of another one. Children with a key are found again by it, and the content of
// an element with data-keep is its own business.
export function morph(element, fresh) {
  const keyed = new Map();
  for (const child of element.childNodes) {
    if (child.dataset?.key) keyed.set(child.dataset.key, child);
  }
  let place = element.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const found = keyed.get(wanted.dataset?.key) ?? (place && !place.dataset?.key ? place : null);
    if (!found || found.nodeName !== wanted.nodeName) {
      element.insertBefore(wanted, place);
      continue;
    }
    if (found === place) place = place.nextSibling;
    else element.insertBefore(found, place);
    updateNode(found, wanted);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function updateNode(found, wanted) {
  if (found.nodeType !== Node.ELEMENT_NODE) {
    if (found.data !== wanted.data) found.data = wanted.data;
    return;
  }
  for (const { name } of [...found.attributes]) {
    if (!wanted.hasAttribute(name)) found.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (found.getAttribute(name) !== value) found.setAttribute(name, value);
  }
  if (!found.hasAttribute("data-keep")) morph(found, wanted);
}

// table returns a table. A narrow screen shows its rows as cards; the roles keep it a table for assistive technology even then.
export function table(caption, columns, rows, options = {}) {
  const header = columns.map((c) => h("th", { role: "columnheader", scope: "col", class: c.class, "aria-sort": c.sorted }, c.head ?? c.name));
  return h("table", { role: "table", class: options.class },
    h("caption", { class: "hidden" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, header)),
    h("tbody", { role: "rowgroup" }, rows.map((row) => h("tr", { role: "row", "data-key": row.key, class: row.class },
      row.cells.map((cell, i) => (i === 0
        ? h("th", { role: "rowheader", scope: "row", class: columns[i].class, "data-label": columns[i].name }, cell)
        : h("td", { role: "cell", class: columns[i].class, "data-label": columns[i].name }, cell)))))));
}

// copyButton returns a button that copies a command, or nothing where there is none.
export function copyButton(command, subject) {
  if (!command) return null;
  return h("button", { type: "button", class: "copy", "data-copy": command, title: command, "aria-label": `Copy the command for ${subject}` },
    h("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, h("rect", { x: 5.5, y: 5.5, width: 8, height: 8, rx: 1.5 }), h("path", { d: "M10.5 3.5v-1h-8v8h1" })));
}

// time returns an element whose text is the age of a time. It grows every second.
export function time(text, age) {
  return text ? h("time", { datetime: text, "data-age": true, title: date(text) }, age) : "–";
}
