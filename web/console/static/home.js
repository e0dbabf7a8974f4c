// The overview: every stream as a card with a picture of now, or in a list.

import * as api from "./api.js";
import { copy, h, icon, iconButton, setText } from "./dom.js";
import { bitRate, bytes, codec, duration, fps, stateNames, when } from "./format.js";
import { grab, Player } from "./player.js";
import { cameraDialog, cameraForm } from "./camera.js";

const pictureAge = 4000; // of a live picture before another is taken
const frameAge = 30_000; // of one that the browser has to make itself, which costs more
const hoverWait = 350; // ms that a pointer rests on a card before it plays
const stripSpan = 24 * 3600_000;

export function home(main, context, signal, cameFrom) {
  const view = new Home(main, context, signal, cameFrom);
  api.poll(() => view.refresh(), 3000, signal);
}

class Home {
  constructor(main, context, signal, cameFrom) {
    this.context = context;
    this.signal = signal;
    this.cameFrom = cameFrom;
    this.cards = new Map();
    this.pictures = new Pictures(signal);
    this.search = h("input", { type: "search", placeholder: "Filter streams", "aria-label": "Filter streams", oninput: () => this.arrange() });
    this.searchBox = h("div", { class: "search", hidden: true }, icon("search"), this.search);
    this.summary = h("p", { class: "summary", role: "status" });
    this.layout = stored("layout") ?? "grid";
    this.layoutButton = iconButton("list", "Show as a list", () => this.setLayout(this.layout === "grid" ? "list" : "grid"));
    this.add = h("button", { type: "button", class: "button", hidden: true, onclick: () => cameraDialog(() => this.refresh()) }, icon("plus"), "Add camera");
    this.grid = h("ul", { class: "cards" });
    this.trouble = h("p", { class: "trouble", hidden: true, role: "alert" });
    this.none = h("p", { class: "nothing", hidden: true }, "No stream has such a name.");
    this.heading = h("div", { class: "page-head" }, h("div", {}, h("h1", {}, "Streams"), this.summary), h("div", { class: "page-actions" }, this.layoutButton, h("a", { class: "button", href: "#/+publish" }, icon("push"), "Publish"), this.add));
    this.empty = null;
    context.top.replaceChildren(this.searchBox);
    main.replaceChildren(this.heading, this.trouble, this.grid, this.none);
    this.heading.hidden = true;
    this.setLayout(this.layout);
    addEventListener("keydown", (e) => {
      if (e.key === "/" && !e.target.closest("input, textarea, select, dialog")) { e.preventDefault(); this.search.focus(); }
      if (e.key === "Escape" && e.target === this.search) { this.search.value = ""; this.arrange(); this.search.blur(); }
    }, { signal });
  }

  setLayout(layout) {
    this.layout = layout;
    store("layout", layout);
    this.grid.classList.toggle("as-list", layout === "list");
    const button = iconButton(layout === "grid" ? "list" : "grid", layout === "grid" ? "Show as a list" : "Show as cards", () => this.setLayout(layout === "grid" ? "list" : "grid"));
    this.layoutButton.replaceWith(button);
    this.layoutButton = button;
  }

  async refresh() {
    let list;
    try {
      list = await api.streams({ signal: this.signal });
    } catch (e) {
      if (e.name !== "AbortError") {
        setText(this.trouble, "The list is not up to date: " + e.message + ".");
        this.trouble.hidden = false;
      }
      return;
    }
    this.trouble.hidden = true;
    this.streams = list;
    if (list.length === 0) return this.showEmpty();
    this.empty?.remove();
    this.empty = null;
    this.heading.hidden = false;
    this.add.hidden = !(this.context.info.cameras && this.context.session.admin);
    this.searchBox.hidden = list.length < 5;
    const live = list.filter((s) => s.live).length, kept = list.reduce((n, s) => n + s.bytes, 0);
    setText(this.summary, (list.length === 1 ? "1 stream" : list.length + " streams") + " · " + live + " live · " + bytes(kept) + " kept");
    const names = new Set(list.map((s) => s.name));
    for (const [name, card] of this.cards) {
      if (!names.has(name)) { card.destroy(); this.cards.delete(name); }
    }
    for (const s of list) {
      let card = this.cards.get(s.name);
      if (!card) {
        card = new Card(s.name, this.pictures, this.signal);
        this.cards.set(s.name, card);
      }
      card.update(s);
    }
    this.arrange();
  }

