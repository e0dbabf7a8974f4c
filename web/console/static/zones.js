// The editor of zones: polygons over a still picture, drawn with a mouse, a pen
// or a finger. Points are parts of the picture's width and height. Events:
// "change" when zones have changed, "select" when another one is chosen or one
// is begun or closed.

import { h } from "./dom.js";

const ns = "http://www.w3.org/2000/svg";
const near = 14; // pixels, within which a corner is meant
const most = 100; // corners of a zone

export class ZoneEditor extends EventTarget {
  constructor(signal) {
    super();
    this.zones = []; // { points: [[x, y]], ignore }
    this.chosen = -1;
    this.drawing = null; // a zone that is not closed yet
    this.fixed = false;
    this.picture = h("canvas", { class: "zones-picture", width: "640", height: "360", "aria-hidden": "true" });
    this.svg = document.createElementNS(ns, "svg");
    this.element = h("div", { class: "zones", tabindex: "0", role: "group", "aria-label": "Zones: press Add, then click the corners one after the other; Enter closes the zone, Escape gives it up, Delete removes the chosen one" }, this.picture, this.svg);
    const on = (type, f) => this.element.addEventListener(type, f);
    on("pointerdown", (e) => this.down(e));
    on("pointermove", (e) => this.move(e));
    on("pointerup", () => this.up());
    on("pointercancel", () => this.up());
    on("dblclick", () => this.close());
    on("keydown", (e) => this.key(e));
    this.resizes = new ResizeObserver(() => this.draw());
    this.resizes.observe(this.element);
    signal.addEventListener("abort", () => this.resizes.disconnect());
  }

  // show puts another picture behind the zones.
  show(picture) {
    this.picture.width = picture.width;
    this.picture.height = picture.height;
    this.picture.getContext("2d").drawImage(picture, 0, 0);
    this.draw();
  }

  set(zones) {
    this.zones = zones.map((z) => ({ points: z.points.map((p) => [...p]), ignore: Boolean(z.ignore) }));
    this.chosen = -1;
    this.drawing = null;
    this.draw();
  }

  changed() {
    this.draw();
    this.dispatchEvent(new Event("change"));
  }

  choose(i) {
    this.chosen = i;
    this.draw();
    this.dispatchEvent(new Event("select"));
  }

  add(ignore) {
    this.drawing = { points: [], ignore };
    this.choose(-1);
    this.element.focus();
  }

  // close ends the zone that is being drawn.
  close() {
    const z = this.drawing;
    if (!z) return;
    this.drawing = null;
    // A double click has put a corner where one was.
    z.points = z.points.filter((p, i) => i === 0 || this.distance(p, z.points[i - 1]) > 3);
    if (z.points.length < 3) return this.choose(-1);
    this.zones.push(z);
    this.choose(this.zones.length - 1);
    this.changed();
  }

  remove() {
    if (this.chosen < 0) return;
    this.zones.splice(this.chosen, 1);
    this.choose(-1);
    this.changed();
  }

  key(e) {
    if (this.fixed) return;
    const keys = {
      Enter: () => this.close(), Delete: () => this.remove(), Backspace: () => (this.drawing ? this.undo() : this.remove()),
      Escape: () => { if (this.drawing) { this.drawing = null; this.choose(-1); } else this.choose(-1); },
    };
    if (!keys[e.key]) return;
    e.preventDefault();
    e.stopPropagation();
    keys[e.key]();
  }

  undo() {
    this.drawing.points.pop();
    this.draw();
  }

  // Pointers.

  get size() { return [this.element.clientWidth || 1, this.element.clientHeight || 1]; }

  at(e) {
    const r = this.element.getBoundingClientRect(), part = (v, n) => Math.round(Math.min(1, Math.max(0, v / n)) * 1000) / 1000;
    return [part(e.clientX - r.left, r.width), part(e.clientY - r.top, r.height)];
  }

  distance(a, b) {
    const [w, hgt] = this.size;
    return Math.hypot((a[0] - b[0]) * w, (a[1] - b[1]) * hgt);
  }

