// Writes numbers, ages and names.

// quantity returns a Kubernetes quantity with a decimal point in place of thousandths: 61500m → 61.5.
export function quantity(text) {
  const parts = /^(-?\d+)([mun])$/.exec(text ?? "");
  if (!parts) return text ?? "?";
  return number(Number(parts[1]) / { m: 1e3, u: 1e6, n: 1e9 }[parts[2]]);
}

// number returns a number with at most four significant digits, and a unit from ten thousand on.
export function number(n) {
  if (n === null || n === undefined || Number.isNaN(n)) return "?";
  for (const [size, unit] of [[1e9, " G"], [1e6, " M"], [1e4, " k"]]) {
    if (Math.abs(n) >= size) return trim(n / (size === 1e4 ? 1e3 : size)) + unit;
  }
  return trim(n);
}

function trim(n) {
  return String(Math.abs(n) >= 1000 ? Math.round(n) : Number(n.toPrecision(4)));
}

// age returns a time span as kubectl does: 2s, 3m12s, 2h5m, 3d.
export function age(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 120) return `${s}s`;
  if (s < 600) return s % 60 ? `${Math.floor(s / 60)}m${s % 60}s` : `${s / 60}m`;
  if (s < 7200) return `${Math.floor(s / 60)}m`;
  if (s < 172800) return `${Math.floor(s / 3600)}h`;
  return `${Math.floor(s / 86400)}d`;
}

let timeZone; // of the clocks; undefined: the browser's

// setTimeZone sets the zone of the clocks: "UTC", or the browser's for nothing.
export function setTimeZone(name) {
  timeZone = name || undefined;
}

// clock returns the time of day with seconds.
export function clock(text) {
  return new Date(text).toLocaleTimeString("en-GB", { timeZone });
}

// date returns the day with the time of day.
export function date(text) {
  return new Date(text).toLocaleString("en-GB", { timeZone });
}

// metricName returns the bare name of a metric in words, with its selector: "cpu of pods" → "cpu". A container and an object stay.
export function metricName(words) {
  return words.replace(/(, external| of pods)$/, "");
}

// span returns nanoseconds as a time span; nothing for none.
export function span(nanoseconds) {
  return nanoseconds ? age(nanoseconds / 1e9) : "";
}
