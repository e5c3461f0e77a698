// What happens, as it happens. `fetch` reads the event stream because EventSource cannot send the key.

import { ApiError, request } from "./api.js";
import { backoff, parseEvents } from "./maths.js";

// The service sends a keep-alive every 15 s: silence beyond this is a dead connection that nobody closed.
const SILENCE = 40_000;
const POLL = 3000;

/**
 * Follows the events at `path`. `on.event(type, data, id)` gets each, `on.state(state, detail)` says `connecting`, `live`,
 * `lost` or `polling`. While the stream of events cannot be had, `on.poll()` is asked to look for itself every few seconds:
 * when it succeeds, the page is up to date though not live. `on.gone()` ends it: there is nothing to follow. `on.resume()` follows each connection, because something
 * may have happened before it.
 */
export class Live {
  constructor(path, on) {
    this.path = path;
    this.on = on;
    this.attempt = 0;
    this.lastId = null;
    this.stopped = false;
    this.connection = null;
    this.run();
  }

  stop() {
    this.stopped = true;
    this.connection?.abort();
    this.wake?.();
  }

  /** Tries at once, e.g. when the tab is looked at again. */
  hurry() {
    this.wake?.();
  }

  async run() {
    while (!this.stopped) {
      if (this.attempt === 0) this.on.state("connecting");
      try {
        await this.connect();
      } catch (error) {
        if (this.stopped) return;
        if (error.status === 404) {
          this.stop();
          this.on.gone(error);
          return;
        }
        if (error instanceof ApiError && [401, 403].includes(error.status)) {
          this.on.state("lost", error.message);
          this.attempt = Math.max(this.attempt, 4);
        }
      }
      if (this.stopped) return;
      this.attempt += 1;
      await this.between(backoff(this.attempt));
    }
  }

  async connect() {
    this.connection = new AbortController();
    const headers = { Accept: "text/event-stream" };
    if (this.lastId !== null) headers["Last-Event-ID"] = this.lastId;
    let watchdog;
    const feed = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => this.connection.abort(), SILENCE);
    };
    feed();
    try {
      const response = await request(this.path, { headers, signal: this.connection.signal, cache: "no-store", quiet: true });
      this.on.state("live");
      this.on.resume();
      this.attempt = 0;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        feed();
        const parsed = parseEvents(rest + value);
        rest = parsed.rest;
        for (const event of parsed.events) this.deliver(event);
      }
    } finally {
      clearTimeout(watchdog);
    }
  }

  deliver(event) {
    if (event.id) this.lastId = event.id;
    let data;
    try {
      data = JSON.parse(event.data);
    } catch {
      return;
    }
    this.on.event(event.type, data);
  }

  /** The time until the next attempt: polls meanwhile, and says whether that works. */
  async between(milliseconds) {
    const until = Date.now() + milliseconds;
    while (!this.stopped && Date.now() < until) {
      try {
        await this.on.poll();
        if (this.stopped) return;
        this.on.state("polling");
      } catch (error) {
        if (this.stopped) return;
        this.on.state("lost", error.message);
      }
      const rest = Math.min(POLL, until - Date.now());
      if (rest > 0 && (await this.pause(rest))) return;
    }
  }

  /** Waits; true when it was woken before its time. */
  pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), milliseconds);
      this.wake = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }
}
