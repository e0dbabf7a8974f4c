package hls

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/playback"
)

// lowVersion is EXT-X-VERSION of low-latency playlists: EXT-X-SKIP asks for 9
// (RFC 8216bis, 8).
const lowVersion = "#EXT-X-VERSION:9\n"

// Lengths of a low-latency playlist in target durations (RFC 8216bis, 4.4.3.8
// and 6.2.2).
const (
	partsWithin = 3 // of the end, segments have their parts listed
	skipUntil   = 6 // from the end, segments may be skipped
	holdBack    = 3 // of the end, players start
)

// partHoldBack is how far from the end players start that know parts, where none is
// longer than that, in ns: two and a half part targets. Two are the least there may
// be, and had Shaka stand still as it began; three are recommended (RFC 8216bis,
// 4.4.3.8), and made it a second and more from glass to glass in hls.js, which never
// catches up on the 0.2 to 0.5 s that it takes to begin.
func partHoldBack(longest int64) int64 { return 5 * longest / 2 }

// List is a playlist. It is read-only.
type List struct {
	Text   []byte
	zips   *sync.Pool
	once   sync.Once
	zipped []byte
}

func (p *Packager) newList(text []byte) *List { return &List{Text: text, zips: &p.zips} }

// Gzip returns the text compressed, which is done once.
func (l *List) Gzip() []byte {
	l.once.Do(func() {
		var b bytes.Buffer
		b.Grow(len(l.Text)/8 + 64)
		z, ok := l.zips.Get().(*gzip.Writer)
		if !ok {
			z, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
		}
		z.Reset(&b)
		_, _ = z.Write(l.Text) // to memory
		_ = z.Close()
		l.zips.Put(z)
		l.zipped = b.Bytes()
	})
	return l.zipped
}

// listKey tells the live playlists of one timeline apart.
type listKey struct {
	track  int
	window time.Duration
	token  string
	skip   bool
}

// maxLists bounds the playlists kept of one state of a timeline: beyond it, as
// where every viewer has a token of its own, they are written for each.
const maxLists = 256

// changed drops what was written of the rows as they were.
func (s *shared) changed() { clear(s.lists) }

// liveList returns a live media playlist, written once for all who ask for it.
// The caller holds s.mu.
func (p *Packager) liveList(name fragments.StreamName, s *shared, r *Request) (*List, error) {
	k := listKey{r.Track, r.Window, r.Token, r.Ahead.Skip}
	if l := s.lists[k]; l != nil {
		return l, nil
	}
	text, err := p.media(name, s, r)
	if err != nil {
		return nil, err
	}
	l := p.newList(text)
	if s.lists == nil {
		s.lists = map[listKey]*List{}
	}
	if len(s.lists) < maxLists {
		s.lists[k] = l
	}
	return l, nil
}

// awaits reports whether the playlist does not yet have what r asks for ahead of
// time, while that may still come (RFC 8216bis, 6.2.5.2). The error says that it
// is too far ahead.
func (s *shared) awaits(r *Request) (bool, error) {
	a := &r.Ahead
	if !r.Live || r.Kind != Media || !a.Wait || s.state == nil || !s.state.Live || s.t == nil || s.t.closed() == 0 {
		return false, nil
	}
	l := s.t.line(r.Track)
	if l == nil {
		return false, nil
	}
	closed := s.t.closed()
	last, msn, part := s.t.seq+int64(closed)-1, a.Sequence, a.Part
	if msn > last+2 {
		return false, &playback.ParamError{Name: "_HLS_msn", Value: strconv.FormatInt(msn, 10), Reason: fmt.Sprintf("too far ahead: the newest segment is %d", last)}
	}
	if !a.WaitPart {
		return msn > last, nil
	}
	if msn == last {
		// A part behind the last of its segment is the first of the next one.
		if n := s.parts(l, closed-1); n == 0 || part < n {
			return false, nil
		}
		msn, part = msn+1, 0
	}
	if msn <= last {
		return false, nil
	}
	have := 0
	if msn == last+1 && closed < len(s.t.rows) {
		have = s.parts(l, closed)
	}
	if part > have+advanceLimit(l.part) {
		return false, &playback.ParamError{Name: "_HLS_part", Value: strconv.Itoa(a.Part), Reason: fmt.Sprintf("too far ahead: segment %d has %d parts yet", msn, have)}
	}
	return msn > last+1 || part >= have, nil
}

