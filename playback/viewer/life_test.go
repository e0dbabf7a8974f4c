package viewer

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
)

func TestNotLive(t *testing.T) {
	s := newServer(t, Options{})
	_, err := s.Open(t.Context(), "cam", offerOf(section("video", "recvonly", "rtpmap:96 VP8/90000")), "test")
	if !errors.Is(err, live.ErrNotLive) {
		t.Fatalf("error %v, want ErrNotLive", err)
	}
}

type wakeFunc func(context.Context, fragments.StreamName) error

func (f wakeFunc) Wake(ctx context.Context, n fragments.StreamName) error { return f(ctx, n) }

func TestStreamOnDemandIsWoken(t *testing.T) {
	hub := live.New()
	s := newServer(t, Options{Hub: hub, Waker: wakeFunc(func(context.Context, fragments.StreamName) error {
		newCamera(hub, "cam").frame()
		return nil
	})})
	next(t, open(t, s, "cam", clientOptions{engine: engine()}).video)

	asleep := errors.New("the camera does not answer")
	s = newServer(t, Options{Waker: wakeFunc(func(context.Context, fragments.StreamName) error { return asleep })})
	if _, err := s.Open(t.Context(), "cam", offerOf(section("video", "recvonly", "rtpmap:96 VP8/90000")), "test"); !errors.Is(err, asleep) || !errors.Is(err, live.ErrNotLive) {
		t.Fatalf("error %v, want that of the waker, and live.ErrNotLive", err)
	}
}

func TestTooMany(t *testing.T) {
	hub := live.New()
	newCamera(hub, "cam").frame()
	s := newServer(t, Options{Hub: hub, MaxViewers: 1})
	c := open(t, s, "cam", clientOptions{engine: engine()})
	if _, err := tryOpen(t, s, "cam", clientOptions{engine: engine()}); !errors.Is(err, ErrTooMany) {
		t.Fatalf("error %v, want ErrTooMany", err)
	}
	c.conn.Close(nil)
	open(t, s, "cam", clientOptions{engine: engine()})
}

func TestServerCloses(t *testing.T) {
	hub := live.New()
	newCamera(hub, "cam").frame()
	s := newServer(t, Options{Hub: hub})
	c := open(t, s, "cam", clientOptions{engine: engine()})
	next(t, c.video)
	s.Close()
	if err := c.conn.Err(); err == nil {
		t.Fatal("the viewer is not told why it ended")
	}
	if _, err := s.Open(t.Context(), "cam", offerOf(section("video", "recvonly", "rtpmap:96 H264/90000")), "test"); err == nil {
		t.Fatal("a closed server takes viewers")
	}
}

// TestViewerNeverAnswers closes a viewer whose remote description is never set.
func TestViewerNeverAnswers(t *testing.T) {
	hub := live.New()
	newCamera(hub, "cam").frame()
	s := newServer(t, Options{Hub: hub})
	offer, err := newClient(t, clientOptions{engine: engine()}).offer()
	must(t, err)
	c, err := s.Open(t.Context(), "cam", offer, "test")
	must(t, err)
	reason := errors.New("no answer could be made")
	c.Close(reason)
	c.Close(nil)
	if !errors.Is(c.Err(), reason) {
		t.Fatalf("error %v, want the first reason", c.Err())
	}
}

func TestViewerHangsUp(t *testing.T) {
	hub := live.New()
	cam := newCamera(hub, "cam")
	cam.frame()
	s := newServer(t, Options{Hub: hub})
	c := open(t, s, "cam", clientOptions{engine: engine()})
	next(t, c.video)
	must(t, c.pc.Close())
	select {
	case <-c.conn.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the viewer is still there")
	}
	if !errors.Is(c.conn.Err(), errHungUp) {
		t.Fatalf("error %v", c.conn.Err())
	}
	if n := cam.pub.Subscribers(); n != 0 {
		t.Fatalf("%d subscriptions are left", n)
	}
}

func TestPublisherIsReplaced(t *testing.T) {
	for _, origin := range []int64{0, 25125, 100000} {
		testReplaced(t, origin)
	}
}

