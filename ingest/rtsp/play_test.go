package rtsp

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/conn"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/pion/rtcp"

	"github.com/kineweir/kineweir/fragments"
)

// A reader begins at the cached key frame and gets what follows, exact to a tick,
// over every transport.
func TestPlayExact(t *testing.T) {
	for _, tc := range []struct {
		name      string
		transport Transport
		tls       bool
	}{{"TCP", TCP, false}, {"UDP", UDP, false}, {"TLS", TCP, true}} {
		t.Run(tc.name, func(t *testing.T) {
			s, rec := newTestServer(t, nil)
			p, err := publish(t, s.url("cam"), nil)
			fatal(t, err)
			start := time.Now().Add(-time.Hour).Round(time.Microsecond)
			var sent []*fragments.AccessUnit
			send := func(from, to int) {
				for n := from; n < to; n++ {
					for _, au := range []*fragments.AccessUnit{movie(n, start), sound(2*n, start), sound(2*n+1, start)} {
						fatal(t, p.Write(au))
						sent = append(sent, au)
					}
				}
			}
			send(0, 25)
			in := rec.session(t, 0)
			in.waitUnits(t, 75)

			url := s.url("cam?who=me")
			if tc.tls {
				url = "rtsps://" + s.TLSAddr().String() + "/cam"
			}
			cams, out := pull(t, url, tc.transport)
			got := out.session(t, 0)
			got.waitUnits(t, 15) // from the key frame 20 on
			send(25, 35)
			units := got.waitUnits(t, 45)
			checkSame(t, units, sent[60:], tc.transport == UDP)
			if st := cams.status("cam"); st.Using != tc.transport || st.Retries != 0 {
				t.Errorf("status %+v", st)
			}

			// The end of the stream is the end of the reader.
			fatal(t, p.Close())
			got.waitClosed(t)
		})
	}
}

