// A run of 500,000 events: it opens at once, every place of it can be reached, and the page keeps a bounded part of it.

import assert from "node:assert/strict";
import { get, inBrowser, open, publish, seqs, until } from "./browser.mjs";

const EVENTS = Number(process.env.RUNLOG_TEST_CONSOLE_EVENTS ?? 500_000);
const BATCH = 1_000;

for (let first = 0; first < EVENTS; first += BATCH) {
  const batch = Array.from({ length: BATCH }, (_, index) => ["step", { node_name: `n${first + index + 1}`, note: "x".repeat(40) }]);
  await publish("long", ...batch);
}
assert.equal((await get("/v1/runs/long")).last_seq, EVENTS);

await inBrowser(async (browser) => {
  const page = await open(browser);
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Performance.enable");
  const measure = async () => {
    await devtools.send("HeapProfiler.collectGarbage");
    const { metrics } = await devtools.send("Performance.getMetrics");
    return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
  };
  await page.locator('tr[data-run="long"]').waitFor();
  const began = Date.now();
  await page.locator('tr[data-run="long"]').click();
  await page.locator(`.event[data-seq="${EVENTS}"]`).waitFor();
  console.log(`opened after ${Date.now() - began} ms`);
  const before = await measure();

  // Places all over the run: the rows there are neighbours, and each is read.
  const visit = async (what, at) => {
    await until(what, async () => {
      const there = await seqs(page);
      return there.includes(at) && there.length > 10 && (await page.locator(".event.waiting").count()) === 0;
    });
    const there = await seqs(page);
    assert.deepEqual(there, there.map((_, index) => there[0] + index), what);
    assert.ok(there.length < 100, `${there.length} rows`);
  };
  await page.locator(".events").press("Home");
  await visit("the beginning", 1);
  for (let step = 1; step < 60; step += 1) {
    const seq = Math.floor((EVENTS / 60) * step);
    await page.locator("#seq").fill(String(seq));
    await page.locator("#seq").press("Enter");
    await visit(`seq ${seq}`, seq);
  }
  await page.locator(".events").press("End");
  await visit("the end", EVENTS);

  // The scroll bar reaches every part too, though the list is higher than an element may be.
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    await page.evaluate((to) => {
      const list = document.querySelector(".events");
      list.scrollTop = to * (list.scrollHeight - list.clientHeight);
    }, part);
    const expected = Math.min(EVENTS, Math.max(1, Math.round(part * EVENTS)));
    await until(`the part ${part}`, async () => {
      const there = await seqs(page);
      return there.length > 10 && there[0] - 200 <= expected && expected <= there.at(-1) + 200;
    });
  }

  // A turn of the wheel moves a few rows, and never skips any.
  await page.locator("#seq").fill("250000");
  await page.locator("#seq").press("Enter");
  await visit("the middle", Math.min(EVENTS, 250_000));
  const there = await seqs(page);
  await page.locator(".events").hover();
  await page.mouse.wheel(0, 120);
  await until("the next rows", async () => (await seqs(page))[0] > there[0]);
  assert.ok((await seqs(page))[0] < there.at(-1), "rows stay in sight");

  // What comes while the reader looks elsewhere is counted, and moves nothing.
  const stays = await seqs(page);
  await publish("long", ["step"], ["step"], ["step"]);
  await page.locator(".newer", { hasText: "3 new" }).click();
  assert.ok(stays.length > 0 && !stays.includes(EVENTS));
  await visit("the new end", EVENTS + 3);
  await publish("long", ["step"]);
  await visit("the end, which the list follows again", EVENTS + 4);

  const after = await measure();
  console.log(`heap ${Math.round(before.JSHeapUsedSize / 1e6)} MB, then ${Math.round(after.JSHeapUsedSize / 1e6)} MB; ${after.Nodes} nodes`);
  assert.ok(after.JSHeapUsedSize < 64e6, `${after.JSHeapUsedSize} bytes of heap`);
  assert.ok((await page.locator("*").count()) < 1_500, "elements in the page");
});
