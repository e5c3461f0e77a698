// Requests to the service. The page may be served under a path of its own, so every address is relative to this file.

import { ask, el, field } from "./dom.js";

const ROOT = new URL("../", import.meta.url);
const KEY = "rareclip.key";

/** An answer that says why something was not done. */
export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `the service answered ${status}`);
    this.name = "ApiError";
    this.status = status;
    this.kind = problem.kind ?? "";
  }
}

export function key() {
  return sessionStorage.getItem(KEY);
}

let changed = () => {};

/** Called whenever a key was given or taken away. */
export function onKey(listener) {
  changed = listener;
}

export function forgetKey() {
  sessionStorage.removeItem(KEY);
  changed();
}

let wanted = false;

/** Whether the service asked for a key since the page was loaded. */
export function wantsKey() {
  return wanted;
}

let asking = null;

/** Asks for a key, once for all requests that wait for it; false when it was not given. */
export function askKey(reason) {
  asking ??= (async () => {
    const input = el("input", { type: "password", name: "key", autocomplete: "off", required: true, spellcheck: "false", pattern: "\\s*[!-~]+\\s*" });
    const words = el("p", null, reason);
    const answer = await ask("Sign in", [words, field("Key", input, "Kept in this tab only, until it is closed.")], { yes: "Sign in" });
    asking = null;
    if (!answer?.key) return false;
    sessionStorage.setItem(KEY, answer.key.trim());
    changed();
    return true;
  })();
  return asking;
}

/** The address of a path of the service. */
export function address(path) {
  return new URL(path, ROOT);
}

async function problemOf(response) {
  try {
    return await response.json();
  } catch {
    return { title: `${response.status} ${response.statusText}`.trim() };
  }
}

let refused = false;

/** A request with the key; a service that wants one (401) makes the page ask for it and the request is sent again. */
export async function request(path, options = {}) {
  for (;;) {
    const used = key();
    const headers = new Headers(options.headers);
    if (used) headers.set("Authorization", `Bearer ${used}`);
    let response;
    try {
      response = await fetch(address(path), { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, { detail: "the service cannot be reached" });
    }
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (response.status !== 401) throw new ApiError(response.status, problem);
    if (!wanted) {
      wanted = true;
      changed();
    }
    // Another request may have got a key while this one was on its way.
    if (key() !== used) continue;
    if (refused && options.quiet) throw new ApiError(401, problem);
    const given = await askKey(used ? "The service did not accept this key." : "This service asks for a key.");
    refused = !given;
    if (!given) throw new ApiError(401, { detail: "the service asks for a key: sign in" });
  }
}

export async function get(path, options) {
  return (await request(path, options)).json();
}

/** Sends JSON; resolves to the JSON of the answer, or null where there is none. */
export async function send(method, path, body) {
  const options = { method };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const response = await request(path, options);
  return response.status === 204 ? null : response.json();
}

/** A picture as an address that an `img` can show. The caller gives it back by `URL.revokeObjectURL`. */
export async function picture(path, options) {
  const response = await request(path, options);
  return URL.createObjectURL(await response.blob());
}

/** The path of a stream, or of something within it. */
export function streamPath(name, rest = "") {
  return `v1/streams/${encodeURIComponent(name)}${rest}`;
}

export function resultPath(name, id, rest = "") {
  return streamPath(name, `/results/${id}${rest}`);
}

/** Query parameters of those values that are set. */
export function query(values) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && value !== undefined && value !== "") parameters.set(name, value);
  }
  const text = parameters.toString();
  return text ? `?${text}` : "";
}
