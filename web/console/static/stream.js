// One stream: the player, the time bar, clips, addresses and facts.

import * as api from "./api.js";
import { copy, dialog, fill, h, icon, iconButton, setText, toast } from "./dom.js";
import { ago, bitRate, bytes, clock, date, duration, fps, stateNames, track, when } from "./format.js";
import { Player } from "./player.js";
import { Timebar } from "./timebar.js";
import { cameraDialog } from "./camera.js";
import { DetectionList } from "./detections.js";
import { showMarks } from "./marks.js";
import { savePicture } from "./snapshot.js";
import { WayChip } from "./waychip.js";

const ranges = [["1 h", 3600_000], ["6 h", 6 * 3600_000], ["Day", 86400_000], ["Week", 7 * 86400_000]];
const speeds = [0.5, 1, 2, 4, 8];

export function streamView(main, context, signal, name, at) {
  const view = new StreamView(main, context, signal, name);
  view.begin(at);
}

class StreamView {
  constructor(main, context, signal, name) {
    this.context = context;
    this.signal = signal;
    this.name = name;
    this.stream = null;
    this.clip = { from: null, to: null };
    this.bar = new Timebar(name);
    this.video = h("video", { playsInline: true, muted: true, "aria-label": "Video of " + name });
    this.player = new Player(this.video, name, (ms) => this.bar.next(ms));
    this.buildHead(context);
    main.replaceChildren(h("div", { class: "stream-view" },
      h("div", { class: "stage-column" }, this.buildStage(), this.buildControls(), this.buildBar()),
      h("aside", { class: "panel", "aria-label": "About this stream" }, this.buildDetections(), this.buildClip(), this.buildAddresses(), this.buildFacts())));
    this.listen();
    signal.addEventListener("abort", () => {
      this.player.destroy();
      this.bar.destroy();
      clearInterval(this.ticking);
    });
    api.poll(() => this.refresh(), 3000, signal);
    this.animate();
  }

  async begin(at) {
    if (at) {
      this.bar.playhead = at;
      this.bar.reveal(at);
      return this.player.at(at);
    }
    // What is not live begins with the last minute of what was recorded.
    try { this.stream ??= await api.stream(this.name, { signal: this.signal }); } catch { /* the player says why */ }
    if (this.signal.aborted) return;
    const s = this.stream;
    if (s && !s.live && s.state !== "idle" && s.state !== "connecting" && s.last) {
      const last = Date.parse(s.last);
      const from = Math.max(Date.parse(s.first), last - 60_000);
      this.bar.playhead = from;
      this.bar.reveal(from);
      this.player.at(from);
    } else {
      this.player.live();
    }
  }

  // Building.

  buildHead(context) {
    this.title = h("h1", {}, this.name);
    this.chooser = h("select", {
      class: "chooser", "aria-label": "Stream", onchange: (e) => { location.hash = "#/" + encodeURIComponent(e.target.value); },
    }, h("option", { value: this.name, selected: true }, this.name));
    this.chip = h("span", { class: "state-chip" });
    this.brief = h("span", { class: "brief" });
    context.top.replaceChildren(
      h("a", { class: "icon-button", href: "#/", "aria-label": "All streams", title: "All streams" }, icon("back")),
      h("div", { class: "chooser-box" }, this.title, this.chooser), this.chip, this.brief);
  }

  buildStage() {
    this.clockTime = h("span", { class: "clock-time" });
    this.clockDate = h("span", { class: "clock-date" });
    this.clockBox = h("div", { class: "clock", hidden: true }, this.clockTime, this.clockDate);
    this.badge = h("button", { type: "button", class: "badge", onclick: () => this.goLive() });
    this.cover = h("div", { class: "cover", role: "status" });
    this.way = new WayChip(this.player, this.signal);
    this.stage = h("div", { class: "stage" }, this.video, this.cover, this.clockBox, this.badge, this.way.element);
    this.video.addEventListener("click", () => this.player.toggle());
    this.video.addEventListener("dblclick", () => this.fullscreen());
    return this.stage;
  }

