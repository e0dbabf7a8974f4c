// One publisher: what a camera, a microphone or a screen gives, sent over WHIP
// until it is stopped. It comes back by itself when the network fails. Event:
// "change".

import { APIError, signedOut } from "./api.js";
import { Exchange } from "./rtc.js";
import { whyNot } from "./whep.js";

const interrupted = 4000; // ms, then the connection is made anew
const connectWait = 20_000;
const pauses = [1000, 2000, 4000, 8000, 15_000]; // between attempts, ms

// codecs lists what this browser can encode, best for us first: what every
// browser plays over HLS too comes before what only WebRTC plays.
export function codecs() {
  const all = RTCRtpSender.getCapabilities?.("video")?.codecs ?? [];
  return ["H264", "VP9", "AV1", "H265", "VP8"].filter((n) => all.some((c) => c.mimeType.toUpperCase() === "VIDEO/" + n));
}

export class Publisher extends EventTarget {
  // o: codec ("" for the best), maxRate in bit/s.
  constructor(stream, media, o) {
    super();
    this.stream = stream;
    this.media = media;
    this.o = o;
    this.state = "connecting"; // connecting, live, interrupted, stopped, failed
    this.error = null; // { text, hint }
    this.figures = null;
    this.attempt = 0;
    this.connect();
  }

  set(state, error = null) {
    this.state = state;
    this.error = error;
    this.dispatchEvent(new Event("change"));
  }

  async connect() {
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    const exchange = this.exchange = new Exchange("whip", this.stream, pc);
    const current = () => exchange === this.exchange;
    this.ending = new AbortController();
    this.before = null;
    for (const track of this.media.getTracks()) this.add(pc, track);
    pc.addEventListener("connectionstatechange", () => { if (current()) this.changed(pc.connectionState); });
    this.waiting = setTimeout(() => { if (current()) this.unconnected(); }, connectWait);
    try {
      await exchange.open();
    } catch (e) {
      if (current()) this.refused(e);
    }
  }

  add(pc, track) {
    const video = track.kind === "video";
    const t = pc.addTransceiver(track, { direction: "sendonly", streams: [this.media], sendEncodings: video && this.o.maxRate ? [{ maxBitrate: this.o.maxRate }] : undefined });
    if (!video || !t.setCodecPreferences) return;
    const all = RTCRtpSender.getCapabilities("video").codecs, kind = (c) => c.mimeType.toUpperCase().replace("VIDEO/", "");
    const order = this.o.codec ? [this.o.codec] : codecs();
    const chosen = order.flatMap((n) => all.filter((c) => kind(c) === n));
    if (chosen.length) t.setCodecPreferences([...chosen, ...all.filter((c) => ["RTX", "RED", "ULPFEC", "FLEXFEC-03"].includes(kind(c)))]);
  }

  changed(state) {
    clearTimeout(this.patience);
    switch (state) {
      case "connected":
        clearTimeout(this.waiting);
        this.attempt = 0;
        this.set("live");
        clearTimeout(this.measuring);
        this.measure(this.exchange);
        break;
      case "disconnected":
        this.set("interrupted");
        this.patience = setTimeout(() => this.again(), interrupted);
        break;
      case "failed":
      case "closed":
        if (this.state === "live" || this.state === "interrupted") this.again();
    }
  }

  // again makes the connection anew after a pause.
  async again(reason = null) {
    const old = this.exchange;
    if (!old) return;
    let said = reason;
    if (!said) {
      try {
        const r = await old.report(); // of one that the server ended it says why
        if (r?.error) said = { text: r.error, hint: r.hint ?? "" };
      } catch { /* it does not answer */ }
    }
    if (old !== this.exchange || this.state === "stopped") return;
    this.end();
    // Two that take it from each other by turns help nobody.
    if (/another publisher/.test(said?.text)) return this.set("failed", { text: "Another publisher has taken " + this.stream + " over", hint: "choose another name, or stop the other one" });
    this.set("interrupted", said);
    this.later = setTimeout(() => this.connect(), pauses[Math.min(this.attempt++, pauses.length - 1)]);
  }

  refused(e) {
    const ran = this.attempt > 0;
    this.end();
    if (!(e instanceof APIError)) return this.set("failed", { text: "The browser does not take the answer: " + e.message, hint: "choose another codec" });
    if (e.status === 401) { this.set("failed", { text: "You are signed out", hint: "" }); return signedOut(); }
    if (ran && (e.status === 0 || e.status === 409 || e.status >= 500)) return this.again({ text: e.message, hint: "" });
    const words = {
      403: ["You may not publish " + this.stream, e.hint || "ask for the right to publish it"],
      404: ["This server takes no streams by WebRTC", "set webrtc.addr in its configuration"],
      409: [e.code === "busy" ? "Somebody publishes " + this.stream + " already" : e.message, e.code === "busy" ? "choose another name, or stop the other publisher" : e.hint],
    }[e.status] ?? [e.message, e.hint];
    this.set("failed", { text: words[0], hint: words[1] });
  }

  // unconnected asks the server why the way is closed.
  unconnected() {
    const exchange = this.exchange;
    this.set("failed", { text: "No connection within " + connectWait / 1000 + " s", hint: "" });
    whyNot(exchange, "No connection", this.ending.signal, (why) => {
      if (this.state === "failed") this.set("failed", { text: why.text, hint: why.hint });
    }).finally(() => { if (this.state === "failed") this.end(); });
  }

  async measure(exchange) {
    if (exchange !== this.exchange || exchange.closed) return;
    try {
      const stats = await exchange.pc.getStats();
      let video = null, bytes = 0, at = 0, rtt = null, lost = null;
      for (const s of stats.values()) {
        if (s.type === "outbound-rtp") {
          bytes += s.bytesSent;
          at = s.timestamp;
          if (s.kind === "video") video = s;
        }
        if (s.type === "candidate-pair" && s.nominated && s.state === "succeeded") rtt = s.currentRoundTripTime ?? null;
        if (s.type === "remote-inbound-rtp" && s.kind === "video") lost = s.fractionLost ?? null;
      }
      const b = this.before, seconds = b ? (at - b.at) / 1000 : 0;
      this.figures = {
        rate: seconds > 0 ? (bytes - b.bytes) * 8 / seconds : 0, rtt: rtt === null ? null : rtt * 1000, lost,
        fps: video?.framesPerSecond ?? 0, width: video?.frameWidth ?? 0, height: video?.frameHeight ?? 0,
        codec: stats.get(video?.codecId)?.mimeType?.replace("video/", "") ?? "",
        limit: { bandwidth: "the network", cpu: "this machine" }[video?.qualityLimitationReason] ?? "",
      };
      if (at > 0) this.before = { at, bytes };
      this.dispatchEvent(new Event("change"));
    } catch { /* it was closed meanwhile */ }
    if (exchange === this.exchange) this.measuring = setTimeout(() => this.measure(exchange), 1000);
  }

  end() {
    for (const t of [this.waiting, this.patience, this.measuring, this.later]) clearTimeout(t);
    this.ending.abort();
    this.exchange?.close();
    this.exchange = null;
    this.figures = null;
  }

  stop() {
    this.end();
    if (this.state !== "failed") this.set("stopped");
  }
}
