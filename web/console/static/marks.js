// Where on the time bar something was detected.

import * as api from "./api.js";

const most = 1000; // that are asked for at once

// showMarks keeps the marks of the bar; label() is what they are narrowed to.
// What it returns is to be called when that has changed, or something was seen.
export function showMarks(bar, name, label, signal) {
  let later = 0, asked = 0;
  const refresh = async () => {
    const turn = ++asked, span = bar.to - bar.from;
    try {
      const a = await api.detections(name, { label: label(), limit: most, start: bar.from - span / 2, end: bar.to + span / 2 }, { signal });
      if (turn === asked) bar.setMarks(a.detections.map((d) => Date.parse(d.time)));
    } catch { /* the marks stay as they are */ }
  };
  const soon = () => {
    clearTimeout(later);
    later = setTimeout(refresh, 400);
  };
  bar.addEventListener("range", soon, { signal });
  signal.addEventListener("abort", () => clearTimeout(later));
  soon();
  return soon;
}
