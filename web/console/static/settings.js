// The settings of one stream: what is recorded, motion and its zones, a detector
// outside, and how the detectors fare.

import * as api from "./api.js";
import { fill, h, icon, setText, toast } from "./dom.js";
import { grab } from "./player.js";
import { ZoneEditor } from "./zones.js";

const states = { waiting: "Waiting: nobody publishes", idle: "Watching for motion", looking: "Looking", error: "Trouble" };

export function settingsView(main, context, signal, name) {
  new SettingsView(main, context, signal, name);
}

class SettingsView {
  constructor(main, context, signal, name) {
    this.name = name;
    this.signal = signal;
    this.fixed = false;
    const back = "#/" + encodeURIComponent(name);
    context.top.replaceChildren(h("a", { class: "icon-button", href: back, "aria-label": "Back to " + name, title: "Back to " + name }, icon("back")), h("h1", { class: "top-title" }, "Settings of " + name));
    addEventListener("keydown", (e) => { if (e.key === "Escape" && !e.target.closest("input, select, dialog, .zones")) location.hash = back; }, { signal });
    this.said = h("p", { class: "form-error", role: "alert" });
    main.replaceChildren(h("div", { class: "stream-view" }, h("p", { class: "nothing" }, "…")));
    this.view = main.firstElementChild;
    this.begin();
  }

  async begin() {
    try {
      this.loaded = await api.settings(this.name, { signal: this.signal });
    } catch (e) {
      if (e.name !== "AbortError") fill(this.view, h("p", { class: "nothing" }, { 403: "Only an administrator may see the settings.", 501: "This server keeps no settings of streams." }[e.status] ?? e.message));
      return;
    }
    this.build();
    this.take(this.loaded);
    this.newPicture();
    api.poll(async () => this.showDetectors((await api.settings(this.name, { signal: this.signal })).detectors), 3000, this.signal);
  }

  build() {
    this.fieldset = h("fieldset", { class: "settings-fields" }, this.buildRecording(), this.buildMotion(), this.buildDetector());
    this.save = h("button", { class: "button primary" }, "Save");
    this.defaults = h("button", { type: "button", class: "button", onclick: () => this.reset() }, "Back to defaults");
    this.fixedNote = h("p", { class: "trouble", hidden: true }, "These settings stand in the config file of the server, and are changed there, under streams.");
    this.actions = h("div", { class: "form-actions settings-actions" }, this.defaults, this.save);
    this.statuses = h("ul", { class: "statuses" });
    fill(this.view,
      h("div", { class: "stage-column" }, this.buildZones()),
      h("form", { class: "panel settings-panel", "aria-label": "Settings", onsubmit: (e) => { e.preventDefault(); this.store(); } }, this.fixedNote, this.fieldset,
        h("section", { class: "block" }, h("div", { class: "block-head" }, h("h2", {}, "Detectors now")), this.statuses), this.said, this.actions));
  }

  buildZones() {
    const z = this.zones = new ZoneEditor(this.signal);
    const button = (title, f, props) => h("button", { type: "button", class: "button small", onclick: f, ...props }, title);
    this.zoneButtons = {
      add: button("Add zone", () => z.add(false)), ignore: button("Add ignored zone", () => z.add(true)),
      close: button("Close zone", () => z.close()), remove: button("Delete zone", () => z.remove(), { class: "button small danger" }),
    };
    this.zoneNote = h("p", { class: "fine", role: "status" });
    this.pictureNote = h("p", { class: "fine" });
    for (const type of ["change", "select"]) z.addEventListener(type, () => this.showZones());
    return h("section", { class: "block zone-block", "aria-label": "Zones of motion" },
      h("div", { class: "block-head" }, h("h2", {}, "Zones"), h("button", { type: "button", class: "link", onclick: () => this.newPicture() }, "New picture")),
      z.element, h("div", { class: "zone-actions" }, Object.values(this.zoneButtons)), this.zoneNote, this.pictureNote);
  }

  buildRecording() {
    const choice = (value, title, small) => h("label", { class: "check" }, h("input", { type: "radio", name: "record", value, onchange: () => this.showParts() }), h("span", {}, title, h("small", {}, small)));
    this.around = h("div", { class: "field-pair" }, this.number("before", "Seconds before", 0, 300, 1), this.number("after", "Seconds after", 0, 300, 1));
    return h("section", { class: "block" }, h("div", { class: "block-head" }, h("h2", {}, "Recording")),
      h("div", { class: "camera-form" }, choice("all", "Everything", "All that is published is kept."), choice("events", "Around events only", "Kept is what detectors see something in, and a little more."), this.around));
  }

