// The memory of a stream and what keeps it: freeze, reset, snapshots, files.

import { get, request, send, streamPath } from "./api.js";
import { ask, button, el, field, put, save, section, tell } from "./dom.js";
import { formatBytes, formatCount, formatTime } from "./maths.js";
import { bars } from "./overview.js";

export function care(room) {
  const state = el("div", { class: "state" });
  const freeze = button("Freeze", async () => {
    const frozen = room.info.frozen;
    room.setInfo(await send("POST", streamPath(room.name, frozen ? "/unfreeze" : "/freeze")));
  });
  const asksFirst = button("Reset…", reset);
  // What they do, and what they say first, depends on how the stream is.
  freeze.disabled = true;
  asksFirst.disabled = true;
  const list = el("ul", { class: "snapshots" });
  const note = el("input", { maxlength: 200, autocomplete: "off" });
  const file = el("input", { type: "file", id: "state-file", class: "file" });
  const node = section(
    "Memory",
    "care",
    state,
    el("div", { class: "row" }, freeze, asksFirst, button("Delete stream…", remove, { class: "danger" })),
    el("h3", null, "Snapshots"),
    el("div", { class: "row" }, field("Note", note), button("Take a snapshot", take)),
    list,
    el("h3", null, "State file"),
    el("div", { class: "row" }, button("Export", exportState), el("label", { class: "button", for: "state-file" }, "Import…"), file),
  );

  async function reset() {
    const keep = el("input", { type: "checkbox", name: "keep", id: "keep", checked: true });
    const answer = await ask(
      `Reset ${room.name}?`,
      [
        el("p", null, `Its memory of ${formatCount(room.info.images)} images and its calibration begin anew: it warms up again before it gives verdicts. The history stays.`),
        el("label", { class: "check", for: "keep" }, keep, " Take a snapshot first"),
      ],
      { yes: "Reset", danger: true },
    );
    if (!answer) return;
    if (answer.keep) await send("POST", streamPath(room.name, "/snapshot"), { note: "before a reset" });
    room.setInfo(await send("POST", streamPath(room.name, "/reset")));
    tell(`${room.name} was reset.`);
    await room.reload();
  }

  async function remove() {
    const typed = el("input", { name: "typed", required: true, autocomplete: "off", spellcheck: "false" });
    const words = el("p", null, "Memory, history, pictures and snapshots are deleted. This cannot be undone.");
    const answer = await ask(`Delete ${room.name}?`, [words, field("Type the name of the stream", typed)], { yes: "Delete", danger: true });
    if (!answer) return;
    if (answer.typed !== room.name) throw new Error("the name does not match; nothing was deleted");
    await send("DELETE", streamPath(room.name));
    tell(`${room.name} was deleted.`);
    location.hash = "#/";
  }

  async function take() {
    await send("POST", streamPath(room.name, "/snapshot"), note.value.trim() ? { note: note.value.trim() } : {});
    note.value = "";
    await load();
  }

  async function restore(snapshot) {
    const words = el("p", null, `Memory and calibration become those of ${formatTime(snapshot.at)}, after ${formatCount(snapshot.images)} images. What was learned since is forgotten.`);
    if (!(await ask("Restore this snapshot?", [words], { yes: "Restore", danger: true }))) return;
    room.setInfo(await send("POST", streamPath(room.name, "/restore"), { snapshot: snapshot.id }));
    tell("Restored.");
    await room.reload();
  }

  async function discard(snapshot) {
    if (!(await ask("Delete this snapshot?", [el("p", null, snapshot.note ?? formatTime(snapshot.at))], { yes: "Delete", danger: true }))) return;
    await send("DELETE", streamPath(room.name, `/snapshots/${snapshot.id}`));
    await load();
  }

  async function exportState() {
    const response = await request(streamPath(room.name, "/export"));
    const named = /filename="?([^";]+)"?/.exec(response.headers.get("Content-Disposition") ?? "");
    save(await response.blob(), named?.[1] ?? `${room.name}.state`);
  }

  file.addEventListener("change", async () => {
    const chosen = file.files[0];
    file.value = "";
    if (!chosen) return;
    const words = el("p", null, `Memory and calibration become those of the file ${chosen.name}.`);
    try {
      if (!(await ask("Import this state?", [words], { yes: "Import", danger: true }))) return;
      const response = await request(streamPath(room.name, "/import"), { method: "POST", body: chosen, headers: { "Content-Type": "application/octet-stream" } });
      room.setInfo(await response.json());
      tell("Imported.");
      await room.reload();
    } catch (error) {
      tell(error);
    }
  });

  function entry(snapshot) {
    const when = formatTime(snapshot.at);
    return el(
      "li",
      null,
      el("span", { class: "grow" }, el("strong", null, when), ` · ${formatCount(snapshot.images)} images · ${formatBytes(snapshot.bytes)}`, snapshot.note && el("span", { class: "name" }, ` · ${snapshot.note}`)),
      button("Restore…", () => restore(snapshot), { "aria-label": `Restore the snapshot of ${when}` }),
      button("Delete…", () => discard(snapshot), { "aria-label": `Delete the snapshot of ${when}` }),
    );
  }

  async function load() {
    const { snapshots } = await get(streamPath(room.name, "/snapshots"), { quiet: true });
    put(list, snapshots.length ? snapshots.map(entry) : el("li", { class: "empty" }, "No snapshots."));
  }

  return {
    node,
    load,
    info(info) {
      const bank = info.bank;
      const skipped = info.skipped_updates ? ` · ${formatCount(info.skipped_updates)} not remembered since the service started` : "";
      put(
        state,
        ...bars(info),
        el("p", null, `${formatCount(info.images)} images shown${bank ? ` · ${formatCount(bank.images)} remembered · ${formatCount(bank.prototypes)} prototypes` : ""}${skipped}`),
        !bank && el("p", { class: "soft" }, info.condition === "stored" ? "The memory is on disk and is loaded with the next image." : "This detector keeps no memory, or it was not loaded yet."),
        el("p", { class: "soft" }, info.frozen ? "Frozen: images are scored and not remembered." : "Images are scored, then remembered."),
      );
      freeze.disabled = false;
      asksFirst.disabled = false;
      freeze.textContent = info.frozen ? "Unfreeze" : "Freeze";
    },
  };
}
