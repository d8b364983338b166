// What the scripts of the console share: a browser that fails on any complaint of a page, a client that publishes, and the
// line to the test that started the script.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline/promises";
import { chromium } from "playwright-core";

/** The address of the server. */
export const [server, ...rest] = process.argv.slice(2);

/** Longest wait for anything, milliseconds; a guard and no measurement. */
export const GUARD = 120_000;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Asks the test to do something with the server, and waits until it is done. */
export async function ask(what) {
  console.log(`@${what}`);
  const { value } = await lines.next();
  assert.equal(value, "done");
}

/** Complaints that a test expects. */
const expected = [];

/** Expects complaints of pages with this text from here on. */
export function expectComplaint(text) {
  expected.push(text);
}

const complaints = [];

function complain(text) {
  if (!expected.some((known) => text.includes(known))) {
    complaints.push(text);
  }
}

/**
 * Runs a test in a browser. Fails on an exception, an error on the console, or a violation of the policy in any page.
 * @param {(browser: import("playwright-core").Browser) => Promise<void>} test
 */
export async function inBrowser(test) {
  const executablePath = process.env.RUNLOG_TEST_CHROMIUM;
  // Chromium has no sandbox for root. Its files in /dev/shm are too many for some containers.
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"] });
  try {
    await test(browser);
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
  }
  process.exit(0);
}

/**
 * A page of the console in a context of its own.
 * @param {import("playwright-core").Browser} browser
 * @param {string} [hash]
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function open(browser, hash = "", options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  context.setDefaultTimeout(GUARD);
  const page = await context.newPage();
  page.on("pageerror", (error) => complain(`exception: ${error.message}`));
  page.on("console", (message) => message.type() === "error" && complain(`console: ${message.text()}`));
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
  });
  await page.goto(`${server}/${hash}`);
  return page;
}

/** Sends JSON; returns the JSON of the answer. */
export async function post(path, body) {
  const answer = await fetch(`${server}${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  assert.ok(answer.ok, `${path}: ${answer.status} ${await answer.clone().text()}`);
  return answer.json();
}

/** Publishes events to a run: pairs of type and payload. */
export function publish(run, ...events) {
  const body = events.map(([type, payload = {}, agent]) => ({ type, payload, ...(agent ? { agent_name: agent } : {}) }));
  return post(`/v1/runs/${encodeURIComponent(run)}/events`, body);
}

/** Reads JSON. */
export async function get(path) {
  return (await fetch(`${server}${path}`)).json();
}

/** Waits until a condition holds in this process. */
export async function until(what, holds) {
  const end = Date.now() + GUARD;
  while (!(await holds())) {
    assert.ok(Date.now() < end, `${what} does not come`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** The serious findings of axe-core on a page, as text. */
export async function findings(page) {
  // Beside the policy of the page, which takes no script of a test.
  const devtools = await page.context().newCDPSession(page);
  const expression = `${axe}; axe.run().then((found) => JSON.stringify(found.violations))`;
  const { result } = await devtools.send("Runtime.evaluate", { expression, awaitPromise: true });
  const serious = JSON.parse(result.value).filter(({ impact }) => impact === "serious" || impact === "critical");
  return serious.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}\n${failureSummary}`)).join("\n");
}

/** The seqs of the rows in the page, in the order of the list. */
export function seqs(page) {
  return page.evaluate(() => {
    const rows = [...document.querySelectorAll(".event[data-seq]")];
    return rows.map((row) => Number(row.dataset.seq)).sort((a, b) => a - b);
  });
}

/** The state of the stream, as the page says it. */
export function state(page) {
  return page.locator("live-pill").getAttribute("data-state");
}
