// One result large: the picture, the heatmap over it, what was said.

import { picture, resultPath } from "./api.js";
import { button, el, field, put, section, verdictMark } from "./dom.js";
import { feedbackButtons } from "./feedback.js";
import { formatScore, formatTime } from "./maths.js";

function facts(pairs) {
  return el("dl", { class: "pairs" }, pairs.flatMap(([term, value]) => [el("dt", null, term), el("dd", null, value)]));
}

/** Follows the last result until another is chosen; `room` is the stream that is shown. */
export function viewer(room) {
  const base = el("img", { class: "picture", alt: "", hidden: true });
  const heat = el("img", { class: "heat", alt: "", hidden: true });
  const absent = el("p", { class: "absent" }, "No result yet.");
  const stage = el("div", { class: "stage" }, base, heat, absent);
  const opacity = el("input", { type: "range", min: 0, max: 100, value: 50 });
  const said = el("div", { class: "said" });
  const follow = el("button", { type: "button", class: "follow", "aria-pressed": "true" }, "Follow live");
  const node = section(
    "Image",
    "viewer",
    el("div", { class: "viewer-body" }, el("figure", null, stage, el("div", { class: "blend" }, field("Heatmap over the picture", opacity), follow)), said),
  );

  let following = true;
  let shown = null;
  let wanted = null;
  let busy = false;
  let closed = false;
  const addresses = new Map();

  const blend = () => {
    heat.style.opacity = String(opacity.value / 100);
    opacity.setAttribute("aria-valuetext", `${opacity.value} % heatmap`);
  };
  // The heatmap has a shape of its own: both are stretched to that of the picture.
  base.addEventListener("load", () => stage.style.setProperty("--ratio", String(base.naturalWidth / base.naturalHeight)));
  opacity.addEventListener("input", blend);
  blend();

  function give(image, source) {
    if (addresses.has(image)) URL.revokeObjectURL(addresses.get(image));
    addresses.delete(image);
    if (source) {
      addresses.set(image, source);
      image.src = source;
    } else {
      image.removeAttribute("src");
    }
    image.hidden = !source;
  }

  function describe(record, peek) {
    base.alt = `Picture of ${record.image ?? `result ${record.id}`}`;
    heat.alt = `Heatmap, from ${formatScore(record.scale_low)} to ${formatScore(record.scale_high)}`;
    const pairs = [
      ["Image", record.image ?? "no name"],
      ["Threshold", formatScore(record.threshold)],
      ["p-value", record.p_value === null ? "–" : formatScore(record.p_value)],
      ["This image alone", formatScore(record.raw_score)],
      ["Scored", formatTime(record.at)],
      ["Calibration", record.calibration],
      ["Memory", record.remembered ? "remembered" : "not remembered"],
    ];
    put(
      said,
      el("p", { class: "last" }, verdictMark(record.verdict), el("span", { class: "score" }, formatScore(record.score))),
      el("p", { class: "soft" }, peek ? "Scored only: not in the history." : `Result ${record.id}`),
      facts(pairs),
      !peek && feedbackButtons(room, record),
    );
  }

  function setFollowing(value) {
    following = value;
    follow.setAttribute("aria-pressed", String(value));
  }

  // One fetch at a time, always of the newest wanted: a fast line must not queue up pictures.
  async function work() {
    if (busy) return;
    busy = true;
    while (wanted && !closed) {
      const record = wanted;
      wanted = null;
      const [first, second] = await Promise.allSettled([
        picture(resultPath(room.name, record.id, "/picture"), { quiet: true }),
        picture(resultPath(room.name, record.id, "/heatmap"), { quiet: true }),
      ]);
      if (closed) {
        for (const part of [first, second]) if (part.value) URL.revokeObjectURL(part.value);
        break;
      }
      shown = record;
      describe(record, false);
      give(base, first.value);
      give(heat, second.value);
      absent.hidden = Boolean(first.value);
      absent.textContent = first.reason?.message ?? "";
    }
    busy = false;
  }

  function load(record) {
    wanted = record;
    work();
  }

  follow.addEventListener("click", () => {
    setFollowing(!following);
    if (following && room.info?.last) load(room.info.last);
  });

  return {
    node,
    /** A result came in; it is shown while the view follows. */
    offer(record) {
      if (following && record && record.id > ((wanted ?? shown)?.id ?? 0)) load(record);
    },
    /** Shows this result and stays with it. */
    show(record) {
      setFollowing(false);
      load(record);
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      node.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
    },
    /** Shows an image that was scored without leaving a trace: the file itself and the heatmap that came back. */
    peek(record, file, heatmap) {
      setFollowing(false);
      wanted = null;
      shown = null;
      describe(record, true);
      give(base, URL.createObjectURL(file));
      give(heat, heatmap && URL.createObjectURL(heatmap));
      absent.hidden = true;
      base.addEventListener("error", () => {
        base.hidden = true;
        absent.hidden = false;
        absent.textContent = "This browser cannot show the file; the heatmap is that of the image.";
      }, { once: true });
    },
    changed(record) {
      if (shown?.id !== record.id) return;
      shown = record;
      const focused = said.contains(document.activeElement) ? document.activeElement.dataset.label : null;
      describe(record, false);
      if (focused) said.querySelector(`[data-label="${focused}"]`)?.focus();
    },
    close() {
      closed = true;
      give(base, null);
      give(heat, null);
    },
  };
}