  arrange() {
    const word = this.search.value.trim().toLowerCase();
    const seen = this.streams.filter((s) => s.name.toLowerCase().includes(word)).map((s) => this.cards.get(s.name).element);
    // Only when the order has changed: moving an element takes the focus off it.
    if (seen.length !== this.grid.children.length || seen.some((e, i) => this.grid.children[i] !== e)) this.grid.replaceChildren(...seen);
    this.none.hidden = seen.length > 0;
    if (this.cameFrom) {
      this.cards.get(this.cameFrom)?.element.querySelector("a").focus({ preventScroll: false });
      this.cameFrom = null;
    }
  }

  showEmpty() {
    this.heading.hidden = true;
    this.searchBox.hidden = true;
    this.grid.replaceChildren();
    this.none.hidden = true;
    if (this.empty) return;
    this.empty = emptyState(this.context, () => this.refresh());
    this.grid.after(this.empty);
  }
}

// emptyState tells how to get the first stream.
function emptyState(context, refresh) {
  const { info, session } = context;
  const port = info.rtsp?.split(":").pop() || "8554";
  const who = session.open ? "" : (session.user || "user") + ":KEY@";
  const push = (...lines) => ["ffmpeg " + lines[0], ...lines.slice(1), "-f rtsp -rtsp_transport tcp", "rtsp://" + who + location.hostname + ":" + port + "/front-door"].join(" \\\n  ");
  const encode = ["-c:v libx264 -preset veryfast -tune zerolatency", "-g 50 -pix_fmt yuv420p"];
  const commands = [
    ["A test picture", push("-re -f lavfi -i testsrc2=size=1280x720:rate=25", ...encode)],
    ["A file, over and over", push("-re -stream_loop -1 -i video.mp4", "-c copy")],
    ["A webcam (Linux)", push("-f v4l2 -i /dev/video0", ...encode)],
  ];
  const code = h("code", {}, commands[0][1]);
  const tabs = h("div", { class: "tabs", role: "group", "aria-label": "What to push" }, commands.map(([title, text], i) => h("button", {
    type: "button", class: "tab", "aria-pressed": i === 0 ? "true" : "false",
    onclick(e) {
      for (const t of tabs.children) t.setAttribute("aria-pressed", t === e.target);
      setText(code, text);
    },
  }, title)));
  const canAdd = info.cameras && session.admin;
  return h("section", { class: "empty" },
    h("h1", {}, "No streams yet"),
    h("p", { class: "lead" }, "Push a stream to this server or let it pull a camera. It appears here by itself, is recorded from its first key frame on, and can be played live and back in time."),
    h("div", { class: "ways" + (canAdd ? "" : " one") },
      h("section", { class: "way" }, h("h2", {}, icon("push"), "Push a stream"),
        h("p", {}, "From anything that speaks RTSP. With ffmpeg:"), tabs,
        h("div", { class: "command" }, h("pre", { tabindex: "0", "aria-label": "command" }, code), iconButton("copy", "Copy the command", () => copy(code.textContent, "Command"))),
        h("p", { class: "fine" }, "Or send what this device sees: ", h("a", { href: "#/+publish" }, "publish from the browser"), "."),
        !session.open && h("p", { class: "fine" }, "Put a key with the right to publish in place of KEY.")),
      canAdd && h("section", { class: "way" }, h("h2", {}, icon("camera"), "Add a camera"),
        h("p", {}, "The server connects to it and keeps trying."), cameraForm(refresh))));
}

