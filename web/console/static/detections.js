// What detectors saw with one camera: the newest first, each a button that plays
// the moment.

import * as api from "./api.js";
import { fill, h, setText } from "./dom.js";
import { clock, duration, when } from "./format.js";
import { Thumbnails } from "./thumbnails.js";

const perPage = 50;
const most = 1000; // rows that are kept
const lead = 2000; // ms that are played before the moment

export class DetectionList extends EventTarget {
  // play is called with a moment, in milliseconds. Event: "change" when something
  // was seen, or other things are listed.
  constructor(name, play, signal) {
    super();
    this.name = name;
    this.play = play;
    this.signal = signal;
    this.rows = new Map(); // by time and id, newest first
    this.labels = new Set();
    this.chosen = null;
    this.next = "";
    this.filter = h("select", { class: "detection-filter", "aria-label": "Show detections of", hidden: true, onchange: () => this.reset() }, h("option", { value: "" }, "All"));
    this.list = h("ol", { class: "detections", "aria-label": "Detections, newest first" });
    this.thumbnails = new Thumbnails(name, this.list, signal);
    this.note = h("p", { class: "fine" });
    this.more = h("button", { type: "button", class: "button small wide", hidden: true, onclick: () => this.earlier() }, "Show earlier");
    this.element = h("section", { class: "block detection-block", "aria-label": "Detections" },
      h("div", { class: "block-head" }, h("h2", {}, "Detections"), this.filter), this.list, this.note, this.more);
    api.poll(() => this.refresh(), 3000, signal);
  }

  reset() {
    this.rows.clear();
    this.next = "";
    this.list.replaceChildren();
    this.list.scrollTop = 0;
    this.note.hidden = true;
    this.more.hidden = true;
    this.turn = (this.turn ?? 0) + 1; // answers to what was asked before are not wanted
    this.refresh();
    this.dispatchEvent(new Event("change"));
  }

  async ask(page) {
    const turn = this.turn;
    const answer = await api.detections(this.name, { label: this.filter.value, page, limit: perPage }, { signal: this.signal });
    return turn === this.turn ? answer : null;
  }

  // refresh takes what is new.
  async refresh() {
    let answer;
    try {
      answer = await this.ask("");
    } catch (e) {
      if (e.name !== "AbortError" && this.rows.size === 0) this.say(e.message);
      return;
    }
    if (!answer) return;
    const known = answer.detections.some((d) => this.rows.has(key(d)));
    if (!known) { // the first, or more than a page since: begin anew
      this.rows.clear();
      this.next = answer.next;
    }
    this.take(answer.detections);
  }

  async earlier() {
    this.more.disabled = true;
    try {
      const answer = await this.ask(this.next);
      if (answer) {
        this.next = answer.next;
        this.take(answer.detections);
      }
    } catch (e) {
      if (e.name !== "AbortError") this.say(e.message);
    }
    this.more.disabled = false;
  }

  say(text) {
    this.note.hidden = !text;
    setText(this.note, text);
  }

  take(detections) {
    if (detections.some((d) => !this.rows.has(key(d)))) this.dispatchEvent(new Event("change"));
    for (const d of detections) {
      if (!this.rows.has(key(d))) this.rows.set(key(d), { at: Date.parse(d.time), row: null, d });
      this.labels.add(d.label);
    }
    const sorted = [...this.rows].sort(([, a], [, b]) => b.at - a.at);
    for (const [k] of sorted.splice(most)) this.rows.delete(k);
    for (const [, r] of sorted) r.row ??= this.row(r.d, r.at);
    const rows = sorted.map(([, r]) => r.row);
    const old = this.list.children;
    if (old.length !== rows.length || rows.some((r, i) => r !== old[i])) this.place(rows);
    this.more.hidden = !this.next || this.rows.size >= most;
    this.say(this.rows.size > 0 ? "" : this.filter.value ? "Nothing of this kind is kept." : "Nothing was detected yet. Detectors put their records into the data stream of this server.");
    this.showLabels();
  }

  // place puts the rows in order and leaves what is looked at where it is.
  place(rows) {
    const top = this.list.scrollTop, height = this.list.scrollHeight, focused = document.activeElement;
    const first = this.list.firstElementChild;
    const before = first ? first.offsetTop : 0;
    fill(this.list, ...rows);
    if (top > 0 && first?.isConnected) this.list.scrollTop = top + first.offsetTop - before;
    else if (height === 0) this.list.scrollTop = 0;
    if (focused?.isConnected && this.list.contains(focused)) focused.focus({ preventScroll: true });
  }

  showLabels() {
    this.filter.hidden = this.labels.size < 2;
    const names = [...this.labels].sort();
    if (this.filter.options.length === names.length + 1 || document.activeElement === this.filter) return;
    const value = this.filter.value;
    this.filter.replaceChildren(h("option", { value: "" }, "All"), ...names.map((n) => h("option", { value: n, selected: n === value }, n)));
  }

  row(d, at) {
    const end = d.end ? Date.parse(d.end) : 0;
    const score = d.score ? Math.round(d.score * 100) + " %" : "";
    const small = [d.source, end > at ? duration(end - at) : ""].filter(Boolean).join(" · ");
    const b = h("button", { type: "button", class: "detection", title: d.label + ", " + when(at) + (d.source ? ", says " + d.source : ""), onclick: () => this.choose(b, at) },
      h("span", { class: "detection-mark", "aria-hidden": "true" }), this.thumbnails.make(at, d.box),
      h("span", { class: "detection-text" }, h("span", { class: "detection-label" }, d.label), small && h("span", { class: "detection-small" }, small)),
      h("span", { class: "detection-score", "aria-label": score && "sure to " + score }, score),
      h("time", { class: "detection-time", datetime: d.time }, h("span", {}, clock(at)), h("span", { class: "detection-small" }, day(at))));
    b.style.setProperty("--sure", d.score || 0.5);
    return h("li", {}, b);
  }

  choose(b, at) {
    this.chosen?.removeAttribute("aria-current");
    this.chosen = b;
    b.setAttribute("aria-current", "true");
    this.play(at - lead);
  }
}

const key = (d) => d.time + " " + d.id;

// day names the day of a moment that was not today.
function day(at) {
  const text = when(at);
  return text.includes(",") ? text.slice(0, text.lastIndexOf(",")) : "";
}