// advanceLimit is how many parts ahead may be asked for (RFC 8216bis, 6.2.5.2).
func advanceLimit(target int64) int {
	if target <= 0 || target >= int64(time.Second) {
		return 3
	}
	return int((3*int64(time.Second) + target - 1) / target)
}

// parts returns how many parts a row has in the playlist of a line.
func (s *shared) parts(l *line, row int) int {
	f := s.state.Find(s.t.rows[row].number)
	if f == nil || f.Run(l.id) == nil || l.cells[row].config == missing {
		return 0
	}
	run := f.Run(l.id)
	return int(leadParts(l.leadTicks(row), run)) + len(run.Parts)
}

// leadParts returns in how many parts the silence before a run comes: each about
// as long as the first part of the run, in whole frames.
func leadParts(lead int64, run *live.Run) int64 {
	if lead <= 0 {
		return 0
	}
	step := leadStep(run)
	return (lead + step - 1) / step
}

func leadStep(run *live.Run) int64 {
	frame := int64(1)
	if s, ok := playback.SilenceOf(run.Track); ok {
		frame = s.Step
	}
	return max(run.Parts[0].Duration/frame, 1) * frame
}

// lowLatency is what a low-latency playlist has beyond another one.
type lowLatency struct {
	s     *shared
	req   *Request
	parts int // the first row whose parts are listed
	skip  int // rows left out of a delta update
}

func (s *shared) lowLatency(m *media, r *Request) *lowLatency {
	low := &lowLatency{s: s, req: r, parts: m.to}
	target := s.t.target * int64(time.Second)
	behind := int64(0) // between the end of the row and that of the playlist
	for i := m.to - 1; i >= m.from; i-- {
		if behind < partsWithin*target {
			low.parts = i
		}
		if r.Ahead.Skip && behind >= skipUntil*target {
			low.skip = i + 1 - m.from
			break
		}
		// By the track's own durations: sound ends a frame before the pictures, or after.
		if c := &m.l.cells[i]; c.config != missing || i < s.t.closed() {
			behind += c.duration
		}
	}
	return low
}

// appendHead writes what the server can do, and how long parts are.
func (w *lowLatency) appendHead(b []byte, m *media) []byte {
	seconds := func(tag string, ns int64) {
		b = strconv.AppendFloat(append(b, tag...), time.Duration(ns).Seconds(), 'f', 3, 64)
	}
	target := m.t.target * int64(time.Second)
	seconds("#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=", skipUntil*target)
	seconds(",HOLD-BACK=", holdBack*target)
	if m.l.part > 0 {
		seconds(",PART-HOLD-BACK=", partHoldBack(w.longestPart(m)))
		seconds("\n#EXT-X-PART-INF:PART-TARGET=", m.l.part)
	}
	return append(b, '\n')
}

// longestPart is the longest part target of what is played together, ns.
func (w *lowLatency) longestPart(m *media) int64 {
	longest := m.l.part
	offered := m.t.offered(m.from)
	for _, l := range m.t.lines {
		if m.t.plays(l, offered) {
			longest = max(longest, l.part)
		}
	}
	return longest
}

// plays reports whether a line has a playlist that is offered live.
func (t *timeline) plays(l *line, offered int) bool {
	return l.configs[l.current].refused == nil && l.kind != fragments.KindOther && l.heard(offered)
}

