package hls

import (
	"slices"
	"strconv"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
)

// version is EXT-X-VERSION: 6 would do for EXT-X-MAP, Apple's authoring rules
// ask for 7 with fragmented MP4.
const version = "#EXT-X-VERSION:7\n"

// media is a media playlist to be written: the rows from..to of one line.
type media struct {
	t        *timeline
	l        *line
	from, to int
	typ      string // "", EVENT or VOD
	ended    bool
	start    startAt
	born     int64
	query    []byte           // behind every segment
	kept     fragments.Number // fragments before this one are no longer kept
	low      *lowLatency      // nil: no parts
}

// startAt is where a player shall begin: seconds from the first row, or, when
// negative, from the end. Without one, players begin at the start of what has
// ended and near the end of what grows.
type startAt struct {
	offset time.Duration
	set    bool
}

// append writes the playlist.
func (m *media) append(b []byte) []byte {
	first, each, parts := m.from, 160+len(m.query), 0
	if m.low != nil {
		first += m.low.skip
		parts = 1024 + (m.to-m.low.parts)*6*each
	}
	b = slices.Grow(b, 512+(m.to-first)*each+parts)
	b = m.appendHead(b)
	at := place{mapped: missing, known: m.l.known(m.from)}
	if first > m.from {
		b = m.appendSkip(b, &at)
	}
	for i := first; i < m.to; i++ {
		b = m.appendRow(b, i, &at)
	}
	if m.low != nil {
		b = m.low.appendTail(b, m)
	}
	if m.ended {
		b = append(b, "#EXT-X-ENDLIST\n"...)
	}
	return b
}

func (m *media) appendHead(b []byte) []byte {
	number := func(tag string, v int64) {
		b = append(strconv.AppendInt(append(b, tag...), v, 10), '\n')
	}
	if m.low != nil {
		b = m.low.appendHead(append(b, "#EXTM3U\n"+lowVersion...), m)
	} else {
		b = append(b, "#EXTM3U\n"+version...)
	}
	number("#EXT-X-TARGETDURATION:", m.t.target)
	number("#EXT-X-MEDIA-SEQUENCE:", m.t.seq+int64(m.from))
	if m.typ == "" {
		number("#EXT-X-DISCONTINUITY-SEQUENCE:", m.t.discAt(m.from))
	} else {
		b = append(append(append(b, "#EXT-X-PLAYLIST-TYPE:"...), m.typ...), '\n')
	}
	if m.independent() {
		b = append(b, "#EXT-X-INDEPENDENT-SEGMENTS\n"...)
	}
	if m.start.set {
		b = append(b, "#EXT-X-START:TIME-OFFSET="...)
		b = strconv.AppendFloat(b, m.start.offset.Seconds(), 'f', 3, 64)
		b = append(b, ",PRECISE=YES\n"...)
	}
	return b
}

// independent reports whether decoding can start at every segment.
func (m *media) independent() bool {
	if m.l.kind != fragments.KindVideo {
		return true
	}
	for i := range m.t.rows[m.from:m.to] {
		if m.t.rows[m.from+i].dependent {
			return false
		}
	}
	return true
}

// place is where the writing of a playlist has come to.
type place struct {
	mapped int32 // configuration of the last EXT-X-MAP
	known  int32 // last configuration the track had, or else the first it will have
}

// look moves at on to row i: fill is whether it is silence that has to be
// written, gap whether it has nothing.
func (m *media) look(i int, at *place) (fill, gap bool) {
	r, c := &m.t.rows[i], &m.l.cells[i]
	if c.config != missing {
		at.known = c.config
	}
	fill = c.config == missing && at.known != missing && m.l.configs[at.known].fill && c.start >= 0
	return fill, c.config == missing && !fill || r.number.Less(m.kept) || r.lost
}

// appendRow writes one segment, or the parts of the one that is open.
func (m *media) appendRow(b []byte, i int, at *place) []byte {
	r, c := &m.t.rows[i], &m.l.cells[i]
	open := i >= m.t.closed()
	if open && (m.low == nil || c.config == missing) {
		return b
	}
	if i > m.from && r.disc {
		b = append(b, "#EXT-X-DISCONTINUITY\n"...)
	}
	fill, gap := m.look(i, at)
	if !gap && at.known != at.mapped {
		b = append(b, `#EXT-X-MAP:URI="`...)
		b = appendInit(appendBorn(b, m.born), m.l.configs[at.known].hash)
		b = append(append(b, m.query...), "\"\n"...)
		at.mapped = at.known
	}
	b = append(b, "#EXT-X-PROGRAM-DATE-TIME:"...)
	b = appendDate(b, r.stamp+c.start-r.start)
	if m.low != nil && !gap && !fill && i >= m.low.parts {
		b = m.low.appendParts(b, m, i)
	}
	if open {
		return b
	}
	if gap {
		b = append(b, "#EXT-X-GAP\n"...)
	}
	b = append(b, "#EXTINF:"...)
	b = appendSeconds(b, c.duration)
	b = append(b, ",\n"...)
	b = appendBorn(b, m.born)
	if fill {
		f := &m.l.configs[at.known]
		b = appendFill(b, f.hash, ticks(c.start, f.timeScale()), ticks(c.duration, f.timeScale()))
	} else {
		b = appendSegment(b, m.l.id, r.number, int(r.count), m.l.leadTicks(i))
	}
	return append(append(b, m.query...), '\n')
}

// leadTicks returns the silence that cell i begins with.
func (l *line) leadTicks(i int) int64 {
	if l.cells[i].lead <= 0 {
		return 0
	}
	return ticks(l.cells[i].lead, l.configs[l.cells[i].config].timeScale())
}

// known returns the configuration that silence before row i continues: that of
// the last cell before it that has the track, or else of the first one after.
func (l *line) known(i int) int32 {
	for k := i - 1; k >= 0; k-- {
		if c := l.cells[k].config; c != missing {
			return c
		}
	}
	for k := i; k < len(l.cells); k++ {
		if c := l.cells[k].config; c != missing {
			return c
		}
	}
	return missing
}

// appendDate appends a UTC time with milliseconds and a line feed.
func appendDate(b []byte, ns int64) []byte {
	b = time.Unix(0, ns).UTC().Round(time.Millisecond).AppendFormat(b, "2006-01-02T15:04:05.000")
	return append(b, "Z\n"...)
}

// appendSeconds appends nanoseconds as seconds with six decimals, rounded.
func appendSeconds(b []byte, ns int64) []byte { return appendMicros(b, max(ns+500, 0)/1000) }

// appendMicros appends microseconds as seconds with six decimals.
func appendMicros(b []byte, us int64) []byte {
	b = strconv.AppendInt(b, us/1e6, 10)
	b = append(b, '.')
	frac := us % 1e6
	for d := int64(1e5); d > 0; d /= 10 {
		b = append(b, byte('0'+frac/d%10))
	}
	return b
}

// ticks converts non-negative nanoseconds to ticks, rounded to the nearest.
func ticks(ns int64, timeScale uint32) int64 {
	half := int64(time.Second) / (2 * int64(max(timeScale, 1)))
	return archive.Ticks(time.Duration(ns+half), timeScale)
}