// Card is one stream of the overview.
class Card {
  constructor(name, pictures, signal) {
    this.name = name;
    this.pictures = pictures;
    this.picture = h("canvas", { class: "picture", width: "640", height: "360", "aria-hidden": "true" });
    this.veil = h("div", { class: "veil" }, icon("camera"), h("span", {}));
    this.state = h("span", { class: "state" });
    this.title = h("h2", {}, name);
    this.facts = h("p", { class: "facts" });
    this.span = h("p", { class: "span" });
    this.error = h("p", { class: "card-error", hidden: true });
    this.strip = h("canvas", { class: "strip", "aria-hidden": "true" });
    this.stripLabel = h("div", { class: "strip-label", "aria-hidden": "true" }, h("span", {}, "24 h ago"), h("span", {}, "now"));
    this.element = h("li", { class: "card" },
      h("a", { href: "#/" + encodeURIComponent(name) },
        this.screen = h("div", { class: "screen" }, this.picture, this.veil),
        h("div", { class: "card-body" }, h("div", { class: "card-title" }, this.title, this.state), this.facts, this.span, this.error),
        h("div", { class: "strip-box" }, this.strip, this.stripLabel)));
    this.spans = null;
    this.watcher = new IntersectionObserver(([e]) => {
      this.seen = e.isIntersecting;
      if (this.seen) this.want();
    }, { rootMargin: "200px" });
    this.watcher.observe(this.element);
    this.element.addEventListener("pointerenter", (e) => { if (e.pointerType === "mouse") this.resting = setTimeout(() => this.play(), hoverWait); });
    this.element.addEventListener("pointerleave", () => this.stop());
    signal.addEventListener("abort", () => this.stop());
    addEventListener("themechange", () => this.paintStrip(), { signal });
  }

  // play shows the stream live in its card, as long as the pointer is on it.
  play() {
    if (!this.stream?.live || this.player) return;
    const video = h("video", { class: "moving", playsInline: true, muted: true, "aria-hidden": "true", tabindex: "-1" });
    this.player = new Player(video, this.name, async () => null);
    this.player.addEventListener("change", () => this.screen.classList.toggle("plays", this.player?.state === "playing"));
    this.screen.append(video);
    this.player.live();
  }

  stop() {
    clearTimeout(this.resting);
    const player = this.player;
    if (!player) return;
    this.player = null;
    this.screen.classList.remove("plays");
    player.destroy();
    player.video.remove();
  }

  destroy() {
    this.stop();
    this.watcher.disconnect();
    this.pictures.forget(this);
    this.element.remove();
  }

  update(s) {
    this.stream = s;
    this.element.dataset.state = s.state;
    setText(this.state, stateNames[s.state] ?? s.state);
    setText(this.facts, [s.width ? s.width + " × " + s.height : "", fps(s.fps), bitRate(s.bit_rate)].filter(Boolean).join(" · ") || this.idleText(s));
    setText(this.span, this.spanText(s));
    setText(this.error, s.error ?? "");
    this.error.hidden = !s.error || s.live;
    this.element.querySelector("a").setAttribute("aria-label", s.name + ", " + (stateNames[s.state] ?? s.state));
    const video = s.tracks.filter((t) => t.kind === "video");
    const unplayable = video.length > 0 && !video.some((t) => t.playable);
    setText(this.veil.lastChild, unplayable ? codec(video[0].codec) + " does not play in a browser" : s.tracks.length && !video.length ? "Sound only" : s.first || s.live ? "" : "No picture yet");
    if (this.seen) this.want();
  }

  idleText(s) {
    if (s.state === "idle") return "connects when somebody watches";
    if (s.state === "connecting") return "reaching the camera";
    if (s.tracks.length && !s.width) return "audio only";
    return s.last ? "last seen " + when(Date.parse(s.last), false) : "";
  }

  spanText(s) {
    if (!s.first) return s.recording || s.live ? "recording begins" : "nothing recorded";
    const from = Date.parse(s.first), to = s.live ? Date.now() : Date.parse(s.last);
    return duration(to - from) + " since " + when(from, false) + " · " + bytes(s.bytes);
  }

  want() {
    if (!this.stream) return;
    this.pictures.want(this);
    if (this.stream.first && (!this.stripAt || Date.now() - this.stripAt > 60_000)) {
      this.stripAt = Date.now();
      this.loadStrip();
    }
    this.strip.parentElement.classList.toggle("without", !this.stream.first);
  }

