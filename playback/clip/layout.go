package clip

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
	"github.com/kineweir/kineweir/playback"
)

// layout says where each byte of a clip comes from.
type layout struct {
	head    []byte  // ftyp, moov and the header of the mdat
	chunks  []chunk // the media, in the order of the file
	size    int64   // of the file
	etag    string
	mime    string
	begins  time.Time // on the clock of the range
	leftOut []string
}

// bytes returns about how much memory the layout takes.
func (l *layout) bytes() int64 { return int64(len(l.head)) + 72*int64(len(l.chunks)) + 1000 }

// builder makes a layout, fragment by fragment. Times are nanoseconds since the
// creation of the stream unless said otherwise.
type builder struct {
	m    *Maker
	ctx  context.Context // of the one call that builds
	name fragments.StreamName
	span playback.Range

	tracks  []*track
	chunks  []chunk
	buf     []byte // of heads
	samples int
	leftOut []string

	started    bool
	first      fragments.Number
	last       fragments.Number
	begins     time.Time
	start, end int64 // what is shown of the media
	shift      int64 // added to decode times, since they ran back
	leadEnd    int64 // decode time at which the leading track has ended, shifted
}

// preroll is how much of the audio before the start is kept: decoders need a
// little to run up (Opus, 80 ms: RFC 7845 section 4.6).
const preroll = 100 * time.Millisecond

// backstep is how far decode times may run back within a clip before the rest
// is moved behind what is there.
const backstep = 500 * time.Millisecond

// lay makes the layout of a range.
func (m *Maker) lay(ctx context.Context, name fragments.StreamName, info archive.StreamInfo, r playback.Range) (*layout, error) {
	b := &builder{m: m, ctx: ctx, name: name, span: r}
	for e, err := range playback.Select(ctx, m.src, name, r) {
		if err == nil && len(e.Runs) > 0 {
			err = b.add(e)
		}
		if err != nil {
			return nil, fmt.Errorf("lay out clip of stream %s: %w", name, err)
		}
	}
	if !b.started {
		return nil, fmt.Errorf("stream %s: %w: it has %s to %s", name, ErrNothing,
			playback.Stamp(info.First, r.Clock).Format(time.RFC3339), playback.Stamp(info.Last, r.Clock).Add(info.Last.Duration).Format(time.RFC3339))
	}
	b.dropUnseen()
	if len(b.tracks) == 0 {
		if len(b.leftOut) == 0 {
			return nil, fmt.Errorf("stream %s: %w", name, ErrNothing)
		}
		return nil, &NotPlayableError{name, b.leftOut}
	}
	return b.finish(info), nil
}

// add takes in one fragment.
func (b *builder) add(e *archive.Entry) error {
	lead := &e.Runs[0]
	at := nanos(lead.DecodeTime, lead.TimeScale)
	if !b.started {
		if err := b.begin(e); err != nil {
			return err
		}
	} else if at+b.shift < b.leadEnd-int64(backstep) {
		b.shift = b.leadEnd - at
	}
	b.last = e.Number
	b.leadEnd = nanos(lead.DecodeTime+lead.Duration, lead.TimeScale) + b.shift
	for i := range e.Runs {
		if err := b.addRun(e, i); err != nil {
			return err
		}
	}
	for _, t := range b.tracks {
		if !slices.ContainsFunc(e.Runs, func(r archive.EntryRun) bool { return r.Track == t.source }) {
			b.fill(t, min(nearest(b.leadEnd, t.scale), nearest(b.end, t.scale)))
		}
	}
	return b.bound(e)
}

// bound reports that the clip has become too long.
func (b *builder) bound(e *archive.Entry) error {
	if b.samples <= b.m.o.MaxSamples {
		return nil
	}
	return &playback.ParamError{Name: "end", Reason: fmt.Sprintf("a clip may have %d frames of video and audio; write end=%s or earlier",
		b.m.o.MaxSamples, playback.Stamp(e, b.span.Clock).Format(time.RFC3339))}
}

