// One player for the present and the past of a stream. It knows which moment
// every frame was filmed at, and it plays any moment it is asked for: within
// what is loaded by seeking, elsewhere by another playlist, over gaps by going
// on at the next thing recorded. The present comes over WebRTC where that works
// (LiveWay decides), else over HLS.

import { consoleHeader, liveURL, rangeURL, signedOut } from "./api.js";
import { codec } from "./format.js";
import { LiveWay } from "./liveway.js";

const page = 3600_000; // of the past that one playlist holds, milliseconds
const nearNow = 4000; // closer to now than this is live

export class Player extends EventTarget {
  // next(ms) finds the first recorded moment at or after ms, or null.
  constructor(video, stream, next) {
    super();
    this.video = video;
    this.stream = stream;
    this.next = next;
    this.mode = "live";
    this.state = "loading"; // loading, playing, paused, waiting, message
    this.message = null;
    this.details = null; // of the playlist being played
    this.loaded = null; // {from, to} of a playlist of the past
    this.way = new LiveWay(this);
    this.serial = 0; // of the load under way: what belongs to an earlier one is ignored
    this.abort = new AbortController();
    const on = (type, f) => video.addEventListener(type, f, { signal: this.abort.signal });
    on("playing", () => { this.held = null; this.setState("playing"); });
    on("pause", () => { this.held = this.way.clock(); });
    on("pause", () => { if (this.state !== "message" && !video.ended && this.state !== "loading") this.setState("paused"); });
    on("waiting", () => { if (this.state === "playing") this.setState("waiting"); });
    on("ended", () => this.pageEnded());
    on("error", () => { if (!this.hls) this.fail("This video cannot be played", video.error?.message ?? ""); });
    on("timeupdate", () => this.keepUp());
    on("timeupdate", () => { if (this.state === "waiting" && !video.paused && video.readyState >= 3) this.setState("playing"); });
  }

  setState(state, message = null) {
    this.state = state;
    this.message = message;
    this.dispatchEvent(new Event("change"));
  }

  fail(title, text = "", retry = false) {
    this.way.leave();
    this.video.pause();
    this.setState("message", { title, text, retry });
  }

  // live plays what is being published now.
  live() {
    this.mode = "live";
    this.loaded = null;
    this.video.playbackRate = this.video.defaultPlaybackRate = 1; // the default is what a load goes back to
    this.way.begin();
  }

  liveHLS() { this.load(liveURL(this.stream)); }

  // at plays the moment ms.
  at(ms) {
    if (ms >= Date.now() - nearNow) return this.live();
    const position = this.positionOf(ms);
    if (position !== null) {
      if (this.mode === "live") this.dispatchEvent(new Event("leftlive"));
      this.way.leave();
      this.mode = "past";
      this.video.currentTime = position;
      this.play();
      this.dispatchEvent(new Event("change"));
      return;
    }
    this.loadPast(ms);
  }

  loadPast(ms) {
    const to = ms + page;
    this.way.leave();
    this.mode = "past";
    this.loaded = { from: ms, to: to > Date.now() ? null : to };
    this.load(rangeURL(this.stream, ms, this.loaded.to));
  }

  load(url) {
    this.unload();
    this.setState("loading");
    const serial = this.serial;
    if (!window.Hls?.isSupported()) {
      if (this.video.canPlayType("application/vnd.apple.mpegurl")) {
        this.video.src = url;
        this.play();
      } else {
        this.fail("This browser cannot play HLS", "Use a current Chrome, Edge, Firefox or Safari.");
      }
      return;
    }
    const hls = this.hls = new window.Hls({
      enableWorker: false, // fragmented MP4 needs no repacking, and a worker would need a looser content policy
      lowLatencyMode: this.mode === "live",
      startPosition: -1, // where EXT-X-START says, which in the past is the moment asked for; else the live edge
      liveSyncOnStallIncrease: 0.25,
      maxLiveSyncPlaybackRate: 1, // keepUp does it
      backBufferLength: 60,
      maxBufferLength: this.mode === "live" ? 20 : 30,
      xhrSetup: (xhr, u) => { xhr.open("GET", u, true); xhr.setRequestHeader(consoleHeader, "1"); },
    });
    const { Events } = window.Hls;
    const mine = (f) => (_, data) => { if (serial === this.serial) f(data); };
    hls.on(Events.LEVEL_UPDATED, mine((d) => { this.details = d.details; }));
    hls.on(Events.LEVEL_LOADED, mine((d) => { this.details = d.details; }));
    hls.on(Events.ERROR, mine((d) => this.failed(d)));
    hls.loadSource(url);
    hls.attachMedia(this.video);
    this.play();
  }

