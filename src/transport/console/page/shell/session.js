/**
 * What the caller may do. Without keys on the server that is everything but the management of keys.
 *
 * @typedef {import("../lib/types.js").Caller} Caller
 */

import { json, storeKey, storedKey } from "../lib/http.js";

/** Scopes with their meaning, in the words of the console. @type {[string, string][]} */
export const SCOPES = [
  ["events.read", "see runs and events"],
  ["events.read_sensitive", "see payloads in full"],
  ["runs.write", "create, answer, cancel and resume runs"],
  ["events.publish", "publish events"],
  ["events.publish_system", "publish events of the runtime"],
  ["admin", "manage keys"],
];

/** Event of {@link session} after a change of the caller. */
export const CHANGED = "changed";

class Session extends EventTarget {
  /** @type {Caller | null} */
  caller = null;

  /** Asks the server who calls. Throws an `HttpError` where it refuses. */
  async load() {
    this.#become(await json("/v1/caller"));
  }

  /**
   * Takes a key for this tab, if the server accepts it.
   * @param {string} key
   */
  async signIn(key) {
    const caller = await json("/v1/caller", { key });
    storeKey(key);
    this.#become(/** @type {Caller} */ (caller));
  }

  /** Forgets the key. */
  signOut() {
    storeKey(null);
    this.#become(null);
  }

  /** Whether this tab has a key. */
  get hasKey() {
    return storedKey() !== null;
  }

  /**
   * Whether the caller has a scope.
   * @param {string} scope
   */
  may(scope) {
    return this.caller?.scopes.includes(scope) ?? false;
  }

  /** @param {Caller | null} caller */
  #become(caller) {
    this.caller = caller;
    this.dispatchEvent(new Event(CHANGED));
  }
}

/** The session of this tab. */
export const session = new Session();
