// The sign-in form.

import * as api from "./api.js";
import { h, setText } from "./dom.js";

export function signInView(main, done) {
  const user = h("input", { id: "user", name: "username", autocomplete: "username", required: true, autocapitalize: "none", spellcheck: "false" });
  const key = h("input", { id: "key", name: "password", type: "password", autocomplete: "current-password", required: true });
  const said = h("p", { class: "form-error", role: "alert" });
  const button = h("button", { class: "button primary wide" }, "Sign in");
  const form = h("form", {
    class: "signin card-form",
    async onsubmit(e) {
      e.preventDefault();
      button.disabled = true;
      setText(said, "");
      try {
        await api.signIn(user.value.trim(), key.value);
        done();
      } catch (err) {
        setText(said, err.status === 429 ? "Too many wrong keys. Wait a little and try again." : err.status === 401 ? "That user and key do not belong together." : err.message);
        button.disabled = false;
        key.select();
      }
    },
  },
  h("img", { src: "/console/icon.svg", alt: "", width: "48", height: "48" }),
  h("h1", {}, "Sign in"),
  h("label", { for: "user" }, "User"), user,
  h("label", { for: "key" }, "Password or key"), key,
  said, button,
  h("p", { class: "fine" }, "Users and keys stand in the credentials file of the server. Its first key was shown when the server was first started."));
  main.replaceChildren(h("div", { class: "center" }, form));
  user.focus();
}
