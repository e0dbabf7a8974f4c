// The time bar: what was recorded when, drawn on a canvas. It knows nothing of
// players. Events: "seek" (detail: ms) when a moment is chosen, "scrub" while
// it is being chosen, "markers" when a marker of the clip was dragged.

import { h, setText } from "./dom.js";
import { clock, clockShort, date, sameDay, when } from "./format.js";
import * as api from "./api.js";

const minSpan = 30_000, maxSpan = 31 * 86400_000;
const ruler = 24; // height of the ruler, pixels
const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 2 * 86400, 7 * 86400].map((s) => s * 1000);

export class Timebar extends EventTarget {
  constructor(stream) {
    super();
    this.stream = stream;
    this.to = Date.now() + 60_000;
    this.from = this.to - 3600_000;
    this.following = true; // the right edge follows now
    this.spans = [];
    this.known = null; // {from, to, per} that spans is about; per: milliseconds per pixel
    this.playhead = null;
    this.scrubbing = null;
    this.clip = { from: null, to: null };
    this.marks = []; // moments at which something was seen
    this.pointers = new Map();
    this.canvas = h("canvas", { class: "timebar-canvas" });
    this.tip = h("div", { class: "timebar-tip", hidden: true });
    this.element = h("div", {
      class: "timebar", tabindex: "0", role: "slider", "aria-label": "Time line: left and right arrows go back and forth 10 seconds",
      "aria-valuemin": "0", "aria-valuemax": "0", "aria-valuenow": "0",
    }, this.canvas, this.tip);
    this.abort = new AbortController();
    const signal = this.abort.signal;
    const on = (type, f, o = {}) => this.element.addEventListener(type, f, { signal, ...o });
    on("pointerdown", (e) => this.down(e));
    on("pointermove", (e) => this.move(e));
    on("pointerup", (e) => this.up(e));
    on("pointercancel", (e) => { this.pointers.delete(e.pointerId); this.drag = null; this.scrubbing = null; this.draw(); });
    on("pointerleave", () => { this.tip.hidden = true; this.hover = null; this.draw(); });
    on("wheel", (e) => this.wheel(e), { passive: false });
    addEventListener("themechange", () => { this.colours = null; this.draw(); }, { signal });
    this.resizes = new ResizeObserver(() => this.draw());
    this.resizes.observe(this.element);
    api.poll(() => this.tick(), 5000, signal);
    this.ticker = setInterval(() => { if (this.following && !document.hidden) this.follow(); }, 1000);
  }

  destroy() {
    this.abort.abort();
    clearInterval(this.ticker);
    clearTimeout(this.later);
    this.fetching?.abort();
    this.resizes.disconnect();
  }

  // show makes the bar cover a span that ends a little after now, or, when the
  // playhead is elsewhere, one around it.
  show(span) {
    const now = Date.now(), margin = span / 60;
    const at = this.playhead;
    if (at === null || at > now - span) {
      this.to = now + margin;
      this.following = true;
    } else {
      this.to = Math.min(at + span / 2, now + margin);
      this.following = false;
    }
    this.from = this.to - span;
    this.changed();
  }

  // zoom changes the span by a factor around a moment.
  zoom(factor, around = this.playhead ?? (this.from + this.to) / 2) {
    const span = this.to - this.from;
    const next = Math.min(maxSpan, Math.max(minSpan, span * factor));
    around = Math.min(this.to, Math.max(this.from, around));
    const share = (around - this.from) / span;
    this.from = around - next * share;
    this.to = this.from + next;
    this.bound();
    this.changed();
  }

  bound() {
    const span = this.to - this.from, edge = Date.now() + span / 60;
    if (this.to > edge) { this.to = edge; this.from = edge - span; }
    this.following = this.to > Date.now();
  }

  pan(ms) {
    this.from += ms;
    this.to += ms;
    this.bound();
    this.changed();
  }

  follow() {
    const span = this.to - this.from, to = Date.now() + span / 60;
    if (to - this.to < this.perPixel / 2) return;
    this.to = to;
    this.from = this.to - span;
    this.announce();
    this.draw();
  }

  // setPlayhead says which moment is being displayed; the bar moves when it
  // would leave it.
  setPlayhead(ms) {
    this.playhead = ms;
    if (ms !== null && this.scrubbing === null && !this.drag && this.keep !== false) {
      const span = this.to - this.from;
      if (ms > this.to && ms < this.to + span / 4) this.pan(span / 2);
    }
    const x = ms === null ? null : Math.round(this.place(ms) * 2);
    if (x === this.playheadX) return; // nothing would be seen of it
    this.playheadX = x;
    this.announce();
    this.draw();
  }

