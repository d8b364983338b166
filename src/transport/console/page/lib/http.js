/** Requests to the server of this page. The key lies in the storage of this tab only and travels in a header. */

const STORED_KEY = "runlog.key";

/** Event of `window` after a response 401. */
export const UNAUTHORIZED = "runlog-unauthorized";

/** The key of this tab, or null. */
export function storedKey() {
  return sessionStorage.getItem(STORED_KEY);
}

/**
 * Keeps a key for this tab; null forgets it.
 * @param {string | null} key
 */
export function storeKey(key) {
  if (key === null) {
    sessionStorage.removeItem(STORED_KEY);
  } else {
    sessionStorage.setItem(STORED_KEY, key);
  }
}

/** An error response: its status, its reason in snake_case, and the text of the server. */
export class HttpError extends Error {
  /**
   * @param {number} status
   * @param {string} reason
   * @param {string} message
   */
  constructor(status, reason, message) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

/**
 * @typedef {object} Options
 * @property {string} [method]
 * @property {unknown} [body] sent as JSON
 * @property {boolean} [repeatable] sends an `Idempotency-Key`
 * @property {AbortSignal} [signal]
 * @property {string} [key] in place of the stored key
 */

/**
 * Sends a request; an error response is thrown as {@link HttpError}.
 * @param {string} path
 * @param {Options} [options]
 * @returns {Promise<Response>}
 */
export async function send(path, { method = "GET", body, repeatable, signal, key } = {}) {
  const headers = new Headers();
  const presented = key ?? storedKey();
  if (presented) {
    headers.set("Authorization", `Bearer ${presented}`);
  }
  if (body !== undefined) {
    headers.set("Content-Type", "application/json");
  }
  if (repeatable) {
    headers.set("Idempotency-Key", randomId());
  }
  const text = body === undefined ? undefined : JSON.stringify(body);
  const response = await fetch(path, { method, headers, body: text, signal, cache: "no-store" });
  if (response.ok) {
    return response;
  }
  if (response.status === 401 && key === undefined) {
    window.dispatchEvent(new Event(UNAUTHORIZED));
  }
  throw await errorOf(response);
}

/**
 * Sends a request and reads the JSON of the response.
 * @template T
 * @param {string} path
 * @param {Options} [options]
 * @returns {Promise<T>}
 */
export async function json(path, options) {
  return (await send(path, options)).json();
}

/** @param {Response} response */
async function errorOf(response) {
  try {
    const { error, reason_code: reason } = await response.json();
    return new HttpError(response.status, String(reason), String(error));
  } catch {
    return new HttpError(response.status, "unknown", `the server answered ${response.status}`);
  }
}

/** 32 random hex digits. */
function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Whether an error is only the abort of a request. @param {unknown} error */
export function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

/** The text of an error for people. @param {unknown} error */
export function problemText(error) {
  if (error instanceof HttpError) {
    return error.message;
  }
  return error instanceof TypeError ? "The server does not answer." : String(error);
}

/** The path of a run. @param {string} id */
export function runPath(id) {
  return `/v1/runs/${encodeURIComponent(id)}`;
}
