/** The page of one run. */

import { fill, h, icon } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { HttpError, json, problemText, runPath } from "../lib/http.js";
import { replaceHash, runHash, runsHash } from "../lib/route.js";
import { isFinal } from "../lib/types.js";
import { LivePill } from "../shell/live-pill.js";
import { EventInspector } from "./event-inspector.js";
import { EventList } from "./event-list.js";
import { AllEvents } from "./event-source.js";
import { RunFeed } from "./run-feed.js";
import { RunHeader } from "./run-header.js";
import { RunLanes } from "./run-lanes.js";
import { RunReplay } from "./run-replay.js";
import { RunSteering } from "./run-steering.js";
import { RunText } from "./run-text.js";
import { RunToolbar } from "./run-toolbar.js";
import { Spans } from "./spans.js";
import { TypedEvents } from "./typed-events.js";

export class RunPage extends HTMLElement {
  #query;
  #feed;
  /** @type {AllEvents | TypedEvents} */
  #source;
  #spans = new Spans([]);
  /** @type {import("./spans.js").RunEvent[]} */
  #around = [];
  /** Number of events in the list when the reader left its end. */
  #leftAt = 0;
  #isReplay = false;
  #hasBegun = false;
  #header = new RunHeader();
  #pill = new LivePill();
  #steering = new RunSteering();
  #toolbar = new RunToolbar();
  #replay = new RunReplay();
  #lanes = new RunLanes();
  #text = new RunText();
  #list = new EventList();
  #inspector = new EventInspector();
  #notice = h("div", { class: "notice", role: "alert" });
  #newer = h("button", { type: "button", class: "button primary newer", onclick: () => this.#list.follow() });

  /**
   * @param {string} runId
   * @param {URLSearchParams} query
   */
  constructor(runId, query) {
    super();
    this.runId = runId;
    this.#query = query;
    this.#feed = new RunFeed(runId, this.#view);
    this.#source = this.#newSource();
  }