func testReplaced(t *testing.T, origin int64) {
	hub := live.New()
	cam := newCamera(hub, "cam")
	cam.n = 1000 * cam.gop
	cam.frame()
	cam.frame()
	s := newServer(t, Options{Hub: hub})
	c := open(t, s, "cam", clientOptions{engine: engine()})
	next(t, c.video)
	before := next(t, c.video)
	cam.pub.Close()
	again := newCamera(hub, "cam")
	again.n = origin
	key := again.frame()
	g := next(t, c.video)
	if !same(g.payload, key.Payload) {
		t.Fatal("the viewer does not go on with the new publisher")
	}
	if d := int32(g.ts - before.ts); d <= 0 || d > 3*90000 {
		t.Fatalf("time goes on by %d ticks", d)
	}
	want := again.frame()
	h := next(t, c.video)
	if !same(h.payload, want.Payload) || h.ts-g.ts != 3600 {
		t.Fatalf("the frame after is %d ticks later", h.ts-g.ts)
	}
}

func TestPublisherReturnsWithAnotherCodec(t *testing.T) {
	hub := live.New()
	cam := newCamera(hub, "cam")
	cam.frame()
	s := newServer(t, Options{Hub: hub})
	c := open(t, s, "cam", clientOptions{engine: engine()})
	next(t, c.video)
	cam.pub.Close()
	hub.Publish("cam", []*fragments.Track{{ID: 1, Codec: fragments.VP8, TimeScale: 90000}})
	select {
	case <-c.conn.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the viewer is still there")
	}
	if !errors.Is(c.conn.Err(), ErrChanged) {
		t.Fatalf("error %v, want ErrChanged", c.conn.Err())
	}
}

func TestResolutionChanges(t *testing.T) {
	hub := live.New()
	cam := newCamera(hub, "cam")
	cam.gop = 2
	cam.frame()
	s := newServer(t, Options{Hub: hub})
	c := open(t, s, "cam", clientOptions{engine: engine()})
	next(t, c.video)
	cam.frame()
	next(t, c.video)
	wide := h264Track(1)
	wide.Width, wide.Height = 1920, 1080
	cam.video = wide
	want := cam.frame()
	if g := next(t, c.video); !same(g.payload, want.Payload) {
		t.Fatal("the viewer does not get the new pictures")
	}
}

type bFrame struct {
	head byte
	pts  int64
}

// steady returns frames in order.
func steady(head byte, from, n int64) (list []bFrame) {
	for i := range n {
		list = append(list, bFrame{head, from + i})
	}
	return list
}

// TestBFrames has rows of frames as "type PTS", in order of decoding.
func TestBFrames(t *testing.T) {
	const i, p, b, ref = 0x65, 0x41, 0x01, 0x21
	type frame = bFrame
	for _, row := range []struct {
		name    string
		frames  []frame
		reorder int
		passed  int
		left    string
		refuse  bool
	}{
		{"none", []frame{{i, 0}, {p, 1}, {p, 2}, {p, 3}, {p, 4}, {p, 5}}, -1, 6, "", false},
		{"layers in order", []frame{{i, 0}, {b, 1}, {p, 2}, {b, 3}, {p, 4}, {b, 5}}, -1, 6, "", false},
		{"two between", []frame{{i, 0}, {p, 3}, {b, 1}, {b, 2}, {p, 6}, {b, 4}, {b, 5}}, -1, 3, "4 of 7 frames", false},
		{"two between, as the stream says", []frame{{i, 0}, {p, 3}, {b, 1}, {b, 2}, {p, 6}, {b, 4}, {b, 5}}, 1, 3, "4 of 7 frames", false},
		{"pyramid", []frame{{i, 0}, {p, 4}, {ref, 2}, {b, 1}, {b, 3}, {p, 8}, {ref, 6}, {b, 5}, {b, 7}}, -1, 0, "", true},
		{"pyramid, as the stream says", []frame{{i, 0}, {p, 4}, {ref, 2}, {b, 1}, {b, 3}}, 2, 0, "", true},
		{"a clock that stumbles, of a stream without B-frames", []frame{{i, 0}, {p, 6}, {p, 4}, {p, 5}, {p, 3}, {p, 4}}, 0, 6, "", false},
		{"a clock that stumbles once", append([]frame{{i, 0}, {p, 6}, {p, 2}}, steady(p, 3, 20)...), -1, 23, "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			hub := live.New()
			track := h264Track(1)
			track.Reorder, track.Params = row.reorder, [][]byte{unhex("674d001f"), pps}
			cam := &camera{pub: hub.Publish("cam", []*fragments.Track{track})}
			for _, f := range row.frames {
				cam.write(&fragments.AccessUnit{Track: track, PTS: f.pts * 3600, DTS: fragments.NoDTS, Key: f.head == i, Payload: [][]byte{{f.head, byte(f.pts)}}})
			}
			s := newServer(t, Options{Hub: hub})
			c, err := tryOpen(t, s, "cam", clientOptions{engine: engine()})
			if row.refuse {
				var refused *RefusedError
				if !errors.As(err, &refused) || !strings.Contains(err.Error(), "B-frames") || !strings.Contains(err.Error(), "LL-HLS") {
					t.Fatalf("error %v, want a refusal that names B-frames and LL-HLS", err)
				}
				return
			}
			must(t, err)
			for n := range row.passed {
				g := next(t, c.video)
				if g.payload[0][0]&0x60 == 0 && row.left != "" {
					t.Fatalf("frame %d is a B-frame", n)
				}
			}
			if left := strings.Join(c.conn.LeftOut(), "\n"); !strings.Contains(left, row.left) || row.left == "" && left != "" {
				t.Fatalf("left out: %q, want %q", left, row.left)
			}
		})
	}
}