  buildMotion() {
    this.motionOn = h("input", { type: "checkbox", id: "motion-on", onchange: () => this.showParts() });
    this.sensitivity = h("input", { type: "range", id: "sensitivity", min: "1", max: "100", step: "1", value: "50", oninput: () => this.showSensitivity() });
    this.sensitivityText = h("output", { for: "sensitivity" });
    this.motionBox = h("div", { class: "camera-form" },
      h("div", { class: "field" }, h("div", { class: "field-line" }, h("label", { for: "sensitivity" }, "Sensitivity"), this.sensitivityText), this.sensitivity),
      h("div", { class: "field-pair" }, this.number("motion-fps", "Pictures a second", 1, 30, 1), this.number("motion-quiet", "Ends after, seconds", 0.5, 60, 0.5)));
    return h("section", { class: "block" }, h("div", { class: "block-head" }, h("h2", {}, "Motion"), h("label", { class: "check", for: "motion-on" }, this.motionOn, h("span", {}, "On"))), this.motionBox);
  }

  buildDetector() {
    this.detectorOn = h("input", { type: "checkbox", id: "detector-on", onchange: () => this.showParts() });
    const text = (id, title, placeholder, props) => h("div", { class: "field" }, h("label", { for: id }, title), h("input", { id, placeholder, autocapitalize: "none", spellcheck: "false", autocomplete: "off", ...props }));
    this.command = h("p", { class: "fine", hidden: true });
    this.detectorBox = h("div", { class: "camera-form" }, this.command,
      this.urlField = text("detector-url", "Address of the service", "http://127.0.0.1:9000/detect", { inputmode: "url" }),
      text("detector-name", "Name", "detector"),
      h("div", { class: "field-pair" }, this.number("detector-fps", "Pictures a second", 0.1, 30, 0.1), this.number("detector-min_score", "Least score", 0, 1, 0.05)),
      h("details", {}, h("summary", {}, "More"), h("div", { class: "camera-form" },
        h("div", { class: "field-pair" }, this.number("detector-width", "Width", 16, 1920, 1), this.number("detector-height", "Height", 16, 1080, 1)),
        h("div", { class: "field-pair" }, this.number("detector-sure", "Pictures to be sure", 1, 100, 1), this.number("detector-timeout", "Time-out, seconds", 0.1, 60, 0.1)),
        this.number("detector-quiet", "Ends after, seconds", 0.5, 60, 0.5))));
    return h("section", { class: "block" }, h("div", { class: "block-head" }, h("h2", {}, "Detector"), h("label", { class: "check", for: "detector-on" }, this.detectorOn, h("span", {}, "On"))), this.detectorBox);
  }

  // number is a field that may be left empty, for the default.
  number(id, title, min, max, step) {
    return h("div", { class: "field" }, h("label", { for: id }, title), h("input", { id, type: "number", min, max, step: step < 1 ? "any" : step, placeholder: "default", inputmode: "decimal" }));
  }

  field(id) { return this.view.querySelector("#" + CSS.escape(id)); }
  value(id) { const v = this.field(id).value.trim(); return v === "" ? 0 : Number(v); }

  // take shows what the server has.
  take(s) {
    this.fixed = s.fixed;
    for (const r of this.fieldset.querySelectorAll("input[name=record]")) r.checked = r.value === s.record;
    const put = (id, v) => { this.field(id).value = v ? String(v) : ""; };
    this.field("before").value = s.before;
    this.field("after").value = s.after;
    this.motionOn.checked = Boolean(s.motion);
    this.sensitivity.value = s.motion?.sensitivity || 50;
    put("motion-fps", s.motion?.fps);
    put("motion-quiet", s.motion?.quiet);
    this.zones.set(s.motion?.zones ?? []);
    this.detectorOn.checked = Boolean(s.detector);
    for (const k of ["url", "name", "fps", "width", "height", "timeout", "min_score", "sure", "quiet"]) put("detector-" + k, s.detector?.[k]);
    const command = s.detector?.command;
    this.command.hidden = !command;
    this.urlField.hidden = Boolean(command);
    setText(this.command, command ? "The program " + command.join(" ") : "");
    this.fieldset.disabled = this.zones.fixed = s.fixed;
    this.fixedNote.hidden = !s.fixed;
    this.actions.hidden = s.fixed;
    this.showSensitivity();
    this.showParts();
    this.showZones();
    this.showDetectors(s.detectors);
  }

