// One stream: what its parts share, and what reaches them when something happens.

import { get, resultPath, streamPath } from "./api.js";
import { care } from "./care.js";
import { chart } from "./chart.js";
import { announce, el, put, tell } from "./dom.js";
import { gallery } from "./gallery.js";
import { history } from "./history.js";
import { intake } from "./intake.js";
import { judge } from "./judge.js";
import { addResult, formatScore, formatTime } from "./maths.js";
import { badges } from "./overview.js";
import { viewer } from "./viewer.js";

/** What its users should know, above everything else. */
function notices(info) {
  const list = [];
  if (info.condition === "damaged") list.push(["bad", `✖ The memory of this stream cannot be read. ${info.notice ?? ""}`]);
  else if (info.notice) list.push(["warn", info.notice]);
  if (info.drift?.drifting) {
    const way = info.drift.upwards ? "higher" : "lower";
    list.push(["warn", `${info.drift.upwards ? "↗" : "↘"} Drift: the last ${info.drift.recent} scores are ${way} than the ${info.drift.reference} that the calibration rests on (p ${formatScore(info.drift.p_value)}). Look at camera and light, then calibrate anew.`]);
  }
  return list.map(([className, words]) => el("p", { class: `banner ${className}` }, words));
}

class Room {
  constructor(main, name) {
    this.name = name;
    this.info = null;
    this.keep = 1000;
    this.series = { ids: [], scores: [], verdicts: [], feedback: [] };
    this.closed = false;
    this.drawing = 0;
    this.badges = el("div", { class: "badges" });
    this.detector = el("p", { class: "soft" });
    this.notices = el("div", { class: "notices", role: "status" });
    this.viewer = viewer(this);
    this.chart = chart(this);
    this.judge = judge(this);
    this.gallery = gallery(this);
    this.intake = intake(this);
    this.care = care(this);
    this.history = history(this);
    const head = el("div", { class: "view-head" }, el("div", null, el("a", { href: "#/", class: "back" }, "← All streams"), el("h1", null, name), this.detector), this.badges);
    const parts = ["viewer", "chart", "judge", "gallery", "intake", "care", "history"].map((part) => this[part].node);
    put(main, head, this.notices, el("div", { class: "room" }, parts));
  }

  setInfo(info) {
    this.info = info;
    this.detector.textContent = `${info.detector} · since ${formatTime(info.created_at)}`;
    put(this.badges, badges(info));
    const before = this.notices.textContent;
    const now = notices(info);
    // Only what is new is put in, because it is read out.
    if (before !== now.map((node) => node.textContent).join("")) put(this.notices, now);
    this.care.info(info);
    this.draw();
  }

  /** Charts are drawn once for all that came since the last frame. */
  draw() {
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0;
      if (this.closed) return;
      this.chart.draw();
      this.judge.draw();
    });
  }

  async loadInfo(options = { quiet: true }) {
    const info = await get(streamPath(this.name), options);
    if (this.closed) return;
    this.setInfo(info);
    this.viewer.offer(info.last);
  }

  async loadScores() {
    const series = await get(streamPath(this.name, `/scores?last=${this.keep}`), { quiet: true });
    if (this.closed) return;
    this.series = series;
    this.draw();
  }

  /** Everything anew. */
  async reload() {
    await this.loadInfo({});
    await Promise.all([this.loadScores(), this.gallery.load(), this.history.load(), this.care.load()]);
  }

  async keepScores(count) {
    this.keep = count;
    await this.loadScores().catch(tell);
  }

  /** A result that just came. */
  result(record) {
    const known = this.series.ids.includes(record.id);
    if (known) {
      this.changed(record);
      return;
    }
    addResult(this.series, record, this.keep);
    this.draw();
    this.viewer.offer(record);
    this.gallery.result(record);
    this.history.result();
    if (record.verdict === "anomalous") announce(`Anomaly: ${record.image ?? `result ${record.id}`}, score ${formatScore(record.score)}.`);
    this.infoSoon();
  }

  infoSoon() {
    this.soon ??= setTimeout(() => {
      this.soon = null;
      if (!this.closed) this.loadInfo().catch(() => {});
    }, 1000);
  }

  /** A result that a person said something of. */
  changed(record) {
    if (this.series.ids.includes(record.id)) addResult(this.series, record, this.keep);
    this.viewer.changed(record);
    this.gallery.changed(record);
    this.history.changed(record);
    this.draw();
  }

  show(record) {
    this.viewer.show(record);
  }

  async showId(id) {
    try {
      this.viewer.show(await get(resultPath(this.name, id)));
    } catch (error) {
      tell(error);
    }
  }

  peek(record, file, heatmap) {
    this.viewer.peek(record, file, heatmap);
  }

  event(type, data) {
    if (type === "result") this.result(data);
    else if (type === "stream" && data.name === this.name) this.setInfo(data);
    else if (type === "notice" && data.notice) tell(data.notice);
  }

  async poll() {
    await this.loadInfo();
    const last = this.series.ids.at(-1) ?? 0;
    const { results } = await get(streamPath(this.name, `/results?after=${last}&limit=200`), { quiet: true });
    results.forEach((record) => this.result(record));
  }

  close() {
    this.closed = true;
    clearTimeout(this.soon);
    cancelAnimationFrame(this.drawing);
    for (const part of [this.viewer, this.chart, this.judge, this.gallery, this.intake]) part.close();
  }
}

/** The view of the stream of this name. */
export function streamView(main, name) {
  const room = new Room(main, name);
  const ready = room.reload().catch((error) => {
    if (error.status === 404) gone();
    else tell(error);
  });
  function gone() {
    if (room.closed) return;
    room.close();
    put(main, el("h1", null, `There is no stream ${name}`), el("p", null, el("a", { href: "#/", class: "back" }, "← All streams")));
  }
  return {
    path: streamPath(name, "/events"),
    event: (type, data) => (type === "deleted" ? gone() : room.event(type, data)),
    gone,
    poll: () => room.poll(),
    // What came between the first look and the connection.
    resume: () => ready.then(() => !room.closed && room.poll()).catch(tell),
    close: () => room.close(),
  };
}
