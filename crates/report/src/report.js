// Adds the filter and the chart's inspector; without it the page shows everything unfiltered.
"use strict";
{
  const byId = (id) => document.getElementById(id);

  const form = byId("filter");
  if (form) {
    const name = byId("filter-name");
    const verdict = byId("filter-verdict");
    const entries = [...document.querySelectorAll("[data-verdict]")].map((element) => ({
      element,
      verdict: element.dataset.verdict,
      name: element.querySelector("[data-name]").textContent.toLowerCase(),
    }));
    const apply = () => {
      const wanted = name.value.trim().toLowerCase();
      let shown = 0;
      for (const entry of entries) {
        const fits =
          entry.name.includes(wanted) && (!verdict.value || entry.verdict === verdict.value);
        entry.element.hidden = !fits;
        shown += fits;
      }
      byId("filtered").textContent = `${shown} of ${entries.length} listed`;
    };
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    apply();
  }

  const inspector = byId("inspector");
  const marks = [...document.querySelectorAll(".stream .marks path")];
  if (inspector && marks.length) {
    marks.sort((a, b) => a.dataset.place - b.dataset.place);
    const slider = byId("inspect");
    const output = byId("inspected");
    const cursor = byId("cursor");
    let current;
    const show = (at) => {
      current?.classList.remove("current");
      current = marks[at];
      current.classList.add("current");
      const box = current.getBBox();
      cursor.setAttribute("transform", `translate(${box.x + box.width / 2} 0)`);
      cursor.removeAttribute("hidden");
      const text = current.querySelector("title").textContent;
      slider.value = at;
      slider.setAttribute("aria-valuetext", text);
      output.textContent = text;
      const entry = byId(`image-${current.dataset.image}`);
      if (entry) {
        const link = document.createElement("a");
        link.href = `#${entry.id}`;
        link.textContent = "Show";
        link.addEventListener("click", () => {
          entry.hidden = false;
          const list = entry.closest("details");
          if (list) list.open = true;
        });
        output.append(" ", link);
      }
    };
    slider.max = marks.length - 1;
    slider.addEventListener("input", () => show(Number(slider.value)));
    const chart = document.querySelector(".stream");
    const pick = (event) => {
      const mark = event.target.closest(".marks path");
      if (mark) show(marks.indexOf(mark));
    };
    chart.addEventListener("pointerover", pick);
    chart.addEventListener("click", pick);
    inspector.hidden = false;
  }
}
