package playbacktest

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

// Media is one encoded track, as a publisher delivers it.
type Media struct {
	Track   *fragments.Track
	Samples []fragments.Sample
}

// Tool runs a tool and returns what it wrote to its two outputs; it fails the
// test when the tool is missing or fails.
func Tool(tb testing.TB, name string, args ...string) (out, complaints string) {
	tb.Helper()
	if _, err := exec.LookPath(name); err != nil {
		tb.Fatalf("%s is needed: install the package ffmpeg", name)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		tb.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), stderr.String()
}

// Encode has ffmpeg encode one track, from arguments like "-f lavfi -i testsrc2
// -t 4 -c:v libx264". It gets the given ID.
func Encode(tb testing.TB, id int, args string) Media {
	tb.Helper()
	if slices.Contains(strings.Fields(args), "libvpx") {
		return encodeVP8(tb, id, args)
	}
	args = "-v error " + args + " -movflags empty_moov+default_base_moof+frag_keyframe -f mp4 -"
	out, _ := Tool(tb, "ffmpeg", strings.Fields(args)...)
	data := []byte(out)
	tracks, err := cmaf.ParseInit(data)
	if err != nil || len(tracks) != 1 {
		tb.Fatalf("ffmpeg %s: %d tracks, %v", args, len(tracks), err)
	}
	m := Media{Track: tracks[0]}
	m.Track.ID = id
	for p, err := range cmaf.Parts(data) {
		if err != nil {
			tb.Fatal(err)
		}
		for _, s := range p.Samples {
			units := payload(tb, m.Track.Codec, s.Data)
			if s.Key && (m.Track.Codec == fragments.H264 || m.Track.Codec == fragments.H265) {
				units = append(slices.Clone(m.Track.Params), units...) // as every publisher's are
			}
			m.Samples = append(m.Samples, fragments.Sample{Duration: s.Duration, Offset: uint32(s.Offset), Key: s.Key, Payload: units})
		}
	}
	return m
}

// encodeVP8 is Encode by way of IVF, for ffmpeg writes no VP8 into MP4 files.
func encodeVP8(tb testing.TB, id int, args string) Media {
	tb.Helper()
	out, _ := Tool(tb, "ffmpeg", strings.Fields("-v error "+args+" -f ivf -")...)
	data := []byte(out)
	if len(data) < 32 || string(data[:4]) != "DKIF" {
		tb.Fatalf("ffmpeg %s: no IVF", args)
	}
	le := binary.LittleEndian
	m := Media{Track: &fragments.Track{
		ID: id, Codec: fragments.VP8, TimeScale: le.Uint32(data[16:]), Width: int(le.Uint16(data[12:])), Height: int(le.Uint16(data[14:])),
	}}
	tick := le.Uint32(data[20:])
	for data = data[32:]; len(data) > 12; { // frames of 12 bytes of header
		end := 12 + int(le.Uint32(data))
		// RFC 6386, 9.1: the lowest bit of a frame is 0 in key frames.
		m.Samples = append(m.Samples, fragments.Sample{Duration: tick, Key: data[12]&1 == 0, Payload: [][]byte{data[12:end]}})
		data = data[end:]
	}
	return m
}

func payload(tb testing.TB, c fragments.Codec, data []byte) [][]byte {
	tb.Helper()
	switch c {
	case fragments.H264, fragments.H265:
		var units h264.AVCC
		if err := units.Unmarshal(data); err != nil {
			tb.Fatal(err)
		}
		return units
	case fragments.AV1:
		var units av1.Bitstream
		if err := units.Unmarshal(data); err != nil {
			tb.Fatal(err)
		}
		return units
	}
	return [][]byte{data}
}

// EncodeRaw has ffmpeg write raw audio of the track's codec, in access units of
// 20 ms.
func EncodeRaw(tb testing.TB, t *fragments.Track, args string) Media {
	tb.Helper()
	format := map[fragments.Codec]string{fragments.PCMU: "mulaw", fragments.PCMA: "alaw", fragments.LPCM: "s16be"}[t.Codec]
	out, _ := Tool(tb, "ffmpeg", strings.Fields("-v error "+args+" -f "+format+" -")...)
	m := Media{Track: t}
	n := t.SampleRate / 50
	size := n * t.Channels * max(1, t.BitDepth/8)
	for data := []byte(out); len(data) >= size; data = data[size:] {
		m.Samples = append(m.Samples, fragments.Sample{Duration: uint32(n), Key: true, Payload: [][]byte{data[:size]}})
	}
	return m
}

// Fragment is a fragment that can be added to an Archive.
type Fragment struct {
	Entry  *archive.Entry
	Data   []byte // what is appended to the object
	Tracks []*fragments.Track
}

// AddTo adds the fragment.
func (f *Fragment) AddTo(a *Archive, name fragments.StreamName) {
	a.Add(name, f.Entry, f.Data, f.Tracks...)
}

// Cutter cuts media into fragments. The fields may be changed between cuts.
type Cutter struct {
	Created   time.Time     // of the stream
	Start     time.Duration // when the first sample is presented, since the creation
	Lag       time.Duration // between filming and arrival
	PerObject int           // fragments in an object; default 3
	PerPart   int           // samples in a part; default 8
	Number    fragments.Number

	objects int
	object  string
	data    int64 // bytes in the object
	count   int   // fragments in the object
	base    time.Duration
	parts   map[int]uint32 // sequence numbers by track
}

