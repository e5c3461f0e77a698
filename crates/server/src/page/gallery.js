// The last anomalies side by side, to be told fine or defect.

import { get, picture, query, resultPath, streamPath } from "./api.js";
import { el, put, section } from "./dom.js";
import { feedbackButtons } from "./feedback.js";
import { formatScore, formatTime } from "./maths.js";

const SHOWN = 12;

export function gallery(room) {
  const list = el("ul", { class: "gallery" });
  const empty = el("p", { class: "empty" }, "No anomalies with pictures yet.");
  const node = section("Last anomalies", "anomalies", list, empty);
  const items = new Map();
  let closed = false;

  async function fetchPicture(item, record) {
    try {
      const source = await picture(resultPath(room.name, record.id, "/overlay?opacity=0.5"), { quiet: true });
      if (closed || !items.has(record.id)) {
        URL.revokeObjectURL(source);
        return;
      }
      item.source = source;
      item.image.src = source;
    } catch (error) {
      item.image.replaceWith(el("span", { class: "absent" }, error.message));
    }
  }

  function describe(item, record) {
    const focused = item.said.contains(document.activeElement) ? document.activeElement.dataset.label : null;
    const name = record.image ?? `result ${record.id}`;
    // Of a long path the end tells one image from another.
    const short = name.split("/").at(-1) || name;
    put(
      item.said,
      el("p", { class: "name", title: name }, short),
      el("p", null, el("span", { class: "score" }, formatScore(record.score)), " ", el("time", { datetime: record.at, class: "soft" }, formatTime(record.at))),
      feedbackButtons(room, record),
    );
    if (focused) item.said.querySelector(`[data-label="${focused}"]`)?.focus();
    item.record = record;
  }

  function drop(id) {
    const item = items.get(id);
    items.delete(id);
    item.node.remove();
    if (item.source) URL.revokeObjectURL(item.source);
  }

  function add(record) {
    if (items.has(record.id)) return;
    const name = record.image ?? `result ${record.id}`;
    const image = el("img", { alt: `${name} with its heatmap` });
    const open = el("button", { type: "button", class: "thumb", "aria-label": `Show ${name}`, onclick: () => room.show(items.get(record.id).record) }, image);
    const said = el("div");
    const item = { image, said, record, node: el("li", null, open, said) };
    items.set(record.id, item);
    const after = [...items.keys()].filter((id) => id < record.id).sort((a, b) => b - a)[0];
    list.insertBefore(item.node, after === undefined ? null : items.get(after).node);
    describe(item, record);
    fetchPicture(item, record);
    while (items.size > SHOWN) {
      const ids = [...items.keys()].sort((a, b) => a - b);
      // What a person is about to press must not vanish under the finger.
      const oldest = ids.find((id) => !items.get(id).node.contains(document.activeElement)) ?? ids[0];
      drop(oldest);
    }
    empty.hidden = true;
  }

  return {
    node,
    async load() {
      const { results } = await get(streamPath(room.name, `/results${query({ verdict: "anomalous", pictures: true, limit: SHOWN })}`), { quiet: true });
      const ids = new Set(results.map((record) => record.id));
      for (const id of [...items.keys()]) if (!ids.has(id)) drop(id);
      results.toReversed().forEach(add);
      empty.hidden = items.size > 0;
    },
    result(record) {
      if (record.verdict === "anomalous" && record.pictures) add(record);
    },
    changed(record) {
      const item = items.get(record.id);
      if (item) describe(item, record);
    },
    close() {
      closed = true;
      for (const id of [...items.keys()]) drop(id);
    },
  };
}
