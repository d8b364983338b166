// The usage by agent, model and day as the server sums it, and the list by a part of a name and by time, as the server filters.

import assert from "node:assert/strict";
import { inBrowser, open, publish, until } from "./browser.mjs";

const end = (model, cost, tokens) => ["run_end", { prompt_tokens: tokens, completion_tokens: 1, total_tokens: tokens + 1, cost_usd: cost, model }];
await publish("one", ["run_start", {}, "writer"], end("large", 0.5, 1000));
await publish("two", ["run_start", {}, "Reader"], end("small", 1.5, 20));
await publish("three", ["run_start", {}, "writer"], end("small", 0.25, 3));
await publish("four", ["run_start"]);

await inBrowser(async (browser) => {
  const page = await open(browser);
  await until("all runs", async () => (await page.locator("tbody tr").count()) === 4);
  const shown = async () => (await page.locator("tbody tr .run-link").allTextContents()).join();
  await page.locator("#f-text").fill("EADER");
  await until("the run of the agent", async () => (await shown()) === "two");
  await page.locator("#f-within").selectOption("15m");
  await page.reload();
  await until("the same run", async () => (await shown()) === "two");
  assert.match(page.url(), /text=EADER/);
  assert.match(page.url(), /within=15m/);

  // A run that begins now appears if the filters let it through.
  await publish("late-reader", ["run_start"]);
  await publish("late-other", ["run_start"]);
  await until("the new run", async () => (await shown()) === "late-reader,two");
  await page.locator("#f-text").fill("%");
  await until("no run", async () => (await page.locator("tbody tr").count()) === 0);

  await page.getByRole("link", { name: "Usage" }).click();
  const rows = () => page.locator(".usage tbody tr").evaluateAll((all) => all.map((row) => [...row.children].map((cell) => cell.textContent).join(" ")));
  await until("the agents", async () => (await rows()).length === 3);
  assert.deepEqual(await rows(), ["Reader 1 20 1 21 $1.50", "writer 2 1,003 2 1,005 $0.75", "No agent 3 0 0 0 $0"]);
  assert.equal(await page.locator('.bar-pages [aria-current="page"]').innerText(), "Usage");
  const widths = await page.locator(".usage-bar").evaluateAll((bars) => bars.map((bar) => bar.style.width));
  assert.deepEqual(widths, ["100%", "50%", "0%"]);
  assert.match(await page.locator(".totals").innerText(), /\$2\.25/);
  await page.locator("#u-by").selectOption("model");
  await until("the models", async () => (await rows()).join() === "small 2 23 2 25 $1.75,large 1 1,000 1 1,001 $0.50,No model 3 0 0 0 $0");
  await page.locator("#u-within").selectOption("7d");
  await page.reload();
  await until("the same models", async () => (await rows())[0] === "small 2 23 2 25 $1.75");
  assert.match(page.url(), /#\/usage\?by=model&within=7d/);
  await page.locator("#u-by").selectOption("day");
  await until("the day", async () => /^\d{4}-\d\d-\d\d/.test((await rows())[0]));
  await page.getByRole("link", { name: "Runs" }).click();
  await until("the list again", async () => (await page.locator(".runs tbody tr").count()) === 6);
});
