// The form that adds or changes a camera.

import * as api from "./api.js";
import { dialog, h, setText, toast } from "./dom.js";

// cameraFields returns the form; done is called with the name once it is saved.
export function cameraForm(done, existing = null) {
  const name = h("input", { id: "camera-name", required: true, pattern: "[A-Za-z0-9_.\\-]{1,256}", title: "letters, digits, _ . -", placeholder: "front-door", autocapitalize: "none", spellcheck: "false", autocomplete: "off" });
  const url = h("input", { id: "camera-url", required: true, type: "text", inputmode: "url", placeholder: "rtsp://user:password@192.0.2.10:554/stream1", autocapitalize: "none", spellcheck: "false", autocomplete: "off" });
  const transport = h("select", { id: "camera-transport" },
    h("option", { value: "auto" }, "Automatic"), h("option", { value: "tcp" }, "TCP"), h("option", { value: "udp" }, "UDP"));
  const demand = h("input", { id: "camera-demand", type: "checkbox" });
  if (existing) {
    name.value = existing.name;
    name.readOnly = true;
    url.value = existing.url;
    transport.value = existing.transport;
    demand.checked = existing.on_demand;
  }
  const said = h("p", { class: "form-error", role: "alert" });
  const button = h("button", { class: "button primary" }, existing ? "Save" : "Add camera");
  return h("form", {
    class: "camera-form",
    async onsubmit(e) {
      e.preventDefault();
      button.disabled = true;
      setText(said, "");
      try {
        await api.putCamera(name.value.trim(), { url: url.value.trim(), transport: transport.value, on_demand: demand.checked });
        toast(existing ? "Camera saved" : "Camera added: connecting");
        done(name.value.trim());
      } catch (err) {
        setText(said, err.message + (err.hint ? ": " + err.hint : ""));
      }
      button.disabled = false;
    },
  },
  h("div", { class: "field" }, h("label", { for: "camera-name" }, "Name of the stream"), name),
  h("div", { class: "field grow" }, h("label", { for: "camera-url" }, "Address of the camera"), url),
  h("div", { class: "field" }, h("label", { for: "camera-transport" }, "Transport"), transport),
  h("label", { class: "check", for: "camera-demand" }, demand, h("span", {}, "Connect only while somebody watches", h("small", {}, "Nothing is recorded otherwise."))),
  said, h("div", { class: "form-actions" }, button));
}

export function cameraDialog(done, existing = null) {
  const d = dialog(existing ? "Camera " + existing.name : "Add a camera", cameraForm((name) => { d.close(); done(name); }, existing));
  d.querySelector(existing ? "#camera-url" : "#camera-name").focus();
}
