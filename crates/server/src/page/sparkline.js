// A line of scores no larger than a word, read out as its range.

import { svg } from "./dom.js";
import { axisRange, formatScore } from "./maths.js";

const WIDTH = 240;
const HEIGHT = 44;

/** The last scores of a stream; the threshold as a line across, the anomalous as triangles. */
export function sparkline(series, threshold) {
  const { scores, verdicts } = series;
  const finite = Number.isFinite(threshold) ? [threshold] : [];
  const [low, high] = axisRange([...scores, ...finite]);
  const x = (index) => 4 + (index * (WIDTH - 8)) / Math.max(1, scores.length - 1);
  const y = (score) => HEIGHT - 3 - ((score - low) / (high - low)) * (HEIGHT - 8);
  const words = scores.length
    ? `Last ${scores.length} scores, from ${formatScore(Math.min(...scores))} to ${formatScore(Math.max(...scores))}`
    : "No scores yet";
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": words });
  if (finite.length) picture.append(svg("path", { class: "line-threshold", d: `M0 ${y(threshold)}H${WIDTH}` }));
  if (scores.length > 1) {
    const points = scores.map((score, index) => `${x(index).toFixed(1)} ${y(score).toFixed(1)}`);
    picture.append(svg("path", { class: "line-score", d: `M${points.join("L")}` }));
  }
  const marks = scores
    .map((score, index) => (verdicts[index] === "anomalous" ? `M${(x(index) - 4).toFixed(1)} ${(y(score) + 3).toFixed(1)}l4 -7l4 7z` : ""))
    .join("");
  if (marks) picture.append(svg("path", { class: "mark-anomalous", d: marks }));
  return picture;
}
