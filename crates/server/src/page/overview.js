// All streams at a glance.

import { get, send, streamPath } from "./api.js";
import { announce, ask, button, el, field, meter, put, tell, verdictMark } from "./dom.js";
import { addResult, ago, formatBytes, formatCount, formatScore, warmUp } from "./maths.js";
import { sparkline } from "./sparkline.js";

const SPARK = 60;

export function streamAddress(name) {
  return `#/streams/${encodeURIComponent(name)}`;
}

/** What stands beside the name of a stream: how it is, in words. */
export function badges(info) {
  const list = [];
  if (info.condition === "damaged") list.push(["bad", "✖ damaged"]);
  if (info.condition === "stored") list.push(["", "▣ stored"]);
  if (info.frozen) list.push(["", "❄ frozen"]);
  if (info.drift?.drifting) list.push(["warn", `${info.drift.upwards ? "↗" : "↘"} drift`]);
  if (info.waiting > 0) list.push(["", `${info.waiting} waiting`]);
  return list.map(([className, words]) => el("span", { class: `badge ${className}` }, words));
}

/** The warm-up and the memory of a stream as bars. */
export function bars(info) {
  const list = [];
  const warming = warmUp(info.calibration?.status);
  if (warming) list.push(meter("Warm-up", warming.have, warming.needed, `${warming.have} of ${warming.needed} ${warming.what}`));
  if (info.bank) {
    const text = `${formatBytes(info.bank.bytes)} of ${formatBytes(info.bank.capacity_bytes)}`;
    list.push(meter("Memory", info.bank.bytes, info.bank.capacity_bytes, text));
  }
  return list;
}

class Card {
  constructor(info) {
    this.info = info;
    this.series = { ids: [], scores: [], verdicts: [], feedback: [] };
    this.asked = false;
    this.spark = el("div", { class: "spark" });
    this.badges = el("div", { class: "badges" });
    this.last = el("p", { class: "last" });
    this.facts = el("div", { class: "facts" });
    // The link stays the same element while results come in, so that it keeps the focus.
    const heading = el("h2", null, el("a", { href: streamAddress(info.name) }, info.name));
    this.node = el("li", { class: "card" }, el("div", { class: "card-head" }, heading, this.badges), this.last, this.spark, this.facts);
    this.draw();
  }

  draw() {
    const { info } = this;
    const last = info.last;
    const threshold = info.calibration?.threshold;
    put(this.badges, badges(info));
    put(
      this.last,
      verdictMark(last?.verdict),
      last && el("span", { class: "score" }, formatScore(last.score)),
      last && Number.isFinite(threshold) && el("span", { class: "soft" }, `threshold ${formatScore(threshold)}`),
    );
    put(
      this.facts,
      el("p", { class: "soft" }, `${info.detector} · ${formatCount(info.images)} images · ${formatCount(info.results)} results`),
      last && el("p", { class: "soft" }, `Last: ${last.image ?? `result ${last.id}`}, `, el("time", { datetime: last.at }, ago(Date.parse(last.at), Date.now()))),
      ...bars(info),
      info.notice && el("p", { class: info.condition === "damaged" ? "note bad" : "note" }, info.notice),
    );
    this.node.classList.toggle("alarm", last?.verdict === "anomalous");
    put(this.spark, sparkline(this.series, threshold));
  }

  async fill() {
    if (this.asked) return;
    this.asked = true;
    try {
      this.series = await get(streamPath(this.info.name, `/scores?last=${SPARK}`), { quiet: true });
      this.draw();
    } catch {
      this.asked = false;
    }
  }

  result(record) {
    addResult(this.series, record, SPARK);
    if (record.id > (this.info.last?.id ?? 0)) {
      const images = this.info.images + (record.remembered ? 1 : 0);
      this.info = { ...this.info, last: record, results: this.info.results + 1, images };
    }
    this.draw();
  }
}