// appendSkip stands for the rows that a delta update leaves out.
func (m *media) appendSkip(b []byte, at *place) []byte {
	for i := m.from; i < m.from+m.low.skip; i++ {
		if _, gap := m.look(i, at); !gap {
			at.mapped = at.known
		}
	}
	b = strconv.AppendInt(append(b, "#EXT-X-SKIP:SKIPPED-SEGMENTS="...), int64(m.low.skip), 10)
	return append(b, '\n')
}

// appendParts writes the parts of a row, as far as memory has them.
func (w *lowLatency) appendParts(b []byte, m *media, i int) []byte {
	f := w.s.state.Find(m.t.rows[i].number)
	if f == nil || m.t.rows[i].count != 1 {
		return b
	}
	run := f.Run(m.l.id)
	if run == nil {
		return b
	}
	ended := int64(0) // what the parts written so far last, in ticks
	part := func(duration int64, name func([]byte) []byte, independent bool) {
		from := partEdge(ended, run.Track.TimeScale)
		ended += duration
		b = appendMicros(append(b, "#EXT-X-PART:DURATION="...), partEdge(ended, run.Track.TimeScale)-from)
		b = name(appendBorn(append(b, `,URI="`...), m.born))
		b = append(append(b, m.query...), '"')
		if independent {
			b = append(b, ",INDEPENDENT=YES"...)
		}
		b = append(b, '\n')
	}
	if lead := m.l.leadTicks(i); lead > 0 {
		start, step := run.DecodeTime-lead, leadStep(run)
		for from := int64(0); from < lead; from += step {
			length := min(step, lead-from)
			part(length, func(b []byte) []byte { return appendFill(b, run.Config, start+from, length) }, true)
		}
	}
	for k := range run.Parts {
		p := &run.Parts[k]
		part(p.Duration, func(b []byte) []byte { return appendPart(b, m.l.id, f.Number, k) },
			p.Independent || m.l.kind != fragments.KindVideo)
	}
	return b
}

// partSlack is by how much later than they do the parts of a segment, but for
// the first, are told to begin, µs.
const partSlack = 2

// toldLonger is by how much longer a part may be told to be than it is, ns.
const toldLonger = (partSlack + 1) * 1000

// partEdge returns where in its segment a part is told to begin, or end, µs: a
// little late. Shaka compares where a part is told to begin with the decode time in
// it, by a difference of 1 ms that it makes itself, and empties its decoder when
// that has become larger: exact durations left it to the last bit of a sum of
// floats, and of some streams no part was shown but the first of each segment.
// Before a first part, which has a key frame, it costs nothing.
func partEdge(ticks int64, scale uint32) int64 {
	if ticks == 0 {
		return 0
	}
	return nanos(ticks, scale)/1000 + partSlack
}

// appendTail writes which part comes next, and how far the other playlists are.
func (w *lowLatency) appendTail(b []byte, m *media) []byte {
	if f := w.s.state.Open; f != nil && m.l.part > 0 {
		next := 0
		// Before the leading track has a part, what others have is not listed.
		if run := f.Run(m.l.id); run != nil && m.t.tentative != nil {
			next = len(run.Parts)
		}
		b = appendBorn(append(b, `#EXT-X-PRELOAD-HINT:TYPE=PART,URI="`...), m.born)
		b = append(append(appendPart(b, m.l.id, f.Number, next), m.query...), "\"\n"...)
	}
	offered := m.t.offered(m.from)
	for _, l := range m.t.lines {
		if l == m.l || !m.t.plays(l, offered) {
			continue
		}
		b = append(b, `#EXT-X-RENDITION-REPORT:URI="`...)
		b = append(w.req.mediaURI(b, l.id), `",LAST-MSN=`...)
		row := m.t.closed() - 1
		if row+1 < len(m.t.rows) && w.s.parts(l, row+1) > 0 {
			row++
		}
		b = strconv.AppendInt(b, m.t.seq+int64(row), 10)
		if n := w.s.parts(l, row); n > 0 {
			b = strconv.AppendInt(append(b, ",LAST-PART="...), int64(n-1), 10)
		}
		b = append(b, '\n')
	}
	return b
}
