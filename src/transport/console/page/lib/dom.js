/**
 * Elements. Text becomes text nodes and is never parsed as HTML.
 *
 * @typedef {Node | string | number | null | undefined | false} Child
 */

/**
 * An element with attributes and children. A prop that begins with `on` is a listener, `class` is the class list, `true`
 * sets an empty attribute, and `false`, null or undefined leave the attribute out.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, unknown>} [props]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on") && typeof value === "function") {
      element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    } else {
      attribute(element, name, value);
    }
  }
  append(element, children);
  return element;
}

/**
 * Sets an attribute, or removes it for `false`, null and undefined.
 * @param {Element} element
 * @param {string} name
 * @param {unknown} value
 */
export function attribute(element, name, value) {
  if (value === false || value === null || value === undefined) {
    element.removeAttribute(name);
  } else {
    element.setAttribute(name, value === true ? "" : String(value));
  }
}

/**
 * @param {Node} parent
 * @param {(Child | Child[])[]} children
 */
function append(parent, children) {
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) {
      parent.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
    }
  }
}

/**
 * Replaces the children of an element.
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function fill(element, ...children) {
  element.textContent = "";
  append(element, children);
}

/**
 * Sets the text of an element, and leaves the page alone where it is the same.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

const SVG = "http://www.w3.org/2000/svg";

/** Paths of the icons, in a box of 16 by 16. @type {Record<string, string>} */
const ICONS = {
  play: "M5 3.2v9.6L12.8 8z",
  pause: "M4.5 3h2.4v10H4.5zM9.1 3h2.4v10H9.1z",
  step: "M4 3.2v9.6L10.4 8zM11 3h1.8v10H11z",
  down: "M8 2.5v9M4 8l4 4 4-4",
  up: "M8 13.5v-9M4 8l4-4 4 4",
  back: "M9.5 3.5L5 8l4.5 4.5",
  next: "M6.5 3.5L11 8l-4.5 4.5",
  close: "M4 4l8 8M12 4l-8 8",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  link: "M6.8 9.2a2.6 2.6 0 0 0 3.7 0l2-2a2.6 2.6 0 0 0-3.7-3.7l-.8.8M9.2 6.8a2.6 2.6 0 0 0-3.7 0l-2 2a2.6 2.6 0 0 0 3.7 3.7l.8-.8",
  key: "M9.6 6.4a2.9 2.9 0 1 1 0 .1zM9.4 8L3 14.2M5 12.2l1.8 1.8",
};
const FILLED = new Set(["play", "pause", "step"]);

/**
 * An icon that screen readers skip.
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", FILLED.has(name) ? "icon filled" : "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name] ?? "");
  svg.appendChild(path);
  return svg;
}

/**
 * Copies a text. Works without a secure context too, where the clipboard of the browser is missing.
 * @param {string} text
 */
export async function copy(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = h("textarea", { class: "offscreen", "aria-hidden": "true" });
  area.value = text;
  document.body.appendChild(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/**
 * A button that copies, and says so for a moment.
 * @param {string} label
 * @param {string} name name of the icon
 * @param {() => string | Promise<string>} text
 */
export function copyButton(label, name, text) {
  const caption = h("span", {}, label);
  const button = h("button", { type: "button", class: "button small" }, icon(name), caption);
  button.addEventListener("click", async () => {
    try {
      await copy(await text());
      caption.textContent = "Copied";
    } catch {
      caption.textContent = "Not copied";
    }
    setTimeout(() => (caption.textContent = label), 1500);
  });
  return button;
}