  buildControls() {
    this.playButton = iconButton("play", "Play (space)", () => this.player.toggle(), { class: "icon-button big" });
    this.liveButton = h("button", { type: "button", class: "live-button", title: "Go to now (L)", onclick: () => this.goLive() }, h("span", { class: "dot" }), "Live");
    this.muteButton = iconButton("muted", "Sound (M)", () => this.toggleMute());
    this.volume = h("input", { type: "range", min: "0", max: "1", step: "0.05", value: "1", class: "volume", "aria-label": "Volume", oninput: () => this.setVolume(Number(this.volume.value)) });
    this.speed = h("select", { class: "speed", "aria-label": "Speed", title: "Speed", onchange: () => this.setSpeed(Number(this.speed.value)) },
      speeds.map((s) => h("option", { value: String(s), selected: s === 1 }, s + "×")));
    return h("div", { class: "controls", role: "group", "aria-label": "Player" },
      iconButton("rewind", "Back 10 s (←)", () => this.skip(-10)),
      this.playButton,
      iconButton("forward", "Forward 10 s (→)", () => this.skip(10)),
      this.liveButton, this.speed,
      h("span", { class: "spring" }),
      h("span", { class: "sound" }, this.muteButton, this.volume),
      iconButton("photo", "Save this picture (S)", () => this.savePicture()),
      iconButton("help", "Keys (?)", () => showKeys(), { class: "icon-button wide-only" }),
      iconButton("full", "Full screen (F)", () => this.fullscreen()));
  }

  buildBar() {
    this.rangeButtons = ranges.map(([title, span]) => h("button", { type: "button", class: "tab", "aria-pressed": "false", onclick: () => this.bar.show(span) }, title));
    this.barLabel = h("span", { class: "bar-label" });
    return h("section", { class: "bar-box", "aria-label": "The past" },
      h("div", { class: "bar-head" },
        h("div", { class: "tabs", role: "group", "aria-label": "Length of the time line" }, this.rangeButtons),
        iconButton("minus", "Show more time (−)", () => this.bar.zoom(2)),
        iconButton("plus", "Show less time (+)", () => this.bar.zoom(0.5)),
        this.barLabel, h("span", { class: "spring" }),
        h("label", { class: "goto" }, h("span", {}, "Go to"), this.goto = h("input", { type: "datetime-local", step: "1", "aria-label": "Go to date and time", onchange: () => this.goTo() }))),
      this.bar.element,
      h("div", { class: "legend", "aria-hidden": "true" }, h("span", { class: "key recorded" }, "recorded"), h("span", { class: "key gap" }, "not recorded"), h("span", { class: "key now" }, "now"), this.context.info.detections && h("span", { class: "key seen" }, "seen"),
        h("span", { class: "spring" }), h("span", { class: "wide-only" }, "drag to look, wheel to zoom, drag the ruler to move")));
  }

  buildDetections() {
    if (!this.context.info.detections) return null;
    const list = new DetectionList(this.name, (ms) => this.seek(ms), this.signal);
    list.addEventListener("change", showMarks(this.bar, this.name, () => list.filter.value, this.signal));
    return list.element;
  }

