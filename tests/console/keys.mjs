// With keys on, the console asks for one, keeps it in the tab, says what it allows, and asks again when it ends.

import assert from "node:assert/strict";
import { expectComplaint, findings, inBrowser, open, rest, server, state, until } from "./browser.mjs";

const [reader, writer] = rest;

await inBrowser(async (browser) => {
  expectComplaint("401");
  const publish = await fetch(`${server}/v1/runs/secret/events`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${writer}` },
    body: JSON.stringify([{ type: "run_start", payload: {} }]),
  });
  assert.equal(publish.status, 201);
  const page = await open(browser);
  await page.locator("sign-in").waitFor();
  assert.equal(await page.locator("tbody tr").count(), 0);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    assert.equal(await findings(page), "", `the sign-in, ${colorScheme}`);
  }
  await page.locator("#key").fill("key_wrong:wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator("sign-in .problem", { hasText: "does not accept this key" }).waitFor();

  // A key that may only read sees the run and steers nothing.
  await page.locator("#key").fill(reader);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator('tr[data-run="secret"]').waitFor();
  await until("the state live", async () => (await state(page)) === "live");
  await page.locator(".menu summary").click();
  const scopes = await page.locator(".scopes").innerText();
  assert.match(scopes, /may see runs and events/);
  assert.equal(await findings(page), "", "the menu of the key");
  assert.match(scopes, /may not create, answer, cancel and resume runs/);
  assert.deepEqual(await page.evaluate(() => [localStorage.length, document.cookie, sessionStorage.length]), [0, "", 1]);
  await page.locator(".menu summary").click();
  await page.locator('tr[data-run="secret"]').click();
  await page.locator('.event[data-seq="1"]').waitFor();
  assert.ok(await page.getByRole("button", { name: "Cancel…" }).isDisabled());
  assert.ok(await page.locator("#full").isDisabled());
  assert.ok(!(await page.content()).includes(reader.split(":")[1]), "the secret is nowhere in the page");

  // The key lasts over a reload of the tab, and not into another tab.
  await page.reload();
  await page.locator('.event[data-seq="1"]').waitFor();
  const other = await page.context().newPage();
  await other.goto(`${server}/`);
  await other.locator("sign-in").waitFor();

  // Signed out, the tab asks again; another key may do more.
  await page.locator(".menu summary").click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.locator("#key").fill(writer);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator('.event[data-seq="1"]').waitFor();
  await page.getByRole("button", { name: "Cancel…" }).click();
  await page.getByRole("button", { name: "Cancel the run" }).click();
  await page.locator('run-header .status[data-status="cancelled"]').waitFor();
});
