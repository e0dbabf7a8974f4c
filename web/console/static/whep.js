// One viewer of a live stream over WebRTC. Events: "connected", "lost" (the
// connection has ended, or is interrupted for too long).

import { Exchange } from "./rtc.js";

const interrupted = 2500; // ms without an answer, then it counts as lost
const ntpEpoch = 2208988800000; // ms from 1900 to 1970

export class Viewing extends EventTarget {
  constructor(stream) {
    super();
    this.media = new MediaStream();
    this.figures = null; // the newest of measure
    this.offset = null; // ms that pictures are away from now, in the time they were filmed at
    const pc = this.pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.exchange = new Exchange("whep", stream, pc);
    for (const kind of ["video", "audio"]) pc.addTransceiver(kind, { direction: "recvonly" });
    pc.addEventListener("track", (e) => {
      if ("jitterBufferTarget" in e.receiver) e.receiver.jitterBufferTarget = 0; // as little as the network allows
      this.media.addTrack(e.track);
    });
    pc.addEventListener("connectionstatechange", () => this.changed());
  }

  async open() {
    await this.exchange.open();
  }

  get leftOut() { return this.exchange.leftOut; }
  get connected() { return this.pc.connectionState === "connected"; }
  get hasVideo() { return this.media.getVideoTracks().length > 0; }
  get hasAudio() { return this.media.getAudioTracks().length > 0; }

  changed() {
    clearTimeout(this.patience);
    const lost = () => this.dispatchEvent(new Event("lost"));
    switch (this.pc.connectionState) {
      case "connected":
        this.dispatchEvent(new Event("connected"));
        break;
      case "disconnected":
        this.patience = setTimeout(lost, interrupted);
        break;
      case "failed":
      case "closed":
        if (!this.exchange.closed) lost();
    }
  }

  // measure asks the browser how it goes. latency is what passes between the
  // sending of a picture and its showing, in milliseconds.
  async measure() {
    if (this.exchange.closed) return null;
    let video = null, pair = null;
    const stats = await this.pc.getStats();
    for (const s of stats.values()) {
      if (s.type === "inbound-rtp" && (s.kind === "video" || !video)) video = s;
      if (s.type === "candidate-pair" && s.nominated && s.state === "succeeded") pair = s;
    }
    if (!video) return null;
    const per = (sum, count) => {
      const n = video[count] - (this.before?.[count] ?? 0), v = video[sum] - (this.before?.[sum] ?? 0);
      return n > 0 && v >= 0 ? v / n * 1000 : 0;
    };
    const rtt = (pair?.currentRoundTripTime ?? 0) * 1000;
    const buffer = per("jitterBufferDelay", "jitterBufferEmittedCount"), decode = video.kind === "video" ? per("totalDecodeTime", "framesDecoded") : 0;
    const seconds = this.before ? (video.timestamp - this.before.timestamp) / 1000 : 0;
    const end = (id) => { const c = stats.get(id); return c ? [c.protocol, c.candidateType, (c.address ?? "?") + ":" + c.port].join(" ") : ""; };
    this.figures = {
      rtt, buffer, decode, latency: rtt / 2 + buffer + decode,
      progress: video.framesDecoded ?? video.packetsReceived, lost: video.packetsLost,
      rate: seconds > 0 ? (video.bytesReceived - this.before.bytesReceived) * 8 / seconds : 0,
      pair: pair ? end(pair.localCandidateId) + " – " + end(pair.remoteCandidateId) : "",
    };
    this.before = video;
    let filmed = video.estimatedPlayoutTimestamp;
    if (filmed > 0 && video.kind === "video") {
      if (filmed > 1.5 * ntpEpoch) filmed -= ntpEpoch;
      this.offset = filmed - video.timestamp;
    }
    return this.figures;
  }

  close(keep = false) {
    clearTimeout(this.patience);
    this.exchange.close(keep);
  }
}

// Why WebRTC is not in use, for those who want to mend it.
export class Why {
  constructor(text, hint = "", pairs = []) {
    this.text = text;
    this.hint = hint;
    this.pairs = pairs; // as text
  }
}

// whyNot asks the server why a connection was never made. It knows for sure only
// when it has given up itself, and answers then.
export async function whyNot(exchange, text, signal, told) {
  for (let i = 0; i < 30 && !signal.aborted; i++) {
    try {
      const r = await exchange.report();
      const pairs = r.pairs.slice(0, 8).map((p) => p.local + " – " + p.remote + ": " + p.state + ", " + p.requests + " checks sent, " + p.responses + " answered");
      if (signal.aborted) return;
      told(new Why(r.error ? text + ": " + r.error : text, r.hint ?? "", pairs));
      if (r.ended) return;
    } catch { return; }
    await new Promise((done) => setTimeout(done, 1000));
  }
}
