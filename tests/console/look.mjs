// No serious finding of axe-core in light and in dark, a phone's width without a bar at the bottom, and the pictures.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { findings, get, inBrowser, open, post, rest, until } from "./browser.mjs";

const [pictures] = rest;
/** Waits until nothing on the page moves any more. */
async function settled(page) {
  await page.waitForFunction(() => document.fonts.status === "loaded" && document.querySelectorAll(".event.waiting").length === 0);
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 400)));
}

await inBrowser(async (browser) => {
  mkdirSync(pictures, { recursive: true });
  const began = Date.now() - 9_000;
  /** @type {[number, string, object][]} */
  const events = [
    [0, "run.created", {}],
    [350, "run.worker.started", { from_status: "queued", to_status: "running" }],
    [600, "step", { node_name: "plan", phase: "start" }],
    [800, "tool_call", { tool_name: "web_search", phase: "start", input_preview: "Zurich weather today" }],
    [1540, "tool_call", { tool_name: "web_search", phase: "end", output_preview: "12 °C, cloudy, wind from the west", duration_ms: 740 }],
    [1700, "tool_call", { tool_name: "calendar", phase: "start", input_preview: "who is in Zurich?" }],
    [2600, "tool_call", { tool_name: "calendar", phase: "end", output_preview: "12 people", duration_ms: 900 }],
    [2900, "step", { node_name: "plan", phase: "end", duration_ms: 2300, output: { next: "write" } }],
    [3100, "run.coordination.decision", { decision_type: "delegate", role: "planner", reason_code: "NEEDS_WRITER" }],
    [3600, "step.progress", { task_id: "task_1", kind: "content_delta", content_delta: "It is 12 °C and cloudy in Zurich, " }],
    [4100, "step.progress", { task_id: "task_1", kind: "tool_call_start", tool_call_id: "c1", tool_name: "fetch" }],
    [5200, "step.progress", { task_id: "task_1", kind: "tool_call_done", tool_call_id: "c1", tool_name: "fetch" }],
    [5700, "step.progress", { task_id: "task_1", kind: "content_delta", content_delta: "with a light wind from the west." }],
    [6300, "step.done", { task_id: "task_1", content: "It is 12 °C and cloudy in Zurich, with a light wind from the west.", outcome: "succeeded" }],
    [6600, "step", { node_name: "send", phase: "start" }],
    [7000, "human_input_requested", { question: "Send the report to the whole team?", context: { recipients: 12 }, channel: "slack" }],
  ];
  await post("/v1/runs/picture/events", events.map(([at, type, payload]) => ({ type, payload, timestamp: new Date(began + at).toISOString(), agent_name: "research-agent" })));
  // The demo has shown most of its runs by now or soon.
  await until("runs of the demo", async () => (await get("/v1/runs?limit=100")).runs.length >= 12);
  const failed = (await get("/v1/runs?status=failed&limit=1")).runs[0].id;
  for (const colorScheme of ["light", "dark"]) {
    for (const [size, width, height] of [["wide", 1280, 820], ["narrow", 360, 760]]) {
      const view = { colorScheme, viewport: { width, height }, reducedMotion: "reduce" };
      const fits = async (page, where) => {
        const [scroll, client] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
        assert.ok(scroll <= client, `${where} is ${scroll} px wide at ${client} px`);
      };
      const check = async (page, name) => {
        await settled(page);
        await page.screenshot({ path: `${pictures}/${name}-${colorScheme}-${size}.png` });
        await fits(page, name);
        assert.equal(await findings(page), "", `${name}, ${colorScheme}, ${size}`);
      };
      const list = await open(browser, "", view);
      await list.locator("tbody tr").nth(5).waitFor();
      await check(list, "list");
      await list.context().close();
      const run = await open(browser, "#/runs/picture", view);
      await run.locator("question-form").waitFor();
      await check(run, "run");
      await run.locator('.event[data-seq="5"]').click();
      await run.locator("event-inspector.open pre.json").first().waitFor();
      await check(run, "event");
      await run.getByRole("button", { name: "Cancel…" }).click();
      await run.locator("dialog").waitFor();
      await check(run, "dialog");
      await run.context().close();
      const usage = await open(browser, "#/usage", view);
      await usage.locator(".usage tbody tr").first().waitFor();
      await check(usage, "usage");
      await usage.context().close();
      const error = await open(browser, `#/runs/${encodeURIComponent(failed)}`, view);
      await error.locator(".outcome.bad").waitFor();
      await check(error, "error");
      await error.context().close();
    }
  }
});