  // keepUp holds live playback as far behind as the server asks for: hls.js would
  // never catch up on the last second, as it does so with a second of buffer only.
  keepUp() {
    const { hls, video } = this;
    if (this.mode !== "live" || !this.details?.partTarget || video.paused || video.seeking) return;
    const late = hls.latency - hls.targetLatency;
    if (late > 4 && hls.liveSyncPosition > video.currentTime) {
      video.currentTime = hls.liveSyncPosition;
    } else if (late > 0.15) {
      video.playbackRate = late > 1 ? 1.25 : 1.1;
    } else if (late < 0.05 && video.playbackRate !== 1) {
      video.playbackRate = 1;
    }
  }

  unload() {
    this.serial++;
    this.hls?.destroy();
    this.hls = null;
    this.details = null;
    clearTimeout(this.again);
    this.held = null;
    if (this.video.srcObject) this.video.srcObject = null;
    this.video.removeAttribute("src");
    // Forget the position, and drop the events that are still to be told of it. A
    // seek before there was anything to play is where the next media would begin,
    // whatever it is, and leave a hole behind its first segment.
    this.video.load();
    this.video.currentTime = 0;
    this.recovered = 0;
  }

  failed(data) {
    if (data.details === "manifestIncompatibleCodecsError" || data.details === "bufferAddCodecError" || data.details === "bufferIncompatibleCodecsError") {
      return this.unplayable(data);
    }
    if (!data.fatal) return;
    const status = data.response?.code ?? 0;
    if (data.type === window.Hls.ErrorTypes.MEDIA_ERROR && this.recovered < 2) {
      this.recovered++;
      this.hls.recoverMediaError();
      return;
    }
    const said = saidBy(data);
    if (status === 401) return signedOut();
    if (status === 404 && this.mode === "past") return this.skipGap();
    if (status === 403) return this.fail("You may not watch this", said);
    if (status === 415) return this.fail("This cannot be played in a browser", said);
    if (status === 404 || status === 503) {
      this.fail(this.mode === "live" ? "Not live" : "Nothing to play", said || "Nobody publishes this stream now.", true);
    } else if (data.type === window.Hls.ErrorTypes.NETWORK_ERROR) {
      this.fail("The server does not answer", said, true);
    } else {
      this.fail("This video cannot be played", data.details, true);
    }
    this.laterRetry();
  }

  unplayable(data) {
    const what = data.mimeType ?? data.levels?.[0]?.attrs?.CODECS ?? "";
    const name = /hvc1|hev1/.test(what) ? codec("H265") : /av01/.test(what) ? "AV1" : what || "this codec";
    this.fail("This browser cannot decode " + name,
      name === "H.265" ? "H.265 needs a browser and a machine with a hardware decoder. Or set the camera to H.264, or play its H.264 sub-stream." : "Try another browser, or change the camera's codec.");
  }

  // laterRetry tries again by itself.
  laterRetry() {
    clearTimeout(this.again);
    this.again = setTimeout(() => this.retry(), 4000);
  }

  retry() {
    const ms = this.clock();
    if (this.mode === "live" || ms === null) this.live();
    else this.loadPast(ms);
  }

  // skipGap goes on where the next thing was recorded.
  async skipGap() {
    const serial = this.serial, from = this.loaded?.to ?? this.loaded?.from ?? 0;
    if (this.loaded?.to === null || from >= Date.now() - nearNow) return this.pastEnds();
    let ms = null;
    try { ms = await this.next(from); } catch { return this.fail("The server does not answer", "", true); }
    if (serial !== this.serial) return;
    if (ms === null) this.pastEnds();
    else this.loadPast(Math.max(ms, from));
  }

  pastEnds() {
    this.fail("The recording ends here", "Nothing newer was recorded.");
    this.dispatchEvent(new Event("end"));
  }

  // pageEnded goes on with the playlist of the hour after.
  pageEnded() {
    if (this.mode !== "past" || !this.loaded) return;
    this.skipGap();
  }

