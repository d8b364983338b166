/**
 * The place in the console, in the fragment of the URL: `#/runs?status=failed`, `#/runs/ID?seq=12`, `#/usage?by=model`.
 *
 * @typedef {{ page: "runs" | "usage", query: URLSearchParams } | { page: "run", id: string, query: URLSearchParams }} Route
 */

/** @returns {Route} */
export function currentRoute() {
  const [path = "", query = ""] = location.hash.replace(/^#/, "").split("?", 2);
  const parameters = new URLSearchParams(query);
  const id = /^\/runs\/(.+)$/.exec(path)?.[1];
  if (id === undefined) {
    return { page: path === "/usage" ? "usage" : "runs", query: parameters };
  }
  try {
    return { page: "run", id: decodeURIComponent(id), query: parameters };
  } catch {
    return { page: "run", id, query: parameters };
  }
}

/**
 * The fragment of the list of runs.
 * @param {URLSearchParams} [query]
 */
export function runsHash(query) {
  const text = query?.toString() ?? "";
  return text ? `#/runs?${text}` : "#/runs";
}

/**
 * The fragment of the usage.
 * @param {URLSearchParams} [query]
 */
export function usageHash(query) {
  const text = query?.toString() ?? "";
  return text ? `#/usage?${text}` : "#/usage";
}

/**
 * The fragment of a run.
 * @param {string} id
 * @param {Record<string, string | number | undefined>} [query]
 */
export function runHash(id, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return `#/runs/${encodeURIComponent(id)}${text ? `?${text}` : ""}`;
}

/**
 * Changes the fragment without a step in the history, and without a change of the page.
 * @param {string} hash
 */
export function replaceHash(hash) {
  if (location.hash !== hash) {
    history.replaceState(null, "", hash);
  }
}
