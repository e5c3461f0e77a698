// The history as a table, searched and paged by the service.

import { get, query, streamPath } from "./api.js";
import { button, during, el, field, put, section, verdictMark } from "./dom.js";
import { labelWords } from "./feedback.js";
import { formatScore, formatTime } from "./maths.js";

const PAGE = 20;
const COLUMNS = ["Result", "Scored", "Image", "Score", "Threshold", "Verdict", "Feedback"];

function options(pairs) {
  return pairs.map(([value, words]) => el("option", { value }, words));
}

function time(text) {
  return text ? new Date(text).toISOString() : "";
}

export function history(room) {
  const controls = {
    verdict: el("select", null, options([["", "any"], ["anomalous", "anomalous"], ["normal", "normal"], ["uncalibrated", "uncalibrated"]])),
    feedback: el("select", null, options([["", "any"], ["normal", "fine"], ["defect", "defect"]])),
    image: el("input", { type: "search", autocomplete: "off" }),
    min_score: el("input", { type: "number", step: "any", inputmode: "decimal" }),
    max_score: el("input", { type: "number", step: "any", inputmode: "decimal" }),
    from: el("input", { type: "datetime-local" }),
    until: el("input", { type: "datetime-local" }),
  };
  const form = el(
    "form",
    { class: "search", role: "search", "aria-label": "Search in the history" },
    field("Verdict", controls.verdict),
    field("Feedback", controls.feedback),
    field("Image name contains", controls.image),
    field("Score from", controls.min_score),
    field("Score to", controls.max_score),
    field("From", controls.from),
    field("Before", controls.until),
    el("div", { class: "actions" }, el("button", { type: "submit", class: "primary" }, "Search"), el("button", { type: "reset" }, "Clear")),
  );
  const body = el("tbody");
  const table = el(
    "table",
    null,
    el("caption", { class: "unseen" }, "Results, newest first"),
    el("thead", null, el("tr", null, COLUMNS.map((name) => el("th", { scope: "col" }, name)))),
    body,
  );
  const found = el("p", { class: "soft", role: "status" });
  const newer = button("Newer", () => page(before.slice(0, -1)));
  const older = button("Older", () => page([...before, rows.at(-1).id]));
  const scroll = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of results" }, table);
  const node = section("History", "history", form, found, scroll, el("div", { class: "row" }, newer, older));

  // The ids that the pages begin below, one for each page that was gone on to.
  let before = [];
  let rows = [];
  let stale = false;

  function row(record) {
    const name = record.image ?? "–";
    return el(
      "tr",
      { "data-id": record.id },
      el("th", { scope: "row" }, el("button", { type: "button", class: "plain", "aria-label": `Show result ${record.id}`, onclick: () => room.showId(record.id) }, String(record.id))),
      el("td", null, el("time", { datetime: record.at }, formatTime(record.at))),
      el("td", { class: "name", title: name }, name),
      el("td", { class: "number" }, formatScore(record.score)),
      el("td", { class: "number" }, formatScore(record.threshold)),
      el("td", null, verdictMark(record.verdict)),
      el("td", null, labelWords(record.feedback)),
    );
  }

  async function page(next) {
    const wanted = Object.fromEntries(Object.entries(controls).map(([name, control]) => [name, control.value.trim()]));
    const asked = { ...wanted, from: time(wanted.from), until: time(wanted.until), before: next.at(-1), limit: PAGE + 1 };
    const { results } = await get(streamPath(room.name, `/results${query(asked)}`), { quiet: true });
    before = next;
    rows = results.slice(0, PAGE);
    stale = false;
    put(body, rows.map(row));
    older.disabled = results.length <= PAGE;
    newer.disabled = before.length === 0;
    found.textContent = rows.length ? `Page ${before.length + 1}: results ${rows[0].id} to ${rows.at(-1).id}.` : "No results.";
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (form.reportValidity()) during(event.submitter ?? form, () => page([]));
  });
  form.addEventListener("reset", () => setTimeout(() => during(form, () => page([]))));

  return {
    node,
    load: () => page(before),
    result() {
      if (stale) return;
      stale = true;
      if (!rows.length) {
        page([]).catch(() => {});
        return;
      }
      // Rows do not move by themselves under the reader's eyes.
      found.append(" ", button("Newer results have come: show them", () => page([])));
    },
    changed(record) {
      const place = body.querySelector(`[data-id="${record.id}"]`);
      if (place) place.lastChild.textContent = labelWords(record.feedback);
    },
  };
}
