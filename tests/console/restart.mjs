// The server is killed and started again: the page goes on without a gap and without a duplicate.

import assert from "node:assert/strict";
import { ask, expectComplaint, get, inBrowser, open, publish, seqs, state, until } from "./browser.mjs";

await inBrowser(async (browser) => {
  expectComplaint("net::ERR_");
  await publish("cut", ["run_start"]);
  const page = await open(browser, "#/runs/cut");
  const list = await open(browser);
  await until("the state live", async () => (await state(page)) === "live" && (await state(list)) === "live");
  // All that the page was sent: each event comes once over all connections.
  let published = 1;
  const more = async (count) => {
    for (let sent = 0; sent < count; sent += 1) {
      published += 1;
      await publish("cut", ["step", { node_name: `n${published}` }]);
    }
  };
  for (let round = 0; round < 2; round += 1) {
    await more(20);
    await until("the events", async () => (await seqs(page)).at(-1) === published);
    // These may be on their way when the server dies.
    await more(5);
    await ask("kill");
    await until("the state reconnecting", async () => (await state(page)) === "reconnecting" && (await state(list)) === "reconnecting");
    assert.match(await page.locator("live-pill").innerText(), /Reconnecting/);
    await ask("start");
    await more(5);
    await until("the state live again", async () => (await state(page)) === "live" && (await state(list)) === "live");
    await until("the later events", async () => (await seqs(page)).at(-1) === published);
  }
  // A tab that nobody looks at gives its stream up, and goes on from its cursor when it is looked at.
  const look = (hidden) => page.evaluate((to) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => to });
    document.dispatchEvent(new window.Event("visibilitychange"));
  }, hidden);
  await look(true);
  await until("the end of the stream", async () => (await state(page)) === "reconnecting");
  await more(5);
  await look(false);
  await until("the events of the time between", async () => (await seqs(page)).at(-1) === published);

  await publish("cut", ["run_end"]);
  published += 1;
  await until("the end", async () => (await state(page)) === "ended");

  // Every seq that the page shows, from the first to the last, once each, beside the list of the server.
  const shown = new Map();
  const listbox = page.locator(".events");
  await listbox.press("Home");
  await until("all rows", async () => {
    const rows = await page.$$eval(".event[data-seq]", (found) => found.map((row) => [Number(row.dataset.seq), row.getAttribute("aria-posinset"), row.querySelector(".e-title").textContent]));
    for (const [seq, place, title] of rows) {
      assert.equal(Number(place), seq, "the place of an event is its seq");
      shown.set(seq, title);
    }
    await listbox.press("PageDown");
    return shown.size === published;
  });
  const { events } = await get("/v1/runs/cut/events?limit=1000");
  assert.deepEqual([...shown.keys()].sort((a, b) => a - b), events.map((event) => event.seq));
  for (const event of events.filter(({ type }) => type === "step")) {
    assert.equal(shown.get(event.seq), event.payload.value.node_name);
  }
  const row = list.locator('tr[data-run="cut"]');
  await until("the end in the list", async () => (await row.locator(".status").getAttribute("data-status")) === "succeeded");
  assert.equal(await row.locator(".cell-events").textContent(), String(published));
});