  async play() {
    const serial = this.serial;
    try {
      await this.video.play();
    } catch (e) {
      if (serial !== this.serial || e.name !== "NotAllowedError") return;
      if (!this.video.muted) {
        this.video.muted = true; // a page may not make noise before it is touched
        this.play();
      } else {
        this.setState("paused");
      }
    }
  }

  toggle() {
    if (this.state === "message") return this.retry();
    if (this.video.paused && this.video.srcObject && !this.way.using) return this.live(); // it ended meanwhile
    if (this.video.paused) this.play();
    else this.video.pause();
  }

  // clock returns the moment at which the displayed frame was filmed, in
  // milliseconds, or null.
  clock() {
    if (this.video.srcObject) return this.held ?? this.way.clock();
    const t = this.video.currentTime;
    const f = this.fragmentAt(t);
    if (f) return f.programDateTime + (t - f.start) * 1000;
    if (!this.hls && this.video.getStartDate) {
      const start = this.video.getStartDate().getTime();
      if (start > 0) return start + t * 1000;
    }
    return null;
  }

  fragmentAt(t) {
    const list = this.details?.fragments;
    if (!list?.length) return null;
    let low = 0, high = list.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (list[middle].start <= t) low = middle;
      else high = middle - 1;
    }
    const f = list[low];
    return f.programDateTime && t >= f.start - 0.5 && t < f.start + f.duration + 1 ? f : null;
  }

  // positionOf returns where in the loaded playlist a moment is, in seconds; of
  // one that was not recorded, where the next one is; null when the playlist
  // does not reach it.
  positionOf(ms) {
    const list = this.details?.fragments;
    if (!list?.length || !list[0].programDateTime) {
      if (!this.hls && this.video.getStartDate && this.loaded && ms >= this.loaded.from && ms < (this.loaded.to ?? Date.now())) {
        return Math.max(0, (ms - this.video.getStartDate().getTime()) / 1000);
      }
      return null;
    }
    const covers = this.loaded?.from ?? list[0].programDateTime;
    if (ms < Math.min(covers, list[0].programDateTime)) return null;
    for (const f of list) {
      if (ms < f.programDateTime + f.duration * 1000) return f.start + Math.max(0, ms - f.programDateTime) / 1000;
    }
    return null;
  }

  destroy() {
    this.abort.abort();
    this.way.leave();
    this.unload();
  }
}

// saidBy returns what the server said about a failed request.
function saidBy(data) {
  const text = data.networkDetails?.responseText ?? data.response?.text ?? "";
  try {
    const e = JSON.parse(text).error;
    return e.message + (e.hint ? " (" + e.hint + ")" : "");
  } catch {
    return text.length < 400 && !text.startsWith("<") ? text.trim() : "";
  }
}

// grab draws one frame of a playlist onto a canvas and lets go of it.
export function grab(url, canvas, signal) {
  return new Promise((resolve, reject) => {
    if (!window.Hls?.isSupported()) return reject(new Error("no HLS"));
    const video = document.createElement("video");
    video.muted = true;
    video.playsInline = true;
    const hls = new window.Hls({
      enableWorker: false, lowLatencyMode: false, maxBufferLength: 1, maxMaxBufferLength: 2, backBufferLength: 0,
      manifestLoadPolicy: { default: { maxTimeToFirstByteMs: 8000, maxLoadTimeMs: 12000, timeoutRetry: null, errorRetry: null } },
      xhrSetup: (xhr, u) => { xhr.open("GET", u, true); xhr.setRequestHeader(consoleHeader, "1"); },
    });
    const timer = setTimeout(() => done(new Error("timeout")), 15000);
    let over = false;
    const done = (err) => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      hls.destroy();
      video.removeAttribute("src");
      video.load();
      if (err) reject(err);
      else resolve();
    };
    signal?.addEventListener("abort", () => done(new Error("aborted")));
    const draw = () => {
      if (over || !video.videoWidth) return done(over ? null : new Error("no picture"));
      canvas.width = Math.min(640, video.videoWidth);
      canvas.height = Math.round(canvas.width * video.videoHeight / video.videoWidth);
      canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
      done(null);
    };
    video.addEventListener("loadeddata", () => {
      if (video.requestVideoFrameCallback) {
        video.requestVideoFrameCallback(draw);
        video.play().catch(() => {});
      } else {
        draw();
      }
    }, { once: true });
    hls.on(window.Hls.Events.ERROR, (_, d) => { if (d.fatal) done(new Error(d.details)); });
    hls.loadSource(url);
    hls.attachMedia(video);
  });
}
