/**
 * Time ranges that end now, for the filters of pages.
 *
 * @typedef {{ value: string, words: string, ms: number }} Range
 */

/** Value in the URL, words, and length. @type {Range[]} */
export const RANGES = [
  { value: "", words: "Any time", ms: Infinity },
  { value: "15m", words: "Last 15 minutes", ms: 15 * 60_000 },
  { value: "1h", words: "Last hour", ms: 3_600_000 },
  { value: "24h", words: "Last 24 hours", ms: 86_400_000 },
  { value: "7d", words: "Last 7 days", ms: 7 * 86_400_000 },
  { value: "30d", words: "Last 30 days", ms: 30 * 86_400_000 },
];

/**
 * The time at which a range begins, as the server takes it; the empty text for no bound.
 * @param {string | null} value
 */
export function rangeBegin(value) {
  const range = RANGES.find((known) => known.value === value);
  return range && range.ms !== Infinity ? new Date(Date.now() - range.ms).toISOString() : "";
}
