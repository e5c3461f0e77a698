// What a person says of a result. One pair of buttons, wherever a result is shown.

import { resultPath, send } from "./api.js";
import { button, el } from "./dom.js";

const LABELS = [
  ["normal", "✓ This is fine"],
  ["defect", "✗ This is a defect"],
];

export function labelWords(label) {
  return { normal: "✓ fine", defect: "✗ defect" }[label] ?? "–";
}

/** Two buttons; the pressed one is what was said, pressing it again takes it back. */
export function feedbackButtons(room, record) {
  const of = record.image ?? `result ${record.id}`;
  const buttons = LABELS.map(([label, words]) => {
    const pressed = record.feedback === label;
    const say = async () => {
      const changed = await send("PUT", resultPath(room.name, record.id, "/feedback"), { label: pressed ? null : label });
      room.changed(changed);
    };
    return button(words, say, { class: `label ${label}`, "aria-pressed": String(pressed), "data-label": label });
  });
  return el("div", { class: "feedback", role: "group", "aria-label": `Feedback on ${of}` }, buttons);
}
