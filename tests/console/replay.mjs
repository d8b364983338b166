// A run that has ended is played from its recorded times: paused, stepped, and faster.

import assert from "node:assert/strict";
import { inBrowser, open, post, seqs, until } from "./browser.mjs";

await inBrowser(async (browser) => {
  const at = (second) => new Date(Date.UTC(2026, 0, 1) + second * 1000).toISOString();
  const events = [["run_start", 0], ["step", 1], ["step", 2], ["step", 40], ["run_end", 3_600]];
  await post("/v1/runs/played/events", events.map(([type, second]) => ({ type, payload: {}, timestamp: at(second) })));
  const page = await open(browser, "#/runs/played");
  await until("all events", async () => (await seqs(page)).length === 5);
  const place = () => page.locator(".replay-place").textContent();
  await page.getByRole("button", { name: "Replay" }).click();
  await until("the first event", async () => (await seqs(page)).join() === "1");
  await page.getByRole("button", { name: "16 ×" }).click();
  await until("the third event", async () => (await seqs(page)).join() === "1,2,3");
  await page.getByRole("button", { name: "Pause" }).click();
  const paused = await place();
  assert.match(paused, /^3 of 5 \+2\.00 s/);
  await page.getByRole("button", { name: "Step", exact: true }).click();
  await until("the fourth event", async () => (await seqs(page)).join() === "1,2,3,4");
  assert.match(await place(), /^4 of 5 \+40\.00 s/);
  await page.getByRole("button", { name: "Play", exact: true }).click();
  await until("the long pause in words", async () => /next in \d+ m/.test(await place()));
  await page.getByRole("button", { name: "Step", exact: true }).click();
  await until("the end", async () => (await seqs(page)).length === 5);
  await page.getByRole("button", { name: "End replay" }).click();
  await page.locator("run-replay .replay").waitFor({ state: "hidden" });
  assert.deepEqual(await seqs(page), [1, 2, 3, 4, 5]);
});