  buildClip() {
    this.clipFrom = h("output", {}, "not set");
    this.clipTo = h("output", {}, "not set");
    this.clipNote = h("p", { class: "fine" }, "Mark where it begins and where it ends.");
    this.clipLink = h("a", { class: "button primary wide", role: "button", "aria-disabled": "true", download: "" }, icon("download"), "Save clip");
    this.clipCopy = iconButton("copy", "Copy the address of the clip", () => copy(new URL(this.clipLink.getAttribute("href"), location).href, "Address of the clip"), { disabled: true });
    this.clipClear = h("button", { type: "button", class: "link", hidden: true, onclick: () => this.setClip({ from: null, to: null }) }, "Clear");
    return section("Clip", this.clipClear,
      h("div", { class: "marker" }, h("button", { type: "button", class: "button small", title: "Begin here (I)", onclick: () => this.mark("from") }, "Begin"), this.clipFrom),
      h("div", { class: "marker" }, h("button", { type: "button", class: "button small", title: "End here (O)", onclick: () => this.mark("to") }, "End"), this.clipTo),
      this.clipNote, h("div", { class: "clip-actions" }, this.clipLink, this.clipCopy));
  }

  buildAddresses() {
    this.addresses = h("div", { class: "addresses" });
    return section("Addresses", null, this.addresses);
  }

  buildFacts() {
    this.facts = h("dl", { class: "fact-list" });
    this.factActions = h("div", { class: "fact-actions" });
    return section("Facts", null, this.facts, this.factActions);
  }

  // Events.

  listen() {
    const { player, bar, signal, video } = this;
    const on = (target, type, f) => target.addEventListener(type, f, { signal });
    on(player, "change", () => this.showState());
    on(player, "leftlive", () => { bar.following = bar.to > Date.now(); });
    on(bar, "seek", (e) => this.seek(e.detail));
    on(bar, "scrub", (e) => this.showClock(e.detail));
    on(bar, "range", () => this.showRange());
    on(bar, "markers", () => this.setClip(bar.clip));
    on(video, "volumechange", () => this.showSound());
    on(window, "playat", (e) => { if (e.detail) this.seek(e.detail); });
    on(window, "keydown", (e) => this.key(e));
    on(document, "fullscreenchange", () => this.stage.classList.toggle("is-full", document.fullscreenElement === this.stage));
    this.showRange();
    this.showSound();
    this.showState();
  }

