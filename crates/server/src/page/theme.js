// Not a module: it runs before the first paint, so that the page does not flash in the other colours.
"use strict";
(() => {
  const stored = localStorage.getItem("rareclip.theme");
  if (stored === "light" || stored === "dark") document.documentElement.dataset.theme = stored;
})();
