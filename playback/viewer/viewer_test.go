package viewer

import (
	"bytes"
	"slices"
	"testing"

	"github.com/kineweir/kineweir/fragments/live"
)

func same(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

func TestViewerGetsVideoAndAudio(t *testing.T) {
	hub := live.New()
	cam := newCamera(hub, "cam")
	s := newServer(t, Options{Hub: hub})
	key := cam.frame()
	cam.sound()
	second := cam.frame()

	c := open(t, s, "cam", clientOptions{engine: engine()})
	if g := next(t, c.video); !same(g.payload, key.Payload) {
		t.Fatal("the first picture is not the cached key frame")
	}
	if g := next(t, c.video); !same(g.payload, second.Payload) {
		t.Fatal("the cached key frame is not followed by its group")
	}
	for range 30 {
		want := cam.frame()
		if g := next(t, c.video); !same(g.payload, want.Payload) {
			t.Fatal("video is not what was published")
		}
		sound := cam.sound()
		if g := next(t, c.audio); !same(g.payload, sound.Payload) {
			t.Fatal("audio is not what was published, from the live edge on")
		}
	}
	if left := c.conn.LeftOut(); len(left) != 0 {
		t.Fatalf("left out: %q", left)
	}
	c.conn.Close(nil)
	if err := c.conn.Err(); err != nil {
		t.Fatalf("after an orderly end: %v", err)
	}
	if st := s.Stats(); len(st.Viewers) != 0 || st.Joins != 1 || st.Packets < 90 {
		t.Fatalf("stats: %+v", st)
	}
}

func TestViewerFollowsAStreamInRealTime(t *testing.T) {
	hub := live.New()
	cam := newCamera(hub, "cam")
	s := newServer(t, Options{Hub: hub})
	defer cam.run()()
	until(t, "a key frame", func() bool { return len(cam.pub.Tracks()) == 2 })
	c := open(t, s, "cam", clientOptions{engine: engine()})
	last := next(t, c.video)
	for range 20 {
		g := next(t, c.video)
		if int32(g.ts-last.ts) <= 0 {
			t.Fatalf("time stamp %d after %d", g.ts, last.ts)
		}
		last = g
	}
}
