package peer_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
)

// TestMain runs more tests at once than there are processors: they wait for
// clocks and sockets.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// Every codec comes as it was sent, with its key frames, at the time it was sent.
func TestPublishCodecs(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		codec   fragments.Codec
		network webrtc.NetworkType
	}{
		{fragments.H264, webrtc.NetworkTypeUDP4},
		{fragments.H265, webrtc.NetworkTypeUDP4},
		{fragments.VP8, webrtc.NetworkTypeUDP4},
		{fragments.VP9, webrtc.NetworkTypeUDP4},
		{fragments.AV1, webrtc.NetworkTypeUDP4},
		{fragments.H264, webrtc.NetworkTypeTCP4},
	} {
		t.Run(string(tc.codec)+" "+tc.network.String(), func(t *testing.T) {
			t.Parallel()
			m := movies().get(t, tc.codec, 320)
			rec := newRecorder()
			s := newServer(t, rec, nil)
			c := newClient(t, clientOptions{network: tc.network})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			sent := c.sendVideo(ctx, m)
			c.sendSound(ctx)
			c.connect(s, "cam")
			session := rec.session(t, 0)
			units := session.waitVideo(t, 45)
			checkVideo(t, m, sent, units)
			checkSound(t, session.all())
			if n := len(session.tracks); n != 2 {
				t.Errorf("the session opened with %d tracks, want 2", n)
			}
			if tc.network == webrtc.NetworkTypeTCP4 {
				c.conn.Close(nil) // as when WHIP is told to
			} else {
				fatal(t, c.pc.Close())
			}
			if err := session.waitClosed(t); err != nil {
				t.Errorf("the session ended with %v, want good order", err)
			}
			<-c.conn.Done()
		})
	}
}

// checkVideo checks that the units are frames of m in order, whole, and at their
// times.
func checkVideo(t *testing.T, m *movie, sent *sender, units []*fragments.AccessUnit) {
	t.Helper()
	if !units[0].Key {
		t.Error("the first unit is no key frame")
	}
	keys, reported := 0, 0
	for i, u := range units {
		n := slices.IndexFunc(m.want, func(w [][]byte) bool { return slices.EqualFunc(w, u.Payload, bytes.Equal) })
		switch {
		case n < 0:
			t.Fatalf("unit %d is no frame that was sent", i)
		case u.Key != (n == 0):
			t.Errorf("unit %d is frame %d: key %v", i, n, u.Key)
		case u.Track.Codec != m.codec || u.Track.Width != m.width:
			t.Errorf("unit %d: track %s %dx%d", i, u.Track.Codec, u.Track.Width, u.Track.Height)
		}
		if u.Key {
			keys++
		}
		if u.Source == fragments.FromReport {
			reported++
			// Before a report of its own a track goes by that of the other one, as
			// exactly as packets arrive.
			if d := u.Capture.Time().Sub(sent.capturedAt(n, u.Capture.Time())); d.Abs() > time.Millisecond && i > 12 {
				t.Errorf("unit %d: %v from when it was captured", i, d)
			}
		}
		if i > 0 && u.PTS <= units[i-1].PTS {
			t.Errorf("unit %d: time goes back from %d to %d", i, units[i-1].PTS, u.PTS)
		}
	}
	if keys < 2 {
		t.Errorf("%d key frames in %v: fragments do not close", keys, units[len(units)-1].Capture.Time().Sub(units[0].Capture.Time()).Round(time.Millisecond))
	}
	if reported < len(units)/2 {
		t.Errorf("%d of %d units have times by reports", reported, len(units))
	}
}

func checkSound(t *testing.T, all []*fragments.AccessUnit) {
	t.Helper()
	packets, err := sound()
	fatal(t, err)
	units := ofKind(all, fragments.KindAudio)
	if len(units) < 20 {
		t.Fatalf("%d units of sound", len(units))
	}
	for i, u := range units {
		if !slices.ContainsFunc(packets, func(p []byte) bool { return bytes.Equal(p, u.Payload[0]) }) {
			t.Fatalf("unit %d of sound is none that was sent", i)
		}
		if u.Track.Codec != fragments.Opus || u.Track.Channels != 2 || u.Duration != 960 {
			t.Errorf("unit %d of sound: %+v, duration %d", i, u.Track, u.Duration)
		}
	}
}
