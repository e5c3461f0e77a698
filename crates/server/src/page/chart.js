// The scores of the history as they came.

import { el, freshId, onWidth, put, section, svg } from "./dom.js";
import { axisRange, formatScore, ticks } from "./maths.js";

const HEIGHT = 260;
const MARGIN = { left: 64, right: 12, top: 12, bottom: 30 };
const VERDICTS = ["normal", "anomalous", "uncalibrated"];

function mark(verdict, x, y) {
  const [cx, cy] = [x.toFixed(1), y.toFixed(1)];
  if (verdict === "anomalous") return `M${(x - 5).toFixed(1)} ${(y + 4).toFixed(1)}l5 -9l5 9z`;
  // A line of no length with round ends is a dot, and thousands of them are one element.
  if (verdict === "normal") return `M${cx} ${cy}h0`;
  return `M${(x - 3).toFixed(1)} ${cy}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0`;
}

function legend() {
  const entries = [
    ["normal", "● normal"],
    ["anomalous", "▲ anomalous"],
    ["uncalibrated", "○ uncalibrated"],
    ["defect", "◯ labelled defect"],
    ["threshold", "― threshold"],
  ];
  return el("ul", { class: "legend" }, entries.map(([name, words]) => el("li", { class: name }, words)));
}

export function chart(room) {
  const picture = svg("svg", { class: "chart", height: HEIGHT, "aria-hidden": "true" });
  const tip = el("p", { class: "tip", hidden: true });
  const help = freshId("help");
  const plot = el("div", { class: "plot", role: "slider", tabindex: 0, "aria-label": "Result in the chart", "aria-valuemin": 0, "aria-describedby": help }, picture, tip);
  const length = el("select", { "aria-label": "Results shown" }, [200, 1000, 5000].map((count) => el("option", { value: count }, `last ${count} results`)));
  length.value = String(room.keep);
  const node = section("Scores", "scores", el("div", { class: "row" }, length, legend()), plot, el("p", { class: "soft", id: help }, "Point at a mark or move with the arrow keys; click or press Enter to see that result."));

  let chosen = null;
  let width = 600;
  let scale = null;
  const cursor = svg("g", { class: "cursor" });

  function draw() {
    const { series, info } = room;
    const count = series.scores.length;
    const threshold = info?.calibration?.threshold ?? null;
    const [low, high] = axisRange(threshold === null ? series.scores : [...series.scores, threshold]);
    const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
    const x = (index) => MARGIN.left + (inner.width * (index + 0.5)) / Math.max(1, count);
    const y = (score) => MARGIN.top + inner.height * (1 - (score - low) / (high - low));
    scale = { x, y, count, inner };
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    picture.setAttribute("width", width);

    const parts = [];
    for (const tick of ticks(low, high, 5)) {
      parts.push(svg("path", { class: "grid", d: `M${MARGIN.left} ${y(tick)}H${width - MARGIN.right}` }));
      parts.push(svg("text", { class: "tick", x: MARGIN.left - 8, y: y(tick) + 4, "text-anchor": "end" }, String(tick)));
    }
    const round = count ? ticks(series.ids[0], series.ids[count - 1], Math.max(2, Math.floor(width / 120))).filter(Number.isInteger) : [];
    for (const id of round) {
      const index = series.ids.findIndex((candidate) => candidate >= id);
      parts.push(svg("text", { class: "tick", x: x(index), y: HEIGHT - 8, "text-anchor": "middle" }, String(id)));
    }
    const marks = { normal: [], anomalous: [], uncalibrated: [] };
    const rings = [];
    for (let index = 0; index < count; index += 1) {
      marks[series.verdicts[index]]?.push(mark(series.verdicts[index], x(index), y(series.scores[index])));
      if (series.feedback[index] === "defect") rings.push(`M${(x(index) - 9).toFixed(1)} ${y(series.scores[index]).toFixed(1)}a9 9 0 1 0 18 0a9 9 0 1 0 -18 0`);
    }
    for (const verdict of VERDICTS) parts.push(svg("path", { class: `mark-${verdict}`, d: marks[verdict].join("") }));
    parts.push(svg("path", { class: "mark-defect", d: rings.join("") }));
    if (threshold !== null) {
      parts.push(svg("path", { class: "line-threshold", d: `M${MARGIN.left} ${y(threshold)}H${width - MARGIN.right}` }));
    }
    if (!count) parts.push(svg("text", { class: "tick", x: width / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "No scores yet"));
    put(picture, ...parts, cursor);
    plot.setAttribute("aria-valuemax", Math.max(0, count - 1));
    point(chosen === null ? null : Math.min(chosen, count - 1));
  }

  /** Marks one result and says which; null marks none. */
  function point(index) {
    const { series } = room;
    chosen = index === null || index < 0 || !scale.count ? null : index;
    const at = chosen ?? scale.count - 1;
    plot.setAttribute("aria-valuenow", Math.max(0, at));
    const words = at < 0 ? "no scores yet" : `Result ${series.ids[at]}: score ${formatScore(series.scores[at])}, ${series.verdicts[at]}${series.feedback[at] ? `, labelled ${series.feedback[at]}` : ""}`;
    plot.setAttribute("aria-valuetext", words);
    tip.hidden = chosen === null;
    if (chosen === null) {
      put(cursor);
      return;
    }
    const place = scale.x(chosen);
    put(
      cursor,
      svg("path", { d: `M${place} ${MARGIN.top}V${HEIGHT - MARGIN.bottom}` }),
      svg("circle", { cx: place, cy: scale.y(series.scores[chosen]), r: 7 }),
    );
    tip.textContent = words;
    tip.style.left = `${Math.min(Math.max(place, 140), Math.max(140, width - 140))}px`;
  }

  function nearest(event) {
    const box = picture.getBoundingClientRect();
    const share = (event.clientX - box.left - MARGIN.left) / scale.inner.width;
    return scale.count ? Math.min(scale.count - 1, Math.max(0, Math.floor(share * scale.count))) : null;
  }

  const open = () => {
    if (chosen !== null) room.showId(room.series.ids[chosen]);
  };
  plot.addEventListener("pointermove", (event) => point(nearest(event)));
  plot.addEventListener("pointerleave", () => point(null));
  plot.addEventListener("click", (event) => {
    point(nearest(event));
    open();
  });
  plot.addEventListener("blur", () => point(null));
  plot.addEventListener("focus", () => {
    if (plot.matches(":focus-visible")) point(scale.count - 1);
  });
  plot.addEventListener("keydown", (event) => {
    const at = chosen ?? scale.count - 1;
    const moved = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1, PageUp: at + 20, PageDown: at - 20, Home: 0, End: scale.count - 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") open();
    else if (moved === undefined) return;
    else point(Math.min(scale.count - 1, Math.max(0, moved)));
    event.preventDefault();
  });
  length.addEventListener("change", () => room.keepScores(Number(length.value)));

  const unwatch = onWidth(plot, (now) => {
    width = now;
    draw();
  });
  return { node, draw, close: () => unwatch() };
}
