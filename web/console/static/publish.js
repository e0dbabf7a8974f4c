// The page that publishes what this device sees: a camera with a microphone, or
// the screen.

import { supported } from "./rtc.js";
import { Publisher, codecs } from "./publisher.js";
import { fill, h, icon, setText } from "./dom.js";
import { bitRate, codec, duration } from "./format.js";

const sizes = [["1080", 1920, 1080, 5_000_000], ["720", 1280, 720, 2_500_000], ["480", 854, 480, 1_200_000], ["240", 426, 240, 400_000]];

export function publishView(main, context, signal, name) {
  new PublishView(main, context, signal, name);
}

class PublishView {
  constructor(main, context, signal, name) {
    this.context = context;
    this.kind = "camera";
    this.media = null;
    this.publisher = null;
    this.turn = 0; // of what is asked of the devices
    context.top.replaceChildren(h("a", { class: "icon-button", href: "#/", "aria-label": "All streams", title: "All streams" }, icon("back")), h("h1", { class: "top-title" }, "Publish"));
    this.build(main, name);
    signal.addEventListener("abort", () => { this.gone = true; this.stop(); this.release(); });
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.listDevices(), { signal });
    this.listDevices();
    this.show();
    this.look();
  }

  build(main, name) {
    this.video = h("video", { playsInline: true, muted: true, autoplay: true, "aria-label": "What is published" });
    this.cover = h("div", { class: "cover", role: "status" });
    this.badge = h("span", { class: "badge", hidden: true });
    this.stage = h("div", { class: "stage publish-stage" }, this.video, this.cover, this.badge);
    const tab = (kind, title) => h("button", { type: "button", class: "tab", "aria-pressed": kind === this.kind ? "true" : "false", onclick: () => this.setKind(kind) }, title);
    this.tabs = { camera: tab("camera", "Camera"), screen: tab("screen", "Screen") };
    this.camera = h("select", { id: "publish-camera", onchange: () => this.preview() });
    this.microphone = h("select", { id: "publish-microphone", onchange: () => this.preview() });
    this.size = h("select", { id: "publish-size", onchange: () => this.preview() }, sizes.map(([title]) => h("option", { value: title, selected: title === "720" }, title + " lines")));
    this.codec = h("select", { id: "publish-codec" }, h("option", { value: "" }, "Automatic"),
      supported() ? codecs().map((c) => h("option", { value: c }, codec(c) + (c === "VP8" ? " (not over HLS)" : ""))) : []);
    this.name = h("input", { id: "publish-name", required: true, pattern: "[A-Za-z0-9_.\\-]{1,256}", title: "letters, digits, _ . -", placeholder: "my-camera", value: name ?? "", autocapitalize: "none", spellcheck: "false", autocomplete: "off" });
    this.said = h("p", { class: "form-error", role: "alert" });
    this.hint = h("p", { class: "fine" });
    this.go = h("button", { class: "button primary wide" });
    this.watch = h("a", { class: "button wide", hidden: true }, icon("play"), "Watch it");
    this.facts = h("dl", { class: "fact-list" });
    const field = (id, title, input) => h("div", { class: "field" }, h("label", { for: id }, title), input);
    this.cameraField = field("publish-camera", "Camera", this.camera);
    const form = this.form = h("form", { class: "block camera-form publish-form", onsubmit: (e) => { e.preventDefault(); this.toggle(); } },
      h("div", { class: "tabs", role: "group", "aria-label": "What to publish" }, this.tabs.camera, this.tabs.screen),
      this.cameraField, field("publish-microphone", "Microphone", this.microphone),
      h("div", { class: "field-pair" }, field("publish-size", "Size", this.size), field("publish-codec", "Codec", this.codec)),
      field("publish-name", "Name of the stream", this.name), this.said, this.hint, this.go, this.watch);
    this.factBlock = h("section", { class: "block", hidden: true }, h("div", { class: "block-head" }, h("h2", {}, "Sending")), this.facts);
    main.replaceChildren(h("div", { class: "stream-view" }, h("div", { class: "stage-column" }, this.stage), h("aside", { class: "panel", "aria-label": "What to publish and where" }, form, this.factBlock)));
  }

  // look shows the camera at once where the user has allowed that before.
  async look() {
    if (!this.possible()) return;
    try {
      const p = await navigator.permissions.query({ name: "camera" });
      if (p.state === "granted" && !this.gone) this.preview();
    } catch { /* asked when the button is pressed */ }
  }

  // possible tells why nothing can be published from here, if so.
  possible() {
    if (!window.isSecureContext) {
      this.say("Browsers give cameras and screens to pages over HTTPS only, or of this machine itself.",
        "Open http://localhost" + (location.port ? ":" + location.port : "") + "/publish on the machine of the server, or have the server speak TLS (http.tls: true).");
    } else if (!navigator.mediaDevices || !supported()) {
      this.say("This browser cannot publish.", "Use a current Chrome, Edge, Firefox or Safari.");
    } else {
      return true;
    }
    this.go.disabled = true;
    return false;
  }

  say(text, hint = "") {
    setText(this.said, text);
    setText(this.hint, hint);
  }

  setKind(kind) {
    if (this.running()) return;
    this.kind = kind;
    for (const [k, b] of Object.entries(this.tabs)) b.setAttribute("aria-pressed", k === kind ? "true" : "false");
    this.cameraField.hidden = kind === "screen";
    this.release();
    this.say("");
    this.show();
    if (kind === "camera") this.look();
  }

  async listDevices() {
    let list = [];
    try { list = await navigator.mediaDevices.enumerateDevices(); } catch { return; }
    for (const [select, kind, none] of [[this.camera, "videoinput", "No picture"], [this.microphone, "audioinput", "No sound"]]) {
      const devices = list.filter((d) => d.kind === kind), value = select.value;
      const options = devices.map((d, i) => h("option", { value: d.deviceId || "default" }, d.label || (kind === "videoinput" ? "Camera " : "Microphone ") + (i + 1)));
      select.replaceChildren(...options, h("option", { value: "" }, none));
      if (value && [...select.options].some((o) => o.value === value)) select.value = value;
    }
  }

  // preview takes hold of the devices that are chosen. It returns whether it has.
  async preview() {
    if (!this.possible() || this.running()) return false;
    this.release();
    const turn = ++this.turn;
    this.say("");
    const [, width, height] = sizes.find(([t]) => t === this.size.value);
    const exact = (select) => (select.value === "default" || !select.value ? {} : { deviceId: { exact: select.value } });
    const sound = this.microphone.value !== "" || this.microphone.options.length === 0 ? { ...exact(this.microphone), echoCancellation: this.kind === "camera" } : false;
    let media;
    try {
      if (this.kind === "screen") {
        media = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: 30, height: { max: height } }, audio: true });
        if (sound && !media.getAudioTracks().length) {
          try { media.addTrack((await navigator.mediaDevices.getUserMedia({ audio: sound })).getAudioTracks()[0]); } catch { /* without */ }
        }
      } else {
        const picture = this.camera.value !== "" || this.camera.options.length === 0 ? { ...exact(this.camera), width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 30 } } : false;
        if (!picture && !sound) { this.say("Choose a camera or a microphone."); return false; }
        media = await navigator.mediaDevices.getUserMedia({ video: picture, audio: sound });
      }
    } catch (e) {
      if (turn === this.turn && !this.gone) this.say(...refused(e, this.kind));
      return false;
    }
    if (turn !== this.turn || this.gone) {
      media.getTracks().forEach((t) => t.stop());
      return false;
    }
    this.media = media;
    this.video.srcObject = media;
    for (const t of media.getTracks()) t.addEventListener("ended", () => { if (media === this.media) this.ended(t); });
    await this.listDevices(); // now with their names
    this.show();
    return true;
  }

  // ended: the user has taken the screen or the camera back.
  ended(track) {
    if (track.kind === "audio" && this.media.getVideoTracks().some((t) => t.readyState === "live")) return;
    this.stop();
    this.release();
    this.say(this.kind === "screen" ? "The screen is no longer shared." : "The camera is gone.");
    this.show();
  }

  release() {
    this.turn++;
    this.media?.getTracks().forEach((t) => t.stop());
    this.media = null;
    this.video.srcObject = null;
  }

  running() { return ["connecting", "live", "interrupted"].includes(this.publisher?.state); }

  async toggle() {
    if (this.running()) return this.stop();
    if (!this.media && !(await this.preview())) return;
    this.say("");
    const [, , , rate] = sizes.find(([t]) => t === this.size.value);
    const publisher = this.publisher = new Publisher(this.name.value.trim(), this.media, { codec: this.codec.value, maxRate: rate });
    publisher.addEventListener("change", () => { if (publisher === this.publisher) this.show(); });
    this.began = Date.now();
    this.show();
  }

  stop() {
    this.publisher?.stop();
    if (!this.gone) this.show();
  }

  show() {
    const p = this.publisher, state = p?.state ?? "", on = this.running();
    this.stage.dataset.state = this.media ? "playing" : "message";
    this.video.classList.toggle("mirror", this.kind === "camera");
    for (const e of [this.camera, this.microphone, this.size, this.codec, this.name, this.tabs.camera, this.tabs.screen]) e.disabled = on;
    this.go.classList.toggle("danger", on);
    this.go.classList.toggle("solid", on);
    this.go.classList.toggle("primary", !on);
    setText(this.go, on ? "Stop" : this.media || this.kind === "camera" ? "Go live" : "Choose a screen and go live");
    this.form.dataset.state = state;
    this.badge.hidden = !on;
    this.badge.classList.toggle("live", state === "live");
    setText(this.badge, { live: "Live", connecting: "Connecting", interrupted: "Reconnecting" }[state] ?? "");
    this.watch.hidden = state !== "live";
    this.watch.href = "#/" + encodeURIComponent(this.name.value.trim());
    this.watch.target = "_blank";
    if (p?.error) this.say(p.error.text, p.error.hint);
    else if (on) this.say("");
    fill(this.cover, ...(this.media ? [] : [icon("camera"), h("p", { class: "cover-title" }, this.kind === "screen" ? "Choose what to show" : "The camera is off"),
      window.isSecureContext && navigator.mediaDevices && h("button", { type: "button", class: "button", onclick: () => this.preview() }, this.kind === "screen" ? "Choose" : "Show preview")]));
    this.showFacts(on ? p.figures : null);
  }

  showFacts(f) {
    this.factBlock.hidden = !f;
    if (!f) return;
    const rows = [["For", duration(Date.now() - this.began)], ["Rate", bitRate(f.rate) || "…"], ["Round trip", f.rtt === null ? "…" : Math.round(f.rtt) + " ms"],
      ["Picture", [f.width ? f.width + " × " + f.height : "", f.fps ? Math.round(f.fps) + " fps" : "", codec(f.codec)].filter(Boolean).join(" · ")],
      ["Lost", f.lost === null ? "…" : (f.lost * 100).toFixed(1) + " %"], ["Limited by", f.limit || "nothing"]];
    const old = this.facts.querySelectorAll("dd");
    if (old.length === rows.length) rows.forEach(([, v], i) => setText(old[i], v));
    else this.facts.replaceChildren(...rows.flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));
  }
}

// refused words why a device is not given.
function refused(e, kind) {
  const what = kind === "screen" ? "screen" : "camera or the microphone";
  switch (e.name) {
    case "NotAllowedError":
    case "SecurityError":
      return ["The " + what + " was not allowed.", kind === "screen" ? "Press the button again and choose what to show." : "Allow it for this page: the symbol beside the address, or the settings of the browser."];
    case "NotFoundError":
      return ["There is no " + what + ".", "Connect one, or choose another source."];
    case "NotReadableError":
    case "AbortError":
      return ["The " + what + " cannot be used now.", "Another program may be using it."];
    case "OverconstrainedError":
      return ["The chosen device is gone or cannot do this size.", "Choose another."];
  }
  return ["The " + what + " cannot be used: " + e.message];
}
