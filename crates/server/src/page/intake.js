// Images from this machine: dropped or chosen, scored one after the other in their order.

import { ApiError, query, request, streamPath } from "./api.js";
import { el, section, tell, verdictMark } from "./dom.js";
import { formatScore } from "./maths.js";

const SHOWN = 8;
const TRIES = 5;

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

export function intake(room) {
  const files = el("input", { type: "file", accept: "image/*", multiple: true, id: "files", class: "file" });
  const normals = el("input", { type: "file", accept: "image/*", multiple: true, id: "normal-files", class: "file" });
  const peek = el("input", { type: "checkbox", id: "peek" });
  const progress = el("p", { role: "status", class: "soft" });
  const list = el("ol", { class: "answers", "aria-label": "Images scored" });
  const node = section(
    "Score images",
    "intake",
    el("div", { class: "drop" }, el("p", null, "Drop images anywhere on this page, or"), el("label", { class: "button primary", for: "files" }, "Choose images…"), files),
    el("label", { class: "check", for: "peek" }, peek, " Score only, remember nothing"),
    el("div", { class: "row" }, el("label", { class: "button", for: "normal-files" }, "Add known normals…"), normals, el("span", { class: "soft" }, "Images that are known to be fine; the memory learns them.")),
    progress,
    list,
  );

  const queue = [];
  let busy = false;
  let done = 0;
  let total = 0;
  let closed = false;

  function row(name, ...parts) {
    list.prepend(el("li", null, el("span", { class: "name", title: name }, name), ...parts));
    while (list.children.length > SHOWN) list.lastChild.remove();
  }

  async function post(file, asPeek) {
    const path = streamPath(room.name, `/images${query({ image: file.name, update: asPeek ? "false" : "", map: asPeek ? "heatmap" : "" })}`);
    const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await request(path, { method: "POST", body: file, headers: { "Content-Type": type } });
      } catch (error) {
        // The service is busy with the line's own images: these can wait.
        if (!(error instanceof ApiError) || error.status !== 429 || attempt === TRIES) throw error;
        await pause(2 * attempt);
      }
    }
  }

  async function score(file, asPeek) {
    const response = await post(file, asPeek);
    if (!asPeek) {
      const answer = await response.json();
      row(file.name, verdictMark(answer.verdict), el("span", { class: "score" }, formatScore(answer.score)));
      if (answer.recorded) room.result(answer);
      return;
    }
    const answer = JSON.parse(response.headers.get("Rareclip-Result"));
    const heatmap = await response.blob();
    const again = el("button", { type: "button", class: "plain", onclick: () => room.peek(answer, file, heatmap) }, "show");
    row(file.name, verdictMark(answer.verdict), el("span", { class: "score" }, formatScore(answer.score)), el("span", { class: "soft" }, "not recorded"), again);
    room.peek(answer, file, heatmap);
  }

  async function work() {
    if (busy) return;
    busy = true;
    while (queue.length && !closed) {
      const { file, asPeek } = queue.shift();
      progress.textContent = `Scoring ${done + 1} of ${total}.`;
      try {
        await score(file, asPeek);
      } catch (error) {
        row(file.name, el("span", { class: "failed" }, error.message));
        if (error.status === 401 || error.status === 403) queue.length = 0;
      }
      done += 1;
    }
    busy = false;
    progress.textContent = `${done} of ${total} images sent.`;
    done = 0;
    total = 0;
  }

  function take(list) {
    const images = [...list];
    total += images.length;
    for (const file of images) queue.push({ file, asPeek: peek.checked });
    work();
  }

  async function learn(list) {
    const form = new FormData();
    for (const file of list) form.append("image", file, file.name);
    progress.textContent = `Sending ${list.length} known normals.`;
    try {
      const response = await request(streamPath(room.name, "/normals"), { method: "POST", body: form });
      room.setInfo(await response.json());
      progress.textContent = `${list.length} known normals learned.`;
    } catch (error) {
      progress.textContent = "";
      tell(error);
    }
  }

  files.addEventListener("change", () => {
    take(files.files);
    files.value = "";
  });
  normals.addEventListener("change", async () => {
    await learn([...normals.files]);
    normals.value = "";
  });

  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  const over = (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  };
  const leave = (event) => {
    if (event.relatedTarget === null) document.body.classList.remove("dropping");
  };
  const drop = (event) => {
    document.body.classList.remove("dropping");
    if (!carriesFiles(event)) return;
    event.preventDefault();
    take(event.dataTransfer.files);
  };
  document.addEventListener("dragover", over);
  document.addEventListener("dragleave", leave);
  document.addEventListener("drop", drop);

  return {
    node,
    close() {
      closed = true;
      document.removeEventListener("dragover", over);
      document.removeEventListener("dragleave", leave);
      document.removeEventListener("drop", drop);
    },
  };
}