async function create(detectors) {
  const name = el("input", { name: "name", required: true, maxlength: 64, pattern: "[A-Za-z0-9][A-Za-z0-9_.\\-]{0,63}", autocomplete: "off", spellcheck: "false" });
  const usable = detectors.filter((detector) => ["online", "fit"].includes(detector.learning));
  const choice = el("select", { name: "detector" }, usable.map((detector) => el("option", { value: detector.name }, detector.name)));
  const words = el("p", { class: "soft", "aria-live": "polite" });
  const describe = () => {
    const detector = usable.find((candidate) => candidate.name === choice.value);
    const fit = detector?.learning === "fit" ? " Needs images of known normals before it can score." : "";
    words.textContent = detector ? `${detector.description}${fit}` : "The service has no detector for streams.";
  };
  choice.addEventListener("change", describe);
  describe();
  const hint = "1 to 64 letters, digits, “-”, “_” or “.”, the first a letter or digit.";
  const answer = await ask("New stream", [field("Name", name, hint), field("Detector", choice), words], { yes: "Create" });
  if (!answer) return;
  const info = await send("POST", "v1/streams", { name: answer.name, detector: answer.detector });
  location.hash = streamAddress(info.name);
}

/** The view of all streams. */
export function overview(main) {
  const cards = new Map();
  const list = el("ul", { class: "cards" });
  const empty = el("p", { class: "empty", hidden: true }, "No streams yet. A stream is one camera looking at one product: create one, then send it images.");
  const filter = el("input", { type: "search", autocomplete: "off" });
  const filterField = field("Filter by name", filter);
  filterField.hidden = true;
  const add = button("New stream…", async () => create((await get("v1/detectors")).detectors), { class: "primary" });
  put(main, el("div", { class: "view-head" }, el("h1", null, "Streams"), filterField, add), list, empty);

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) entry.target.card?.fill();
  });
  const show = () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const [name, card] of cards) card.node.hidden = !name.toLowerCase().includes(wanted);
  };
  filter.addEventListener("input", show);

  function place(info) {
    let card = cards.get(info.name);
    if (card) {
      // A list that was on its way while a result came must not take it back.
      const newer = (card.info.last?.id ?? 0) > (info.last?.id ?? 0);
      card.info = newer ? { ...info, last: card.info.last, results: card.info.results } : info;
      card.draw();
      return;
    }
    card = new Card(info);
    card.node.card = card;
    cards.set(info.name, card);
    const next = [...cards.keys()].sort().find((name) => name > info.name);
    list.insertBefore(card.node, next ? cards.get(next).node : null);
    seen.observe(card.node);
  }

  async function load() {
    const { streams } = await get("v1/streams", { quiet: loaded });
    loaded = true;
    const names = new Set(streams.map((info) => info.name));
    for (const [name, card] of cards) {
      if (names.has(name)) continue;
      card.node.remove();
      cards.delete(name);
    }
    streams.forEach(place);
    empty.hidden = streams.length > 0;
    filterField.hidden = streams.length < 7;
    show();
  }
  let loaded = false;

  let soon = null;
  const loadSoon = () => {
    soon ??= setTimeout(() => {
      soon = null;
      load().catch(() => {});
    }, 1000);
  };
  function event(type, data) {
    const card = cards.get(data.stream ?? data.name);
    if (type === "result" && card) {
      const fresh = data.id > (card.info.last?.id ?? 0);
      card.result(data);
      if (fresh && data.verdict === "anomalous") announce(`Anomaly in ${data.stream}, score ${formatScore(data.score)}.`);
      // A result does not tell how far warm-up, memory and drift are now.
      loadSoon();
    } else if (type === "stream" && data.name) {
      place(data);
      empty.hidden = true;
    } else {
      loadSoon();
    }
  }
  const clock = setInterval(() => {
    const now = Date.now();
    for (const time of list.querySelectorAll("time")) time.textContent = ago(Date.parse(time.dateTime), now);
  }, 10_000);

  load().catch(tell);
  return {
    path: "v1/events",
    event,
    gone: tell,
    poll: load,
    resume: () => loaded && load().catch(tell),
    close() {
      clearInterval(clock);
      clearTimeout(soon);
      seen.disconnect();
    },
  };
}
