"""A WebRTC client on GStreamer's webrtcbin, which shares no code with the server.

    peer.py publish URL CODEC SECONDS [KEYINT]
    peer.py view URL SECONDS

A publisher sends a picture with the time in it, as camera_test.go draws it, and a
tone as Opus, and makes key frames only when it is asked (or every KEYINT frames).
Both print a line of JSON when they end: what was sent or received; of what was
received, clocks are the delays in ms from the time in the picture to its display.
"""
import json
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

Gst.init(None)

BITS, BLOCK, WIDTH, HEIGHT, FPS = 40, 16, 640, 360, 25

# Encoders that answer quickly, and how they are told the distance of key frames.
ENCODERS = {
    "H264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate=600 key-int-max={k} ! video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1 aggregate-mode=zero-latency",
    "H265": "x265enc tune=zerolatency speed-preset=ultrafast bitrate=600 key-int-max={k} ! h265parse ! rtph265pay config-interval=-1",
    "VP8": "vp8enc deadline=1 cpu-used=16 target-bitrate=600000 keyframe-max-dist={k} ! rtpvp8pay picture-id-mode=2",
    "VP9": "vp9enc deadline=1 cpu-used=8 target-bitrate=600000 keyframe-max-dist={k} ! rtpvp9pay picture-id-mode=2",
}


DECODERS = {
    "H264": "rtph264depay ! h264parse ! openh264dec",
    "H265": "rtph265depay ! h265parse ! libde265dec",
    "VP8": "rtpvp8depay ! vp8dec",
    "VP9": "rtpvp9depay ! vp9dec",
}


