// Payloads, names and ids full of HTML and script are shown as the text that they are, and the policy of the page holds.

import assert from "node:assert/strict";
import { expectComplaint, inBrowser, open, publish, server, until } from "./browser.mjs";

const EVIL = `<img src=x onerror="window.owned=1"><script>window.owned=1</script><svg onload=window.owned=1>"'><a href="javascript:window.owned=1">`;

await inBrowser(async (browser) => {
  const run = `run ${EVIL.slice(0, 150)}`;
  await publish(
    run,
    ["run_start", { input: EVIL }, EVIL],
    ["step", { node_name: EVIL, phase: "start", [EVIL]: EVIL }],
    ["tool_call", { tool_name: EVIL, phase: "end", input_preview: EVIL, output_preview: EVIL, duration_ms: 5 }],
    ["step.progress", { task_id: EVIL, kind: "content_delta", content_delta: EVIL }],
    ["run.coordination.decision", { decision_type: EVIL, role: EVIL, reason_code: EVIL }],
    ["human_input_requested", { question: EVIL, context: { [EVIL]: EVIL } }],
    [EVIL.slice(0, 190), EVIL],
  );
  await publish("broken", ["run_start"], ["error", { error_type: EVIL, error_message: EVIL, traceback: EVIL }]);
  const page = await open(browser);
  const isClean = async (where) => {
    const found = await page.evaluate(() => ({
      owned: window.owned,
      violations: window.violations,
      elements: document.querySelectorAll("main img, main script, main a[href^='javascript'], main svg[onload]").length,
      handlers: [...document.querySelectorAll("*")].filter((element) => [...element.attributes].some(({ name }) => name.startsWith("on"))).length,
    }));
    assert.deepEqual(found, { owned: undefined, violations: [], elements: 0, handlers: 0 }, where);
  };
  await page.locator("tbody tr").nth(1).waitFor();
  assert.ok((await page.locator("tbody").innerText()).includes(`<img src=x onerror="window.owned=1">`));
  await isClean("the list");
  await page.locator(`tr .run-link`, { hasText: "run <img" }).click();
  await page.locator('.event[data-seq="7"]').waitFor();
  for (let seq = 1; seq <= 7; seq += 1) {
    await page.locator(`.event[data-seq="${seq}"]`).click();
    await until(`event ${seq}`, async () => (await page.locator("event-inspector h2").innerText()).startsWith(`#${seq} `));
    await page.locator("event-inspector details:not([open]) summary").evaluateAll((folds) => folds.forEach((fold) => fold.click()));
    await isClean(`event ${seq}`);
  }
  assert.ok((await page.locator("question-form").innerText()).includes("<script>window.owned=1</script>"));
  await page.goto(`${server}/#/runs/broken`);
  await page.locator(".outcome.bad").waitFor();
  assert.ok((await page.locator(".outcome.bad").innerText()).includes("<script>"));
  await isClean("the error");

  // The policy of the page stops what would get past that.
  const answer = await fetch(`${server}/`);
  const policy = answer.headers.get("content-security-policy");
  for (const rule of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"]) {
    assert.ok(policy.includes(rule), policy);
  }
  assert.equal(answer.headers.get("x-content-type-options"), "nosniff");
  assert.equal(answer.headers.get("referrer-policy"), "no-referrer");
  for (const complaint of ["Content Security Policy", "TrustedScript", "Refused to"]) {
    expectComplaint(complaint);
  }
  const attempts = await page.evaluate(async () => {
    const script = document.createElement("script");
    let refused = "";
    try {
      script.textContent = "window.owned = 1";
      document.body.append(script);
    } catch (error) {
      refused = error.name;
    }
    const image = document.createElement("img");
    const loaded = new Promise((resolve) => {
      image.onload = () => resolve("loaded");
      image.onerror = () => resolve("refused");
    });
    image.src = "http://127.0.0.1:9/x.png";
    const called = await fetch("http://127.0.0.1:9/").then(() => "called", () => "refused");
    return { owned: window.owned, refused, image: await loaded, called };
  });
  assert.deepEqual(attempts, { owned: undefined, refused: "TypeError", image: "refused", called: "refused" });
  const violated = await page.evaluate(() => window.violations);
  assert.ok(violated.some((directive) => directive.includes("img-src")) && violated.some((directive) => directive.includes("connect-src")), String(violated));
});