  // reveal moves the bar so that a moment is seen.
  reveal(ms) {
    const span = this.to - this.from;
    if (ms >= this.from && ms <= this.to) return;
    this.from = ms - span / 2;
    this.to = this.from + span;
    this.bound();
    this.changed();
  }

  announce() {
    const now = Date.now(), e = this.element, at = this.playhead;
    e.setAttribute("aria-valuemin", Math.round(this.from / 1000));
    e.setAttribute("aria-valuemax", Math.round(Math.min(this.to, now) / 1000));
    e.setAttribute("aria-valuenow", Math.round((at ?? now) / 1000));
    e.setAttribute("aria-valuetext", at === null ? "nothing is playing" : when(at));
  }

  changed() {
    this.dispatchEvent(new Event("range"));
    if (!this.tip.hidden) this.point(this.hover);
    this.draw();
    clearTimeout(this.later);
    this.later = setTimeout(() => this.fetch(), 120);
  }

  get perPixel() { return (this.to - this.from) / Math.max(1, this.width ?? this.element.clientWidth); }

  // fetch asks for what is seen and as much again around it, when what is known
  // does not cover it or is too coarse.
  async fetch(force = false) {
    const k = this.known, now = Date.now();
    const wanted = Math.min(this.to, now);
    if (!force && k && k.from <= this.from && k.to >= wanted - 15_000 && k.per <= this.perPixel * 1.5) return;
    const around = (this.to - this.from) / 2;
    const from = Math.max(this.from - around, this.to - 34 * 86400_000), to = Math.min(this.to + around, now);
    if (from >= to) return;
    this.fetching?.abort();
    const fetching = this.fetching = new AbortController();
    const per = this.perPixel;
    try {
      const t = await api.timeline(this.stream, from, to, Math.min(8000, (to - from) / per), { signal: fetching.signal });
      if (fetching.signal.aborted) return;
      this.spans = t.spans;
      this.known = { from, to, per, resolution: t.resolution };
      this.element.classList.remove("unknown");
      this.dispatchEvent(new Event("loaded"));
    } catch (e) {
      if (e.name === "AbortError") return;
      if (e.status === 404) { this.spans = []; this.known = { from, to, per, resolution: 0 }; }
      else this.element.classList.add("unknown");
    }
    this.draw();
  }

  // tick adds what was recorded since the last asking.
  async tick() {
    const k = this.known, now = Date.now();
    if (!k || k.to < now - 120_000) return this.following || !k ? this.fetch(true) : undefined;
    if (!this.following && this.to < k.to) return;
    const from = k.to - 60_000;
    const t = await api.timeline(this.stream, from, now, 200);
    if (this.known !== k) return;
    const kept = this.spans.filter((s) => s.from < from).map((s) => ({ from: s.from, to: Math.min(s.to, from) }));
    for (const s of t.spans) {
      const last = kept.at(-1);
      if (last && s.from <= last.to + Math.max(500, k.resolution)) last.to = Math.max(last.to, s.to);
      else kept.push(s);
    }
    this.spans = kept;
    k.to = now;
    this.draw();
  }

  // next returns the first recorded moment at or after ms, or null.
  async next(ms) {
    const inside = (list) => {
      for (const s of list) if (s.to > ms + 250) return Math.max(ms, s.from);
      return null;
    };
    if (this.known && ms >= this.known.from) {
      const found = inside(this.spans);
      if (found !== null) return found;
    }
    for (let from = ms; from < Date.now(); from += 30 * 86400_000) {
      const t = await api.timeline(this.stream, from, Math.min(from + 30 * 86400_000, Date.now() + 1), 8000);
      const found = inside(t.spans);
      if (found !== null) return found;
    }
    return null;
  }

  recordedAt(ms) { return this.spans.some((s) => ms >= s.from && ms <= s.to); }

  // Pointers. One on the track scrubs, one on the ruler pans, two pinch.

  x(e) { return e.clientX - this.element.getBoundingClientRect().left; }
  time(x) { return this.from + x * this.perPixel; }
  place(ms) { return (ms - this.from) / this.perPixel; }

  down(e) {
    if (e.button !== 0) return;
    this.element.setPointerCapture(e.pointerId);
    this.pointers.set(e.pointerId, e.clientX);
    if (this.pointers.size === 2) {
      this.scrubbing = null;
      this.drag = { kind: "pinch" };
      return;
    }
    const y = e.clientY - this.element.getBoundingClientRect().top, x = this.x(e);
    const marker = this.markerAt(x, y);
    if (marker) this.drag = { kind: "marker", marker };
    else if (y < ruler || e.shiftKey) this.drag = { kind: "pan", x: e.clientX };
    else {
      this.drag = { kind: "scrub" };
      this.scrub(x);
    }
  }

