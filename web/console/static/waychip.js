// The small badge that says how the present comes here, how old it is, and, when
// asked, why not another way.

import { dialog, h, setText } from "./dom.js";
import { bitRate } from "./format.js";

export class WayChip {
  constructor(player, signal) {
    this.player = player;
    this.label = h("span", {});
    this.chip = h("button", { type: "button", class: "way", hidden: true, onclick: () => this.details() }, this.label);
    this.sound = h("button", { type: "button", class: "way way-sound", hidden: true, onclick: () => this.withSound() }, "Play with sound");
    this.element = h("div", { class: "ways-box" }, this.chip, this.sound);
    for (const type of ["way", "change"]) player.addEventListener(type, () => this.show());
    const timer = setInterval(() => this.show(), 1000);
    signal.addEventListener("abort", () => clearInterval(timer));
  }

  show() {
    const { way } = this.player, name = way.name;
    this.chip.hidden = !name;
    this.sound.hidden = !way.soundLess;
    if (!name) return;
    const ms = way.latency;
    this.chip.dataset.way = name;
    setText(this.label, name + (ms === null ? "" : " · " + latency(ms)));
    const text = this.tell().map(([k, v]) => k + ": " + v).join("\n");
    if (this.chip.title !== text) this.chip.title = text;
    this.chip.setAttribute("aria-label", "Live by " + name + ": how and why");
    this.sound.title = way.leftOut;
    this.fill?.();
  }

  // tell lists what is known, as pairs of a heading and a text.
  tell() {
    const { way } = this.player, rows = [["Way", { WebRTC: "WebRTC, straight to this browser", "LL-HLS": "low-latency HLS", HLS: "HLS" }[way.name] ?? "none"]];
    const ms = way.latency, f = way.using ? way.viewing.figures : null;
    if (ms !== null) rows.push(["Delay", latency(ms) + (f ? ": network " + latency(f.rtt / 2) + ", buffer " + latency(f.buffer) + ", decoder " + latency(f.decode) : " behind the live edge")]);
    if (f?.rate) rows.push(["Rate", bitRate(f.rate) + (f.lost > 0 ? ", " + f.lost + " packets lost" : "")]);
    if (f?.pair) rows.push(["Path", f.pair]);
    if (way.leftOut && way.using) rows.push(["Left out", way.leftOut]);
    if (way.why && !way.using) {
      rows.push(["Why not WebRTC", way.why.text]);
      if (way.why.hint) rows.push(["What helps", way.why.hint]);
      for (const p of way.why.pairs) rows.push(["Tried", p]);
    }
    return rows;
  }

  withSound() {
    this.player.way.choose("hls");
    this.player.video.muted = false;
    if (this.player.video.volume === 0) this.player.video.volume = 1;
  }

  details() {
    const { way } = this.player, list = h("dl", { class: "way-list" });
    const choose = h("button", { type: "button", class: "button small", onclick: () => { d.close(); way.choose(way.using ? "hls" : ""); } });
    let before = "";
    this.fill = () => {
      const rows = this.tell(), key = JSON.stringify(rows);
      if (key !== before) list.replaceChildren(...rows.flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));
      before = key;
      setText(choose, way.using ? "Use HLS instead" : way.wish ? "Use WebRTC" : "Try WebRTC again");
    };
    const d = dialog("How this is played", list, h("div", { class: "form-actions" }, choose));
    d.addEventListener("close", () => { this.fill = null; });
    this.fill();
  }
}

// latency writes milliseconds so that tenths of a second can be told apart.
function latency(ms) {
  return ms < 995 ? Math.round(ms) + " ms" : (ms / 1000).toFixed(1) + " s";
}
