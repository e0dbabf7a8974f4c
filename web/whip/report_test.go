package whip

import (
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

// TestReport reads the reports of sessions that cannot come to be connected, and
// of one that is.
func TestReport(t *testing.T) {
	t.Parallel()
	bogus := func(lines ...string) func(string) string {
		return func(offer string) string {
			for _, l := range lines {
				offer += "a=candidate:1 1 " + l + "\r\n"
			}
			return offer
		}
	}
	for _, row := range []struct {
		name        string
		offer       func(string) string
		cause       cause
		error, hint string
		remote      string
	}{
		{"a dead port", bogus("udp 2130706431 127.0.0.1 9 typ host"), causeUnreached, "none of 1 pairs of candidates works: none of", "webrtc.addr", "udp host 127.0.0.1:9"},
		{
			"names", bogus("udp 2130706431 0f2c5a9e-0000-4000-8000-000000000001.local 50000 typ host"), causeNames,
			"told only names (0f2c5a9e-0000-4000-8000-000000000001.local)", "webrtc.mdns", "udp host 0f2c5a9e-0000-4000-8000-000000000001.local:50000",
		},
		{"nothing", bogus(), causeSilent, "told no candidates, and nothing of it arrived", "webrtc.addr", ""},
		{"other family", bogus("udp 2130706431 2001:db8::1 50000 typ host"), causeNoPair, "IPv4 and IPv6", "webrtc.addr", "udp host [2001:db8::1]:50000"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(o *Options) { o.ConnectTimeout = 600 * time.Millisecond })
			offer := row.offer(withoutCandidates(r.newClient(true, r.engine).makeOffer()))
			res, body := r.send("POST", "/whip/door", offer, "Content-Type", typeSDP)
			if res.StatusCode != http.StatusCreated {
				t.Fatal(res.Status, body)
			}
			session := res.Header.Get("Location")
			eventually(t, "the end", func() bool { return r.h.Stats()[0].Open == 0 })
			x := r.report(session)
			if x.State != "failed" || !strings.Contains(x.Error, row.error) || !strings.Contains(x.Hint, row.hint) || x.Ended == nil {
				t.Errorf("report: %+v", x)
			}
			if strings.Join(x.Candidates.Remote, " ") != row.remote || !strings.HasPrefix(strings.Join(x.Candidates.Local, " "), "udp host 127.0.0.1:") {
				t.Errorf("candidates: %+v", x.Candidates)
			}
			if row.cause == causeUnreached {
				if len(x.Pairs) != 1 || x.Pairs[0].Requests == 0 || x.Pairs[0].Responses != 0 || x.Pairs[0].Remote != row.remote {
					t.Errorf("pairs: %+v", x.Pairs)
				}
			}
			if f := r.h.Stats()[0].Failed; f[row.cause] != 1 {
				t.Errorf("counted: %v", f)
			}
		})
	}
}

func TestReportOfConnecting(t *testing.T) {
	r := newRig(t, nil)
	res, _ := r.send("POST", "/whip/door", withoutCandidates(r.newClient(true, r.engine).makeOffer()), "Content-Type", typeSDP)
	if x := r.report(res.Header.Get("Location")); x.State != "connecting" || x.Error != "" || x.Ended != nil || len(x.Candidates.Local) == 0 {
		t.Errorf("report: %+v", x)
	}
}

func TestReportOfConnected(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.left = []string{"audio"}
	c := r.newClient(false, r.engine)
	c.post("/whep/door", c.makeOffer())
	eventually(t, "media", func() bool { return c.packets.Load() > 0 })
	x := r.report(c.location)
	if x.State != "connected" || len(x.Pairs) == 0 || x.Pairs[0].State != "succeeded" || !x.Pairs[0].Nominated || x.Pairs[0].Responses == 0 || len(x.LeftOut) != 1 {
		t.Errorf("report: %+v", x)
	}
	eventually(t, "the count", func() bool { return r.h.Stats()[1].Connected == 1 })
	r.conn().fail(errors.New("the camera was unplugged"))
	eventually(t, "the end", func() bool { return r.h.Stats()[1].Open == 0 })
	if x = r.report(c.location); x.State != "failed" || x.Error != "the camera was unplugged" || len(x.Pairs) == 0 {
		t.Errorf("report: %+v", x)
	}
	if res, body := r.patch(c.location, c.etag, fragmentOf(t, c.offer, true)); res.StatusCode != http.StatusGone || !strings.Contains(body, "unplugged") {
		t.Errorf("PATCH: %s %s", res.Status, body)
	}
}

