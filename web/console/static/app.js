// The page: which view is shown, who is signed in, and the bar at the top.

import * as api from "./api.js";
import { h, icon, iconButton, toast } from "./dom.js";
import { home } from "./home.js";
import { publishView } from "./publish.js";
import { settingsView } from "./settings.js";
import { streamView } from "./stream.js";
import { signInView } from "./signin.js";

const main = document.getElementById("main"), top = document.getElementById("top");

// context is what every view is given.
const context = { session: null, info: {}, top: null };
let leave = null; // ends the view that is shown

const wordmark = () => h("a", { class: "wordmark", href: "#/", "aria-label": "Kineweir: all streams" },
  h("img", { src: "/console/icon.svg", alt: "", width: "28", height: "28" }), h("span", {}, "Kineweir"));

function frame(signingIn = false) {
  const middle = h("div", { class: "top-middle" });
  const theme = iconButton("sun", "Light or dark", () => window.toggleTheme(), { class: "icon-button theme-button" });
  theme.append(icon("moon"));
  const right = h("div", { class: "top-right" }, theme);
  if (context.session?.signed_in) {
    right.append(h("span", { class: "who", title: "signed in as " + context.session.user }, context.session.user),
      iconButton("out", "Sign out", async () => {
        try { await api.signOut(); } catch (e) { toast(e.message, "bad"); }
        start();
      }));
  } else if (context.session && !context.session.open && context.session.anonymous && !signingIn) {
    right.append(h("button", { type: "button", class: "button small", onclick: showSignIn }, "Sign in"));
  }
  top.replaceChildren(wordmark(), middle, right);
  context.top = middle;
}

// route reads the view from the address: #/, #/stream?t=ms, #/stream/settings, or
// #/+publish?stream=name, which no stream can be called.
function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  let [name, part = ""] = path.split("/");
  try { name = decodeURIComponent(name); } catch { name = ""; /* an address typed wrong: the overview */ }
  const q = new URLSearchParams(query);
  return { name, part, at: Number(q.get("t")) || null, stream: q.get("stream") };
}

function show(view, signingIn = false) {
  leave?.abort();
  leave = new AbortController();
  frame(signingIn);
  for (const d of document.querySelectorAll("dialog")) d.close();
  main.replaceChildren();
  view(main, context, leave.signal);
  scrollTo(0, 0);
}

let shown = null;
function navigate() {
  const { name, part, at, stream } = route();
  const key = part ? name + "/" + part : name;
  if (key && key === shown) return dispatchEvent(new CustomEvent("playat", { detail: at }));
  const before = shown?.split("/")[0];
  shown = key;
  const title = name === "+publish" ? "Publish" : part === "settings" ? "Settings of " + name : name;
  document.title = title ? title + " · Kineweir" : "Kineweir";
  show((m, c, s) => {
    if (name === "+publish") publishView(m, c, s, stream);
    else if (part === "settings") settingsView(m, c, s, name);
    else if (name) streamView(m, c, s, name, at);
    else home(m, c, s, before);
  });
}

function showSignIn() {
  if (main.querySelector(".signin")) return;
  shown = null;
  document.title = "Sign in · Kineweir";
  show((m) => signInView(m, start), true);
}

async function start() {
  shown = null;
  try {
    context.session = await api.session();
    if (!context.session.open && !context.session.signed_in && !context.session.anonymous) return showSignIn();
    context.info = await api.info();
  } catch (e) {
    if (e.status === 401) return showSignIn();
    frame();
    const again = h("button", { type: "button", class: "button", onclick: start }, "Try again");
    main.replaceChildren(h("section", { class: "notice" }, icon("warning"), h("h1", {}, "The server does not answer"), h("p", {}, e.message), again));
    setTimeout(() => { if (again.isConnected) start(); }, 5000);
    return;
  }
  navigate();
}

api.whenSignedOut(showSignIn);
if (location.pathname === "/publish") history.replaceState(null, "", "/#/+publish" + location.search);
addEventListener("hashchange", navigate);
start();
