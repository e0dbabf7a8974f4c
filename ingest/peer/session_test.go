package peer_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/ingest/peer"
)

func open(t *testing.T, s *peer.Server, offer string) *peer.Connection {
	t.Helper()
	conn, err := s.Open(context.Background(), "cam", offer, ingest.Source{Protocol: "whip", Remote: "test"})
	fatal(t, err)
	return conn
}

// The second publisher takes the stream, once its media flow and not before.
func TestKicked(t *testing.T) {
	t.Parallel()
	m := movies().get(t, fragments.H264, 320)
	rec := newRecorder()
	s := newServer(t, rec, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	first, second := newClient(t, clientOptions{}), newClient(t, clientOptions{})
	first.sendVideo(ctx, m)
	one := first.connect(s, "cam")
	rec.session(t, 0).waitVideo(t, 5)
	later, send := context.WithCancel(ctx)
	second.gate = later
	second.sendVideo(ctx, m)
	two := second.connect(s, "cam")
	if !second.connected(ctx) {
		t.Fatal("the second publisher did not connect")
	}
	rec.session(t, 0).waitVideo(t, 20)
	select {
	case <-one.Done():
		t.Fatal("the first publisher was ended by one that sends nothing")
	default:
	}
	send()
	rec.session(t, 1).waitVideo(t, 5)
	<-one.Done()
	if !errors.Is(one.Err(), errTakenOver) {
		t.Errorf("the first publisher ended with %v", one.Err())
	}
	if err := rec.session(t, 0).waitClosed(t); !errors.Is(err, errTakenOver) {
		t.Errorf("its session ended with %v", err)
	}
	two.Close(nil)
	two.Close(errors.New("again"))
	if err := two.Err(); err != nil {
		t.Errorf("closed in good order: %v", err)
	}
}

// A session that is refused ends the connection with the reason.
func TestSessionRefused(t *testing.T) {
	t.Parallel()
	rec := newRecorder()
	rec.refuse = ingest.ErrBusy
	s := newServer(t, rec, nil)
	c := newClient(t, clientOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.sendVideo(ctx, movies().get(t, fragments.H264, 320))
	conn := c.connect(s, "cam")
	<-conn.Done()
	if !errors.Is(conn.Err(), ingest.ErrBusy) {
		t.Errorf("ended with %v", conn.Err())
	}
}

// Who watches gets a key frame when asking for one.
func TestKeyForViewer(t *testing.T) {
	t.Parallel()
	rec := newRecorder()
	s := newServer(t, rec, func(o *peer.Options) { o.KeyInterval = time.Hour })
	c := newClient(t, clientOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.sendVideo(ctx, movies().get(t, fragments.VP8, 320))
	c.connect(s, "cam")
	session := rec.session(t, 0)
	session.waitVideo(t, 10)
	if n := keys(session.all()); n != 1 {
		t.Fatalf("%d key frames before one was asked for", n)
	}
	rec.mu.Lock()
	ask := session.askKey
	rec.mu.Unlock()
	ask()
	rec.wait(t, "the key frame", func() bool { return keys(session.units) == 2 })
}

// A server that closes ends all publishers and takes no more.
func TestServerClose(t *testing.T) {
	t.Parallel()
	rec := newRecorder()
	s := newServer(t, rec, nil)
	c := newClient(t, clientOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.sendVideo(ctx, movies().get(t, fragments.H264, 320))
	c.connect(s, "cam")
	session := rec.session(t, 0)
	s.Close()
	if err := session.waitClosed(t); !errors.Is(err, ingest.ErrClosed) {
		t.Errorf("the session ended with %v", err)
	}
	if _, err := s.Open(ctx, "cam", c.pc.LocalDescription().SDP, ingest.Source{}); !errors.Is(err, ingest.ErrClosed) {
		t.Errorf("a closed server answers %v", err)
	}
}

// Of a track that is offered and never sent the session does not wait for ever.
func TestTrackThatNeverComes(t *testing.T) {
	t.Parallel()
	rec := newRecorder()
	s := newServer(t, rec, nil)
	c := newClient(t, clientOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.sendVideo(ctx, movies().get(t, fragments.H264, 320))
	_, err := c.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio)
	fatal(t, err)
	_, err = c.pc.CreateDataChannel("chat", nil)
	fatal(t, err)
	c.connect(s, "cam")
	session := rec.session(t, 0)
	units := session.waitVideo(t, 60)
	if len(session.tracks) != 1 || !units[0].Key {
		t.Errorf("%d tracks, the first unit a key frame: %v", len(session.tracks), units[0].Key)
	}
	// What came while it was waited for the other track is there.
	if wait := units[0].Arrival.Time(); !units[30].Arrival.Time().Before(wait.Add(2 * time.Second)) {
		t.Errorf("30 units in %v", units[30].Arrival.Time().Sub(wait))
	}
}

// A publisher that does not tell its SSRCs is understood by its payload types.
func TestUndeclaredSSRC(t *testing.T) {
	t.Parallel()
	m := movies().get(t, fragments.H264, 320)
	rec := newRecorder()
	s := newServer(t, rec, nil)
	c := newClient(t, clientOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sent := c.sendVideo(ctx, m)
	c.sendSound(ctx)
	c.mangle = func(offer string) string {
		var out strings.Builder
		for line := range strings.Lines(offer) {
			if !strings.HasPrefix(line, "a=ssrc") {
				out.WriteString(line)
			}
		}
		return out.String()
	}
	c.connect(s, "cam")
	session := rec.session(t, 0)
	checkVideo(t, m, sent, session.waitVideo(t, 45))
	checkSound(t, session.all())
}

// Publishers that come and go leave nothing behind.
func TestNothingIsLeft(t *testing.T) {
	m := movies().get(t, fragments.H264, 320)
	rec := newRecorder()
	s := newServer(t, rec, nil)
	before := 0
	const joins, atOnce = 100, 10
	for i := range joins / atOnce {
		var all sync.WaitGroup
		for range atOnce {
			all.Go(func() {
				c := newClient(t, clientOptions{})
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				c.sendVideo(ctx, m)
				c.connect(s, fragments.StreamName("cam"))
				if c.connected(ctx) {
					c.conn.Close(nil)
				}
				cancel()
				c.close()
			})
		}
		all.Wait()
		if i == 0 {
			before = settled()
		}
	}
	if after := settled(); after > before+10 {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines after %d joins, %d after %d:\n%s", before, atOnce, after, joins, buf[:runtime.Stack(buf, true)])
	}
}

// settled returns the number of goroutines once it does not fall any more.
func settled() int {
	least := runtime.NumGoroutine()
	for quiet := 0; quiet < 10; quiet++ {
		time.Sleep(20 * time.Millisecond)
		if n := runtime.NumGoroutine(); n < least {
			least, quiet = n, 0
		}
	}
	return least
}
