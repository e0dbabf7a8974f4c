package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest/rtsp"
)

// fakeHouse stands for the server and the network of a demo.
type fakeHouse struct {
	mu       sync.Mutex
	events   []string
	units    map[string]int
	serveErr error // when set, the server ends at once
	writeErr error
}

func (h *fakeHouse) event(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, fmt.Sprintf(format, args...))
}

func (h *fakeHouse) serve(ctx context.Context, _ *Config, _ *slog.Logger, ready func(listening)) error {
	if h.serveErr != nil {
		return h.serveErr
	}
	ready(listening{HTTP: "http://h:1", RTSP: "rtsp://h:2"})
	<-ctx.Done()
	h.event("server stopped")
	return nil
}

type fakePublisher struct {
	h   *fakeHouse
	url string
}

func (h *fakeHouse) dial(_ context.Context, url string, tracks []*fragments.Track) (publisher, error) {
	h.event("dialed %s with %d tracks", url, len(tracks))
	return &fakePublisher{h, url}, nil
}

func (p *fakePublisher) Write(*fragments.AccessUnit) error {
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	p.h.units[p.url]++
	return p.h.writeErr
}

func (p *fakePublisher) Close() error {
	p.h.event("closed")
	return nil
}

func (h *fakeHouse) demo() (*demo, *bytes.Buffer) {
	h.units = map[string]int{}
	out := &bytes.Buffer{}
	return &demo{config: defaultConfig(), out: out, log: slog.New(slog.NewTextHandler(io.Discard, nil)), serve: h.serve, dial: h.dial}, out
}

// TestDemoPlays runs the demo for 20 seconds: every camera plays at its own
// pace over the seams, and stops before the server does.
func TestDemoPlays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHouse{}
		d, out := h.demo()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := d.run(ctx); err != nil {
			t.Fatal(err)
		}
		for name, perSecond := range map[string]float64{"front-door": 15 + 48000./1024, "yard": 15, "loading-dock": 15 + 50} {
			if got, want := h.units["rtsp://h:2/"+name], int(20*perSecond); got < want || got > want+3 {
				t.Errorf("%s sent %d access units in 20 s, want %d", name, got, want)
			}
			for _, url := range []string{"http://h:1/\n", "http://h:1/hls/" + name + "/live.m3u8", "http://h:1/clip/" + name + ".mp4?start=", "rtsp://h:2/" + name} {
				if !strings.Contains(out.String(), url) {
					t.Errorf("%s is not printed:\n%s", url, out)
				}
			}
		}
		if n := len(h.events); n != 7 || h.events[n-1] != "server stopped" || h.events[n-2] != "closed" {
			t.Errorf("events: %q, want the server to stop last", h.events)
		}
	})
}

// TestDemoOverRTSP plays the cameras over real RTSP for five seconds and finds
// their video kept with the times at which they filmed it.
func TestDemoOverRTSP(t *testing.T) {
	c := defaultConfig()
	c.Data = t.TempDir()
	a, err := archive.Open(t.Context(), archive.Options{Dir: c.Data, Bucket: mustBucket(t, c.Data)})
	if err != nil {
		t.Fatal(err)
	}
	serve := func(ctx context.Context, _ *Config, _ *slog.Logger, ready func(listening)) error {
		hub := live.New()
		sessions := recorder(a, hub, time.Now)
		server, err := rtsp.NewServer(rtsp.ServerOptions{Addr: "127.0.0.1:0", Publish: rtsp.PublishTo(sessions), Hub: hub, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		ready(listening{HTTP: "http://unused", RTSP: "rtsp://" + server.Addr().String()})
		<-ctx.Done()
		server.Close()
		sessions.Close()
		return nil
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	d := &demo{config: c, out: io.Discard, log: slog.New(slog.DiscardHandler), serve: serve, dial: dialRTSP}
	if err := d.run(ctx); err != nil {
		t.Fatal(err)
	}
	for _, camera := range demoCameras() {
		s, err := a.Stream(camera.name)
		if err != nil || s.Last == nil {
			t.Fatalf("%s: %+v, %v", camera.name, s, err)
		}
		from, to := s.First.Producer.Time(), s.Last.End().Time()
		if from.Before(begin.Add(-200*time.Millisecond)) || to.Sub(from) < 4*time.Second || to.After(time.Now().Add(200*time.Millisecond)) {
			t.Errorf("%s is kept from %s to %s, filmed from %s", camera.name, from, to, begin)
		}
		if len(s.Last.Runs) != len(camera.codecs) {
			t.Errorf("%s has %d tracks, want %v", camera.name, len(s.Last.Runs), camera.codecs)
		}
	}
	if err := a.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestDemoFails sees that what goes wrong ends the demo and is said.
func TestDemoFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		house *fakeHouse
		want  string
	}{
		{"server", &fakeHouse{serveErr: errors.New("port is taken")}, "port is taken"},
		{"camera", &fakeHouse{writeErr: errors.New("cable is cut")}, "cable is cut"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, _ := c.house.demo()
				if err := d.run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
			})
		})
	}
}

// TestDemoTakesOtherPorts sees the demo step aside where it may, and keep an
// address it was given.
func TestDemoTakesOtherPorts(t *testing.T) {
	usual := defaultConfig()
	l, err := net.Listen("tcp", string(usual.RTSP.Addr))
	if err == nil { // Otherwise somebody else has it, which is as good.
		defer l.Close()
	}
	given, err := freeAddress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := demoConfig(t.Context(), []setting{{"http.addr", string(given), "flag --http"}})
	if err != nil {
		t.Fatal(err)
	}
	if c.HTTP.Addr != given {
		t.Errorf("the given address became %s", c.HTTP.Addr)
	}
	if c.RTSP.Addr == usual.RTSP.Addr || !c.RTSP.Addr.loopback() || c.RTSP.Addr.port() == 0 {
		t.Errorf("RTSP is on %s, want a free port of this machine", c.RTSP.Addr)
	}
}

// TestDemoMotion sees motion switched on where there is ffmpeg, and said where
// there is none.
func TestDemoMotion(t *testing.T) {
	for _, tc := range []struct {
		ffmpeg  string
		streams int
		want    string
	}{{"go", 3, "tail detections --server http://h:1"}, {"/no/such/ffmpeg", 0, "install ffmpeg"}} {
		c := defaultConfig()
		c.Images.FFmpeg = tc.ffmpeg // any program there is: it is not run
		demoMotion(c)
		if len(c.Streams) != tc.streams {
			t.Errorf("%s: motion for %d cameras, want %d", tc.ffmpeg, len(c.Streams), tc.streams)
		}
		for name, s := range c.Streams {
			if set := s.detectors(); set.Motion == nil || set.Validate() != nil {
				t.Errorf("%s: %+v, %v", name, set, set.Validate())
			}
		}
		var out bytes.Buffer
		d := &demo{config: c, out: &out}
		if d.print(listening{HTTP: "http://h:1"}, time.Now()); !strings.Contains(out.String(), tc.want) {
			t.Errorf("%s: %q is not in\n%s", tc.ffmpeg, tc.want, &out)
		}
	}
}