  get #view() {
    return this.#query.get("view") === "full" ? "full" : "";
  }

  get #types() {
    return this.#query.getAll("types").flatMap((types) => types.split(",")).filter(Boolean);
  }

  connectedCallback() {
    document.title = `${this.runId} · runlog`;
    this.#header.pill = this.#pill;
    this.#header.controls = [this.#steering.buttons];
    this.#header.begin(this.runId);
    this.#notice.hidden = true;
    this.#newer.hidden = true;
    const timeline = h("section", { class: "card timeline", "aria-label": "Timeline" }, this.#toolbar, this.#list, this.#newer);
    fill(this, this.#header, this.#notice, this.#steering, this.#replay, this.#text, this.#lanes, h("div", { class: "columns" }, timeline, this.#inspector));
    this.#wire();
    this.#list.source = this.#source;
    void this.#feed.begin();
    void this.#readFirst();
  }

  disconnectedCallback() {
    this.#feed.close();
    this.#source.close();
  }

  /**
   * Goes to another place of the same run.
   * @param {URLSearchParams} query
   */
  navigate(query) {
    const [view, types] = [this.#view, this.#types.join()];
    this.#query = query;
    if (this.#view !== view) {
      this.replaceWith(new RunPage(this.runId, query));
      return;
    }
    if (this.#types.join() !== types) {
      this.#restart();
    }
    const seq = Number(query.get("seq"));
    if (seq >= 1 && seq !== this.#list.selectedSeq) {
      this.#jump(seq);
    }
  }

  #wire() {
    const [feed, list, inspector] = [this.#feed, this.#list, this.#inspector];
    this.#listen(feed);
    list.onSelect = (seq) => this.#select(seq);
    list.onFollow = (isFollowing) => {
      this.#leftAt = list.count;
      this.#newer.hidden = isFollowing || this.#newer.hidden;
    };
    list.onWindow = (spans, events) => this.#onWindow(spans, events);
    inspector.runId = this.runId;
    inspector.onSelect = (seq) => this.#jump(seq);
    inspector.onClose = () => this.#unselect();
    this.#lanes.onSelect = (seq) => this.#jump(seq);
    this.#pill.onRetry = () => this.#feed.retryNow();
    this.#steering.onRun = (run) => this.#feed.take(run);
    this.#toolbar.onJump = (seq) => this.#jump(seq);
    this.#toolbar.onTypes = (types) => this.#go({ types: types.join(","), view: this.#view });
    this.#toolbar.onView = (view) => this.#go({ types: this.#types.join(","), view, seq: this.#query.get("seq") ?? "" });
    this.#toolbar.onReplay = () => this.#beginReplay();
    this.#replay.onShow = (shown) => this.#showReplay(shown);
  }

  /** @param {RunFeed} feed */
  #listen(feed) {
    feed.addEventListener("run", () => this.#showRun());
    feed.addEventListener("state", () => this.#showState());
    feed.addEventListener("events", (event) => {
      this.#source.take(/** @type {CustomEvent} */ (event).detail);
    });
  }

  #newSource() {
    const types = this.#types;
    return types.length > 0 ? new TypedEvents(this.runId, this.#view, types) : new AllEvents(this.runId, this.#view);
  }

  /** Begins again, for another filter or view. */
  #restart() {
    this.#replay.stop();
    this.#source.close();
    this.#source = this.#newSource();
    this.#list.source = this.#source;
    if (this.#feed.run) {
      this.#source.extend(this.#feed.seq);
      this.#showRun();
    }
  }

  /** The times of the timeline count from the first event. */
  async #readFirst() {
    /** @type {import("../lib/types.js").EventsPage | null} */
    const page = await json(`${runPath(this.runId)}/events?limit=1`).catch(() => null);
    const first = page?.events[0];
    if (first) {
      this.#list.beganAt = Date.parse(first.timestamp);
      this.#list.refresh();
    }
  }

  #showRun() {
    const { run, problem } = this.#feed;
    if (problem && (!run || this.#feed.state === "refused")) {
      this.#fail(problem);
      return;
    }
    if (!run) {
      return;
    }
    this.#notice.hidden = true;
    this.#header.show(run);
    this.#steering.show(run);
    this.#toolbar.show(this.#types, this.#view, isFinal(run.status) && this.#types.length === 0);
    if (!this.#isReplay) {
      this.#source.extend(this.#feed.seq || run.last_seq);
    }
    this.#list.refresh();
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      this.#leftAt = this.#list.count;
      const seq = Number(this.#query.get("seq"));
      if (seq >= 1) {
        this.#jump(seq);
      } else if (!isFinal(run.status)) {
        this.#list.follow();
      }
    }
  }

  /** @param {unknown} problem */
  #fail(problem) {
    const isMissing = problem instanceof HttpError && problem.status === 404;
    const again = h("button", { type: "button", class: "button", onclick: () => location.reload() }, "Load again");
    this.#notice.hidden = false;
    fill(this.#notice, h("p", {}, isMissing ? "There is no such run." : problemText(problem)), isMissing ? h("a", { href: runsHash() }, "All runs") : again);
  }

  #showState() {
    const { state, retryAt, problem } = this.#feed;
    this.#pill.show(state, { retryAt, title: problem ? problemText(problem) : "" });
    if (state === "refused") {
      this.#fail(problem);
    }
    if (state === "ended" && this.#feed.run) {
      this.#showRun();
      this.#text.show(this.#around, false);
    }
  }

  /**
   * @param {Spans} spans
   * @param {import("./spans.js").RunEvent[]} events
   */
  #onWindow(spans, events) {
    this.#spans = spans;
    this.#around = events;
    const isWhole = events.length === this.#list.count && this.#types.length === 0;
    this.#lanes.show(spans, events, isWhole);
    this.#inspector.update(spans, events);
    this.#countNew();
    const isLive = this.#feed.run !== null && !isFinal(this.#feed.run.status);
    // The text is that of the end, or of the whole run: it stays where it is while the reader looks at other parts.
    if (isWhole || this.#list.isFollowing) {
      this.#text.show(events, isLive || this.#isReplay);
    }
  }

  #countNew() {
    const fresh = this.#list.count - this.#leftAt;
    this.#newer.hidden = this.#list.isFollowing || this.#isReplay || fresh <= 0;
    fill(this.#newer, icon("down"), h("span", {}, `${count(fresh)} new`));
  }

  /**
   * Shows an event among all events.
   * @param {number} seq
   */
  #jump(seq) {
    const wanted = Math.min(Math.max(1, Math.floor(seq)), Math.max(1, this.#feed.seq));
    const index = this.#source.indexOf(wanted);
    if (index === undefined || (this.#source instanceof AllEvents && index >= this.#list.count && this.#isReplay)) {
      // The event is not among those of the filter, or of the replay.
      this.#query.delete("types");
      this.#restart();
      this.#jump(wanted);
      return;
    }
    this.#list.select(index);
    this.#select(wanted);
  }

  /** @param {number} seq */
  #select(seq) {
    this.#inspector.view = this.#view;
    if (this.#inspector.dataset.seq !== String(seq) || !this.#inspector.classList.contains("open")) {
      void this.#inspector.show(seq, this.#spans, this.#around);
    }
    this.#query.set("seq", String(seq));
    replaceHash(runHash(this.runId, { seq, types: this.#types.join(","), view: this.#view }));
  }

  #unselect() {
    this.#list.deselect();
    this.#inspector.clear();
    this.#query.delete("seq");
    replaceHash(runHash(this.runId, { types: this.#types.join(","), view: this.#view }));
    this.#list.takeFocus();
  }

  /** @param {{ types: string, view: string, seq?: string }} to */
  #go(to) {
    const hash = runHash(this.runId, to);
    replaceHash(hash);
    this.navigate(new URLSearchParams(hash.split("?")[1]));
  }

  #beginReplay() {
    if (this.#source instanceof AllEvents) {
      this.#isReplay = true;
      this.#replay.begin(this.#source);
    }
  }

  /** @param {number | null} shown */
  #showReplay(shown) {
    this.#isReplay = shown !== null;
    this.#list.limit = shown ?? Infinity;
    if (this.#isReplay) {
      this.#list.follow();
    }
  }
}

customElements.define("run-page", RunPage);