class Peer:
    def __init__(self, url):
        self.url, self.resource, self.over = url, None, False
        self.loop = GLib.MainLoop()
        self.out = {"error": "", "state": ""}
        self.gathered = threading.Event()

    def fail(self, why):
        self.out["error"] = self.out["error"] or why
        self.loop.quit()

    def run(self, pipeline, seconds):
        self.pipeline = pipeline
        self.bin = pipeline.get_by_name("peer")
        self.bin.connect("notify::ice-gathering-state", self.on_gathering)
        self.bin.connect("notify::connection-state", self.on_state)
        bus = pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", lambda _, m: self.fail(str(m.parse_error())))
        pipeline.set_state(Gst.State.PLAYING)
        GLib.timeout_add(int(seconds * 1000), self.loop.quit)
        self.loop.run()
        self.over = True
        if self.resource:
            request = urllib.request.Request(self.resource, method="DELETE")
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    self.out["deleted"] = answer.status
            except (urllib.error.URLError, OSError) as e:
                self.out["deleted"] = str(e)
        pipeline.set_state(Gst.State.NULL)
        print(json.dumps(self.out))

    def on_state(self, *_):
        self.out["state"] = self.bin.props.connection_state.value_nick
        if self.out["state"] == "failed" and not self.over:
            self.fail("the connection has failed")

    def on_gathering(self, *_):
        if self.bin.props.ice_gathering_state == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            self.gathered.set()

    def offer(self, *_):
        self.bin.emit("create-offer", None, Gst.Promise.new_with_change_func(self.on_offer, None))

    def on_offer(self, promise, _):
        reply = promise.get_reply()
        if reply is None or not reply.has_field("offer"):
            return self.fail("no offer")
        self.bin.emit("set-local-description", reply.get_value("offer"), Gst.Promise.new())
        threading.Thread(target=self.exchange, daemon=True).start()

    def exchange(self):
        self.gathered.wait(10)
        sdp = self.bin.props.local_description.sdp.as_text()
        request = urllib.request.Request(self.url, sdp.encode(), {"Content-Type": "application/sdp"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                text = answer.read().decode()
                self.resource = urllib.parse.urljoin(self.url, answer.headers["Location"])
        except urllib.error.HTTPError as e:
            return self.fail("%d %s" % (e.code, e.read().decode()))
        except OSError as e:
            return self.fail(str(e))
        _, message = GstSdp.SDPMessage.new_from_text(text)
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.bin.emit("set-remote-description", answer, Gst.Promise.new())


def picture(ms):
    """The clock picture of camera_test.go, as grey pixels."""
    bits = [ms >> (BITS - 1 - b) & 1 for b in range(BITS)]
    row = b"".join((b"\xeb" if b else b"\x10") * BLOCK for b in bits)
    inverse = b"".join((b"\x10" if b else b"\xeb") * BLOCK for b in bits)
    return row * BLOCK + inverse * BLOCK + GROUND


GROUND = b"".join(bytes(60 + (y + b * 7) % 90 for b in range(BITS) for _ in range(BLOCK)) for y in range(2 * BLOCK, HEIGHT))


def publish(url, codec, seconds, keyint):
    peer = Peer(url)
    peer.out.update(sent=0)
    pipeline = Gst.parse_launch(
        "webrtcbin name=peer bundle-policy=max-bundle latency=0 "
        "appsrc name=pictures is-live=true do-timestamp=true format=time "
        "caps=video/x-raw,format=GRAY8,width=%d,height=%d,framerate=%d/1 "
        "! queue max-size-buffers=2 leaky=downstream ! videoconvert ! video/x-raw,format=I420 ! %s "
        "! application/x-rtp,media=video,encoding-name=%s,payload=96 ! peer. "
        "audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! opusenc ! rtpopuspay "
        "! application/x-rtp,media=audio,encoding-name=OPUS,payload=97 ! peer."
        % (WIDTH, HEIGHT, FPS, ENCODERS[codec].format(k=keyint), codec)
    )
    source = pipeline.get_by_name("pictures")
    peer_bin = pipeline.get_by_name("peer")
    peer_bin.connect("on-negotiation-needed", peer.offer)

    def draw():
        if peer.out["state"] == "connected" or peer.out["sent"] < FPS:
            source.emit("push-buffer", Gst.Buffer.new_wrapped(picture(int(time.time() * 1000) & ((1 << BITS) - 1))))
            peer.out["sent"] += 1
        return True

    GLib.timeout_add(1000 // FPS, draw)
    peer.run(pipeline, seconds)


def view(url, seconds):
    peer = Peer(url)
    peer.out.update(frames=0, sound=0, clocks=[])
    pipeline = Gst.Pipeline()
    peer_bin = Gst.parse_launch("webrtcbin name=peer bundle-policy=max-bundle latency=20")
    pipeline.add(peer_bin)
    for kind, caps in (
        ("video", "application/x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000,packetization-mode=(string)1,profile-level-id=(string)42e01f;"
                  "application/x-rtp,media=video,encoding-name=VP8,payload=97,clock-rate=90000;"
                  "application/x-rtp,media=video,encoding-name=VP9,payload=98,clock-rate=90000;"
                  "application/x-rtp,media=video,encoding-name=H265,payload=99,clock-rate=90000"),
        ("audio", "application/x-rtp,media=audio,encoding-name=OPUS,payload=111,clock-rate=48000,encoding-params=(string)2"),
    ):
        peer_bin.emit("add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY, Gst.Caps.from_string(caps))

    def on_frame(sink):
        sample = sink.emit("pull-sample")
        buffer, now = sample.get_buffer(), int(time.time() * 1000)
        data = buffer.extract_dup(0, buffer.get_size())
        peer.out["frames"] += 1
        caps = sample.get_caps().get_structure(0)
        peer.out["size"] = "%dx%d" % (caps.get_value("width"), caps.get_value("height"))
        if caps.get_value("width") == WIDTH:
            ms = 0
            for b in range(BITS):
                ms = ms << 1 | (data[8 * WIDTH + b * BLOCK + 8] > 128)
            peer.out["clocks"].append((now & ((1 << BITS) - 1)) - ms)
        return Gst.FlowReturn.OK

    def on_pad(_, pad):
        if pad.direction != Gst.PadDirection.SRC:
            return
        encoding = pad.get_current_caps().get_structure(0).get_value("encoding-name")
        if encoding == "OPUS":
            sink = Gst.parse_bin_from_description("rtpopusdepay ! opusdec ! fakesink name=out sync=false signal-handoffs=true", True)
            sink.get_by_name("out").connect("handoff", lambda *_: peer.out.update(sound=peer.out["sound"] + 1))
        else:
            sink = Gst.parse_bin_from_description(
                "queue ! %s ! videoconvert ! video/x-raw,format=GRAY8 "
                "! appsink name=out sync=false emit-signals=true" % DECODERS[encoding], True)
            sink.get_by_name("out").connect("new-sample", on_frame)
        pipeline.add(sink)
        sink.sync_state_with_parent()
        pad.link(sink.get_static_pad("sink"))

    peer_bin.connect("pad-added", on_pad)
    GLib.idle_add(peer.offer)
    peer.run(pipeline, seconds)


if __name__ == "__main__":
    if sys.argv[1] == "publish":
        publish(sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5]) if len(sys.argv) > 5 else 100000)
    else:
        view(sys.argv[2], float(sys.argv[3]))