  // body is what is sent: all that the page shows.
  body() {
    const d = (k) => this.value("detector-" + k);
    return {
      record: this.fieldset.querySelector("input[name=record]:checked")?.value ?? "all", before: this.value("before"), after: this.value("after"),
      motion: this.motionOn.checked ? {
        sensitivity: Number(this.sensitivity.value), fps: this.value("motion-fps"), quiet: this.value("motion-quiet"),
        zones: this.zones.zones.map((z) => ({ points: z.points, ignore: z.ignore })),
      } : null,
      detector: this.detectorOn.checked ? {
        url: this.field("detector-url").value.trim(), name: this.field("detector-name").value.trim(), fps: d("fps"), width: d("width"), height: d("height"),
        timeout: d("timeout"), min_score: d("min_score"), sure: d("sure"), quiet: d("quiet"),
      } : null,
    };
  }

  async store() {
    this.save.disabled = true;
    setText(this.said, "");
    try {
      this.zones.close();
      this.take(await api.putSettings(this.name, this.body()));
      toast("Settings saved");
    } catch (e) {
      setText(this.said, e.message + (e.hint ? ": " + e.hint : ""));
    }
    this.save.disabled = false;
  }

  async reset() {
    try {
      await api.deleteSettings(this.name);
      this.take(await api.settings(this.name));
      toast("Back to defaults");
    } catch (e) { setText(this.said, e.message + (e.hint ? ": " + e.hint : "")); }
  }

  showParts() {
    this.around.hidden = this.fieldset.querySelector("input[name=record]:checked")?.value !== "events";
    this.motionBox.hidden = !this.motionOn.checked;
    this.detectorBox.hidden = !this.detectorOn.checked;
    this.field("detector-url").required = this.detectorOn.checked && !this.urlField.hidden;
    this.showZones();
  }

  showSensitivity() {
    const v = Number(this.sensitivity.value);
    setText(this.sensitivityText, v + (v < 25 ? " · only what is plain" : v < 60 ? " · people and cars" : v < 85 ? " · small things" : " · whatever stirs"));
  }

  showZones() {
    const z = this.zones, b = this.zoneButtons, off = this.fixed || !this.motionOn.checked;
    b.add.hidden = b.ignore.hidden = off || Boolean(z.drawing);
    b.close.hidden = off || !z.drawing;
    b.close.disabled = (z.drawing?.points.length ?? 0) < 3;
    b.remove.hidden = off || z.chosen < 0;
    z.element.classList.toggle("off", !this.motionOn.checked);
    setText(this.zoneNote, !this.motionOn.checked ? "Zones are for motion: turn it on first."
      : z.drawing ? "Click the corners one after the other; the first one again closes the zone."
        : z.zones.length === 0 ? "Without a zone motion counts everywhere."
          : z.chosen >= 0 ? "Drag corners or the zone; the small dots make new corners."
            : (z.zones.some((o) => !o.ignore) ? "Motion counts in the zones alone" : "Motion counts everywhere") + (z.zones.some((o) => o.ignore) ? ", never in what is ignored." : "."));
  }

  showDetectors(list) {
    fill(this.statuses, ...(list.length ? list : [null]).map((d) => (d === null ? h("li", { class: "fine" }, "None is at work.")
      : h("li", { "data-state": d.state }, h("span", { class: "status-name" }, d.kind), h("span", { class: "status-state" }, states[d.state] ?? d.state),
        h("span", { class: "fine" }, d.pictures + " pictures · " + d.events + " events" + (d.skipped ? " · " + d.skipped + " skipped" : "")), d.error && h("span", { class: "status-error" }, d.error)))));
  }

  // newPicture puts the newest picture behind the zones.
  async newPicture() {
    let why = "";
    try {
      const answer = await fetch(api.imageURL(this.name, { width: 1280 }), { signal: this.signal, headers: { [api.consoleHeader]: "1" } });
      if (answer.ok) {
        this.zones.show(await createImageBitmap(await answer.blob()));
        return setText(this.pictureNote, "");
      }
      why = (await answer.json().catch(() => null))?.error?.message ?? "the server answered " + answer.status;
      const canvas = document.createElement("canvas");
      await grab(api.liveURL(this.name), canvas, this.signal);
      this.zones.show(canvas);
      setText(this.pictureNote, why);
    } catch (e) {
      if (!this.signal.aborted) setText(this.pictureNote, "There is no picture now: " + (why || e.message));
    }
  }
}
