// How the present comes to the player: WebRTC first, for its pictures are there
// at once and a tenth of a second old; where it does not connect, or does not
// carry the stream, HLS, without being asked. A connection that comes late is
// taken all the same.

import { APIError, signedOut } from "./api.js";
import { supported } from "./rtc.js";
import { Viewing, Why, whyNot } from "./whep.js";

const patience = 4000; // ms until HLS begins while WebRTC still tries
const pictureWait = 6000; // ms from the connection to a picture
const avoid = 300_000; // ms that WebRTC is left alone after it has failed
const stalled = 4; // seconds without a new picture

// What is known of WebRTC for as long as the page lives: by stream, and "" for
// the server.
const troubles = new Map(); // name -> { until, why }
const wishes = new Map(); // stream -> "hls", by the choice of who looks

// LiveWay is a part of a Player. Event of the player: "way", when anything of it
// has changed.
export class LiveWay {
  constructor(player) {
    this.player = player;
    this.viewing = null; // in use, or still trying
    this.using = false; // whether the viewing is what is shown
    this.why = null; // WebRTC is not in use
    this.leftOut = ""; // of what is shown over WebRTC
    this.quick = 0; // losses soon after a connection
  }

  // name is what is in use: "WebRTC", "LL-HLS", "HLS", or "" before it is known
  // and in the past.
  get name() {
    const { player } = this;
    if (player.mode !== "live" || player.state === "message") return "";
    if (this.using) return "WebRTC";
    if (!player.hls) return player.video.currentSrc && !player.video.srcObject && player.state !== "loading" ? "HLS" : "";
    if (!player.details) return "";
    return player.details.partList?.length || player.details.partTarget ? "LL-HLS" : "HLS";
  }

  // latency is that of the way in milliseconds, or null.
  get latency() {
    if (this.using) return this.viewing.figures?.latency || null;
    const s = this.player.hls?.latency;
    return this.name && s > 0 ? s * 1000 : null;
  }

  get wish() { return wishes.get(this.player.stream) ?? ""; }

  // soundLess: there is sound, but not this way.
  get soundLess() { return this.using && !this.viewing.hasAudio && /audio/i.test(this.leftOut); }

  changed() { this.player.dispatchEvent(new Event("way")); }

  // choose is the choice of who looks: "hls", or "" for WebRTC where it works.
  choose(way) {
    const { player } = this;
    if (way) wishes.set(player.stream, way);
    else wishes.delete(player.stream);
    troubles.delete(player.stream);
    troubles.delete("");
    this.quick = 0;
    if (player.mode === "live") player.live();
  }

  // begin plays the present.
  begin() {
    this.leave();
    const { player } = this;
    this.why = this.reason();
    if (this.why) player.liveHLS();
    else this.connect();
    this.changed();
  }

  // reason returns why WebRTC is not tried, or null.
  reason() {
    if (this.wish === "hls") return new Why("HLS was chosen");
    if (!supported()) return new Why("This browser has no WebRTC");
    for (const of of ["", this.player.stream]) {
      const t = troubles.get(of);
      if (t && t.until > Date.now()) return t.why;
    }
    return null;
  }

  async connect() {
    const { player } = this;
    player.unload();
    player.setState("loading");
    const viewing = this.viewing = new Viewing(player.stream);
    const current = () => viewing === this.viewing;
    this.ending = new AbortController();
    viewing.addEventListener("connected", () => { if (current()) this.connected(); });
    viewing.addEventListener("lost", () => { if (current()) this.lost(); });
    this.waiting = setTimeout(() => this.late(), patience);
    try {
      await viewing.open();
    } catch (e) {
      if (current()) this.refused(e);
      return;
    }
    if (!current()) return;
    this.leftOut = viewing.leftOut;
    if (/^video/i.test(this.leftOut)) return this.giveUp(new Why(this.leftOut), player.stream);
    if (this.why) this.ask(viewing);
  }

