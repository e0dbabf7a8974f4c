// Saving the picture of the moment that is shown.

import { consoleHeader, imageURL } from "./api.js";
import { h, toast } from "./dom.js";

// savePicture saves what was filmed at ms, as the server has it, in full size;
// where it cannot make one, what the player shows.
export async function savePicture(name, video, ms) {
  if (ms !== null) {
    try {
      const answer = await fetch(imageURL(name, { time: Math.round(ms), exact: "frame" }), { headers: { [consoleHeader]: "1" } });
      if (answer.ok) {
        save(await answer.blob(), name, Date.parse(answer.headers.get("Kineweir-Time")) || ms, "jpg");
        return toast("Picture saved");
      }
    } catch { /* the picture on the screen is as good */ }
  }
  if (!video.videoWidth) return toast("There is no picture to save", "bad");
  const c = h("canvas", { width: video.videoWidth, height: video.videoHeight });
  c.getContext("2d").drawImage(video, 0, 0);
  c.toBlob((blob) => save(blob, name, ms ?? Date.now(), "png"), "image/png");
  toast("Picture saved as it is on the screen");
}

function save(blob, name, ms, ending) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name + " " + new Date(ms).toISOString().replace(/[:.]/g, "-") + "." + ending }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
