// Small ways to make and change elements. Text is always set as text, never as
// markup: names, errors and hints come from elsewhere.

export function h(tag, props = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props)) {
    if (v === undefined || v === null || v === false) continue;
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else if (k === "class") e.className = v;
    else if (k === "value" || k === "checked" || k === "muted" || k === "playsInline" || k === "textContent" || k === "selected") e[k] = v;
    else e.setAttribute(k, v === true ? "" : v);
  }
  e.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return e;
}

const paths = {
  back: "M15 5l-7 7 7 7",
  play: "M8 5.5v13l11-6.500z",
  pause: "M8 5.500v13M16 5.500v13",
  rewind: "M11 6a7 7 0 1 1-6.3 4M4 4.500v5.500h5.5",
  forward: "M13 6a7 7 0 1 0 6.3 4M20 4.500v5.500h-5.5",
  volume: "M4 9.500v5h3.500L12 18.500v-13L7.5 9.500zM15.5 9a4.5 4.5 0 0 1 0 6M18 6.500a8 8 0 0 1 0 11",
  muted: "M4 9.500v5h3.500L12 18.500v-13L7.5 9.500zM16 9.500l5 5M21 9.500l-5 5",
  full: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  photo: "M4 8h3.500L9 5.500h6L16.5 8H20v11H4zM12 16.500a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.400z",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  copy: "M8.5 8.500h11v11h-11zM15.5 8.500v-4h-11v11h4",
  download: "M12 4v11M7 10.500l5 5 5-5M5 19.500h14",
  push: "M12 16V5M7 9.5l5-5 5 5M5 19.5h14",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.500v2.500M12 19v2.500M2.5 12h2.500M19 12h2.500M5.3 5.300l1.8 1.800M16.9 16.900l1.8 1.800M18.7 5.300l-1.8 1.800M7.1 16.900l-1.8 1.8",
  moon: "M20 14.500A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.500z",
  grid: "M4.5 4.500h6v6h-6zM13.5 4.500h6v6h-6zM4.5 13.500h6v6h-6zM13.5 13.500h6v6h-6z",
  list: "M4 6.500h16M4 12h16M4 17.500h16",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.500L20 20",
  help: "M9 9.200a3 3 0 1 1 4.3 2.700c-.9.45-1.3 1-1.3 2.100M12 17.500v.1",
  out: "M10 4.500H5v15h5M14 8l4 4-4 4M18 12H9.5",
  close: "M6 6l12 12M18 6L6 18",
  camera: "M3.5 7h11.500v10H3.500zM15 10.500l5.5-3v9l-5.5-3",
  trash: "M5 7h14M10 7V4.500h4V7M7 7l.8 12.500h8.400L17 7M10.5 10.500v5.500M13.5 10.500v5.5",
  edit: "M5 19l.8-3.800L16.2 4.800l3 3L8.8 18.200z",
  warning: "M12 4.500L21 19.500H3zM12 10v4.500M12 17v.1",
};

export function icon(name) {
  const ns = "http://www.w3.org/2000/svg";
  const s = document.createElementNS(ns, "svg");
  s.setAttribute("viewBox", "0 0 24 24");
  s.setAttribute("class", "icon icon-" + name);
  s.setAttribute("aria-hidden", "true");
  const p = document.createElementNS(ns, "path");
  p.setAttribute("d", paths[name]);
  s.append(p);
  return s;
}

// iconButton is a button whose only face is an icon; label is for those who
// cannot see it and for the tooltip.
export function iconButton(name, label, onclick, props = {}) {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...props }, icon(name));
}

// fill replaces what an element holds; what is not there is left out.
export function fill(e, ...children) {
  e.replaceChildren(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
}

// setText changes a text only when it differs, so that selections and screen
// readers are left in peace.
export function setText(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

export function toast(text, kind = "") {
  const t = h("div", { class: "toast " + kind }, text);
  document.getElementById("toasts").append(t);
  setTimeout(() => t.classList.add("leaving"), 3600);
  setTimeout(() => t.remove(), 4000);
}

// copy puts text on the clipboard; pages that did not come over HTTPS have no
// clipboard of their own and use the old way.
export async function copy(text, what) {
  try {
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else {
      const area = h("textarea", { value: text, class: "offscreen", "aria-hidden": "true" });
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      if (!done) throw new Error("refused");
    }
    toast(what + " copied");
  } catch {
    toast("The browser refused to copy; select the text instead", "bad");
  }
}

// dialog shows a modal dialog and returns it; it removes itself when closed.
export function dialog(title, ...content) {
  const id = "dialog-" + Math.random().toString(36).slice(2);
  const d = h("dialog", { class: "dialog", "aria-labelledby": id },
    h("div", { class: "dialog-head" }, h("h2", { id }, title), iconButton("close", "Close", () => d.close())),
    ...content);
  d.addEventListener("close", () => d.remove());
  d.addEventListener("pointerdown", (e) => { if (e.target === d) d.close(); });
  document.body.append(d);
  d.showModal();
  return d;
}
