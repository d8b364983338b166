/**
 * Parser of server-sent events over the body of a response.
 *
 * @typedef {{ kind: "event", id: string, data: string } | { kind: "comment", text: string } | { kind: "position", id: string }} Message
 */

/** State of the parser between the lines of a stream. */
export class SseParser {
  #rest = "";
  /** @type {string[]} */
  #data = [];
  #id = "";
  /** An id that came after a comment: of the heartbeat before it, or of an event whose data follows. @type {string | null} */
  #position = null;
  #afterComment = false;

  /**
   * The messages that are complete with this part of the text. A `position` is the id of a heartbeat: the stream has looked
   * so far.
   * @param {string} text
   * @returns {Message[]}
   */
  push(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.#line(line.endsWith("\r") ? line.slice(0, -1) : line));
  }

  /**
   * @param {string} line
   * @returns {Message[]}
   */
  #line(line) {
    const [position, afterComment] = [this.#position, this.#afterComment];
    this.#position = null;
    this.#afterComment = line.startsWith(":");
    /** @type {Message[]} */
    const before = position !== null && !line.startsWith("data") ? [{ kind: "position", id: position }] : [];
    if (this.#afterComment) {
      return [...before, { kind: "comment", text: line.slice(1).trim() }];
    }
    if (line === "") {
      const data = this.#data.join("\n");
      const isEvent = this.#data.length > 0;
      this.#data = [];
      return isEvent ? [...before, { kind: "event", id: this.#id, data }] : before;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") {
      this.#data.push(value);
    } else if (field === "id") {
      this.#id = value;
      this.#position = afterComment ? value : null;
    }
    return before;
  }
}

/**
 * The messages of a response as they arrive, in the parts in which they arrive.
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<Message[]>}
 */
export async function* messages(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new SseParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      yield parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
