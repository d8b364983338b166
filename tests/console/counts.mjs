// Beside each status stands how many runs of it there are, loaded or not, under the other filters, and as they are now.

import assert from "node:assert/strict";
import { inBrowser, open, publish, until } from "./browser.mjs";

for (let number = 0; number < 70; number += 1) {
  await publish(`run-${number}`, ["run_start", {}, number % 10 === 0 ? "writer" : "reader"]);
}
await publish("failed", ["error", { error_message: "no" }, "writer"]);
await publish("new", ["no-status"]);

await inBrowser(async (browser) => {
  const page = await open(browser);
  const rows = () => page.locator("tbody tr").count();
  const counts = () => page.locator(".chip").evaluateAll((chips) => {
    const counted = chips.map((chip) => [chip.dataset.status, chip.querySelector(".chip-count").textContent]);
    return counted.filter(([, number]) => number !== "").map((pair) => pair.join(" ")).join();
  });
  const become = (expected) => until(expected, async () => (await counts()) === expected);
  await become("queued 1,running 70,failed 1");
  assert.equal(await rows(), 50, "one page is loaded");

  // A run that is not loaded ends, and one begins.
  await publish("run-0", ["run_end", {}]);
  await become("queued 1,running 69,succeeded 1,failed 1");
  assert.equal(await rows(), 50);
  await publish("late", ["run_start", {}, "writer"]);
  await become("queued 1,running 70,succeeded 1,failed 1");

  // The chosen statuses take none of the counts away; the other filters do.
  await page.locator('.chip[data-status="failed"]').click();
  await until("the failed run", async () => (await rows()) === 1);
  await become("queued 1,running 70,succeeded 1,failed 1");
  await page.locator("#f-agent").fill("writer");
  await page.locator("#f-agent").press("Enter");
  await become("running 7,succeeded 1,failed 1");
  await page.locator("#f-text").fill("RUN-1");
  await become("running 1");
  await publish("run-1x", ["run_start", {}, "writer"]);
  await become("running 2");
  await page.reload();
  await become("running 2");
});