// Cut cuts at the key frames of the first of the media, which all begin
// together, when a second has passed since the last cut. It moves Start to the
// end of that one.
func (c *Cutter) Cut(tb testing.TB, media ...Media) []Fragment {
	tb.Helper()
	c.object = "" // tracks may be others
	var cut []Fragment
	cursors := make([]cursor, len(media))
	for i, m := range media {
		// What is presented first of each was captured at one instant.
		cursors[i] = cursor{Media: m, start: archive.Ticks(c.Start, m.Track.TimeScale) - firstPresented(m.Samples)}
	}
	lead := &cursors[0]
	for lead.next < len(lead.Samples) {
		first := *lead
		runs := make([][]fragments.Sample, len(media))
		from := make([]int64, len(media))
		from[0] = lead.at
		runs[0] = lead.take(func(s *fragments.Sample) bool {
			return s.Key && lead.at-first.at >= int64(lead.Track.TimeScale)
		})
		last := lead.next == len(lead.Samples)
		for i := 1; i < len(media); i++ {
			k := &cursors[i]
			from[i] = k.at
			until := lead.at * int64(k.Track.TimeScale) / int64(lead.Track.TimeScale)
			runs[i] = k.take(func(*fragments.Sample) bool { return !last && k.at >= until })
		}
		f := c.begin(tb, media)
		presented := span(first.start+first.at+firstPresented(runs[0]), lead.Track.TimeScale)
		f.Entry.Producer = fragments.ProducerTime(c.Created.Add(presented))
		f.Entry.Server = fragments.ServerTime(c.Created.Add(presented + c.Lag))
		f.Entry.Duration = span(lead.at-first.at, lead.Track.TimeScale)
		f.Entry.Dependent = lead.Track.Kind() == fragments.KindVideo && !runs[0][0].Key
		for i := range cursors {
			if len(runs[i]) > 0 {
				c.run(&f, &cursors[i], from[i], runs[i])
			}
		}
		f.Entry.Size = c.data + int64(len(f.Data)) - f.Entry.Offset
		c.data += int64(len(f.Data))
		cut = append(cut, f)
	}
	c.Start += span(lead.at, lead.Track.TimeScale)
	return cut
}

// cursor is how far a track has been cut.
type cursor struct {
	Media
	start int64 // ticks since the creation
	next  int   // sample
	at    int64 // ticks since start
}

// take takes samples up to the first that ends says yes to.
func (k *cursor) take(ends func(*fragments.Sample) bool) []fragments.Sample {
	from := k.next
	for k.next < len(k.Samples) && !ends(&k.Samples[k.next]) {
		k.at += int64(k.Samples[k.next].Duration)
		k.next++
	}
	return k.Samples[from:k.next]
}

// begin begins a fragment, and an object with it when the one before is full.
func (c *Cutter) begin(tb testing.TB, media []Media) Fragment {
	tb.Helper()
	c.Number.Counter++
	f := Fragment{Entry: &archive.Entry{Number: c.Number}}
	for _, m := range media {
		f.Tracks = append(f.Tracks, m.Track)
	}
	if c.object == "" || c.count == cmp.Or(c.PerObject, 3) {
		c.objects++
		c.object = strconv.Itoa(c.objects) + ".mp4"
		c.data, c.count, c.base = 0, 0, -1
		init, err := cmaf.InitSegment(f.Tracks...)
		if err != nil {
			tb.Fatal(err)
		}
		f.Data = init
	}
	c.count++
	f.Entry.Object, f.Entry.Offset = c.object, c.data+int64(len(f.Data))
	f.Data = cmaf.AppendPrft(f.Data, f.Tracks[0].ID, c.Created.Add(c.Start), 0)
	return f
}

// run appends the parts of one track.
func (c *Cutter) run(f *Fragment, k *cursor, at int64, samples []fragments.Sample) {
	t := k.Track
	run := archive.EntryRun{
		Track: t.ID, Config: t.Hash(), Kind: t.Kind(), TimeScale: t.TimeScale, DecodeTime: k.start + at,
		Duration: k.at - at, Samples: len(samples), Offset: c.data + int64(len(f.Data)),
	}
	if c.base < 0 {
		c.base = span(run.DecodeTime, t.TimeScale)
	}
	f.Entry.Base = c.base
	if c.parts == nil {
		c.parts = map[int]uint32{}
	}
	decode := run.DecodeTime - f.Entry.BaseTicks(t.TimeScale)
	for len(samples) > 0 {
		part := samples[:min(len(samples), cmp.Or(c.PerPart, 8))]
		samples = samples[len(part):]
		c.parts[t.ID]++
		f.Data = cmaf.AppendPart(f.Data, t, c.parts[t.ID], decode, part)
		for _, s := range part {
			decode += int64(s.Duration)
		}
	}
	run.Size = c.data + int64(len(f.Data)) - run.Offset
	f.Entry.Runs = append(f.Entry.Runs, run)
}

func firstPresented(samples []fragments.Sample) int64 {
	first, dts := int64(1)<<62, int64(0)
	for _, s := range samples {
		first = min(first, dts+int64(s.Offset))
		dts += int64(s.Duration)
	}
	return first
}

func span(ticks int64, scale uint32) time.Duration {
	return time.Duration(ticks/int64(scale))*time.Second + time.Duration(ticks%int64(scale))*time.Second/time.Duration(scale)
}
