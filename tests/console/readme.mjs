// The program for a browser in the README, as it stands there, in a page of the server.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { inBrowser, open } from "./browser.mjs";

const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
const [, program] = /```js\n([^]*?)```/.exec(readme);

await inBrowser(async (browser) => {
  const page = await open(browser);
  const printed = [];
  page.on("console", (message) => printed.push(message.text()));
  const end = page.waitForEvent("console", (message) => message.text() === "the end");
  await page.evaluate(`(async () => { ${program} })()`);
  await end;
  assert.deepEqual(printed, ["1 run_start", "2 run_end", "the end"]);
});