  down(e) {
    if (this.fixed || e.button !== 0) return;
    const p = this.at(e);
    if (this.drawing) {
      const { points } = this.drawing;
      if (points.length >= 3 && this.distance(p, points[0]) < near || points.length >= most) return this.close();
      points.push(p);
      this.draw();
      return this.dispatchEvent(new Event("select"));
    }
    const z = this.zones[this.chosen];
    let corner = z ? z.points.findIndex((c) => this.distance(c, p) < near) : -1;
    if (corner < 0 && z && z.points.length < most) { // the middle of an edge makes a new corner
      const edge = z.points.findIndex((c, i) => this.distance(middle(c, z.points[(i + 1) % z.points.length]), p) < near);
      if (edge >= 0) { z.points.splice(edge + 1, 0, p); corner = edge + 1; }
    }
    const of = corner >= 0 ? this.chosen : this.zones.findLastIndex((o) => inside(o.points, p));
    if (of !== this.chosen) this.choose(of);
    if (of < 0) return;
    this.element.setPointerCapture(e.pointerId);
    this.drag = { corner, from: p, points: this.zones[of].points.map((c) => [...c]), moved: false };
  }

  move(e) {
    const p = this.at(e);
    if (this.drawing) { this.hover = p; return this.draw(); }
    const d = this.drag, z = this.zones[this.chosen];
    if (!d || !z) return;
    if (!d.moved && this.distance(p, d.from) < 3) return;
    d.moved = true;
    if (d.corner >= 0) z.points[d.corner] = p;
    else {
      // The whole zone, no further than the picture reaches.
      const bound = (k) => Math.max(-Math.min(...d.points.map((c) => c[k])), Math.min(1 - Math.max(...d.points.map((c) => c[k])), p[k] - d.from[k]));
      const by = [bound(0), bound(1)];
      z.points = d.points.map((c) => c.map((v, k) => Math.round((v + by[k]) * 1000) / 1000));
    }
    this.draw();
  }

  up() {
    const moved = this.drag?.moved;
    this.drag = null;
    if (moved) this.changed();
  }

  // Drawing.

  draw() {
    const [w, hgt] = this.size;
    this.svg.setAttribute("viewBox", "0 0 " + w + " " + hgt);
    const text = (points) => points.map(([x, y]) => (x * w).toFixed(1) + "," + (y * hgt).toFixed(1)).join(" ");
    const shape = (tag, attributes) => {
      const s = document.createElementNS(ns, tag);
      for (const [k, v] of Object.entries(attributes)) s.setAttribute(k, v);
      return s;
    };
    const dot = ([x, y], r, name) => shape("circle", { cx: x * w, cy: y * hgt, r, class: name });
    const all = this.zones.map((z, i) => shape("polygon", { points: text(z.points), class: "zone" + (z.ignore ? " ignored" : "") + (i === this.chosen ? " chosen" : "") }));
    const z = this.zones[this.chosen];
    if (z && !this.fixed) {
      z.points.forEach((c, i) => all.push(dot(middle(c, z.points[(i + 1) % z.points.length]), 4, "zone-middle"), dot(c, 7, "zone-corner")));
    }
    if (this.drawing) {
      const { points, ignore } = this.drawing;
      all.push(shape("polyline", { points: text(this.hover ? [...points, this.hover] : points), class: "zone open" + (ignore ? " ignored" : "") }), ...points.map((c, i) => dot(c, i === 0 ? 9 : 5, "zone-corner")));
    }
    this.element.classList.toggle("draws", Boolean(this.drawing));
    this.svg.replaceChildren(...all);
  }
}

const middle = (a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];

// inside is the even-odd rule, as the detector has it.
function inside(points, [x, y]) {
  let is = false;
  points.forEach((a, i) => {
    const b = points[(i + 1) % points.length];
    if ((a[1] > y) !== (b[1] > y) && x < a[0] + (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1])) is = !is;
  });
  return is;
}