  key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input:not([type=range]), textarea, select, dialog")) return;
    if (e.key === " " && e.target.closest("button, a, summary")) return;
    if (e.key.startsWith("Arrow") && e.target.matches("input[type=range]")) return;
    const step = e.shiftKey ? 60 : 10;
    const keys = {
      " ": () => this.player.toggle(), k: () => this.player.toggle(),
      ArrowLeft: () => this.skip(-step), ArrowRight: () => this.skip(step),
      ArrowUp: () => this.setVolume(Math.min(1, this.video.volume + 0.1)), ArrowDown: () => this.setVolume(Math.max(0, this.video.volume - 0.1)),
      l: () => this.goLive(), m: () => this.toggleMute(), f: () => this.fullscreen(), s: () => this.savePicture(),
      i: () => this.mark("from"), o: () => this.mark("to"),
      ",": () => this.stepFrame(-1), ".": () => this.stepFrame(1),
      "+": () => this.bar.zoom(0.5), "=": () => this.bar.zoom(0.5), "-": () => this.bar.zoom(2),
      "?": () => showKeys(),
      Escape: () => { if (!document.fullscreenElement) location.hash = "#/"; },
    };
    const f = keys[e.key.length === 1 ? e.key.toLowerCase() : e.key];
    if (!f) return;
    e.preventDefault();
    f();
  }

  // Doing.

  seek(ms) {
    this.bar.playhead = ms;
    this.bar.reveal(ms);
    this.pending = ms; // until the player is there
    this.player.at(ms);
  }

  skip(seconds) {
    const now = this.pending ?? this.player.clock();
    if (now === null) return;
    const ms = now + seconds * 1000;
    if (this.player.mode === "live" && seconds > 0) return;
    if (ms >= Date.now() - 4000) return this.goLive();
    this.seek(ms);
  }

  goLive() {
    this.pending = null;
    this.speed.value = "1";
    this.bar.playhead = null;
    if (!this.bar.following) this.bar.show(this.bar.to - this.bar.from);
    this.player.live();
  }

  goTo() {
    const ms = new Date(this.goto.value).getTime();
    if (Number.isFinite(ms) && ms <= Date.now()) this.seek(ms);
    else if (this.goto.value) toast("That is still to come", "bad");
  }

  setSpeed(v) {
    if (v > 1 && this.player.mode === "live") {
      this.speed.value = "1";
      return toast("Live cannot go faster than life: go back first");
    }
    this.video.playbackRate = v;
    this.video.defaultPlaybackRate = v;
  }

  toggleMute() {
    if (this.video.muted && this.player.way.soundLess) this.way.withSound();
    this.video.muted = !this.video.muted;
    if (!this.video.muted && this.video.volume === 0) this.video.volume = 1;
  }

  setVolume(v) {
    this.video.volume = v;
    this.video.muted = v === 0;
  }

  stepFrame(direction) {
    if (!this.video.paused) this.video.pause();
    this.video.currentTime += direction / (this.stream?.fps || 25);
  }

  fullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (this.stage.requestFullscreen) this.stage.requestFullscreen().catch(() => {});
    else this.video.webkitEnterFullscreen?.();
  }

  savePicture() { savePicture(this.name, this.video, this.player.clock()); }

  mark(which) {
    const ms = this.player.clock();
    if (ms === null) return toast("Play the moment first", "bad");
    const clip = { ...this.clip, [which]: Math.round(ms) };
    if (clip.from !== null && clip.to !== null && clip.from >= clip.to) clip[which === "from" ? "to" : "from"] = null;
    this.setClip(clip);
  }

  setClip(clip) {
    this.clip = { ...clip };
    this.bar.setClip(this.clip);
    const { from, to } = this.clip, good = from !== null && to !== null && from < to;
    setText(this.clipFrom, from === null ? "not set" : when(from));
    setText(this.clipTo, to === null ? "not set" : when(to));
    setText(this.clipNote, good ? duration(to - from) + ", as MP4" : from === null && to === null ? "Mark where it begins and where it ends." : "Now mark where it " + (from === null ? "begins." : "ends."));
    this.clipClear.hidden = from === null && to === null;
    this.clipCopy.disabled = !good;
    this.clipLink.setAttribute("aria-disabled", good ? "false" : "true");
    if (good) this.clipLink.href = api.clipURL(this.name, from, to);
    else this.clipLink.removeAttribute("href");
  }

  // Showing.

  async refresh() {
    try {
      const [s, all] = await Promise.all([api.stream(this.name, { signal: this.signal }), api.streams({ signal: this.signal })]);
      const cameBack = this.stream && !this.stream.live && s.live;
      if (!this.stream || !this.fitted) this.fit(s);
      this.stream = s;
      if (cameBack && this.player.mode === "live" && this.player.state === "message") this.player.live();
      this.showChooser(all.map((x) => x.name));
    } catch (e) {
      if (e.name === "AbortError") return;
      if (e.status === 404) this.player.fail("There is no stream of this name", "Perhaps it was deleted, or nobody has published it yet.");
      return;
    }
    this.showFacts();
    this.showState();
  }

  // fit shows a stream that is young with a time line as short.
  fit(s) {
    this.fitted = true;
    const age = s.first ? Date.now() - Date.parse(s.first) : 0;
    if (this.player.mode === "live" && age < 2400_000) this.bar.show(age < 240_000 ? 300_000 : age < 720_000 ? 900_000 : 3600_000);
  }

  showChooser(names) {
    this.title.hidden = names.length > 1;
    this.chooser.hidden = names.length < 2;
    if (this.chooser.options.length === names.length && names.every((n, i) => this.chooser.options[i].value === n)) return;
    if (document.activeElement === this.chooser) return;
    this.chooser.replaceChildren(...names.map((n) => h("option", { value: n, selected: n === this.name }, n)));
  }

  showState() {
    const { player, stream: s } = this, state = player.state;
    this.stage.dataset.state = state;
    this.stage.dataset.mode = player.mode;
    const playing = state === "playing" || state === "waiting" || state === "loading";
    if (this.playShown !== playing) {
      this.playShown = playing;
      this.playButton.replaceChildren(icon(playing ? "pause" : "play"));
      this.playButton.setAttribute("aria-label", playing ? "Pause (space)" : "Play (space)");
      this.playButton.title = this.playButton.getAttribute("aria-label");
    }
    this.liveButton.classList.toggle("on", player.mode === "live" && state !== "message");
    this.liveButton.setAttribute("aria-pressed", player.mode === "live" ? "true" : "false");
    if (player.mode === "live") this.speed.value = "1";
    this.showCover();
    if (!s) return;
    this.chip.dataset.state = s.state;
    setText(this.chip, stateNames[s.state] ?? s.state);
    setText(this.brief, [s.width ? s.width + " × " + s.height : "", fps(s.fps), bitRate(s.bit_rate)].filter(Boolean).join(" · "));
  }

  showCover() {
    const { player, stream: s } = this;
    let key = player.state;
    if (player.state === "message") key += Object.values(this.words(player.message)).join() + Boolean(s?.last) + s?.live;
    if (key === this.coverShown) return;
    this.coverShown = key;
    switch (player.state) {
      case "loading":
      case "waiting":
        this.cover.replaceChildren(h("span", { class: "spinner", "aria-label": "loading" }));
        break;
      case "message": {
        const m = this.words(player.message);
        fill(this.cover, icon("camera"), h("p", { class: "cover-title" }, m.title), m.text && h("p", {}, m.text),
          m.retry && h("p", { class: "fine" }, "Trying again by itself."),
          player.mode === "live" && s?.last ? h("button", { type: "button", class: "button", onclick: () => this.seek(Math.max(Date.parse(s.first), Date.parse(s.last) - 60_000)) }, "Play the last recording")
            : player.mode === "past" && s?.live ? h("button", { type: "button", class: "button", onclick: () => this.goLive() }, "Go live") : null);
        break;
      }
      case "paused":
        this.cover.replaceChildren(h("span", { class: "paused-mark" }, icon("play")));
        break;
      default:
        this.cover.replaceChildren();
    }
  }

  // words says why nothing is played better than the player can, where the state
  // of the stream is known.
  words(m) {
    const s = this.stream;
    if (!s || s.live || this.player.mode !== "live" || !m.retry) return m;
    const title = { error: "No signal from the camera", connecting: "Connecting to the camera", idle: "Waking the camera" }[s.state] ?? "Not live";
    return { title, text: s.error || (s.camera ? "" : "Nobody publishes this stream now."), retry: true };
  }

  showSound() {
    const silent = this.video.muted || this.video.volume === 0;
    this.muteButton.replaceChildren(icon(silent ? "muted" : "volume"));
    this.muteButton.setAttribute("aria-pressed", silent ? "true" : "false");
    this.volume.value = silent ? "0" : String(this.video.volume);
  }

  showRange() {
    const span = this.bar.to - this.bar.from;
    this.rangeButtons.forEach((b, i) => b.setAttribute("aria-pressed", Math.abs(span / ranges[i][1] - 1) < 0.02 ? "true" : "false"));
    setText(this.barLabel, duration(span));
  }

  // animate moves the clock and the playhead a few times a second.
  animate() {
    // A timer and not requestAnimationFrame: that would have the browser make
    // sixty frames a second of a page on which little moves but the video.
    this.ticking = setInterval(() => {
      const ms = this.player.clock();
      if (ms !== null && this.pending && Math.abs(ms - this.pending) < 20_000) this.pending = null;
      if (this.bar.scrubbing !== null) return;
      if (this.player.state === "message") this.clockBox.hidden = this.badge.hidden = true;
      else this.showClock(ms);
      if (ms !== null && this.player.state !== "message" && !this.pending) this.bar.setPlayhead(ms);
    }, 125);
  }

  showClock(ms) {
    this.clockBox.hidden = ms === null;
    const behind = ms === null ? null : Date.now() - ms;
    if (ms !== null) {
      setText(this.clockTime, clock(ms));
      setText(this.clockDate, date(ms));
    }
    const live = this.player.mode === "live" && this.bar.scrubbing === null && (behind === null || behind < 20_000);
    this.badge.hidden = ms === null;
    this.badge.classList.toggle("live", live);
    setText(this.badge, live ? "Live" : behind === null ? "" : "−" + ago(behind));
    this.badge.setAttribute("aria-label", live ? "Live" : "Behind now by " + ago(behind ?? 0) + ": go live");
  }

  showFacts() {
    const s = this.stream;
    const rows = [];
    const row = (k, v) => { if (v) rows.push([k, v]); };
    row("State", (stateNames[s.state] ?? s.state) + (s.live_since ? " for " + duration(Date.now() - Date.parse(s.live_since)) : ""));
    row("Trouble", s.error);
    if (s.source) row("From", { rtsp: "RTSP push", "rtsp-pull": "RTSP pull", whip: "WebRTC (WHIP)" }[s.source.protocol] ?? s.source.protocol);
    row("Peer", s.source?.remote);
    row("Publisher", s.source?.user);
    for (const t of s.tracks) row(t.kind === "video" ? "Video" : t.kind === "audio" ? "Audio" : "Data", track(t) + (t.playable ? "" : ": " + t.why));
    row("Rate", [fps(s.fps), bitRate(s.bit_rate)].filter(Boolean).join(" · "));
    row("Delay", s.live && s.lag ? s.lag.toFixed(2) + " s" : "");
    row("Clock", { report: "the camera's", arrival: "from arrival" }[s.clock]);
    row("Lost", s.packets_lost ? s.packets_lost + " packets" : s.live ? "nothing" : "");
    row("Not stored", s.fragments_lost ? s.fragments_lost + " fragments" : "");
    row("Recorded", s.first ? duration((s.live ? Date.now() : Date.parse(s.last)) - Date.parse(s.first)) + ", " + bytes(s.bytes) : "nothing");
    row("Oldest", s.first && when(Date.parse(s.first)));
    row("Newest", s.last && !s.live ? when(Date.parse(s.last)) : "");
    row("Viewers", s.subscribers ? String(s.subscribers) : "");
    const old = [...this.facts.querySelectorAll("dt")].map((e) => e.textContent).join();
    if (old === rows.map(([k]) => k).join()) [...this.facts.querySelectorAll("dd")].forEach((e, i) => setText(e, rows[i][1]));
    else this.facts.replaceChildren(...rows.flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));
    if (!this.actionsShown) {
      this.actionsShown = true;
      this.showAddresses();
      this.showActions();
    }
  }

  showAddresses() {
    const { info, session } = this.context;
    const rows = [];
    const n = encodeURIComponent(this.name);
    if (info.rtsp) rows.push(["RTSP", "rtsp://" + location.hostname + ":" + info.rtsp.split(":").pop() + "/" + n]);
    if (info.rtsps) rows.push(["RTSPS", "rtsps://" + location.hostname + ":" + info.rtsps.split(":").pop() + "/" + n]);
    rows.push(["HLS live", location.origin + api.liveURL(this.name)], ["WHEP", location.origin + "/whep/" + n]);
    this.addresses.replaceChildren(
      ...rows.map(([title, url]) => address(title, url, () => this.copyAddress(title, url))),
      address("HLS from here", null, () => this.copyAddress("HLS", location.origin + api.rangeURL(this.name, this.player.clock() ?? Date.now() - 60_000))),
      address("This moment", null, () => copy(location.origin + "/#/" + n + "?t=" + Math.round(this.player.clock() ?? Date.now()), "Address of this moment")),
      session.open ? "" : h("p", { class: "fine" }, "A copied HLS address carries a token that lasts for a day. RTSP asks for a user and a key."));
  }

  // copyAddress copies an address; one of a playlist is given a token where one
  // is needed, for players send no cookies.
  async copyAddress(title, url) {
    if (!this.context.session.open && title.startsWith("HLS") && this.context.session.signed_in) {
      try {
        const t = await api.token(this.name, { actions: ["view"], expires_in: 86400 });
        url += (url.includes("?") ? "&" : "?") + "token=" + encodeURIComponent(t.token);
      } catch (e) { return toast(e.message, "bad"); }
    }
    copy(url, title + " address");
  }

  showActions() {
    if (!this.context.session.admin) return;
    const actions = [h("a", { class: "button small", href: "#/" + encodeURIComponent(this.name) + "/settings" }, "Settings")];
    if (this.stream.camera) {
      actions.push(h("button", { type: "button", class: "button small", onclick: () => this.editCamera() }, icon("edit"), "Camera"),
        h("button", { type: "button", class: "button small danger", onclick: () => this.removeCamera() }, "Remove camera"));
    }
    if (this.context.info.delete && this.stream.first) {
      actions.push(h("button", { type: "button", class: "button small danger", onclick: () => this.removeRecordings() }, icon("trash"), "Delete recordings"));
    }
    this.factActions.replaceChildren(...actions);
  }

  async editCamera() {
    try {
      cameraDialog(() => this.refresh(), await api.camera(this.name));
    } catch (e) { toast(e.message, "bad"); }
  }

  removeCamera() {
    confirm("Remove camera " + this.name + "?", "The server stops pulling it. What was recorded stays.", "Remove", async () => {
      await api.deleteCamera(this.name);
      toast("Camera removed");
      this.actionsShown = false;
      this.refresh();
    });
  }

  removeRecordings() {
    confirm("Delete everything recorded of " + this.name + "?", bytes(this.stream.bytes) + " are deleted for good.", "Delete", async () => {
      await api.deleteStream(this.name);
      toast("Recordings deleted");
      location.hash = "#/";
    });
  }
}