  move(e) {
    const x = this.x(e), y = e.clientY - this.element.getBoundingClientRect().top;
    if (this.drag?.kind === "pinch" && this.pointers.has(e.pointerId)) return this.pinch(e);
    if (!this.pointers.has(e.pointerId)) {
      this.element.style.cursor = this.markerAt(x, y) ? "ew-resize" : y < ruler ? "grab" : "pointer";
      return this.point(x);
    }
    switch (this.drag?.kind) {
      case "pan":
        this.pan((this.drag.x - e.clientX) * this.perPixel);
        this.drag.x = e.clientX;
        this.drag.moved = true;
        break;
      case "scrub":
        this.scrub(x);
        break;
      case "marker":
        this.clip[this.drag.marker] = Math.round(Math.min(this.time(x), Date.now()));
        this.dispatchEvent(new Event("markers"));
        this.draw();
        break;
    }
    this.point(x);
  }

  up(e) {
    this.pointers.delete(e.pointerId);
    const drag = this.drag;
    if (this.pointers.size === 0) this.drag = null;
    if (drag?.kind !== "scrub" || this.scrubbing === null) return;
    const ms = this.scrubbing;
    this.scrubbing = null;
    this.dispatchEvent(new CustomEvent("seek", { detail: ms }));
    this.draw();
  }

  pinch(e) {
    const [a, b] = [...this.pointers.values()];
    this.pointers.set(e.pointerId, e.clientX);
    const [c, d] = [...this.pointers.values()];
    const left = this.element.getBoundingClientRect().left;
    const before = Math.max(20, Math.abs(a - b)), after = Math.max(20, Math.abs(c - d));
    this.pan(((a + b) / 2 - (c + d) / 2) * this.perPixel);
    this.zoom(before / after, this.time((c + d) / 2 - left));
  }

  scrub(x) {
    this.scrubbing = Math.min(this.time(x), Date.now());
    this.dispatchEvent(new CustomEvent("scrub", { detail: this.scrubbing }));
    this.draw();
  }

  point(x) {
    this.hover = x;
    const ms = this.time(x), now = Date.now();
    const about = ms > now ? "later" : this.recordedAt(ms) ? "" : "not recorded";
    setText(this.tip, (sameDay(ms, now) ? "" : date(ms) + ", ") + clock(ms) + (about ? " · " + about : ""));
    this.tip.hidden = false;
    const half = this.tip.offsetWidth / 2;
    this.tip.style.left = Math.min(this.width - half, Math.max(half, x)) + "px";
    this.draw();
  }

  markerAt(x, y) {
    if (y < ruler) return null;
    for (const m of ["from", "to"]) {
      if (this.clip[m] !== null && Math.abs(this.place(this.clip[m]) - x) < 7) return m;
    }
    return null;
  }

  wheel(e) {
    e.preventDefault();
    if (Math.abs(e.deltaX) > Math.abs(e.deltaY) || e.shiftKey) {
      this.pan((e.deltaX || e.deltaY) * this.perPixel);
    } else {
      this.zoom(Math.exp(Math.max(-1, Math.min(1, e.deltaY / 300))), this.time(this.x(e)));
    }
    this.point(this.x(e));
  }

  setMarks(marks) {
    this.marks = marks;
    this.draw();
  }

  setClip(clip) {
    this.clip = clip;
    this.draw();
  }

  // Drawing, at most once a frame.

