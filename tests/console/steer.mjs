// Questions are answered, runs are cancelled and resumed; what is too late is refused in words.

import assert from "node:assert/strict";
import { expectComplaint, get, inBrowser, open, post, publish, until } from "./browser.mjs";

await inBrowser(async (browser) => {
  await publish("ask", ["run_start", {}, "asker"], ["human_input_requested", { question: "Deploy to production?", context: { changes: 5 } }]);
  const page = await open(browser);
  const row = page.locator('tr[data-run="ask"]');
  await until("the question in the list", async () => (await row.locator(".cell-note").textContent()) === "Deploy to production?");
  await row.click();

  // The answer shows up as the event that it is, and the run goes on.
  const question = page.locator("question-form", { hasText: "Deploy to production?" });
  await question.waitFor();
  assert.ok((await question.innerText()).includes("changes"), "the context");
  await question.locator("textarea").fill("looks good");
  await question.getByRole("button", { name: "Approve" }).click();
  await page.locator('.event[data-seq="3"]', { hasText: "run.signal_applied" }).waitFor();
  await question.waitFor({ state: "detached" });
  const { events } = await get("/v1/runs/ask/events?cursor=2");
  assert.equal(events[0].payload.value.action, "approve");
  assert.equal(events[0].payload.value.requested_seq, 2);
  assert.equal(events[0].payload.value.payload.input, "looks good");
  await page.locator("run-steering .message", { hasText: "Approved" }).waitFor();
  await page.getByRole("button", { name: "Resume…" }).click();
  await page.getByRole("button", { name: "Resume the run" }).click();
  await page.locator('run-header .status[data-status="running"]').waitFor();
  await page.locator('.event[data-seq="4"]', { hasText: "run.resumed" }).waitFor();

  // Input that is a JSON object stays one.
  await publish("ask", ["run.awaiting_input", { input_kind: "payload", reason_code: "AWAITING_PAYLOAD" }]);
  const input = page.locator("question-form textarea");
  await input.fill('{"amount": 49.9}');
  await page.getByRole("button", { name: "Send input" }).click();
  await page.locator('.event[data-seq="6"]', { hasText: "run.input_received" }).waitFor();
  const sent = (await get("/v1/runs/ask/events?cursor=5")).events[0].payload.value;
  assert.deepEqual(sent.payload, { amount: 49.9, requested_seq: 5 });

  // A confirmation may be declined; an accepted one cancels.
  await page.getByRole("button", { name: "Cancel…" }).click();
  await page.getByRole("button", { name: "Keep it" }).click();
  assert.equal((await get("/v1/runs/ask")).status, "awaiting_input");
  await page.getByRole("button", { name: "Cancel…" }).click();
  await page.getByRole("button", { name: "Cancel the run" }).click();
  await page.locator('run-header .status[data-status="cancelled"]').waitFor();
  await page.getByRole("button", { name: "Cancel…" }).waitFor({ state: "hidden" });

  // Somebody else was quicker: the refusal is in words, and the run is shown as it is. Its stream is held back, so that the
  // page cannot know before it asks.
  await publish("late", ["run_start"], ["human_input_requested", { question: "Still there?" }]);
  const late = await open(browser);
  await late.route("**/events/stream*", (route) => route.abort());
  expectComplaint("net::ERR_FAILED");
  expectComplaint("409");
  await late.goto(`${late.url().split("#")[0]}#/runs/late`);
  await late.locator("question-form").waitFor();
  await post("/v1/runs/late/cancel", {});
  await late.getByRole("button", { name: "Reject" }).click();
  const message = late.locator("run-steering .message");
  await message.waitFor();
  assert.equal(await message.textContent(), "Nothing was changed. The run has ended: Cancelled.");
  await late.locator('run-header .status[data-status="cancelled"]').waitFor();
});
