// The list of runs fills and changes by itself while the demo plays; a run of it is followed to its end.

import assert from "node:assert/strict";
import { get, inBrowser, open, publish, seqs, state, until } from "./browser.mjs";

await inBrowser(async (browser) => {
  const page = await open(browser);
  await page.locator("tbody tr").first().waitFor();
  const reads = [];
  page.on("request", (request) => request.isNavigationRequest() && reads.push(request.url()));

  // New runs come without a reload, and at the top.
  const before = await page.locator("tbody tr").count();
  await until("more runs", async () => (await page.locator("tbody tr").count()) >= before + 3);
  const shown = await page.locator("tbody tr .run-link").allTextContents();
  const listed = (await get("/v1/runs?limit=1000")).runs.map((run) => run.id);
  assert.deepEqual(shown, listed.filter((id) => shown.includes(id)), "newest first");
  assert.deepEqual(reads, [], "no reload");

  // A run that is made now is followed from its first event to its end.
  await publish("followed", ["run_start", { input: { q: 1 } }, "the-agent"]);
  const row = page.locator('tr[data-run="followed"]');
  await row.waitFor();
  await until("the agent", async () => (await row.locator(".cell-agent").textContent()) === "the-agent");
  assert.equal(await row.locator(".status").getAttribute("data-status"), "running");
  await row.click();
  await page.locator('.event[data-seq="1"]').waitFor();
  await until("the state live", async () => (await state(page)) === "live");
  await publish("followed", ["step", { node_name: "think", phase: "start" }]);
  await publish("followed", ["step.progress", { task_id: "t", kind: "content_delta", content_delta: "Hello, " }]);
  await publish("followed", ["step.progress", { task_id: "t", kind: "content_delta", content_delta: "world" }]);
  await page.locator("run-text", { hasText: "Hello, world" }).waitFor();
  await publish("followed", ["step", { node_name: "think", phase: "end", duration_ms: 1234 }]);
  await publish("followed", ["run_end", { output: { answer: 42 }, total_tokens: 195, prompt_tokens: 150, completion_tokens: 45, cost_usd: 0.0023 }]);
  await until("the state ended", async () => (await state(page)) === "ended");
  await page.locator('run-header .status[data-status="succeeded"]').waitFor();
  await until("all events", async () => (await seqs(page)).length === 6);
  assert.deepEqual(await seqs(page), [1, 2, 3, 4, 5, 6]);
  const text = await page.locator("run-header").innerText();
  assert.ok(text.includes("195") && text.includes("$0.0023") && text.includes("answer"), text);
  assert.equal(await page.locator('.event[data-seq="5"] .e-took').textContent(), "1.2 s");

  // Back in the list the row has its end; the filters stand in the URL and hold after a reload.
  await page.locator(".back").click();
  await until("the end in the list", async () => (await row.locator(".status").getAttribute("data-status")) === "succeeded");
  await page.locator('.chip[data-status="succeeded"]').click();
  await page.locator("#f-agent").fill("the-agent");
  await page.locator("#f-agent").press("Enter");
  await until("the filtered list", async () => (await page.locator("tbody tr .run-link").allTextContents()).join() === "followed");
  await page.reload();
  await until("the same list", async () => (await page.locator("tbody tr .run-link").allTextContents()).join() === "followed");
  assert.match(page.url(), /status=succeeded/);

  // A link to an event opens it.
  await page.goto(`${page.url().split("#")[0]}#/runs/followed?seq=2`);
  await page.locator("event-inspector.open", { hasText: "think" }).waitFor();
  await page.locator("event-inspector", { hasText: "Ends with #5" }).waitFor();
  assert.equal(await page.locator('.event[aria-selected="true"]').getAttribute("data-seq"), "2");

  // The keyboard moves through the events; the JSON is copied as it is stored, and the link leads here.
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
  await page.locator(".events").press("ArrowDown");
  await page.locator("event-inspector h2", { hasText: "#3" }).waitFor();
  await page.locator(".events").press("End");
  await page.locator("event-inspector h2", { hasText: "#6" }).waitFor();
  await page.getByRole("button", { name: "Copy JSON" }).click();
  const last = (await get("/v1/runs/followed/events?cursor=5")).events[0];
  await until("the copied JSON", async () => (await clipboard()).startsWith("{"));
  assert.deepEqual(JSON.parse(await clipboard()), last);
  await page.getByRole("button", { name: "Copy link" }).click();
  await until("the copied link", async () => (await clipboard()).endsWith("#/runs/followed?seq=6"));
  await page.locator("event-inspector").press("Escape");
  await page.locator("event-inspector", { hasText: "Choose an event" }).waitFor();
  assert.doesNotMatch(page.url(), /seq=/);

  // The public view says that it leaves parts out; the full view has them.
  await publish("views", ["run.created", { input: "only in full", kept: 1 }]);
  await page.goto(`${page.url().split("#")[0]}#/runs/views?seq=1`);
  await page.locator("event-inspector", { hasText: "left out or shortened" }).waitFor();
  assert.ok(!(await page.locator("event-inspector").innerText()).includes("only in full"));
  await page.locator("#full").check();
  await page.locator("event-inspector", { hasText: "only in full" }).waitFor();
  assert.match(page.url(), /view=full/);

  // What a newcomer does with the demo: answer a question, see the run go on to its end, find the error of a failed run.
  const base = page.url().split("#")[0];
  await page.goto(`${base}#/runs?status=awaiting_input`);
  // A question that was asked just now: the demo answers those that nobody does.
  let asked;
  await until("a question of the demo", async () => {
    const { runs } = await get("/v1/runs?status=awaiting_input&agent=deploy-agent");
    asked = runs.find((run) => Date.now() - Date.parse(run.updated_at) < 3_000)?.id;
    return asked !== undefined;
  });
  await page.locator(`tr[data-run="${asked}"]`).click();
  await page.locator("question-form", { hasText: "Should we deploy to production?" }).waitFor();
  await page.getByRole("button", { name: "Approve" }).click();
  await page.locator(".event", { hasText: "run.signal_applied" }).waitFor();
  await page.locator('run-header .status[data-status="succeeded"]').waitFor();
  await page.locator(".outcome.good", { hasText: "checkout 2.4.1" }).waitFor();
  await page.goto(`${base}#/runs?status=failed`);
  await page.locator("tbody tr").first().click();
  await page.locator(".outcome.bad").waitFor();

  // A type filter leaves the events of these types, also those that come later.
  await publish("typed", ["run_start"], ["step", { node_name: "a" }], ["tool_call", { tool_name: "b" }]);
  await page.goto(`${page.url().split("#")[0]}#/runs/typed?types=tool*`);
  await until("the tool call", async () => (await seqs(page)).join() === "3");
  await publish("typed", ["step", { node_name: "c" }], ["tool_call", { tool_name: "d" }]);
  await until("the later tool call", async () => (await seqs(page)).join() === "3,5");
});