  draw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => { this.drawing = 0; this.paint(); });
  }

  palette() {
    if (this.colours) return this.colours;
    const style = getComputedStyle(this.element);
    const of = (name) => style.getPropertyValue("--" + name).trim();
    return this.colours = {
      track: of("track"), recorded: of("recorded"), edge: of("recorded-edge"), text: of("muted"), tick: of("border"), strong: of("text"),
      live: of("live"), seen: of("seen"), clip: of("clip"), background: of("surface"), font: "500 11px " + style.fontFamily,
    };
  }

  paint() {
    const width = this.width = this.element.clientWidth, height = this.element.clientHeight;
    if (!width) return;
    const scale = devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * scale) || this.canvas.height !== Math.round(height * scale)) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
    }
    const c = this.canvas.getContext("2d"), p = this.palette();
    c.setTransform(scale, 0, 0, scale, 0, 0);
    c.clearRect(0, 0, width, height);
    const top = ruler, bottom = height - 6, now = Date.now(), nowX = this.place(now);
    c.fillStyle = p.track;
    c.beginPath();
    c.roundRect(0, top, Math.min(width, Math.max(0, nowX)), bottom - top, 5);
    c.fill();
    this.paintSpans(c, p, top, bottom, nowX);
    this.paintRuler(c, p, top, bottom);
    this.paintMarks(c, p, top);
    this.paintClip(c, p, top, bottom);
    if (nowX <= width + 1 && nowX >= 0) {
      c.fillStyle = p.live;
      c.fillRect(Math.round(nowX) - 1, top - 3, 2, bottom - top + 6);
    }
    if (this.hover !== null && this.hover !== undefined && this.scrubbing === null) {
      c.fillStyle = p.strong;
      c.globalAlpha = 0.45;
      c.fillRect(Math.round(this.hover), top, 1, bottom - top);
      c.globalAlpha = 1;
    }
    this.paintPlayhead(c, p, top, bottom);
  }

  paintSpans(c, p, top, bottom, nowX) {
    c.save();
    c.beginPath();
    c.roundRect(0, top, Math.min(this.width, Math.max(0, nowX)), bottom - top, 5);
    c.clip();
    for (const s of this.spans) {
      if (s.to < this.from || s.from > this.to) continue;
      const x = this.place(s.from), w = Math.max(1, this.place(s.to) - x);
      c.fillStyle = p.recorded;
      c.fillRect(x, top, w, bottom - top);
      c.fillStyle = p.edge;
      c.fillRect(x, bottom - 3, w, 3);
    }
    c.restore();
  }

  paintRuler(c, p, top, bottom) {
    const per = this.perPixel;
    const step = steps.find((s) => s / per >= 78) ?? steps.at(-1);
    const offset = new Date(this.from).getTimezoneOffset() * 60_000;
    c.font = p.font;
    c.textBaseline = "middle";
    let free = -1;
    for (let t = Math.ceil((this.from - offset) / step) * step + offset; t <= this.to; t += step) {
      const x = Math.round(this.place(t));
      const midnight = new Date(t).getHours() === 0 && new Date(t).getMinutes() === 0 && new Date(t).getSeconds() === 0;
      c.fillStyle = midnight ? p.text : p.tick;
      c.fillRect(x, top - 6, 1, 6);
      c.globalAlpha = 0.35;
      c.fillRect(x, top, 1, bottom - top);
      c.globalAlpha = 1;
      const label = midnight ? date(t) : step < 60_000 ? clock(t) : clockShort(t);
      const w = c.measureText(label).width;
      const left = Math.min(this.width - w - 1, Math.max(1, x - w / 2));
      if (left < free) continue;
      c.fillStyle = midnight ? p.strong : p.text;
      c.fillText(label, left, 8);
      free = left + w + 12;
    }
  }

  // paintMarks puts one mark where many would lie upon each other.
  paintMarks(c, p, top) {
    c.fillStyle = p.seen;
    let free = -Infinity;
    for (const x of this.marks.map((ms) => Math.round(this.place(ms))).sort((a, b) => a - b)) {
      if (x < free || x < -2 || x > this.width + 2) continue;
      c.beginPath();
      c.roundRect(x - 1.5, top + 3, 3, 11, 1.5);
      c.fill();
      free = x + 4;
    }
  }

  paintClip(c, p, top, bottom) {
    const { from, to } = this.clip;
    if (from === null && to === null) return;
    c.fillStyle = p.clip;
    if (from !== null && to !== null && to > from) {
      c.globalAlpha = 0.3;
      c.fillRect(this.place(from), top, this.place(to) - this.place(from), bottom - top);
      c.globalAlpha = 1;
    }
    for (const [ms, side] of [[from, 1], [to, -1]]) {
      if (ms === null) continue;
      const x = Math.round(this.place(ms));
      c.fillRect(x - 1, top - 2, 2, bottom - top + 4);
      c.beginPath();
      c.roundRect(side > 0 ? x : x - 7, (top + bottom) / 2 - 8, 7, 16, 2);
      c.fill();
    }
  }

  paintPlayhead(c, p, top, bottom) {
    const ms = this.scrubbing ?? this.playhead;
    if (ms === null) return;
    const x = Math.round(this.place(ms));
    if (x < -6 || x > this.width + 6) return;
    c.fillStyle = p.strong;
    c.strokeStyle = p.background;
    c.lineWidth = 2;
    c.beginPath();
    c.moveTo(x - 6, top - 8);
    c.lineTo(x + 6, top - 8);
    c.lineTo(x + 6, top - 4);
    c.lineTo(x + 1, top + 2);
    c.lineTo(x + 1, bottom + 4);
    c.lineTo(x - 1, bottom + 4);
    c.lineTo(x - 1, top + 2);
    c.lineTo(x - 6, top - 4);
    c.closePath();
    c.stroke();
    c.fill();
  }
}
