package depacketize

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
)

// camera sends one stream of a rig: frames of a picture at one size.
type camera struct {
	rg     *rig
	stream *Stream
	sets   [][]byte
	origin uint32
	seq    uint16
}

func (c *camera) frame(t *testing.T, key bool) {
	t.Helper()
	nalus := [][]byte{slice(9)}
	if key {
		nalus = append(slices.Clone(c.sets), idr(9))
	}
	ts := c.origin + uint32(c.rg.at.Sub(time.Unix(1_700_000_000, 0)).Seconds()*90000)
	enc := encode(t, &format.H264{PayloadTyp: 96, PacketizationMode: 1})
	for _, pkt := range enc(nalus) {
		pkt.Timestamp, pkt.SequenceNumber = ts, c.seq
		c.seq++
		c.stream.Packet(pkt)
	}
}

// report says that what is sent now was captured behind seconds ago.
func (c *camera) report(behind time.Duration) {
	ts := c.origin + uint32(c.rg.at.Sub(time.Unix(1_700_000_000, 0)).Seconds()*90000)
	c.stream.Report(&rtcp.SenderReport{NTPTime: ingest.NTP(fragments.ProducerTime(c.rg.at.Add(-behind))), RTPTime: ts})
}

func twoLayers(t *testing.T) (rg *rig, small, large *camera) {
	t.Helper()
	fm := &format.H264{PayloadTyp: 96, PacketizationMode: 1}
	rg = newRig(t, fm, 0)
	l, err := rg.rx.AddLayer(rg.stream, fm, 0)
	fatal(t, err)
	small = &camera{rg: rg, stream: rg.stream, sets: [][]byte{sps320, pps320}, origin: 4_000_000_000}
	large = &camera{rg: rg, stream: l, sets: [][]byte{sps640, pps640}, origin: 77}
	return rg, small, large
}

const frameStep = 40 * time.Millisecond

// A layer is changed at a key frame of the new one; time goes on as the cameras'
// clock does, although the time stamps of the layers have nothing in common.
func TestLayersChangeAtKeyFrames(t *testing.T) {
	rg, small, large := twoLayers(t)
	start := rg.at
	for i := range 100 {
		rg.at = start.Add(time.Duration(i) * frameStep)
		if i == 2 {
			small.report(10 * time.Millisecond)
			large.report(10 * time.Millisecond)
		}
		if i == 15 {
			large.stream.Select()
		}
		if i == 55 {
			small.stream.Select()
		}
		// The layer that is changed to comes first, so that no instant is there twice.
		if i < 40 {
			large.frame(t, i%10 == 0)
			small.frame(t, i%10 == 0)
		} else {
			small.frame(t, i%10 == 0)
			large.frame(t, i%10 == 0)
		}
	}
	units := rg.units()
	if len(units) != 100 {
		t.Fatalf("%d units, want one for each of 100 frames", len(units))
	}
	for i, u := range units {
		width := 320
		if i >= 20 && i < 60 {
			width = 640
		}
		if u.Track.Width != width || u.Track.ID != 1 {
			t.Errorf("unit %d: track %d, width %d, want %d", i, u.Track.ID, u.Track.Width, width)
		}
		if i == 0 {
			continue
		}
		if d := u.PTS - units[i-1].PTS; d < 3500 || d > 3700 {
			t.Errorf("unit %d: %d ticks after the one before, want 3600", i, d)
		}
		if want := start.Add(time.Duration(i)*frameStep - 10*time.Millisecond); i > 2 && u.Capture.Time().Sub(want).Abs() > time.Millisecond {
			t.Errorf("unit %d: captured at %v, want %v", i, u.Capture.Time(), want)
		}
	}
	if s := rg.rec; s.opened != 1 || len(s.tracks) != 1 {
		t.Errorf("opened %d times with %d tracks", s.opened, len(s.tracks))
	}
}

// A layer that is behind the other one never makes time stand still, and what is
// added at one change is taken back at the next.
func TestLayerBehind(t *testing.T) {
	rg, small, large := twoLayers(t)
	start := rg.at
	for i := range 400 {
		rg.at = start.Add(time.Duration(i) * frameStep)
		if i == 2 {
			small.report(0)
			large.report(100 * time.Millisecond) // shows what the small one showed two frames ago
		}
		if i > 2 && i%20 == 0 {
			[]*camera{large, small}[i/20%2].stream.Select()
		}
		small.frame(t, i%10 == 0)
		large.frame(t, i%10 == 0)
	}
	units := rg.units()
	for i, u := range units {
		if i > 0 && u.PTS <= units[i-1].PTS {
			t.Fatalf("unit %d: time goes from %d to %d", i, units[i-1].PTS, u.PTS)
		}
	}
	last := units[len(units)-1]
	drift := time.Duration(last.PTS-units[0].PTS)*time.Second/90000 - last.Arrival.Time().Sub(units[0].Arrival.Time())
	if drift.Abs() > 200*time.Millisecond {
		t.Errorf("after %d units the time line is off by %v", len(units), drift)
	}
}

