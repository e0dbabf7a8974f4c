package dash

import (
	"slices"
	"time"

	"github.com/kineweir/kineweir/fragments"
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

// periods divides the rows of m. The delay is how much later than it is decoded
// the first picture of a row is shown.
func (s *stream) periods(m *manifest, delay func(track, row int) time.Duration) (list []period) {
	v := m.v
	disc := v.Discontinuity
	var tracks []int
	for i := range v.Rows {
		if v.Rows[i].Discontinuity {
			disc++
		}
		before := tracks
		tracks = m.tracksOf(i)
		if len(tracks) == 0 {
			continue // nobody has the row any more
		}
		if n := len(list); n > 0 && !v.Rows[i].Discontinuity && slices.Equal(before, tracks) {
			list[n-1].to = i + 1
			continue
		}
		p := period{from: i, to: i + 1, tracks: tracks}
		if lead := tracks[0]; v.Tracks[lead].Kind == fragments.KindVideo {
			p.shown = delay(lead, m.independent(i, lead))
		}
		p.start = s.startOf(m, i, disc, p.shown, list)
		list = append(list, p)
	}
	if len(list) > 0 {
		s.remember(list)
	}
	return list
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
	p := start{sequence, disc, time.Duration(r.Time.UnixNano()), r.Start + shown}
	if first := &m.v.First; i == 0 {
		p = start{first.Sequence, disc, time.Duration(first.Time.UnixNano()), first.Start + shown}
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
