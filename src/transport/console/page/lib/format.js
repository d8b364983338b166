/** Numbers, times and durations for people. */

const WHOLE = new Intl.NumberFormat("en");
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/**
 * A whole number with separators.
 * @param {number} value
 */
export function count(value) {
  return WHOLE.format(value);
}

/**
 * A number and its noun.
 * @param {number} value
 * @param {string} noun
 */
export function counted(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/**
 * A cost in dollars; small amounts keep two digits that count.
 * @param {number} dollars
 */
export function cost(dollars) {
  if (dollars === 0) {
    return "$0";
  }
  const digits = Math.min(8, Math.max(2, 1 - Math.floor(Math.log10(Math.abs(dollars)))));
  return `$${dollars.toFixed(digits)}`;
}

/**
 * A duration: `740 ms`, `8.6 s`, `3 m 05 s`, `2 h 14 m`, `3 d 4 h`.
 * @param {number} ms
 */
export function duration(ms) {
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  if (ms < 1000) {
    return `${Math.max(0, Math.round(ms))} ms`;
  }
  const seconds = ms / 1000;
  if (seconds < 60) {
    return `${seconds < 10 ? seconds.toFixed(1) : Math.floor(seconds)} s`;
  }
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) {
    return `${minutes} m ${two(Math.floor(seconds % 60))} s`;
  }
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${two(minutes % 60)} m` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/**
 * Time since the first event: `+0.74 s`.
 * @param {number} ms
 */
export function offset(ms) {
  const size = Math.abs(ms);
  const text = size < 60_000 ? `${(size / 1000).toFixed(2)} s` : duration(size);
  return `${ms < 0 ? "−" : "+"}${text}`;
}

/**
 * The time of day, with the day unless it is today.
 * @param {string} timestamp
 */
export function time(timestamp) {
  const date = new Date(timestamp);
  const clock = CLOCK.format(date);
  return date.toDateString() === new Date().toDateString() ? clock : `${DAY.format(date)}, ${clock}`;
}

/**
 * Day and time.
 * @param {string} timestamp
 */
export function fullTime(timestamp) {
  return FULL.format(new Date(timestamp));
}

/**
 * JSON on one line, cut to a length that a row may show.
 * @param {unknown} value
 * @param {number} [max]
 */
export function inline(value, max = 240) {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  const line = text.slice(0, max * 4).replace(/\s+/g, " ").trim();
  return line.length > max || text.length > max * 4 ? `${line.slice(0, max)}…` : line;
}

/**
 * How long a run goes on, or took.
 * @param {import("./types.js").Run} run
 */
export function runDuration(run) {
  const begin = Date.parse(run.started_at ?? run.created_at);
  const end = run.completed_at ? Date.parse(run.completed_at) : Date.now();
  return duration(Math.max(0, end - begin));
}