  async loadStrip() {
    const to = Date.now();
    try {
      this.spans = (await api.timeline(this.name, to - stripSpan, to, 300)).spans;
      this.stripTo = to;
      this.paintStrip();
    } catch { /* the next one in a minute */ }
  }

  paintStrip() {
    if (!this.spans) return;
    const width = this.strip.clientWidth, height = this.strip.clientHeight, scale = devicePixelRatio || 1;
    this.strip.width = width * scale;
    this.strip.height = height * scale;
    const c = this.strip.getContext("2d");
    c.scale(scale, scale);
    c.fillStyle = getComputedStyle(this.strip).getPropertyValue("--recorded-edge");
    for (const s of this.spans) {
      const w = Math.max(2, (s.to - s.from) / stripSpan * width);
      c.fillRect(Math.min(width - w, (s.from - (this.stripTo - stripSpan)) / stripSpan * width), 0, w, height);
    }
  }
}

// Pictures takes the pictures of the cards that are seen, a few at a time, those
// that wait longest first: from the server, or, where that makes none, as the
// first frame of a playlist.
class Pictures {
  constructor(signal) {
    this.signal = signal;
    this.waiting = new Set();
    this.busy = 0;
    this.taken = new Map(); // name -> { at, of }
    this.stills = true; // whether the server makes pictures
  }

  forget(card) { this.waiting.delete(card); }

  // sourceOf returns where the newest picture is to be had, and what it is a
  // picture of, or null.
  sourceOf(s) {
    const video = s.tracks.filter((t) => t.kind === "video");
    const playable = !video.length || video.some((t) => t.playable);
    const still = (o) => (this.stills ? api.imageURL(s.name, { width: 640, ...o }) : null);
    if (!playable && !this.stills || s.tracks.length && !video.length) return null;
    if (s.live) return { still: still(), url: playable && api.liveURL(s.name), of: "live" };
    if (s.last && video.length) {
      const last = Date.parse(s.last);
      return { still: still({ time: last - 100 }), url: playable && api.rangeURL(s.name, last - 4000, last), of: s.last };
    }
    return null;
  }

  want(card) {
    const source = this.sourceOf(card.stream), had = this.taken.get(card.name);
    if (!source || document.hidden) return;
    const age = Date.now() - (had?.at ?? 0);
    if (had && (source.of === had.of ? source.of !== "live" || age < (source.still ? pictureAge : frameAge) : age < 5000)) return;
    this.waiting.add(card);
    this.run();
  }

  async run() {
    while (this.busy < (this.stills ? 3 : 2) && this.waiting.size && !this.signal.aborted) {
      const card = this.waiting.values().next().value;
      this.waiting.delete(card);
      const source = card.seen && this.sourceOf(card.stream);
      if (!source) continue;
      this.taken.set(card.name, { at: Date.now(), of: source.of });
      this.busy++;
      this.take(card, source).finally(() => { this.busy--; this.run(); });
    }
  }

  async take(card, source) {
    let picture = null;
    try {
      if (source.still) picture = await this.fetch(source.still);
      if (!picture && source.url) {
        const canvas = document.createElement("canvas");
        await grab(source.url, canvas, this.signal);
        picture = canvas;
      }
    } catch { /* another time */ }
    if (!picture || this.signal.aborted) return;
    card.picture.width = picture.width;
    card.picture.height = picture.height;
    card.picture.getContext("2d").drawImage(picture, 0, 0);
    picture.close?.();
    card.element.classList.add("has-picture");
  }

  // fetch returns a picture of the server, or null when it makes none.
  async fetch(url) {
    const answer = await fetch(url, { signal: this.signal, headers: { [api.consoleHeader]: "1" } });
    if (answer.ok) return createImageBitmap(await answer.blob());
    const code = (await answer.json().catch(() => null))?.error?.code;
    if (["no_decoder", "no_images", "not_found", "not_available"].includes(code)) this.stills = false;
    else if (answer.status >= 500) throw new Error(code); // busy: another time
    return null;
  }
}

function stored(key) { try { return localStorage.getItem(key); } catch { return null; } }
function store(key, value) { try { localStorage.setItem(key, value); } catch { /* not kept */ } }
