// Rules for the page of the console and for the scripts of its tests. Run from the root of the repository, so that both lie
// below the base path.

import js from "@eslint/js";

const browser = [
  "AbortController", "AbortSignal", "CustomEvent", "DOMException", "Element", "Event", "EventTarget", "HTMLElement", "Headers",
  "IntersectionObserver", "Node", "ResizeObserver", "Response", "TextDecoder", "URL", "URLSearchParams", "cancelAnimationFrame",
  "clearInterval", "clearTimeout", "console", "crypto", "customElements", "document", "fetch", "getSelection", "history",
  "location", "navigator", "performance", "requestAnimationFrame", "sessionStorage", "setTimeout", "window",
];
const node = ["URL", "clearTimeout", "console", "fetch", "process", "setTimeout"];
const readonly = (names) => Object.fromEntries(names.map((name) => [name, "readonly"]));

// Ways of making elements out of text, which a payload must never take.
const htmlOfText = ["innerHTML", "outerHTML", "insertAdjacentHTML"].map((property) => ({
  property,
  message: "Text becomes a text node: see lib/dom.js.",
}));

export default [
  js.configs.recommended,
  {
    rules: {
      curly: "error",
      eqeqeq: "error",
      "no-restricted-properties": ["error", ...htmlOfText, { object: "document", property: "write" }],
      "no-shadow": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "max-lines": ["error", 300],
    },
  },
  { files: ["src/transport/console/page/**/*.js"], languageOptions: { globals: readonly(browser) } },
  { files: ["tests/console/**/*.{js,mjs}"], languageOptions: { globals: readonly([...node, "document", "localStorage", "navigator", "sessionStorage", "window"]) } },
];