// What came while units were held is all there, of the layer chosen.
func TestHold(t *testing.T) {
	rg, small, large := twoLayers(t)
	rg.rx.Hold()
	for i := range 5 {
		rg.at = rg.at.Add(frameStep)
		small.frame(t, i == 0)
		large.frame(t, i == 0)
	}
	if rg.rec.opened != 0 {
		t.Fatal("the session opened while units were held")
	}
	if st := large.stream.State(); st.Width != 640 || st.Key.IsZero() || st.Broken || st.Selected {
		t.Errorf("the large layer: %+v", st)
	}
	large.report(time.Minute)
	large.stream.Select()
	rg.rx.Release()
	rg.at = rg.at.Add(frameStep)
	small.frame(t, false)
	large.frame(t, false)
	units := rg.units()
	if len(units) != 6 {
		t.Fatalf("%d units, want 6", len(units))
	}
	for i, u := range units {
		if u.Track.Width != 640 || u.Key != (i == 0) {
			t.Errorf("unit %d: width %d, key %v", i, u.Track.Width, u.Key)
		}
		// The report counts for what came before it.
		if want := rg.at.Add(time.Duration(i-5)*frameStep - time.Minute); u.Source != fragments.FromReport || u.Capture.Time().Sub(want).Abs() > time.Millisecond {
			t.Errorf("unit %d: captured at %v by %v, want %v", i, u.Capture.Time(), u.Source, want)
		}
	}
	if rg.rec.tracks[0].Width != 640 {
		t.Errorf("opened with width %d", rg.rec.tracks[0].Width)
	}
}

// What is held has a bound.
func TestHoldIsBounded(t *testing.T) {
	rg := newRig(t, &format.Opus{PayloadTyp: 97, ChannelCount: 1}, 0)
	rg.rx.Hold()
	packet := append([]byte{0xfc}, make([]byte, 60_000)...)
	for i := range 400 {
		rg.packet(t, &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 97, Timestamp: uint32(i) * 960}, Payload: packet})
	}
	rg.rx.Release()
	if n := len(rg.units()); n < 200 || n > maxHeld/60_000 {
		t.Errorf("%d units of 60 kB were held", n)
	}
}

func TestStateBroken(t *testing.T) {
	rg, small, _ := twoLayers(t)
	step := func(key bool, lost uint16, want bool) {
		t.Helper()
		rg.at = rg.at.Add(frameStep)
		small.seq += lost
		small.frame(t, key)
		if got := small.stream.State().Broken; got != want {
			t.Errorf("broken %v, want %v", got, want)
		}
	}
	step(false, 0, true) // no key frame yet
	step(true, 0, false)
	step(false, 0, false)
	step(false, 1, true)
	step(false, 0, true)
	step(true, 0, false)
}

// Pictures that come after a session was opened for sound begin another one,
// whose fragments they decide.
func TestPicturesAfterSound(t *testing.T) {
	rg := newRig(t, &format.Opus{PayloadTyp: 97, ChannelCount: 1}, 0)
	sound := func() {
		rg.packet(t, &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 97, Timestamp: uint32(rg.seq) * 960}, Payload: unhex("fc01")})
	}
	sound()
	if rg.rec.opened != 1 || len(rg.rec.tracks) != 1 {
		t.Fatalf("opened %d times, with %d tracks", rg.rec.opened, len(rg.rec.tracks))
	}
	s, err := rg.rx.AddTrack(7, &format.H264{PayloadTyp: 96, PacketizationMode: 1}, 0)
	fatal(t, err)
	sound()
	if rg.rec.opened != 1 {
		t.Fatal("opened again before there was a picture")
	}
	cam := &camera{rg: rg, stream: s, sets: [][]byte{sps320, pps320}}
	cam.frame(t, true)
	sound()
	cam.frame(t, false)
	if rg.rec.opened != 2 || len(rg.rec.tracks) != 2 || rg.rec.tracks[1].ID != 7 {
		t.Errorf("opened %d times, at last with %d tracks", rg.rec.opened, len(rg.rec.tracks))
	}
	if n := len(rg.units()); n != 5 {
		t.Errorf("%d units, want 5", n)
	}
}

// Padding between pictures is no loss and no unit.
func TestPadding(t *testing.T) {
	rg, small, _ := twoLayers(t)
	small.frame(t, true)
	for range 3 {
		small.stream.Packet(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: small.seq, Timestamp: small.origin}})
		small.seq++
	}
	rg.at = rg.at.Add(frameStep)
	small.frame(t, false)
	if len(rg.units()) != 2 || rg.rec.lost != 0 || small.stream.State().Broken {
		t.Errorf("%d units, %d lost, state %+v", len(rg.units()), rg.rec.lost, small.stream.State())
	}
}

