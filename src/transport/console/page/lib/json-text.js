/** JSON as text: indented and coloured without being parsed, so that every number and every member stays as stored. */

import { h } from "./dom.js";

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[[\]{}:,]/g;
/** Longest text with colours, characters; a longer one is plain. */
const MAX_COLOURED = 60_000;

/** @typedef {{ kind: "key" | "string" | "number" | "word" | "sign", text: string }} Token */

/**
 * The tokens of a JSON text, with line breaks and two spaces for each level.
 * @param {string} json
 * @returns {Token[]}
 */
export function indented(json) {
  /** @type {Token[]} */
  const tokens = [];
  const raw = json.match(TOKEN) ?? [];
  let depth = 0;
  const sign = (/** @type {string} */ text) => tokens.push({ kind: "sign", text });
  raw.forEach((text, index) => {
    const next = raw[index + 1];
    const isEmpty = (text === "{" && next === "}") || (text === "[" && next === "]");
    if (text === "{" || text === "[") {
      depth += isEmpty ? 0 : 1;
      sign(isEmpty ? text : `${text}\n${"  ".repeat(depth)}`);
    } else if (text === "}" || text === "]") {
      const closesEmpty = raw[index - 1] === (text === "}" ? "{" : "[");
      depth -= closesEmpty ? 0 : 1;
      sign(closesEmpty ? text : `\n${"  ".repeat(depth)}${text}`);
    } else if (text === ",") {
      sign(`,\n${"  ".repeat(depth)}`);
    } else if (text === ":") {
      sign(": ");
    } else if (text.startsWith('"')) {
      tokens.push({ kind: next === ":" ? "key" : "string", text });
    } else {
      tokens.push({ kind: /^[tfn]/.test(text) ? "word" : "number", text });
    }
  });
  return tokens;
}

/**
 * Indented JSON as text.
 * @param {string} json
 */
export function pretty(json) {
  return indented(json).map((token) => token.text).join("");
}

/**
 * Indented JSON as an element.
 * @param {string} json
 * @param {string} label
 */
export function jsonBlock(json, label) {
  const tokens = indented(json);
  const block = h("pre", { class: "json", tabindex: "0", role: "region", "aria-label": label });
  const length = tokens.reduce((sum, token) => sum + token.text.length, 0);
  if (length > MAX_COLOURED) {
    block.textContent = tokens.map((token) => token.text).join("");
    return block;
  }
  for (const { kind, text } of tokens) {
    block.append(kind === "sign" ? text : h("span", { class: `json-${kind}` }, text));
  }
  return block;
}

/**
 * The text of the only event of a page, cut out of the text of the page.
 * @param {string} page
 */
export function onlyEvent(page) {
  const begin = page.indexOf("[") + 1;
  const end = page.lastIndexOf('],"next_cursor"');
  return page.slice(begin, end);
}
