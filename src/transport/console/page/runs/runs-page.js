/** The page with the list of all runs. */

import { attribute, fill, h, setText } from "../lib/dom.js";
import { counted } from "../lib/format.js";
import { problemText } from "../lib/http.js";
import { replaceHash, runsHash } from "../lib/route.js";
import { LivePill } from "../shell/live-pill.js";
import { RunCounts } from "./run-counts.js";
import { RunFilters, filtersOf, serverQuery } from "./run-filters.js";
import { RunList } from "./run-list.js";
import { COLUMNS, RunRow } from "./run-row.js";

/** Pages without a run that are read in a row: the server looks at a part of its runs for each. */
const MAX_EMPTY_PAGES = 20;

/** @type {Record<import("../lib/live.js").LiveState, import("../shell/live-pill.js").PillState>} */
const PILL = { connecting: "connecting", open: "live", waiting: "reconnecting", ended: "ended", refused: "refused" };

export class RunsPage extends HTMLElement {
  #query;
  #list = new RunList(new URLSearchParams());
  #counts = new RunCounts(new URLSearchParams());
  /** @type {Map<string, RunRow>} */
  #rows = new Map();
  #filters = new RunFilters();
  #pill = new LivePill();
  #body = h("tbody", { role: "rowgroup" });
  #summary = h("p", { class: "summary", role: "status" });
  #notice = h("div", { class: "notice" });
  #more = h("button", { type: "button", class: "button more" }, "Load more");
  #frame = 0;
  #timer = 0;
  #emptyPages = 0;

  /** @param {URLSearchParams} query */
  constructor(query) {
    super();
    this.#query = query;
  }

  connectedCallback() {
    document.title = "Runs · runlog";
    const headings = COLUMNS.map(([name, text]) => h("th", { role: "columnheader", scope: "col", class: `cell-${name}` }, text));
    const head = h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, headings));
    fill(
      this,
      h("div", { class: "page-head" }, h("h1", {}, "Runs"), this.#pill, this.#summary),
      this.#filters,
      h("table", { role: "table", class: "table runs", "aria-label": "Runs, newest first" }, head, this.#body),
      this.#notice,
      this.#more,
    );
    this.#more.addEventListener("click", () => this.#list.more());
    this.#filters.onChange = (query) => {
      replaceHash(runsHash(query));
      this.navigate(query);
    };
    this.#pill.onRetry = () => this.#list.retryNow();
    new IntersectionObserver(([entry]) => {
      if (entry?.isIntersecting && !this.#more.hidden) {
        void this.#list.more();
      }
    }, { rootMargin: "400px" }).observe(this.#more);
    this.#timer = window.setInterval(() => this.#rows.forEach((row) => row.run.completed_at ?? row.tick()), 1000);
    this.#begin();
  }

  disconnectedCallback() {
    this.#list.close();
    this.#counts.close();
    clearInterval(this.#timer);
    cancelAnimationFrame(this.#frame);
  }

  /**
   * Shows the list under other filters.
   * @param {URLSearchParams} query
   */
  navigate(query) {
    const isSame = filtersOf(query).toString() === filtersOf(this.#query).toString();
    this.#query = query;
    this.#filters.show(query);
    this.#emptyPages = 0;
    if (isSame) {
      this.#schedule();
    } else {
      this.#begin();
    }
  }

  #begin() {
    this.#list.close();
    this.#counts.close();
    this.#rows.clear();
    fill(this.#body);
    const filters = serverQuery(this.#query);
    this.#list = new RunList(filters);
    const counts = new RunCounts(filters);
    this.#counts = counts;
    counts.addEventListener("change", () => this.#filters.count(counts));
    this.#list.addEventListener("change", () => this.#schedule());
    this.#list.addEventListener("events", () => counts.refresh());
    this.#list.addEventListener("state", () => {
      const { state, retryAt } = this.#list.live;
      if (state === "open") {
        counts.refresh();
      }
      this.#pill.show(PILL[state], { retryAt });
    });
    this.#filters.show(this.#query);
    this.#schedule();
    this.#list.begin();
  }

  /** Renders with the next frame. */
  #schedule() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#render();
    });
  }

  #render() {
    const list = this.#list;
    const runs = list.shown();
    const shown = new Set(runs.map((run) => run.id));
    for (const [id, row] of this.#rows) {
      if (!shown.has(id)) {
        row.element.remove();
        this.#rows.delete(id);
      }
    }
    runs.forEach((run, index) => this.#place(run, index));
    this.#filters.offer(list.runs);
    setText(this.#summary, list.isLoading ? "Loading…" : `${counted(runs.length, "run")}${list.hasMore ? " loaded" : ""}`);
    this.#more.hidden = !list.hasMore || list.problem !== null;
    this.#showNotice(runs.length);
    if (runs.length === 0 && list.hasMore && !list.isLoading && !list.problem && this.#emptyPages < MAX_EMPTY_PAGES) {
      this.#emptyPages += 1;
      void list.more();
    }
  }

  /**
   * Puts the row of a run at its place, and moves no row that is there.
   * @param {import("../lib/types.js").Run} run
   * @param {number} index
   */
  #place(run, index) {
    const known = this.#rows.get(run.id);
    const row = known ?? new RunRow(run);
    if (known) {
      row.update();
    } else {
      this.#rows.set(run.id, row);
      attribute(row.element, "class", this.#body.childElementCount > 0 && index === 0 ? "new" : "");
    }
    const there = this.#body.children[index] ?? null;
    if (there !== row.element) {
      this.#body.insertBefore(row.element, there);
    }
  }

  /** @param {number} shown */
  #showNotice(shown) {
    const { problem, isLoading } = this.#list;
    if (problem) {
      setText(this.#notice, problemText(problem));
    } else if (shown > 0 || isLoading) {
      setText(this.#notice, "");
    } else if ([...this.#query].length > 0) {
      setText(this.#notice, "No run passes these filters.");
    } else {
      setText(this.#notice, "No runs yet. The first event that is published begins one, and it appears here by itself.");
    }
    this.#notice.hidden = this.#notice.textContent === "";
  }
}

customElements.define("runs-page", RunsPage);