// TestLost ends a session whose client has gone without a word.
func TestLost(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.ConnectTimeout = time.Second })
	r.engine.SetICETimeouts(300*time.Millisecond, 10*time.Second, 50*time.Millisecond)
	c := r.newClient(true, r.engine)
	c.post("/whip/door", c.makeOffer())
	eventually(t, "the connection", func() bool { return r.h.Stats()[0].Connected == 1 })
	// Without its candidates the client neither sends nor answers any more.
	stopClient(t, c.pc)
	eventually(t, "the end", func() bool { return r.h.Stats()[0].Open == 0 })
	if x := r.report(c.location); x.State != "failed" || !strings.Contains(x.Error, "lost") || len(x.Pairs) == 0 {
		t.Errorf("report: %+v", x)
	}
	if f := r.h.Stats()[0].Failed; f[causeLost] != 1 {
		t.Errorf("counted: %v", f)
	}
}

func stopClient(t *testing.T, pc *webrtc.PeerConnection) {
	t.Helper()
	if err := pc.SCTP().Transport().ICETransport().Stop(); err != nil {
		t.Fatal(err)
	}
}

// TestClosed ends a session whose client closes the connection, and no error is
// made of it.
func TestClosed(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.newClient(true, r.engine)
	c.post("/whip/door", c.makeOffer())
	eventually(t, "the connection", func() bool { return r.h.Stats()[0].Connected == 1 })
	if err := c.pc.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end", func() bool { return r.h.Stats()[0].Open == 0 })
	if x := r.report(c.location); x.State != "ended" || x.Error != "" {
		t.Errorf("report: %+v", x)
	}
}

// TestForgotten forgets reports in time.
func TestForgotten(t *testing.T) {
	now := time.Now()
	var mu sync.Mutex
	r := newRig(t, func(o *Options) {
		o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	})
	res, _ := r.send("POST", "/whip/door", r.newClient(true, r.engine).makeOffer(), "Content-Type", typeSDP)
	session := res.Header.Get("Location")
	r.send("DELETE", session, "")
	for _, row := range []struct {
		after  time.Duration
		status int
	}{{119 * time.Second, 200}, {2 * time.Second, 404}} {
		mu.Lock()
		now = now.Add(row.after)
		mu.Unlock()
		if res, _ := r.send("GET", session, ""); res.StatusCode != row.status {
			t.Errorf("%s later: %s", row.after, res.Status)
		}
	}
}

// TestNoLeak opens and closes two hundred sessions.
func TestNoLeak(t *testing.T) {
	r := newRig(t, nil)
	offer := r.newClient(true, r.engine).makeOffer()
	var before int
	eventually(t, "quiet", func() bool { n := before; before = runtime.NumGoroutine(); return n == before })
	work := make(chan int)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range work {
				res, body := r.send("POST", "/whip/door", offer, "Content-Type", typeSDP)
				if res.StatusCode != http.StatusCreated {
					t.Errorf("POST: %s %s", res.Status, body)
					continue
				}
				if res, body := r.send("DELETE", res.Header.Get("Location"), ""); res.StatusCode != http.StatusOK {
					t.Errorf("DELETE: %s %s", res.Status, body)
				}
			}
		})
	}
	for i := range 200 {
		work <- i
	}
	close(work)
	wg.Wait()
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "no more goroutines than before", func() bool { return runtime.NumGoroutine() <= before })
	if s := r.h.Stats()[0]; s.Open != 0 || s.Opened != 200 {
		t.Errorf("stats %+v", s)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	if len(r.h.ended) != 200 || len(r.h.sessions) != 200 || r.h.opening != 0 {
		t.Errorf("%d ended, %d remembered, %d opening", len(r.h.ended), len(r.h.sessions), r.h.opening)
	}
}
