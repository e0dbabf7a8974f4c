// Small still pictures beside what was detected: two are fetched at a time, and
// only those that are seen.

import { consoleHeader, imageURL } from "./api.js";
import { h } from "./dom.js";

const atOnce = 2;

export class Thumbnails {
  // root is the element that scrolls.
  constructor(name, root, signal) {
    this.name = name;
    this.root = root;
    this.signal = signal;
    this.waiting = new Map(); // element -> time
    this.busy = 0;
    this.off = false; // the server makes no pictures
    this.times = new WeakMap();
    this.watcher = new IntersectionObserver((entries) => {
      for (const e of entries) {
        if (e.isIntersecting) this.waiting.set(e.target, this.times.get(e.target));
        else this.waiting.delete(e.target);
      }
      this.run();
    }, { root, rootMargin: "80px 0px" });
    signal.addEventListener("abort", () => this.watcher.disconnect());
  }

  // make returns the place of a picture of a moment, with a box around what was
  // seen where that is known: left, top, width and height as parts of the picture.
  make(ms, box) {
    const canvas = h("canvas", { class: "thumbnail-picture", width: "16", height: "9" });
    const e = h("span", { class: "thumbnail", "aria-hidden": "true" }, canvas);
    if (box) {
      const frame = h("span", { class: "thumbnail-box" });
      ["left", "top", "width", "height"].forEach((k, i) => { frame.style[k] = box[i] * 100 + "%"; });
      e.append(frame);
    }
    this.times.set(e, ms);
    if (!this.off) this.watcher.observe(e);
    return e;
  }

  run() {
    while (this.busy < atOnce && this.waiting.size && !this.off && !this.signal.aborted) {
      const [e, ms] = this.waiting.entries().next().value;
      this.waiting.delete(e);
      this.watcher.unobserve(e);
      if (!e.isConnected) continue;
      this.busy++;
      this.fetch(e, ms).catch(() => {}).finally(() => { this.busy--; this.run(); });
    }
  }

  async fetch(e, ms) {
    const answer = await fetch(imageURL(this.name, { time: ms, exact: "frame", width: 192 }), { signal: this.signal, headers: { [consoleHeader]: "1" } });
    if (!answer.ok) {
      const code = (await answer.json().catch(() => null))?.error?.code;
      if (["no_decoder", "no_images", "not_found"].includes(code)) {
        this.off = true;
        this.root.classList.add("without-pictures");
      } else if (answer.status >= 500 || Date.now() - ms < 60_000) { // busy, or not recorded yet
        setTimeout(() => { if (e.isConnected && !this.off) this.watcher.observe(e); }, 5000);
      }
      return;
    }
    const picture = await createImageBitmap(await answer.blob());
    const canvas = e.firstElementChild;
    canvas.width = picture.width;
    canvas.height = picture.height;
    canvas.getContext("2d").drawImage(picture, 0, 0);
    picture.close();
    e.classList.add("has-thumbnail");
  }
}