// fill writes silence from the end of an audio track up to a decode time, when
// that is long enough to be heard as a hole. Without it, browsers would play
// what comes after the hole as soon as it begins.
func (b *builder) fill(t *track, to int64) {
	if len(t.sizes) == 0 || !t.silence.known || to-t.next < int64(t.scale)/10 {
		return
	}
	c := chunk{track: t, source: t.source, fill: t.silence.Frame}
	n := 0
	for at := t.next; at < to && b.samples <= b.m.o.MaxSamples; at = t.next {
		d := min(t.silence.Step, to-at)
		s := cmaf.Sample{Size: len(t.silence.Cut(d)), Key: true}
		t.add(&s, at, d, 0)
		c.length += int64(s.Size)
		n++
		b.samples++
	}
	t.endChunk(n, t.silence.description)
	b.chunks = append(b.chunks, c)
}

// begin finds out where in the media the clip begins: its first fragment tells
// how the clock of the range and the decode times belong together.
func (b *builder) begin(e *archive.Entry) error {
	lead := &e.Runs[0]
	first, decode := int64(1)<<62, int64(0) // ticks since the decode time of the run
	h := heads{src: b.m.src, ctx: b.ctx, name: b.name, e: e, run: lead}
	err := h.each(func(p cmaf.Part) error {
		for i := range p.Samples {
			first = min(first, decode+int64(p.Samples[i].Offset))
			decode += int64(p.Samples[i].Duration)
		}
		return nil
	})
	if err != nil {
		return err
	}
	stamp := playback.Stamp(e, b.span.Clock)
	presented := nanos(lead.DecodeTime+first, lead.TimeScale)
	b.begins = b.span.Start
	if stamp.After(b.begins) {
		b.begins = stamp
	}
	b.start = presented + int64(b.begins.Sub(stamp))
	b.end = presented + int64(b.span.End.Sub(stamp))
	b.first, b.started = e.Number, true
	return nil
}

// addRun takes in what a fragment has of one track.
func (b *builder) addRun(e *archive.Entry, i int) error {
	run := &e.Runs[i]
	t, description, err := b.track(run)
	if t == nil || err != nil {
		return err
	}
	base := e.BaseTicks(run.TimeScale)
	shift := ticks(b.shift, t.scale)
	from, to := nearest(b.start-int64(preroll), t.scale), nearest(b.end, t.scale)
	c := chunk{number: e.Number}
	n := 0
	h := heads{src: b.m.src, ctx: b.ctx, name: b.name, e: e, run: run, buf: b.buf}
	err = h.each(func(p cmaf.Part) error {
		decode := base + p.DecodeTime
		for k := range p.Samples {
			s := &p.Samples[k]
			at := rescale(decode, run.TimeScale, t.scale) + shift
			decode += int64(s.Duration)
			duration := rescale(decode, run.TimeScale, t.scale) + shift - at
			switch {
			case at >= to: // after the end
			case len(t.sizes) == 0 && !s.Key, t.kind == fragments.KindAudio && at+duration < from: // before the start
				c.skip += int64(s.Size)
			default:
				if n == 0 {
					b.fill(t, at)
				}
				t.add(s, at, duration, rescale(int64(s.Offset), run.TimeScale, t.scale))
				c.length += int64(s.Size)
				n++
			}
		}
		return nil
	})
	b.buf = h.buf
	if err != nil || n == 0 {
		return err
	}
	b.samples += n
	t.endChunk(n, description)
	c.track, c.source = t, run.Track
	b.chunks = append(b.chunks, c)
	return b.hush(t, run, description)
}

// hush finds out how t, which now has the configuration of run, is silent.
func (b *builder) hush(t *track, run *archive.EntryRun, description uint32) error {
	if t.kind != fragments.KindAudio || t.silence.description == description {
		return nil
	}
	config, err := b.m.src.Track(b.name, run.Config)
	if err != nil {
		return err
	}
	s, ok := playback.SilenceOf(config)
	t.silence = silence{s, description, ok && config.TimeScale == t.scale}
	return nil
}