func TestPlayRights(t *testing.T) {
	s, rec := newTestServer(t, func(o *ServerOptions) { o.Auth = users{} })
	rec.hub.Publish("cam", []*fragments.Track{videoTrack})
	rec.hub.Publish("open", []*fragments.Track{videoTrack})
	rec.hub.Publish("pictures", []*fragments.Track{{ID: 1, Codec: fragments.Opaque, CodecID: "V_MJPEG"}})
	for _, tc := range []struct{ name, user, path, want string }{
		{"right password", "v:v@", "cam", ""},
		{"wrong password", "v:w@", "cam", "401"},
		{"nobody", "", "cam", "401"},
		{"nobody, public stream", "", "open", ""},
		{"anybody, public stream", "v:v@", "open", ""},
		{"not live", "", "open2", "401"},
		{"not live, for who may know", "u:pass%20word%2F1@", "cam2", "403"},
		{"name with a slash", "v:v@", "cam/x", "400"},
	} {
		err := describe("rtsp://" + tc.user + s.Addr().String() + "/" + tc.path)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	open, rec := newTestServer(t, nil)
	rec.hub.Publish("pictures", []*fragments.Track{{ID: 1, Codec: fragments.Opaque, CodecID: "V_MJPEG"}})
	for path, want := range map[string]string{"nothing": "404", "pictures": "415"} {
		if err := describe(open.url(path)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}

func describe(raw string) error {
	u, err := base.ParseURL(raw)
	if err != nil {
		return err
	}
	c := gortsplib.Client{Scheme: u.Scheme, Host: u.Host}
	if err := c.Start2(); err != nil {
		return err
	}
	defer c.Close()
	_, _, err = c.Describe(u)
	return err
}

// Sender reports come at once and then at intervals.
func TestPlayReports(t *testing.T) {
	s, rec := newTestServer(t, func(o *ServerOptions) { o.Reports = 100 * time.Millisecond })
	session, err := rec.Publish("cam", []*fragments.Track{videoTrack}, sourceOf("test"), func(error) {})
	fatal(t, err)
	session.Write(movie(0, time.Now()))
	u, err := base.ParseURL(s.url("cam"))
	fatal(t, err)
	tcp := gortsplib.TransportTCP
	c := gortsplib.Client{Scheme: u.Scheme, Host: u.Host, Transport: &tcp}
	fatal(t, c.Start2())
	defer c.Close()
	desc, _, err := c.Describe(u)
	fatal(t, err)
	fatal(t, c.SetupAll(desc.BaseURL, desc.Medias))
	reports := make(chan *rtcp.SenderReport, 100)
	c.OnPacketRTCPAny(func(_ *description.Media, pkt rtcp.Packet) {
		if sr, ok := pkt.(*rtcp.SenderReport); ok {
			reports <- sr
		}
	})
	begun := time.Now()
	_, err = c.Play(nil)
	fatal(t, err)
	next := func() *rtcp.SenderReport {
		select {
		case sr := <-reports:
			return sr
		case <-time.After(10 * time.Second):
			t.Fatal("no sender report")
			return nil
		}
	}
	next()
	first := next() // the one after the first packets
	if d := time.Since(begun); d > 2*time.Second || first.PacketCount == 0 || first.OctetCount < 3000 || first.SSRC == 0 {
		t.Errorf("first report after %v: %+v", d, first)
	}
	for n := 1; n < 30; n++ {
		session.Write(movie(n, begun))
		time.Sleep(10 * time.Millisecond)
	}
	if n := len(reports); n < 2 || n > 4 {
		t.Errorf("%d reports in 300 ms, want one per 100 ms", n)
	}
}

// A reader that takes nothing is left behind: the publisher and the other reader
// do not notice.
func TestSlowReader(t *testing.T) {
	s, rec := newTestServer(t, func(o *ServerOptions) { o.WriteTimeout = 300 * time.Millisecond })
	session, err := rec.Publish("cam", []*fragments.Track{videoTrack}, sourceOf("test"), func(error) {})
	fatal(t, err)
	session.Write(movie(0, time.Now()))
	stuck, err := net.Dial("tcp", s.Addr().String())
	fatal(t, err)
	defer stuck.Close()
	fatal(t, stuck.(*net.TCPConn).SetReadBuffer(4096))
	c := conn.NewConn(stuck)
	ask := func(method, url, extra string) *base.Response {
		t.Helper()
		_, err := fmt.Fprintf(stuck, "%s %s RTSP/1.0\r\nCSeq: 1\r\n%s\r\n", method, url, extra)
		fatal(t, err)
		res, err := c.ReadResponse()
		fatal(t, err)
		if res.StatusCode != base.StatusOK {
			t.Fatalf("%s: %v", method, res)
		}
		return res
	}
	res := ask("SETUP", s.url("cam/trackID=0"), "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n")
	id, _, _ := strings.Cut(res.Header["Session"][0], ";")
	ask("PLAY", s.url("cam"), "Session: "+id+"\r\n")

	_, out := pull(t, s.url("cam"), TCP)
	got := out.session(t, 0)
	got.waitUnits(t, 1)
	slowest := time.Duration(0)
	const units = 600
	for n := 1; n <= units; n++ {
		au := movie(n, time.Now())
		au.Payload[len(au.Payload)-1] = append(au.Payload[len(au.Payload)-1], bytes.Repeat([]byte{1}, 20_000)...)
		begun := time.Now()
		session.Write(au)
		slowest = max(slowest, time.Since(begun))
		time.Sleep(time.Millisecond)
	}
	if slowest > 200*time.Millisecond {
		t.Errorf("the publisher waited %v", slowest)
	}
	got.waitUnits(t, units+1)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		pub, err := rec.hub.Live("cam")
		fatal(t, err)
		if pub.Subscribers() == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the stuck reader is still there: %d subscribers", pub.Subscribers())
		}
	}
}

// A player of a camera on demand wakes it.
func TestPlayWakes(t *testing.T) {
	cam := newScripted(t, "127.0.0.1:0", script{})
	var cams *Cameras
	s, rec := newTestServer(t, func(o *ServerOptions) {
		cams = NewCameras(CamerasOptions{Publish: o.Publish, Hub: o.Hub, Logger: logTo(t), MinBackoff: 20 * time.Millisecond, IdleStop: 300 * time.Millisecond})
		o.Waker, o.WakeTimeout = cams, 5*time.Second
	})
	t.Cleanup(cams.Close)
	fatal(t, cams.Set(Camera{Name: "door", URL: cam.url(), OnDemand: true}))
	fatal(t, cams.Set(Camera{Name: "broken", URL: "rtsp://127.0.0.1:1/", OnDemand: true}))
	readers, out := pull(t, s.url("door"), TCP)
	units := out.session(t, 0).waitUnits(t, 20)
	if !units[0].Key || rec.session(t, 0).src.Protocol != "rtsp-pull" {
		t.Errorf("first unit %+v from %+v", units[0], rec.session(t, 0).src)
	}
	if err := describe(s.url("broken")); err == nil || !strings.Contains(err.Error(), "404") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a camera that cannot be woken: %v", err)
	}
	readers.Close()
	waitFor(t, "the camera to be left", func() bool { return cams.status("door").State == StateIdle })
}