  // refused reads the answer to an offer that was not taken.
  refused(e) {
    const { player } = this;
    if (e.status === 401) return signedOut();
    if (e.status === 403) return player.fail("You may not watch this", e.message);
    if (e.status === 409 || e.code === "not_live") {
      player.fail("Not live", e.message, true);
      return player.laterRetry();
    }
    if (!(e instanceof APIError)) return this.giveUp(new Why("The browser does not take the answer: " + e.message), player.stream);
    if (e.status === 0) return this.giveUp(new Why(e.message));
    const everywhere = e.code === "not_found" || e.status === 405 || e.status === 501;
    if (everywhere) this.giveUp(new Why("This server has no WebRTC", "set webrtc.addr in the configuration of the server"), "");
    else this.giveUp(new Why(e.message, e.hint), player.stream);
  }

  // late begins HLS while the connection is still tried.
  late() {
    const { player } = this, viewing = this.viewing;
    if (viewing.connected) return;
    this.why = new Why("WebRTC did not connect within " + patience / 1000 + " s");
    if (viewing.exchange.resource) this.ask(viewing); // else the server is still at its answer, waking a camera perhaps
    player.liveHLS();
    this.changed();
  }

  // ask has the server say why the connection is not made.
  ask(viewing) {
    whyNot(viewing.exchange, this.why.text, this.ending.signal, (why) => {
      if (viewing !== this.viewing || this.using) return;
      this.why = why;
      if (why.hint) {
        troubles.set(this.player.stream, { until: Date.now() + avoid, why });
        this.drop(true);
      }
      this.changed();
    });
  }

  // giveUp goes on with HLS; of says what WebRTC is not tried for again soon.
  giveUp(why, of = null) {
    this.leave();
    this.why = why;
    if (of !== null) troubles.set(of, { until: Date.now() + avoid, why });
    if (!this.player.hls) this.player.liveHLS(); // else it has begun already
    this.changed();
  }

  // connected shows the pictures, unless one looks at something paused.
  connected() {
    const { player, viewing } = this;
    if (this.using || !viewing.media.getTracks().length) return;
    clearTimeout(this.waiting);
    if (player.mode !== "live" || player.state === "paused" || player.state === "message") return this.drop();
    const muted = player.video.muted;
    if (viewing.exchange.leftOut && !viewing.hasAudio && !muted && player.hls) return this.drop(); // sound is heard: it is not to end
    player.unload();
    this.using = true;
    this.why = null;
    this.since = Date.now();
    if (player.state !== "loading") player.setState("loading");
    player.video.srcObject = viewing.media;
    player.play();
    this.waiting = setTimeout(() => {
      if (viewing === this.viewing && viewing.hasVideo && !player.video.videoWidth) this.giveUp(new Why("WebRTC connected, but no picture came"), player.stream);
    }, pictureWait);
    this.watch(viewing);
    this.changed();
  }

  // watch measures, and sees when pictures stay away.
  watch(viewing) {
    let still = 0, before = -1;
    const look = async () => {
      const f = await viewing.measure().catch(() => null);
      if (viewing !== this.viewing) return;
      const { player } = this;
      if (f) {
        still = f.progress === before ? still + 1 : 0;
        before = f.progress;
        if (still >= stalled && player.state === "playing") player.setState("waiting");
        else if (still === 0 && player.state === "waiting" && !player.video.paused) player.setState("playing");
        this.changed();
      }
      this.measuring = setTimeout(look, 1000);
    };
    look();
  }

  // lost connects anew; what is not live any more is told by the server then.
  lost() {
    const { player } = this;
    if (!this.using) return this.drop(true);
    if (player.state === "paused") return this.drop();
    this.quick = Date.now() - this.since < 10_000 ? this.quick + 1 : 0;
    if (this.quick >= 3) return this.giveUp(new Why("WebRTC connects, but does not last"), player.stream);
    this.begin();
  }

  // drop lets go of the connection and leaves what is shown.
  drop(keep = false) {
    clearTimeout(this.waiting);
    clearTimeout(this.measuring);
    this.ending?.abort();
    this.viewing?.close(keep);
    this.viewing = null;
    this.using = false;
    this.changed();
  }

  // leave is for when something else is to be played.
  leave() {
    this.why = null;
    this.leftOut = "";
    this.drop();
  }

  // clock returns when the displayed picture was filmed, in milliseconds.
  clock() {
    if (!this.using || !this.player.video.videoWidth && this.viewing.hasVideo) return null;
    return Date.now() + (this.viewing.offset ?? -(this.viewing.figures?.latency ?? 0));
  }
}
