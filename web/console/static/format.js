// How figures and times are written. All times are shown in the time zone of
// the one who looks.

export function bytes(n) {
  if (!n) return "0 B";
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let i = 0;
  while (n >= 999.5 && i < units.length - 1) { n /= 1000; i++; }
  return (i > 0 && n < 10 ? n.toFixed(1) : Math.round(n)) + " " + units[i];
}

export function bitRate(n) {
  if (!n) return "";
  if (n >= 999_500) return (n / 1e6).toFixed(n < 9.95e6 ? 1 : 0) + " Mbit/s";
  return Math.max(1, Math.round(n / 1000)) + " kbit/s";
}

export function fps(n) {
  if (!n) return "";
  const whole = Math.round(n);
  return (Math.abs(n - whole) < 0.2 ? whole : n.toFixed(1)) + " fps";
}

// duration writes a span of milliseconds in its two largest units.
export function duration(ms) {
  let s = Math.max(0, Math.round(ms / 1000));
  const parts = [];
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    const n = Math.floor(s / length);
    s -= n * length;
    if (n > 0 || (unit === "s" && parts.length === 0)) parts.push(n + " " + unit);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

// ago writes how far behind now a time is: 0:07, 1:23:45, 2 d 3 h.
export function ago(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s >= 86400) return duration(ms);
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(s / 3600), minutes = Math.floor(s / 60) % 60;
  return (hours > 0 ? hours + ":" + two(minutes) : minutes) + ":" + two(s % 60);
}

const clockFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const shortFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dateFormat = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });
const yearFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });

export const clock = (ms) => clockFormat.format(ms);
export const clockShort = (ms) => shortFormat.format(ms);
export const date = (ms) => (Date.now() - ms > 300 * 86400_000 ? yearFormat : dateFormat).format(ms);

// when writes a moment so that it can be told from others: the date is left
// out for today.
export function when(ms, seconds = true) {
  const time = seconds ? clock(ms) : clockShort(ms);
  return sameDay(ms, Date.now()) ? time : date(ms) + ", " + time;
}

export function sameDay(a, b) {
  const x = new Date(a), y = new Date(b);
  return x.getFullYear() === y.getFullYear() && x.getMonth() === y.getMonth() && x.getDate() === y.getDate();
}

export const stateNames = { live: "Live", connecting: "Connecting", error: "No signal", idle: "On demand", offline: "Offline" };

const codecNames = { H264: "H.264", H265: "H.265", PCMU: "G.711 µ-law", PCMA: "G.711 A-law" };

export const codec = (name) => codecNames[name] ?? name;

// track writes one track in a line.
export function track(t) {
  const parts = [codec(t.codec)];
  if (t.width) parts.push(t.width + " × " + t.height);
  if (t.sample_rate) parts.push((t.sample_rate / 1000) + " kHz");
  if (t.channels) parts.push({ 1: "mono", 2: "stereo" }[t.channels] ?? t.channels + " channels");
  return parts.join(" · ");
}
