// The published clients of gRPC-web in Chromium, on a page of another origin than the server's. The page is served here: the
// first line of the output is its origin, and the first line of the input the address of a server that allows it, and a key.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const here = dirname(fileURLToPath(import.meta.url));
const scratch = process.cwd();

/** Generates the stubs and bundles the page, as the build of a page does. */
async function bundle() {
  const buf = join(here, "node_modules", "@bufbuild", "buf", "bin", "buf");
  execFileSync(process.execPath, [buf, "generate", "--template", "buf.gen.yaml", "--output", scratch], { cwd: here });
  const nodePaths = [join(here, "node_modules"), scratch];
  const entryPoints = [join(here, "page.js")];
  const { outputFiles } = await build({ entryPoints, nodePaths, bundle: true, write: false, format: "esm" });
  return outputFiles[0].text;
}

const script = await bundle();
const pages = createServer((request, response) => {
  const isScript = request.url === "/page.js";
  response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
  response.end(isScript ? script : "<!doctype html><title>a page</title>");
});
await new Promise((resolve) => pages.listen(0, "127.0.0.1", resolve));
const origin = `http://127.0.0.1:${pages.address().port}`;
console.log(origin);
const [address, key] = (await createInterface({ input: process.stdin }).question("")).split(" ");

const executablePath = process.env.RUNLOG_TEST_CHROMIUM;
// Chromium has no sandbox for root. Its files in /dev/shm are too many for some containers.
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"] });
try {
  const page = await browser.newPage();
  await page.goto(origin);
  const run = (name, ...args) =>
    page.evaluate(async ([name, args]) => (await import("/page.js"))[name](...args), [name, [`http://${address}`, key, ...args]]);
  const expected = {
    published: [1, 2],
    duplicates: [true, true],
    listed: ["run_start", "note"],
    followed: [1, 2, 3, 4],
    ended: 4,
    error: [3, "INVALID_FIELD", "events[0].type"],
  };
  assert.deepEqual(await run("connectWeb"), expected);
  // grpc-web streams in its text form alone: in the binary one it hands on nothing before the end.
  assert.deepEqual(await run("googleWeb", "text"), expected);
} finally {
  await browser.close();
}
process.exit(0);
