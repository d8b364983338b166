/** The console: one page for the list of runs, one for a run, one for the usage, by the fragment of the URL. */

import { fill, h } from "./lib/dom.js";
import { HttpError, UNAUTHORIZED, problemText } from "./lib/http.js";
import { currentRoute } from "./lib/route.js";
import { RunPage } from "./run/run-page.js";
import { RunsPage } from "./runs/runs-page.js";
import "./shell/console-bar.js";
import { SignIn } from "./shell/sign-in.js";
import { CHANGED, session } from "./shell/session.js";
import { UsagePage } from "./usage/usage-page.js";

const main = /** @type {HTMLElement} */ (document.getElementById("main"));

/** Shows the page of the fragment; a page that shows the same run takes the change itself. */
function show() {
  if (!session.caller) {
    return;
  }
  const route = currentRoute();
  const shown = main.firstElementChild;
  if (route.page === "run") {
    if (shown instanceof RunPage && shown.runId === route.id) {
      shown.navigate(route.query);
    } else {
      fill(main, new RunPage(route.id, route.query));
    }
  } else if (route.page === "usage") {
    if (shown instanceof UsagePage) {
      shown.navigate(route.query);
    } else {
      fill(main, new UsagePage(route.query));
    }
  } else if (shown instanceof RunsPage) {
    shown.navigate(route.query);
  } else {
    fill(main, new RunsPage(route.query));
  }
}

/** Asks for a key, unless the form is there already. */
function askForKey() {
  if (!(main.firstElementChild instanceof SignIn)) {
    document.title = "Sign in · runlog";
    fill(main, new SignIn());
  }
}

async function begin() {
  try {
    await session.load();
  } catch (error) {
    if (error instanceof HttpError && error.status === 401) {
      askForKey();
      return;
    }
    const again = h("button", { type: "button", class: "button", onclick: begin }, "Try again");
    fill(main, h("div", { class: "notice", role: "alert" }, h("p", {}, problemText(error)), again));
  }
}

session.addEventListener(CHANGED, () => {
  fill(main);
  if (session.caller) {
    show();
  } else {
    void begin();
  }
});
window.addEventListener(UNAUTHORIZED, askForKey);
window.addEventListener("hashchange", show);
void begin();
