// The threshold: what another one would have made of the history, before it is applied.

import { get, send, streamPath } from "./api.js";
import { button, el, field, onWidth, put, section, svg, tell } from "./dom.js";
import { axisRange, formatCount, formatScore, formatShare, histogram, rejudge, shareOf, sliderKey, ticks } from "./maths.js";

const HEIGHT = 200;
const MARGIN = { left: 16, right: 16, top: 12, bottom: 28 };

export function judge(room) {
  const picture = svg("svg", { class: "chart", height: HEIGHT, role: "img" });
  const handle = el("div", { class: "handle", role: "slider", tabindex: 0, "aria-label": "Threshold to try", "aria-orientation": "horizontal" }, el("span", { class: "grip", "aria-hidden": "true" }, "⇔"));
  const plot = el("div", { class: "plot histogram" }, picture, handle);
  const number = el("input", { type: "number", step: "any", inputmode: "decimal" });
  const outcome = el("p", { class: "outcome" });
  const asked = el("p", { class: "soft" });
  const policy = el("p", { class: "policy" });
  const apply = button("Apply this threshold", () => choose({ type: "fixed", threshold: trial() }), { class: "primary" });
  const back = el("button", { type: "button" }, "Back to the one in force");
  const quantile = el("input", { type: "number", min: 0, max: 0.9999, step: "any", value: 0.95, inputmode: "decimal" });
  const rate = el("input", { type: "number", min: 0.00001, max: 0.5, step: "any", value: 0.01, inputmode: "decimal" });
  const last = el("input", { type: "number", min: 1, step: 1, value: 1000, inputmode: "numeric" });
  const normals = el("p", { class: "soft" });
  const calibrate = button("Calibrate by feedback", () => calibrateBy({ by: "feedback", rate: read(rate) }));
  const byHistory = button("Calibrate by history", () => calibrateBy({ by: "history", rate: read(rate), last: read(last) }));
  const node = section(
    "Threshold",
    "threshold",
    policy,
    plot,
    el("div", { class: "row" }, field("Threshold to try", number), apply, back),
    outcome,
    el("p", { class: "soft" }, "Shaded: anomalous. Solid red: labelled a defect. Heights grow with the square root of the count."),
    asked,
    el(
      "details",
      { class: "let" },
      el("summary", null, "Let the service choose the threshold"),
      el("div", { class: "row" }, field("Quantile of the stream's scores", quantile), button("By quantile", () => choose({ ...kept("quantile"), type: "quantile", quantile: read(quantile) }))),
      el("div", { class: "row" }, field("False alarm rate", rate), button("By false alarm rate", () => choose({ type: "false-alarm-rate", rate: read(rate) })), calibrate),
      el("div", { class: "row" }, field("Results, at most", last), byHistory),
      normals,
    ),
  );

  let tried = null;
  let range = [0, 1];
  let width = 600;
  let dragging = false;
  let question = null;

  const inForce = () => room.info?.calibration?.threshold ?? null;
  /** The threshold that is tried: the one in force until another is chosen; without any, the middle of the picture. */
  const trial = () => tried ?? inForce() ?? (range[0] + range[1]) / 2;
  const kept = (type) => (room.info?.calibration?.policy?.type === type ? room.info.calibration.policy : {});

  function read(input) {
    if (!input.reportValidity() || input.value === "") throw new Error(`${input.labels[0].textContent}: a number is needed`);
    return Number(input.value);
  }

  async function choose(policy) {
    const info = await send("PUT", streamPath(room.name, "/threshold"), policy);
    tried = null;
    room.setInfo(info);
    tell(info.calibration?.threshold === null ? `No threshold yet: ${info.calibration.state}.` : `Threshold in force: ${formatScore(info.calibration?.threshold)}.`);
  }

  async function calibrateBy(how) {
    const info = await send("POST", streamPath(room.name, "/calibrate"), how);
    tried = null;
    room.setInfo(info);
    tell(`Calibrated: ${info.calibration?.state ?? "done"}.`);
  }

  function words(result) {
    const rateWords = result.falseAlarmRate === null ? "no results to count false alarms on" : `false alarm rate ${formatShare(result.falseAlarmRate)}`;
    const missed = result.defects ? `, ${result.missed} of ${result.defects} labelled defects missed` : "";
    return `${formatScore(trial())}: ${formatCount(result.anomalous)} of ${formatCount(result.judged)} anomalous, ${rateWords}${missed}`;
  }

  function drawPicture() {
    const { scores, feedback } = room.series;
    const [low, high] = range;
    const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
    const bins = Math.max(10, Math.min(80, Math.floor(inner.width / 10)));
    const { counts, defects } = histogram(scores, feedback, low, high, bins);
    const most = Math.max(1, ...counts);
    const x = (value) => MARGIN.left + shareOf(value, low, high) * inner.width;
    const step = inner.width / bins;
    const floor = HEIGHT - MARGIN.bottom;
    // The root keeps the few high scores visible beside the many low ones.
    const tall = (count) => inner.height * Math.sqrt(count / most);
    const bar = (bin, count) => (count ? `M${(MARGIN.left + bin * step + 0.5).toFixed(1)} ${floor}v${(-tall(count)).toFixed(1)}h${(step - 1).toFixed(1)}V${floor}z` : "");
    const parts = ticks(low, high, Math.max(3, Math.floor(width / 90))).map((tick) => svg("text", { class: "tick", x: x(tick), y: HEIGHT - 8, "text-anchor": "middle" }, String(tick)));
    parts.push(svg("path", { class: "bar", d: counts.map((count, bin) => bar(bin, count)).join("") }));
    parts.push(svg("path", { class: "bar-defect", d: defects.map((count, bin) => bar(bin, count)).join("") }));
    const above = x(trial());
    parts.push(svg("rect", { class: "above", x: above, y: MARGIN.top, width: Math.max(0, width - MARGIN.right - above), height: inner.height }));
    parts.push(svg("path", { class: "axis", d: `M${MARGIN.left} ${floor}H${width - MARGIN.right}` }));
    if (inForce() !== null) parts.push(svg("path", { class: "line-threshold", d: `M${x(inForce())} ${MARGIN.top}V${floor}` }));
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    picture.setAttribute("width", width);
    picture.setAttribute("aria-label", `Histogram of ${scores.length} scores from ${formatScore(low)} to ${formatScore(high)}; heights by the square root of the count`);
    put(picture, ...parts);
    handle.style.left = `${above}px`;
  }

  function draw() {
    const { scores, feedback } = room.series;
    if (!dragging && document.activeElement !== handle) {
      range = axisRange([...scores, inForce() ?? NaN, tried ?? NaN]);
    }
    drawPicture();
    const result = rejudge(scores, feedback, trial());
    const said = words(result);
    handle.setAttribute("aria-valuemin", range[0]);
    handle.setAttribute("aria-valuemax", range[1]);
    handle.setAttribute("aria-valuenow", trial());
    handle.setAttribute("aria-valuetext", said);
    const basis = result.others ? ` (${formatCount(result.falseAlarms)} of the ${formatCount(result.others)} not labelled a defect)` : "";
    put(outcome, el("strong", null, "At "), `${said}${basis}.`);
    if (document.activeElement !== number) number.value = String(Number(trial().toPrecision(6)));
    const moved = tried !== null && tried !== inForce();
    apply.disabled = !moved && inForce() !== null && room.info?.calibration?.policy?.type === "fixed";
    back.disabled = !moved;
    const calibration = room.info?.calibration;
    const unread = room.info?.condition === "damaged" ? "The calibration cannot be read." : "The calibration is read with the next image.";
    const threshold = calibration?.threshold === null ? "no threshold" : formatScore(calibration?.threshold);
    policy.textContent = calibration ? `In force: ${threshold} (${calibration.state}).` : unread;
    const fine = feedback.filter((label) => label === "normal").length;
    normals.textContent = `${calibration?.known_normals ?? 0} scores of known normals at hand; ${fine} of the results shown are labelled fine. A rate of 0.01 needs at least 99.`;
  }

  /** The service counts over its whole history, and by known normals where it has them; it is asked once the hand rests. */
  function askService() {
    clearTimeout(question);
    asked.textContent = "";
    question = setTimeout(async () => {
      const threshold = trial();
      try {
        const preview = await get(streamPath(room.name, `/threshold/preview?threshold=${threshold}`), { quiet: true });
        if (threshold !== trial()) return;
        asked.textContent = `Whole history: ${formatCount(preview.anomalous)} of ${formatCount(preview.judged)} anomalous; false alarm rate ${formatShare(preview.false_alarm_rate)} by ${preview.basis}.`;
      } catch {
        // The count in the page stands on its own.
      }
    }, 500);
  }

  function attempt(value) {
    tried = value;
    draw();
    askService();
  }

  function at(event) {
    const box = picture.getBoundingClientRect();
    const share = (event.clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right);
    return range[0] + Math.min(1, Math.max(0, share)) * (range[1] - range[0]);
  }

  plot.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    dragging = true;
    plot.setPointerCapture(event.pointerId);
    handle.focus({ preventScroll: true });
    attempt(at(event));
    event.preventDefault();
  });
  plot.addEventListener("pointermove", (event) => {
    if (dragging) attempt(at(event));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    plot.addEventListener(end, () => {
      dragging = false;
    });
  }
  handle.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      tried = null;
      draw();
      return;
    }
    const moved = sliderKey(event.key, trial(), range[0], range[1], event.shiftKey);
    if (moved === null) return;
    event.preventDefault();
    attempt(moved);
  });
  handle.addEventListener("blur", draw);
  number.addEventListener("input", () => {
    if (number.value !== "" && Number.isFinite(Number(number.value))) attempt(Number(number.value));
  });
  number.addEventListener("change", draw);
  back.addEventListener("click", () => {
    tried = null;
    asked.textContent = "";
    draw();
  });

  const unwatch = onWidth(plot, (now) => {
    width = now;
    draw();
  });
  return {
    node,
    draw,
    close() {
      unwatch();
      clearTimeout(question);
    },
  };
}