// Closing the server ends publishers and players that are at it.
func TestCloseEndsEverything(t *testing.T) {
	s, rec := newTestServer(t, nil)
	p, err := publish(t, s.url("cam"), nil)
	fatal(t, err)
	fatal(t, p.Write(movie(0, time.Now())))
	rec.session(t, 0).waitUnits(t, 1)
	_, out := pull(t, s.url("cam"), UDP)
	out.session(t, 0)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { _ = describe(s.url("nothing")) })
	}
	s.Close()
	s.Close()
	wg.Wait()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if !rec.sessions[0].closed {
		t.Error("the session is open after Close")
	}
}

// ffmpeg pushes and ffmpeg plays what comes back, over every transport.
func TestFFmpegPlays(t *testing.T) {
	s, rec := newTestServer(t, nil)
	background(t, "ffmpeg", "ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", testVideo, "-f", "lavfi", "-i", testAudio,
		"-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-c:a", "aac",
		"-f", "rtsp", "-rtsp_transport", "tcp", s.url("cam"))
	rec.session(t, 0).waitUnits(t, 30)
	for _, tc := range []struct{ name, transport, url string }{
		{"TCP", "tcp", s.url("cam")}, {"UDP", "udp", s.url("cam")}, {"TLS", "tcp", "rtsps://" + s.TLSAddr().String() + "/cam"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			out := tool(t, "ffmpeg", "ffmpeg", "-v", "warning", "-rtsp_transport", tc.transport, "-i", tc.url,
				"-map", "0", "-t", "1", "-f", "framecrc", "-")
			video, audio := strings.Count(out, "\n0, "), strings.Count(out, "\n1, ")
			if video < 20 || audio < 20 || strings.Contains(out, "error while decoding") || strings.Contains(out, "concealing") {
				t.Errorf("%d frames, %d of sound\n%s", video, audio, out)
			}
		})
	}
}

func TestGStreamerPlays(t *testing.T) {
	s, rec := newTestServer(t, nil)
	background(t, "ffmpeg", "ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", testVideo,
		"-pix_fmt", "yuv420p", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=25:bframes=0",
		"-f", "rtsp", "-rtsp_transport", "tcp", s.url("cam"))
	rec.session(t, 0).waitUnits(t, 5)
	tool(t, "gstreamer1.0-tools gstreamer1.0-plugins-bad", "gst-launch-1.0", "-q", "rtspsrc", "latency=0", "protocols=tcp", "location="+s.url("cam"),
		"!", "rtph265depay", "!", "h265parse", "!", "fakesink", "num-buffers=20")
}