function section(title, action, ...content) {
  return h("section", { class: "block" }, h("div", { class: "block-head" }, h("h2", {}, title), action), ...content);
}

function address(title, url, oncopy) {
  return h("div", { class: "address" }, h("div", { class: "address-text" }, h("span", { class: "address-title" }, title), url && h("code", { title: url }, url)), iconButton("copy", "Copy: " + title, oncopy));
}

// confirm asks before something that cannot be taken back.
function confirm(title, text, verb, act) {
  const said = h("p", { class: "form-error", role: "alert" });
  const d = dialog(title, h("p", {}, text), said, h("div", { class: "form-actions" },
    h("button", { type: "button", class: "button", onclick: () => d.close() }, "Cancel"),
    h("button", {
      type: "button", class: "button danger solid",
      async onclick() {
        try { await act(); d.close(); } catch (e) { setText(said, e.message + (e.hint ? ": " + e.hint : "")); }
      },
    }, verb)));
  d.querySelector(".form-actions .button").focus();
}

function showKeys() {
  const rows = [
    ["Space", "play or pause"], ["← →", "10 seconds back or forth"], ["Shift ← →", "a minute"], [", .", "one frame"], ["L", "live"],
    ["I O", "begin and end of the clip"], ["S", "save the picture"], ["+ −", "zoom the time line"], ["↑ ↓ M", "volume, sound off"], ["F", "full screen"], ["Esc", "all streams"],
  ];
  dialog("Keys", h("dl", { class: "keys" }, rows.flatMap(([k, v]) => [h("dt", {}, k.split(" ").map((x) => h("kbd", {}, x))), h("dd", {}, v)])));
}
