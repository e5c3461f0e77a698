// The frame of the page: which view is shown, the state of the connection, the key, the colours.

import { askKey, forgetKey, get, key, onKey, wantsKey } from "./api.js";
import { put, tell } from "./dom.js";
import { Live } from "./live.js";
import { formatBytes, formatCount } from "./maths.js";
import { overview } from "./overview.js";
import { streamView } from "./stream.js";

const main = document.getElementById("main");
let view = null;
let live = null;

const STATES = {
  connecting: "connecting",
  live: "live",
  polling: "not live: looking every 3 s",
  lost: "connection lost",
  none: "nothing to follow",
};

function connection(state, detail) {
  const place = document.getElementById("connection");
  if (place.dataset.state !== state) {
    place.dataset.state = state;
    document.getElementById("connection-text").textContent = STATES[state];
  }
  const lost = document.getElementById("lost");
  const words = state === "lost" ? `Connection lost: ${detail ?? "no answer"}. What is shown may be old; trying again.` : "";
  // The same words again would be read out again.
  if (lost.textContent !== words) lost.textContent = words;
  lost.hidden = state !== "lost";
  document.body.classList.toggle("is-lost", state === "lost");
}

/** Shows the view of the address: `#/` or `#/streams/NAME`. */
function route() {
  if (location.hash === "#main") return;
  live?.stop();
  view?.close();
  put(main);
  const match = /^#\/streams\/(.+)$/.exec(location.hash);
  let name = null;
  try {
    name = match && decodeURIComponent(match[1]);
  } catch {
    tell(new Error("this address is not one of a stream"));
  }
  view = name ? streamView(main, name) : overview(main);
  document.title = name ? `${name} - rareclip` : "rareclip";
  const shown = view;
  const ifShown = (listener) => (...values) => (view === shown ? listener(...values) : undefined);
  live = new Live(view.path, {
    event: ifShown(view.event),
    state: ifShown(connection),
    gone: ifShown((error) => {
      connection("none");
      view.gone(error);
    }),
    poll: ifShown(view.poll),
    resume: ifShown(view.resume),
  });
  scrollTo(0, 0);
}

async function service() {
  try {
    const info = await get("v1/info", { quiet: true });
    const memory = `${formatBytes(info.memory_bytes)} of ${formatBytes(info.memory_limit_bytes)}`;
    const words = `rareclip ${info.version} · ${formatCount(info.streams)} streams, ${info.loaded} loaded · memories ${memory} · ${info.waiting} images waiting`;
    document.getElementById("service").textContent = words;
    const problems = document.getElementById("problems");
    const text = info.problems.length || info.ready ? info.problems.join(" · ") : "The service is not ready to score images.";
    if (problems.textContent !== text) problems.textContent = text;
    problems.hidden = !text;
  } catch {
    // Whether the service can be reached is shown by the state of the connection.
  }
}

function keyButton() {
  const control = document.getElementById("key");
  const signedIn = key() !== null;
  control.hidden = !signedIn && !wantsKey();
  control.textContent = signedIn ? "Sign out" : "Sign in";
}

function dark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function themeButton() {
  document.getElementById("theme").setAttribute("aria-pressed", String(dark()));
}

document.getElementById("theme").addEventListener("click", () => {
  const next = dark() ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("rareclip.theme", next);
  themeButton();
});
document.getElementById("key").addEventListener("click", async () => {
  if (key()) forgetKey();
  else if (!(await askKey("A key that the service was set up with."))) return;
  route();
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themeButton);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) live?.hurry();
});
addEventListener("online", () => live?.hurry());
addEventListener("hashchange", route);

onKey(keyButton);
keyButton();
themeButton();
route();
service();
setInterval(() => {
  if (!document.hidden) service();
}, 15_000);
