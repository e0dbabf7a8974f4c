package dash

import (
	"slices"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback/hls"
)

// period is a stretch of rows that have the same tracks and one time line.
type period struct {
	start
	from, to int // rows
	tracks   []int
	shown    time.Duration // how much later than they are decoded first pictures are shown
}

// start is where a Period begins: it does not change while the manifest is
// refreshed and its first rows leave, so it is remembered. A position in it is
// at + (media time - media).
type start struct {
	sequence int64         // of its first row; names the Period
	disc     int64         // discontinuity number
	at       time.Duration // since 1970
	media    time.Duration // media time, since the creation of the stream, of that instant
}

// end is where the period ends, since 1970.
func (p *period) end(m *manifest) time.Duration {
	last := &m.v.Rows[p.to-1]
	return p.at + last.Start + p.shown + last.Duration - p.media
}

// periods divides the rows of m, and those before them, so that it does not depend
// on who asks where a Period begins. The delay is how much later than it is decoded
// the first picture of a row is shown.
func (s *stream) periods(m *manifest, delay func(track, row int) time.Duration) (list []period) {
	v := m.v
	disc := v.Discontinuity
	before := -1 // the last row that somebody has
	for i := range v.Rows {
		if v.Rows[i].Discontinuity {
			disc++
		}
		if !m.has(i) {
			continue
		}
		goesOn := before >= 0 && before == i-1 && !v.Rows[i].Discontinuity && m.alike(before, i)
		before = i
		if goesOn {
			list[len(list)-1].to = i + 1
			continue
		}
		p := period{from: i, to: i + 1, tracks: m.tracksOf(i)}
		if lead := p.tracks[0]; v.Tracks[lead].Kind == fragments.KindVideo {
			p.shown = delay(lead, m.independent(i, lead))
		}
		p.start = s.startOf(m, i, disc, p.shown, list)
		list = append(list, p)
	}
	s.remember(list)
	for len(list) > 0 && list[0].to <= v.From {
		list = list[1:]
	}
	if len(list) > 0 {
		list[0].from = max(list[0].from, v.From)
	}
	return list
}

// has reports whether anybody still has row i.
func (m *manifest) has(i int) bool {
	return slices.ContainsFunc(m.tracks, func(t int) bool { return !m.v.Tracks[t].Cells[i].Gap })
}

// alike reports whether two rows have the same tracks.
func (m *manifest) alike(i, k int) bool {
	return !slices.ContainsFunc(m.tracks, func(t int) bool { return m.v.Tracks[t].Cells[i].Gap != m.v.Tracks[t].Cells[k].Gap })
}

// tracksOf returns the tracks that row i has.
func (m *manifest) tracksOf(i int) (tracks []int) {
	for _, t := range m.tracks {
		if !m.v.Tracks[t].Cells[i].Gap {
			tracks = append(tracks, t)
		}
	}
	return tracks
}

// independent returns the first row of the stretch from i on that decoding can
// start at, whose reorder delay is that of the stretch; i when there is none.
func (m *manifest) independent(i, track int) int {
	for k := i; k < len(m.v.Rows) && (k == i || !m.v.Rows[k].Discontinuity) && !m.v.Tracks[track].Cells[k].Gap; k++ {
		if !m.v.Rows[k].Dependent {
			return k
		}
	}
	return i
}

// startOf returns where the Period begins that has row i as the first that is
// left of it. Rows may have left before it, and taken its beginning with them.
func (s *stream) startOf(m *manifest, i int, disc int64, shown time.Duration, before []period) start {
	r := &m.v.Rows[i]
	sequence := m.v.Sequence + int64(i)
	for k, known := range slices.Backward(s.starts) {
		if known.disc == disc && (known.sequence == sequence || len(before) == 0 && known.sequence < sequence) {
			return s.starts[k]
		}
	}
	p := start{sequence, disc, m.timeOf(r), r.Start + shown}
	if first := &m.v.Rows[0]; disc == m.v.Discontinuity && len(before) == 0 {
		// What was before may have been deleted since.
		p = start{m.v.Sequence, disc, m.timeOf(first), first.Start + shown}
	}
	if len(before) == 0 {
		return p
	}
	// Where the capture clock was set back, what comes next is put behind what was
	// there: DASH cannot tell the same time twice. A small step hides the end of
	// the row before.
	last := &before[len(before)-1]
	if end := last.end(m); p.at < end-m.v.Rows[last.to-1].Duration/2 {
		p.at = end
	}
	return p
}

// maxSkew is how far the producer's clock may be from the server's in what still
// grows. Players look for the newest media by the server's clock: of a camera whose
// clock was never set they would find none.
const maxSkew = 10 * time.Second

// timeOf returns when a row begins, since 1970: on the clock that was asked for, or
// when it arrived.
func (m *manifest) timeOf(r *hls.ViewRow) time.Duration {
	at := r.Time
	if !m.v.Ended && r.Arrival.Sub(at).Abs() > maxSkew {
		at = r.Arrival
	}
	return time.Duration(at.UnixNano())
}

// maxStarts is how many beginnings are remembered of a stream.
const maxStarts = 4096

// remember notes where the Periods begin.
func (s *stream) remember(list []period) {
	for i := range list {
		p := list[i].start
		k, found := slices.BinarySearchFunc(s.starts, p.sequence, func(s start, n int64) int { return int(s.sequence - n) })
		if !found {
			s.starts = slices.Insert(s.starts, k, p)
		}
	}
	if n := len(s.starts) - maxStarts; n > 0 {
		s.starts = slices.Delete(s.starts, 0, n)
	}
}