func rescale(v int64, from, to uint32) int64 {
	if from == to {
		return v
	}
	return v * int64(to) / int64(from)
}

// track returns the track of a run and the number of its sample entry, both
// made if need be; nil when it is left out. A change of codec, which no player
// follows within a track, begins another track.
func (b *builder) track(run *archive.EntryRun) (*track, uint32, error) {
	for _, t := range b.tracks {
		if t.source == run.Track {
			if i := slices.Index(t.descriptions, run.Config); i >= 0 {
				return t, uint32(i + 1), nil
			}
		}
	}
	config, err := b.m.src.Track(b.name, run.Config)
	if err != nil {
		return nil, 0, err
	}
	kind := config.Kind()
	if kind == fragments.KindOther {
		b.leaveOut(config)
		return nil, 0, nil
	}
	entry, err := sampleEntry(config)
	if err != nil {
		return nil, 0, fmt.Errorf("track %d (%s): %w", config.ID, config.Codec, err)
	}
	i := slices.IndexFunc(b.tracks, func(t *track) bool { return t.source == run.Track && t.codec == config.Codec })
	if i < 0 {
		i = len(b.tracks)
		b.tracks = append(b.tracks, &track{id: i + 1, source: run.Track, codec: config.Codec, kind: kind, scale: run.TimeScale})
	}
	t := b.tracks[i]
	t.width, t.height = max(t.width, config.Width), max(t.height, config.Height)
	t.descriptions = append(t.descriptions, run.Config)
	t.entries = append(t.entries, entry)
	return t, uint32(len(t.descriptions)), nil
}

// dropUnseen drops the tracks of which nothing is shown.
func (b *builder) dropUnseen() {
	unseen := func(t *track) bool { return len(t.sizes) == 0 || b.edit(t).length <= 0 }
	b.chunks = slices.DeleteFunc(b.chunks, func(c chunk) bool { return unseen(c.track) })
	b.tracks = slices.DeleteFunc(b.tracks, unseen)
	for i, t := range b.tracks {
		t.id = i + 1
	}
}

// edit is what is shown of a track, in ticks of it: after a wait, length of its
// media from at on.
type edit struct{ wait, at, length int64 }

func (b *builder) edit(t *track) edit {
	start, end := nearest(b.start, t.scale), nearest(b.end, t.scale)
	from := max(start, t.presented)
	return edit{wait: from - start, at: from - t.first, length: min(end, t.latest) - from}
}

func (b *builder) leaveOut(t *fragments.Track) {
	text := fmt.Sprintf("track %d left out: codec %s cannot stand in an MP4 file", t.ID, cmp.Or(t.CodecID, string(t.Codec)))
	if !slices.Contains(b.leftOut, text) {
		b.leftOut = append(b.leftOut, text)
	}
}

// finish places the media and writes the head.
func (b *builder) finish(info archive.StreamInfo) *layout {
	l := &layout{chunks: b.chunks, begins: b.begins, leftOut: b.leftOut, mime: "audio/mp4"}
	media := int64(0)
	for i := range l.chunks {
		l.chunks[i].at = media
		media += l.chunks[i].length
	}
	for _, t := range b.tracks {
		t.close(t.last)
		if t.kind == fragments.KindVideo {
			l.mime = "video/mp4"
		}
	}
	l.head = b.head(media)
	for i := range l.chunks {
		l.chunks[i].at += int64(len(l.head))
		l.chunks[i].track = nil // its tables are in the head
	}
	l.size = int64(len(l.head)) + media
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %v %s %s %d", b.name, info.Created.UnixNano(), b.span, b.first, b.last, l.size))
	l.etag = `"` + hex.EncodeToString(sum[:12]) + `"`
	return l
}
