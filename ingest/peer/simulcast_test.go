package peer_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments"
)

// layers are what a browser sends of one picture.
type layers struct {
	senders map[string]*sender
	off     map[string]*atomic.Bool
}

// sendLayers sends three sizes of one picture, smallest first, as simulcast.
func (c *client) sendLayers(ctx context.Context) *layers {
	c.t.Helper()
	l := &layers{senders: map[string]*sender{}, off: map[string]*atomic.Bool{}}
	var r *webrtc.RTPSender
	for _, size := range []struct {
		rid   string
		width int
	}{{"q", 160}, {"h", 320}, {"f", 640}} {
		track := c.newTrack(fragments.H264, "video", size.rid)
		if r == nil {
			var err error
			r, err = c.pc.AddTrack(track)
			fatal(c.t, err)
		} else {
			fatal(c.t, r.AddEncoding(track))
		}
		m := movies().get(c.t, fragments.H264, size.width)
		s, off := c.newSender(fragments.H264, track, r), &atomic.Bool{}
		s.off = off
		l.senders[size.rid], l.off[size.rid] = s, off
		c.on.Go(func() { s.play(ctx, m) })
	}
	return l
}

// label puts the names of section and layer into a packet, which the library
// leaves to us.
func (s *sender) label(pkt *rtp.Packet) error {
	rid := s.track.RID()
	if rid == "" {
		return nil
	}
	for _, e := range s.rtp.GetParameters().HeaderExtensions {
		value := ""
		switch e.URI {
		case sdp.SDESMidURI:
			value = s.mid()
		case sdp.SDESRTPStreamIDURI:
			value = rid
		default:
			continue
		}
		if err := pkt.SetExtension(uint8(e.ID), []byte(value)); err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) mid() string {
	for _, t := range s.c.pc.GetTransceivers() {
		if t.Sender() == s.rtp {
			return t.Mid()
		}
	}
	return ""
}

// Of three sizes the largest is recorded. When it stops the next one is, and when
// it returns it is again; time goes on as if nothing had been.
func TestSimulcast(t *testing.T) {
	t.Parallel()
	rec := newRecorder()
	s := newServer(t, rec, nil)
	c := newClient(t, clientOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l := c.sendLayers(ctx)
	c.sendSound(ctx)
	c.connect(s, "cam")
	session := rec.session(t, 0)
	session.waitVideo(t, 30)
	l.off["f"].Store(true)
	rec.wait(t, "the next layer", func() bool { return lastWidth(session.units) == 320 })
	l.off["f"].Store(false)
	rec.wait(t, "the best layer", func() bool { return lastWidth(session.units) == 640 })
	l.off["f"].Store(true)
	l.off["h"].Store(true)
	rec.wait(t, "the last layer", func() bool { return lastWidth(session.units) == 160 })
	cancel()
	units := ofKind(session.all(), fragments.KindVideo)
	var widths []int
	for i, u := range units {
		if i > 0 && units[i-1].Track.Width == u.Track.Width {
			continue
		}
		widths = append(widths, u.Track.Width)
		if !u.Key {
			t.Errorf("unit %d: the layer changes at no key frame", i)
		}
	}
	if want := []int{640, 320, 640, 160}; len(widths) != len(want) || widths[0] != 640 {
		t.Errorf("widths %v, want %v", widths, want)
	}
	checkTimeLine(t, units)
	if len(rec.sessions) != 1 || len(session.tracks) != 2 {
		t.Errorf("%d sessions, the first opened with %d tracks", len(rec.sessions), len(session.tracks))
	}
}

func lastWidth(units []*fragments.AccessUnit) int {
	v := ofKind(units, fragments.KindVideo)
	return v[len(v)-1].Track.Width
}

// checkTimeLine checks that time stamps and capture times run alike, on one track,
// without a hole longer than a layer takes to be missed.
func checkTimeLine(t *testing.T, units []*fragments.AccessUnit) {
	t.Helper()
	for i, u := range units[1:] {
		before := units[i]
		media := time.Duration(u.PTS-before.PTS) * time.Second / 90000
		real := u.Capture.Time().Sub(before.Capture.Time())
		switch {
		case u.Track.ID != before.Track.ID:
			t.Fatalf("unit %d: track %d after %d", i+1, u.Track.ID, before.Track.ID)
		case media <= 0:
			t.Errorf("unit %d: time stands still or goes back by %v", i+1, -media)
		case u.Track.Width != before.Track.Width: // the layers need not be in step
		case (media-real).Abs() > 5*frameTime && i > 12: // all have reported
			t.Errorf("unit %d: %v of media in %v", i+1, media, real)
		case media > 3*time.Second:
			t.Errorf("unit %d: a hole of %v", i+1, media)
		}
	}
}
