// The exchange of WHIP and WHEP (RFC 9725): one peer connection with the server,
// opened by an offer, fed with candidates as they are found, and deleted.

import { APIError, consoleHeader } from "./api.js";

const gather = 60; // ms that candidates wait for others, to go out together

export const supported = () => typeof RTCPeerConnection === "function";

export class Exchange {
  // protocol is "whip" or "whep".
  constructor(protocol, stream, pc) {
    this.pc = pc;
    this.endpoint = "/" + protocol + "/" + encodeURIComponent(stream);
    this.resource = ""; // URL of the session, once there is one
    this.leftOut = ""; // what the server said it leaves out
    this.found = []; // candidates that are to be sent
    this.closed = false;
    pc.addEventListener("icecandidate", (e) => this.candidate(e.candidate));
    this.leaving = () => this.close();
    addEventListener("pagehide", this.leaving);
  }

  // open offers and takes the answer. The local description is set only when the
  // answer is there, for it names the servers that candidates are gathered from.
  async open() {
    const { pc } = this;
    const offer = await pc.createOffer();
    const answer = await send("POST", this.endpoint, { "Content-Type": "application/sdp" }, offer.sdp);
    this.resource = new URL(answer.headers.get("Location"), location.href).pathname;
    this.etag = answer.headers.get("ETag") ?? "*";
    this.leftOut = answer.headers.get("Kineweir-Left-Out") ?? "";
    const sdp = await answer.text();
    if (this.closed) return this.remove(); // it was not wanted any more
    const iceServers = servers(answer.headers.get("Link") ?? "");
    if (iceServers.length) pc.setConfiguration({ ...pc.getConfiguration(), iceServers });
    await pc.setLocalDescription(offer);
    await pc.setRemoteDescription({ type: "answer", sdp });
  }

  candidate(c) {
    if (!c?.candidate) return;
    this.found.push(c);
    this.later ??= setTimeout(() => { this.later = null; this.trickle(); }, gather);
  }

  // trickle tells the server what was found.
  async trickle() {
    const list = this.found.splice(0);
    if (this.closed || !list.length) return;
    try {
      await send("PATCH", this.resource, { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": this.etag }, fragment(this.pc.localDescription.sdp, list));
    } catch { /* the server sees the checks of those anyhow; should they not arrive, its report says so */ }
  }

  // report returns what the server knows of the way through the network.
  async report() {
    if (!this.resource) return null;
    return (await send("GET", this.resource, { Accept: "application/json" })).json();
  }

  // close ends the connection; the server is told unless keep is set, which
  // leaves it to find out by itself and to report why.
  close(keep = false) {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.later);
    removeEventListener("pagehide", this.leaving);
    this.pc.close();
    if (this.resource && !keep) this.remove();
  }

  remove() {
    // It outlives the page, and nobody waits for it.
    fetch(this.resource, { method: "DELETE", keepalive: true, headers: { [consoleHeader]: "1" } }).catch(() => {});
  }
}

async function send(method, url, headers, body) {
  let answer;
  try {
    answer = await fetch(url, { method, body, cache: "no-store", headers: { [consoleHeader]: "1", ...headers } });
  } catch {
    throw new APIError(0);
  }
  if (answer.ok) return answer;
  let said = null;
  try { said = JSON.parse(await answer.text()); } catch { /* not ours: a proxy's page */ }
  throw new APIError(answer.status, said);
}

// fragment writes candidates as RFC 8840 section 9 has it. All media go one way
// (max-bundle), which is that of the first section.
function fragment(sdp, candidates) {
  const line = (re) => sdp.match(re)?.[0].trim() ?? "";
  const mid = candidates[0].sdpMid ?? "0";
  return [line(/^a=ice-ufrag:.*$/m), line(/^a=ice-pwd:.*$/m), line(/^m=.*$/m), "a=mid:" + mid,
    ...candidates.map((c) => "a=" + c.candidate.replace(/^a=/, "")), ""].join("\r\n");
}

// servers reads Link: <turn:…>; rel="ice-server"; username="…"; credential="…".
function servers(link) {
  const list = [];
  for (const [, url, rest] of link.matchAll(/<([^>]*)>((?:\s*;\s*[\w-]+="(?:[^"\\]|\\.)*")*)/g)) {
    const values = Object.fromEntries([...rest.matchAll(/;\s*([\w-]+)="((?:[^"\\]|\\.)*)"/g)].map(([, k, v]) => [k, v.replace(/\\(.)/g, "$1")]));
    if (values.rel !== "ice-server") continue;
    list.push(values.username ? { urls: url, username: values.username, credential: values.credential } : { urls: url });
  }
  return list;
}
