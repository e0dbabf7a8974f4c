// The JSON API, as the console uses it.

export class APIError extends Error {
  constructor(status, body) {
    const e = body?.error ?? {};
    super(e.message ?? (status ? "the server answered " + status : "the server cannot be reached"));
    this.status = status;
    this.code = e.code ?? "";
    this.hint = e.hint ?? "";
  }
}

// The page sends this with its own requests, so that the browser does not ask
// for a password in a window of its own.
export const consoleHeader = "Kineweir-Console";

let onSignedOut = () => {};
export function whenSignedOut(f) { onSignedOut = f; }
export function signedOut() { onSignedOut(); }

export async function call(method, path, body, { signal, quiet } = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method, signal, cache: "no-store",
      headers: { [consoleHeader]: "1", ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new APIError(0);
  }
  const text = await answer.text();
  let value = null;
  try { value = text ? JSON.parse(text) : null; } catch { /* not ours: a proxy's page */ }
  if (!answer.ok) {
    if (answer.status === 401 && !quiet) onSignedOut();
    throw new APIError(answer.status, value);
  }
  return value;
}

const name = encodeURIComponent;

export const session = () => call("GET", "/api/session", undefined, { quiet: true });
export const signIn = (user, key) => call("POST", "/api/session", { user, key }, { quiet: true });
export const signOut = () => call("DELETE", "/api/session");
export const info = () => call("GET", "/api/info");
export const streams = async (o) => (await call("GET", "/api/streams", undefined, o)).streams;
export const stream = (s, o) => call("GET", "/api/streams/" + name(s), undefined, o);
export const deleteStream = (s) => call("DELETE", "/api/streams/" + name(s));
export const camera = (s) => call("GET", "/api/cameras/" + name(s));
export const putCamera = (s, body) => call("PUT", "/api/cameras/" + name(s), body);
export const deleteCamera = (s) => call("DELETE", "/api/cameras/" + name(s));
export const settings = (s, o) => call("GET", "/api/streams/" + name(s) + "/settings", undefined, o);
export const putSettings = (s, body) => call("PUT", "/api/streams/" + name(s) + "/settings", body);
export const deleteSettings = (s) => call("DELETE", "/api/streams/" + name(s) + "/settings");
export const token = (s, body) => call("POST", "/api/streams/" + name(s) + "/token", body);

// timeline returns the recorded spans between two times, in milliseconds.
export async function timeline(s, from, to, points, o) {
  const q = new URLSearchParams({ start: Math.floor(from), end: Math.ceil(to), points: Math.max(1, Math.round(points)) });
  const t = await call("GET", "/api/streams/" + name(s) + "/timeline?" + q, undefined, o);
  return { spans: t.spans.map((p) => ({ from: Date.parse(p.start), to: Date.parse(p.end) })), resolution: t.resolution * 1000 };
}

// detections returns a page of what was seen by a stream, newest first.
export async function detections(s, { label, page, limit, start, end }, o) {
  const q = new URLSearchParams({ stream: s, order: "newest", limit });
  if (label) q.set("label", label);
  if (page) q.set("page", page);
  if (start) q.set("start", Math.floor(start));
  if (end) q.set("end", Math.ceil(end));
  const a = await call("GET", "/api/detections?" + q, undefined, o);
  return { detections: a.detections, next: a.next ?? "" };
}

export const liveURL = (s) => "/hls/" + name(s) + "/live.m3u8";

export function rangeURL(s, from, to) {
  const q = new URLSearchParams({ start: Math.floor(from) });
  if (to) q.set("end", Math.ceil(to));
  return "/hls/" + name(s) + "/index.m3u8?" + q;
}

export function clipURL(s, from, to) {
  return "/clip/" + name(s) + ".mp4?" + new URLSearchParams({ start: Math.floor(from), end: Math.ceil(to) });
}

// imageURL is that of a still picture: of the moment time in milliseconds, or,
// without one, of now.
export function imageURL(s, options = {}) {
  const q = new URLSearchParams(options).toString();
  return "/image/" + name(s) + ".jpg" + (q ? "?" + q : "");
}

// poll calls f now and every so often while the page is seen, one call at a
// time, until the signal aborts.
export function poll(f, every, signal) {
  let timer = 0, busy = false;
  const run = async () => {
    clearTimeout(timer);
    if (signal.aborted || busy) return;
    if (!document.hidden) {
      busy = true;
      try { await f(); } catch (e) { if (e.name !== "AbortError" && !(e instanceof APIError)) console.error(e); }
      busy = false;
    }
    if (!signal.aborted) timer = setTimeout(run, every);
  };
  document.addEventListener("visibilitychange", run, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  run();
  return run;
}