func TestDisposableH265(t *testing.T) {
	for _, row := range []struct {
		name string
		nalu []byte
		want bool
	}{
		{"TRAIL_N", []byte{0 << 1, 1}, true},
		{"TRAIL_R", []byte{1 << 1, 1}, false},
		{"RASL_N", []byte{8 << 1, 1}, true},
		{"RASL_R", []byte{9 << 1, 1}, false},
		{"IDR", []byte{19 << 1, 1}, false},
		{"CRA", []byte{21 << 1, 1}, false},
		{"TSA_N of the highest layer", []byte{2 << 1, 3}, true},
		{"TRAIL_N below the highest layer", []byte{0 << 1, 2}, false},
	} {
		o := &order{}
		if strings.Contains(row.name, "highest") {
			o.highest = 3
		}
		if got := o.disposableH265([][]byte{row.nalu}); got != row.want {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}

// TestReports checks that the clock of sender reports is that of the pictures.
func TestReports(t *testing.T) {
	hub := live.New()
	cam := newCamera(hub, "cam")
	s := newServer(t, Options{Hub: hub})
	stop := cam.run()
	c := open(t, s, "cam", clientOptions{engine: engine()})
	next(t, c.video)
	var found []*rtcp.SenderReport
	until(t, "two sender reports about video", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		found = found[:0]
		for _, r := range c.reports {
			if r.SSRC == c.packets[0].SSRC {
				found = append(found, r)
			}
		}
		return len(found) >= 2
	})
	stop()
	first, second := found[0], found[1]
	// The camera's clock is an hour slow.
	at := time.Unix(int64(first.NTPTime>>32)-ntpEpoch, 0)
	if d := time.Since(at); d < time.Hour || d > time.Hour+15*time.Second {
		t.Fatalf("the report is about a picture %v old, want an hour", d)
	}
	wall := float64(int64(second.NTPTime-first.NTPTime)) / (1 << 32)
	ticks := float64(int32(second.RTPTime-first.RTPTime)) / 90000
	if d := wall - ticks; d > 0.1 || d < -0.1 {
		t.Fatalf("between two reports the wall clock went %.3f s and the time stamps %.3f s", wall, ticks)
	}
}

// TestJoinsAndLeavesLeakNothing joins and leaves 500 times.
func TestJoinsAndLeavesLeakNothing(t *testing.T) {
	hub := live.New()
	cam := newCamera(hub, "cam")
	cam.frame()
	s := newServer(t, Options{Hub: hub})
	idle, err := newClient(t, clientOptions{engine: engine()}).offer()
	must(t, err)
	round := func(n int) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for i := range n / 4 {
					if i%10 != 0 {
						conn, err := s.Open(context.Background(), "cam", idle, "test")
						if err != nil {
							t.Error(err)
							return
						}
						conn.Close(nil)
						continue
					}
					c, err := tryOpen(t, s, "cam", clientOptions{engine: engine(), room: 4})
					if err != nil {
						t.Error(err)
						return
					}
					next(t, c.video) // so far that media flows
					c.conn.Close(nil)
					if err := c.pc.GracefulClose(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
	measure := func() (goroutines int, heap uint64) {
		for range 3 {
			runtime.GC()
			time.Sleep(10 * time.Millisecond) // finalizers
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	round(20)
	before, heap := measure()
	round(500)
	after, heapAfter := 0, uint64(0)
	for range 100 {
		if after, heapAfter = measure(); after <= before && heapAfter < heap+4<<20 {
			break
		}
	}
	if after > before || heapAfter > heap+4<<20 {
		buf := make([]byte, 1<<20)
		t.Fatalf("%d goroutines and %d bytes before, %d and %d after:\n%s", before, heap, after, heapAfter, buf[:runtime.Stack(buf, true)])
	}
	if st := s.Stats(); len(st.Viewers) != 0 || cam.pub.Subscribers() != 0 {
		t.Fatalf("viewers %v, %d subscriptions", st.Viewers, cam.pub.Subscribers())
	}
}

func FuzzOffer(f *testing.F) {
	f.Add(offerOf(section("video", "recvonly", "rtpmap:96 H264/90000", "fmtp:96 packetization-mode=1;profile-level-id=42e01f", "rtcp-fb:96 nack pli", "rtpmap:97 rtx/90000", "fmtp:97 apt=96")))
	f.Add(offerOf(section("audio", "recvonly", "rtpmap:111 opus/48000/2"), section("video", "inactive")))
	f.Add("v=0\r\n")
	f.Add(offerOf(section("video", "sendrecv", "rtpmap:98 VP9/90000", "fmtp:98 profile-id=2", "rtpmap:45 AV1/90000", "rtpmap:49 H265/90000", "fmtp:49 profile-id=1")))
	f.Fuzz(func(t *testing.T, text string) {
		o, err := parseOffer(text)
		var refused *RefusedError
		if err != nil {
			if !errors.As(err, &refused) {
				t.Fatalf("error %v is no refusal", err)
			}
			return
		}
		o.names()
		for _, row := range carried {
			tracks := [2]*fragments.Track{}
			tracks[index(row.track.Kind())] = &row.track
			legs, _, err := negotiate(o, tracks, nil)
			if err != nil {
				if !errors.As(err, &refused) || err.Error() == "" {
					t.Fatalf("error %v is no refusal", err)
				}
				continue
			}
			if err := register(&webrtc.MediaEngine{}, legs); err != nil {
				t.Fatalf("what was chosen of the offer cannot be answered: %v", err)
			}
		}
	})
}

func TestStreamEnds(t *testing.T) {
	hub := live.New()
	cam := newCamera(hub, "cam")
	cam.frame()
	s := newServer(t, Options{Hub: hub})
	s.patience = 20 * time.Millisecond
	c := open(t, s, "cam", clientOptions{engine: engine()})
	next(t, c.video)
	cam.pub.Close()
	select {
	case <-c.conn.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the viewer is still there")
	}
	if !errors.Is(c.conn.Err(), live.ErrEnded) {
		t.Fatalf("error %v, want ErrEnded", c.conn.Err())
	}
}

// TestCloseWhileOpening closes the server while a viewer waits for parameters.
func TestCloseWhileOpening(t *testing.T) {
	hub := live.New()
	hub.Publish("cam", []*fragments.Track{{ID: 1, Codec: fragments.H264, TimeScale: 90000}})
	s := newServer(t, Options{Hub: hub})
	failed := make(chan error, 1)
	go func() {
		_, err := s.Open(context.Background(), "cam", offerOf(section("video", "recvonly", "rtpmap:96 H264/90000", "fmtp:96 packetization-mode=1")), "test")
		failed <- err
	}()
	until(t, "the viewer", func() bool { return s.Stats().Viewers["cam"] == 1 })
	s.Close()
	if err := <-failed; !errors.Is(err, errClosed) {
		t.Fatalf("error %v, want errClosed", err)
	}
}
