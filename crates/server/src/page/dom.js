// Building the page. Text from outside goes in as text nodes alone; nothing here takes HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "hidden") node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An element with attributes (`onclick` and its like are listeners) and children. */
export function el(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same for a part of an SVG picture. */
export function svg(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

/** Puts `children` in place of what `node` held. */
export function put(node, ...children) {
  node.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

let numbers = 0;

/** An id that nothing else on the page has. */
export function freshId(prefix) {
  numbers += 1;
  return `${prefix}-${numbers}`;
}

/** A labelled control: the label above, the control below, a hint after it. */
export function field(label, control, hint) {
  control.id ||= freshId("field");
  const note = hint ? el("small", { id: `${control.id}-hint` }, hint) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return el("div", { class: "field" }, el("label", { for: control.id }, label), control, note);
}

/** A section of the page under a heading that names it. */
export function section(title, className, ...children) {
  const id = freshId("section");
  return el("section", { class: `panel ${className}`, "aria-labelledby": id }, el("h2", { id }, title), ...children);
}

/** A button that cannot be pressed again while its work runs, and tells of a failure. */
export function button(label, work, properties) {
  const node = el("button", { type: "button", ...properties }, label);
  node.addEventListener("click", () => during(node, work));
  return node;
}

/** Runs `work` with `control` out of use, and tells of a failure. */
export async function during(control, work) {
  if (control.getAttribute("aria-busy") === "true") return;
  control.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    tell(error);
  } finally {
    control.removeAttribute("aria-busy");
  }
}

/** A few words for all to see, for some seconds; a failure stays until it is closed. */
export function tell(message) {
  const failed = message instanceof Error;
  if (failed && message.name === "AbortError") return;
  const place = document.getElementById("messages");
  const node = el(
    "div",
    { class: failed ? "message failed" : "message" },
    el("p", null, failed ? `Failed: ${message.message}` : message),
    el("button", { type: "button", class: "plain", "aria-label": "Close this message", onclick: () => node.remove() }, "✕"),
  );
  place.append(node);
  while (place.children.length > 4) place.firstChild.remove();
  if (!failed) setTimeout(() => node.remove(), 6000);
}

let pending = [];
let speaking = null;

/** Tells screen readers, politely and at most every few seconds: what came meanwhile is said together. */
export function announce(text) {
  pending.push(text);
  if (speaking) return;
  const speak = () => {
    const count = pending.length;
    if (!count) {
      speaking = null;
      return;
    }
    const last = pending[count - 1];
    document.getElementById("announcer").textContent = count > 1 ? `${count} notices. Last: ${last}` : last;
    pending = [];
    speaking = setTimeout(speak, 5000);
  };
  speaking = setTimeout(speak, 150);
}

/**
 * Asks in a dialog; resolves to the values of its form, or null when it was closed. `content` are nodes between the title and
 * the buttons.
 */
export function ask(title, content, { yes, danger = false, no = "Cancel" }) {
  const heading = freshId("dialog");
  const cancel = el("button", { type: "button", onclick: () => dialog.close() }, no);
  const form = el(
    "form",
    { method: "dialog" },
    el("h2", { id: heading }, title),
    ...content,
    el("div", { class: "actions" }, cancel, el("button", { type: "submit", class: danger ? "danger" : "primary" }, yes)),
  );
  const dialog = el("dialog", { "aria-labelledby": heading }, form);
  let answer = null;
  form.addEventListener("submit", () => {
    answer = Object.fromEntries(new FormData(form));
  });
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
  });
}

/** A verdict as a word with a mark of its own: the colour is never the only sign. */
export function verdictMark(verdict) {
  const mark = { normal: "●", anomalous: "▲", uncalibrated: "○" }[verdict] ?? "–";
  return el("span", { class: `verdict ${verdict ?? "none"}` }, el("span", { "aria-hidden": "true" }, mark), ` ${verdict ?? "no result yet"}`);
}

/** A bar of a known amount. */
export function meter(label, value, most, text) {
  const bar = el("span", { class: "meter-fill" });
  bar.style.width = `${most > 0 ? Math.min(100, (100 * value) / most) : 0}%`;
  return el(
    "div",
    { class: "meter" },
    el("span", { class: "meter-label" }, el("span", null, label), el("span", null, text)),
    el("span", { class: "meter-bar", role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": most, "aria-valuenow": Math.min(value, most), "aria-valuetext": text }, bar),
  );
}

/** A file of this name, saved by the browser. */
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = el("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** Calls `changed` with the width of `node` in whole pixels whenever it is another; gives what ends that. */
export function onWidth(node, changed) {
  let width = 0;
  const watch = new ResizeObserver(() => {
    const now = Math.round(node.clientWidth);
    if (now && now !== width) {
      width = now;
      changed(now);
    }
  });
  watch.observe(node);
  return () => watch.disconnect();
}