func TestAddLayerRefuses(t *testing.T) {
	rg := newRig(t, &format.Opus{PayloadTyp: 97, ChannelCount: 1}, 0)
	if _, err := rg.rx.AddLayer(rg.stream, &format.G711{SampleRate: 8000, ChannelCount: 1}, 0); err == nil {
		t.Error("a layer with another clock was taken")
	}
	if _, err := rg.rx.AddTrack(1, &format.VP8{}, 0); err == nil {
		t.Error("two tracks have one ID")
	}
	for i := range 100 {
		if _, err := rg.rx.AddLayer(rg.stream, &format.Opus{PayloadTyp: 97, ChannelCount: 1}, 0); err != nil {
			return
		} else if i > maxStreams {
			t.Fatal("there is no bound on layers")
		}
	}
}

func TestParseFormat(t *testing.T) {
	for _, tc := range []struct{ media, rtpmap, fmtp, want string }{
		{"video", "H264/90000", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", "H264"},
		{"video", "H264/90000", "packetization-mode=0;profile-level-id=640c1f", "H264"},
		{"video", "H264/90000", "", "H264"},
		{"video", "H265/90000", "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST", "H265"},
		{"video", "AV1/90000", "level-idx=5;profile=0;tier=0", "AV1"},
		{"video", "VP8/90000", "", "VP8"},
		{"video", "VP9/90000", "profile-id=2", "VP9"},
		{"audio", "opus/48000/2", "minptime=10;useinbandfec=1", "Opus"},
		{"audio", "PCMU/8000", "", "G711"},
		{"audio", "PCMA/8000", "", "G711"},
		{"video", "H264/90000", "packetization-mode=2", ""},
		{"video", "H266/90000", "", ""},
		{"audio", "red/48000/2", "111/111", ""},
		{"video", "", "", ""},
		{"", "opus", "", ""},
	} {
		f, err := ParseFormat(tc.media, tc.rtpmap, tc.fmtp)
		switch {
		case err != nil && tc.want != "":
			t.Errorf("%s %s: %v", tc.rtpmap, tc.fmtp, err)
		case err == nil && Name(f) != tc.want:
			t.Errorf("%s %s: %s, want %q", tc.rtpmap, tc.fmtp, Name(f), tc.want)
		}
	}
}

// A publisher that changes its codec goes on in the same track, at a key frame.
func TestCodecChanges(t *testing.T) {
	rg, cam, _ := twoLayers(t)
	fm := &format.VP8{PayloadTyp: 97}
	other, err := rg.rx.AddLayer(rg.stream, fm, 0)
	fatal(t, err)
	cam.frame(t, true)
	cam.frame(t, false)
	other.Select()
	enc := encode(t, fm)
	for i, frame := range [][]byte{unhex("1102030102"), vp8Key, unhex("1102030102")} {
		for _, pkt := range enc([][]byte{frame}) {
			rg.at = rg.at.Add(frameStep)
			pkt.SequenceNumber, pkt.Timestamp = uint16(500+i), uint32(i)*3600
			other.Packet(pkt)
		}
	}
	var got []string
	for _, u := range rg.units() {
		got = append(got, fmt.Sprint(u.Track.ID, " ", u.Track.Codec, " ", u.Key))
	}
	if want := []string{"1 H264 true", "1 H264 false", "1 VP8 true", "1 VP8 false"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Layers of VP9 in one stream are one unit for each picture, of the size of the
// largest; a picture that lacks its lowest layer is none.
func TestVP9SpatialLayers(t *testing.T) {
	const sizes = "30" + "00a00078" + "014000f0" // 160x120, 320x240
	rg := newRig(t, &format.VP9{PayloadTyp: 98}, 0)
	small := vp9Key
	large := append(unhex("8601"), bytes.Repeat([]byte{9}, 300)...)
	send := func(ts uint32, marker bool, descriptor string, frame []byte) {
		rg.packet(t, &rtp.Packet{
			Header:  rtp.Header{Version: 2, PayloadType: 98, Timestamp: ts, Marker: marker},
			Payload: append(unhex(descriptor), frame...),
		})
	}
	send(0, false, "2e0000"+sizes, small)
	send(0, true, "2c0300", large)
	send(3600, false, "6c0000", large[:20])
	send(3600, true, "2c0300", large)
	rg.seq++ // the lowest layer of this one is lost
	send(7200, true, "2c0300", large)
	send(10800, false, "6c0000", large[:30])
	send(10800, true, "2c0300", large)
	send(14400, true, "6c0000", large[:40])
	units := rg.units()
	want := []int{len(small) + 302 + 10, 20 + 302 + 10, 30 + 302 + 10, 40}
	if len(units) != len(want) {
		t.Fatalf("%d units, want %d", len(units), len(want))
	}
	for i, u := range units {
		if u.Size() != want[i] || u.Key != (i == 0) || u.Track.Width != 320 || u.Track.Height != 240 {
			t.Errorf("unit %d: %d bytes, key %v, %dx%d; want %d bytes of 320x240", i, u.Size(), u.Key, u.Track.Width, u.Track.Height, want[i])
		}
	}
	data := units[1].Payload[0]
	if index := unhex("d9140000002e010000d9"); !bytes.HasSuffix(data, index) {
		t.Errorf("index %x, want %x", data[len(data)-len(index):], index)
	}
}
