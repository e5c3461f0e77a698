// Pure functions only: nothing here knows of the page, so that they can be tested by calling them.

/** Four significant digits, and no more decimals than help: 0.4123, 12.35, 1235. */
export function formatScore(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.0001 || size >= 1e6)) return value.toExponential(2);
  const decimals = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 4;
  return value.toFixed(decimals);
}

/** A share in [0, 1] as percent. */
export function formatShare(share) {
  if (share === null || share === undefined || !Number.isFinite(share)) return "–";
  const percent = share * 100;
  if (percent === 0 || percent >= 99.95) return `${percent.toFixed(0)} %`;
  return `${percent.toFixed(percent < 1 ? 2 : 1)} %`;
}

/** Bytes in binary units. */
export function formatBytes(bytes) {
  let value = bytes;
  for (const unit of ["bytes", "KiB", "MiB", "GiB"]) {
    if (value < 1024) return `${unit === "bytes" || value >= 100 ? Math.round(value) : value.toFixed(1)} ${unit}`;
    value /= 1024;
  }
  return `${value.toFixed(1)} TiB`;
}

export function formatCount(value) {
  return Number(value).toLocaleString("en").replaceAll(",", "\u202f");
}

/** The range that an axis shows: every finite value, with some air; never empty. */
export function axisRange(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value === null || !Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return [0, 1];
  const air = high > low ? (high - low) * 0.06 : Math.max(Math.abs(high) * 0.1, 0.001);
  return [low - air, high + air];
}

/** About `count` round numbers within [low, high]. */
export function ticks(low, high, count) {
  if (!(high > low) || count < 1) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * 0.999);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const result = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index += 1) {
    result.push(Number((index * step).toFixed(decimals)));
  }
  return result;
}

/**
 * Counts of scores in `bins` equal steps of [low, high]; those labelled defects are also counted apart. A score at the high end
 * falls into the last step.
 */
export function histogram(scores, feedback, low, high, bins) {
  const counts = new Array(bins).fill(0);
  const defects = new Array(bins).fill(0);
  scores.forEach((score, index) => {
    if (!Number.isFinite(score) || score < low || score > high) return;
    const bin = Math.min(bins - 1, Math.floor(((score - low) / (high - low)) * bins));
    counts[bin] += 1;
    if (feedback[index] === "defect") defects[bin] += 1;
  });
  return { counts, defects };
}

/**
 * What `threshold` makes of the history: scores above it are anomalous. The implied false alarm rate is the share, above the
 * threshold, of the results that no one labelled a defect; null where there are none.
 */
export function rejudge(scores, feedback, threshold) {
  let anomalous = 0;
  let others = 0;
  let falseAlarms = 0;
  let defects = 0;
  let missed = 0;
  scores.forEach((score, index) => {
    const above = score > threshold;
    if (above) anomalous += 1;
    if (feedback[index] === "defect") {
      defects += 1;
      if (!above) missed += 1;
    } else {
      others += 1;
      if (above) falseAlarms += 1;
    }
  });
  return {
    judged: scores.length,
    anomalous,
    normal: scores.length - anomalous,
    others,
    falseAlarms,
    falseAlarmRate: others ? falseAlarms / others : null,
    defects,
    missed,
  };
}

/** Where `value` lies in [low, high], as a share within [0, 1]. */
export function shareOf(value, low, high) {
  return Math.min(1, Math.max(0, (value - low) / (high - low)));
}

/** The value that one press of a key moves a slider to; null for keys that move nothing. */
export function sliderKey(key, value, low, high, coarse) {
  const step = (high - low) / (coarse ? 20 : 200);
  const moved = {
    ArrowRight: value + step,
    ArrowUp: value + step,
    ArrowLeft: value - step,
    ArrowDown: value - step,
    PageUp: value + (high - low) / 10,
    PageDown: value - (high - low) / 10,
    Home: low,
    End: high,
  }[key];
  return moved === undefined ? null : Math.min(high, Math.max(low, moved));
}

/** How far the warm-up of a stream is, from the `status` of its calibration: { have, needed, what }; null once it is calibrated. */
export function warmUp(status) {
  if (status?.type !== "warming-up") return null;
  return { have: status.have, needed: status.needed, what: status.reference.replace("-", " ") };
}

/**
 * The results at hand after `record` came: in order of id, at most `keep` of them, a known one replaced. Changes `series` in
 * place, because a new copy of thousands of results with each image would be felt on a tablet.
 */
export function addResult(series, record, keep) {
  const last = series.ids.length - 1;
  let place = series.ids.indexOf(record.id);
  if (place < 0) {
    place = last + 1;
    while (place > 0 && series.ids[place - 1] > record.id) place -= 1;
    for (const list of [series.ids, series.scores, series.verdicts, series.feedback]) list.splice(place, 0, null);
  }
  series.ids[place] = record.id;
  series.scores[place] = record.score;
  series.verdicts[place] = record.verdict;
  series.feedback[place] = record.feedback ?? null;
  const excess = series.ids.length - keep;
  if (excess > 0) {
    for (const list of [series.ids, series.scores, series.verdicts, series.feedback]) list.splice(0, excess);
  }
  return series;
}

/**
 * Takes server-sent events out of a growing text: the complete ones and what is left over. Lines may end in CRLF, a data field
 * may span lines, comments (keep-alives) are dropped.
 */
export function parseEvents(text) {
  const blocks = text.replaceAll("\r\n", "\n").split("\n\n");
  const rest = blocks.pop();
  const events = [];
  for (const block of blocks) {
    const event = { type: "message", id: null, data: "" };
    const data = [];
    for (const line of block.split("\n")) {
      const colon = line.indexOf(":");
      if (colon === 0) continue;
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "event") event.type = value;
      else if (field === "id") event.id = value;
      else if (field === "data") data.push(value);
    }
    event.data = data.join("\n");
    if (event.data) events.push(event);
  }
  return { events, rest };
}

/** Milliseconds before the `attempt`-th new attempt (from 1): doubling from one second to half a minute. */
export function backoff(attempt) {
  return Math.min(30_000, 1000 * 2 ** Math.min(attempt - 1, 5));
}

/** Date and time of day here, in an order that no country reads otherwise: 2026-03-01 14:05:09. */
export function formatTime(text) {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return "–";
  const two = (value) => String(value).padStart(2, "0");
  const day = [time.getFullYear(), two(time.getMonth() + 1), two(time.getDate())].join("-");
  return `${day} ${[time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(":")}`;
}

/** How long ago, in words. */
export function ago(then, now) {
  const seconds = Math.max(0, Math.round((now - then) / 1000));
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}
