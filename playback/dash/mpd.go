package dash

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback/hls"
)

// TimePath is where the manifest says the server's clock can be read, relative to
// /dash/<stream>/.
const TimePath = "../time"

// manifest is a manifest to be written.
type manifest struct {
	v       *hls.View
	r       *hls.Request
	tracks  []int // of v
	periods []period
	origin  time.Duration // availabilityStartTime, since 1970
}

// What players need to know of live media.
const (
	// delayRows is how many rows behind the live edge players are to stay: one is
	// being recorded, one has just come, and one is for what is late.
	delayRows = 3
	minDelay  = 4 * time.Second // some players look for news every 3 s only
	minUpdate = time.Second
	recent    = 10 // rows that tell how long the next ones will be
)

// longest returns the length of the longest of the last n segments of a period.
func (m *manifest) longest(p *period, n int) time.Duration {
	d := time.Duration(0)
	for _, t := range p.tracks {
		cells := m.v.Tracks[t].Cells[max(p.from, p.to-n):p.to]
		scale := m.v.Tracks[t].Configs[cells[0].Config].TimeScale
		ticks := int64(0)
		for i := range cells {
			ticks = max(ticks, span(cells, i))
		}
		d = max(d, time.Duration(float64(ticks)/float64(scale)*1e9))
	}
	return d
}

// span returns how long cell i is told to be: up to where the next one begins, so
// that the time line has neither holes nor overlaps.
func span(cells []hls.ViewCell, i int) int64 {
	if i+1 < len(cells) {
		return max(cells[i+1].Start-cells[i].Start, 1)
	}
	return max(cells[i].Duration, 1)
}

// append writes the manifest.
func (m *manifest) append(b []byte) []byte {
	v := m.v
	size := 4096 + len(m.periods)*2048
	for _, t := range m.tracks {
		size += len(v.Tracks[t].Cells) * 128
	}
	b = slices.Grow(b, size)
	if !m.r.Live {
		// The first row of a range is always the same, but may be gone. What has
		// ended begins at 0.
		m.origin = m.timeOf(&v.Rows[0])
		if v.Ended {
			m.origin = m.periods[0].at
		}
	}
	b = append(b, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+
		`<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-main:2011"`...)
	b = m.appendTimes(b)
	for _, reason := range v.LeftOut {
		b = append(append(append(b, "<!-- "...), strings.NewReplacer("--", "- -", "\n", " ").Replace(reason)...), " -->\n"...)
	}
	if !v.Ended && m.r.Token != "" {
		b = m.appendLocation(b)
	}
	for i := range m.periods {
		b = m.appendPeriod(b, i)
	}
	if !v.Ended {
		b = append(b, `<UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-xsdate:2014" value="`+TimePath+"\"/>\n"...)
	}
	return append(b, "</MPD>\n"...)
}

// appendTimes writes the rest of the MPD tag.
func (m *manifest) appendTimes(b []byte) []byte {
	v := m.v
	last := &m.periods[len(m.periods)-1]
	longest := m.longest(last, recent)
	if v.Ended {
		b = append(b, ` type="static"`...)
		b = appendDuration(b, "mediaPresentationDuration", last.end(m)-m.origin)
	} else {
		newest := &v.Rows[last.to-1]
		lag := newest.Arrival.Sub(time.Unix(0, int64(last.end(m)-newest.Duration)))
		delay := (max(delayRows*longest, minDelay) + min(max(lag, 0), maxSkew)).Round(100 * time.Millisecond)
		b = append(b, ` type="dynamic"`...)
		b = appendDuration(b, "minimumUpdatePeriod", max(longest.Round(100*time.Millisecond), minUpdate))
		b = appendDuration(b, "suggestedPresentationDelay", delay)
		if m.r.Live {
			// What is older than the window is there where little has come since.
			depth := max(v.Window, last.end(m)-m.periods[0].at)
			b = appendDuration(b, "timeShiftBufferDepth", depth.Truncate(time.Second)+time.Second)
		}
		b = appendTime(b, "publishTime", time.Duration(newest.Arrival.Add(newest.Duration).UnixNano()))
	}
	b = appendTime(b, "availabilityStartTime", m.origin)
	all := time.Duration(0)
	for i := range m.periods {
		all = max(all, m.longest(&m.periods[i], len(v.Rows)))
	}
	b = appendDuration(b, "maxSegmentDuration", all)
	b = appendDuration(b, "minBufferTime", max(longest.Round(100*time.Millisecond), time.Second))
	return append(b, ">\n"...)
}

// appendLocation says where the manifest is to be refreshed from: players do not
// pass on what proved who asks.
func (m *manifest) appendLocation(b []byte) []byte {
	var q []byte
	switch {
	case !m.r.Live:
		q = append(m.r.Range.AppendQuery(q), '&')
	case m.r.Window > 0:
		q = append(strconv.AppendInt(append(q, "window="...), int64(m.r.Window/time.Second), 10), '&')
	}
	if m.r.Video > 0 {
		q = append(strconv.AppendInt(append(q, "video="...), int64(m.r.Video), 10), '&')
	}
	b = append(b, "<Location>manifest.mpd?"...)
	b = escapeFrom(append(b, m.r.AppendToken(q)...), len(b))
	return append(b, "</Location>\n"...)
}

func (m *manifest) appendPeriod(b []byte, i int) []byte {
	p := &m.periods[i]
	b = append(b, `<Period id="`...)
	b = append(strconv.AppendInt(b, p.sequence, 10), '"')
	b = appendDuration(b, "start", p.at-m.origin)
	b = append(b, ">\n<BaseURL>../../hls/"...)
	b = append(append(b, m.v.Name...), '/')
	b = m.v.AppendBase(b)
	b = append(b, "</BaseURL>\n"...)
	sounds := 0
	for _, t := range p.tracks {
		main := m.v.Tracks[t].Kind == fragments.KindVideo || sounds == 0
		if m.v.Tracks[t].Kind == fragments.KindAudio {
			sounds++
		}
		b = m.appendSet(b, p, t, main)
	}
	return append(b, "</Period>\n"...)
}

// appendSet writes the AdaptationSet of a track.
func (m *manifest) appendSet(b []byte, p *period, track int, main bool) []byte {
	t := &m.v.Tracks[track]
	config := t.Cells[p.from].Config
	c := &t.Configs[config]
	kind := t.Kind.String()
	b = append(b, `<AdaptationSet id="`...)
	b = strconv.AppendInt(b, int64(t.ID), 10)
	b = append(append(append(b, `" contentType="`...), kind...), `" segmentAlignment="true"`...)
	if m.startsWithKey(p, t) {
		b = append(b, ` startWithSAP="1"`...)
	}
	b = append(b, ">\n"...)
	if t.Kind == fragments.KindAudio {
		b = append(b, "<Label>Track "...)
		b = append(strconv.AppendInt(b, int64(t.ID), 10), "</Label>\n"...)
	}
	role := "alternate"
	if main {
		role = "main"
	}
	b = append(append(append(b, `<Role schemeIdUri="urn:mpeg:dash:role:2011" value="`...), role...), "\"/>\n"...)
	b = append(b, `<Representation id="`...)
	b = strconv.AppendInt(b, int64(t.ID), 10)
	b = append(append(append(b, `" mimeType="`...), kind...), `/mp4" codecs="`...)
	b = append(b, c.Codec...)
	b = append(b, `" bandwidth="`...)
	b = append(strconv.AppendInt(b, max(t.Peak, 1), 10), '"')
	b = appendMedia(b, t, c.Track)
	b = m.appendSegments(b, p, track, config)
	return append(b, "</Representation>\n</AdaptationSet>\n"...)
}

// startsWithKey reports whether decoding can start at every segment.
func (m *manifest) startsWithKey(p *period, t *hls.ViewTrack) bool {
	return t.Kind != fragments.KindVideo ||
		!slices.ContainsFunc(m.v.Rows[p.from:p.to], func(r hls.ViewRow) bool { return r.Dependent })
}

// appendMedia writes what is special to video or audio, and ends the tag.
func appendMedia(b []byte, t *hls.ViewTrack, c *fragments.Track) []byte {
	if t.Kind == fragments.KindVideo {
		if c.Width > 0 && c.Height > 0 {
			b = fmt.Appendf(b, ` width="%d" height="%d"`, c.Width, c.Height)
		}
		return append(appendRate(b, t.Frames), ">\n"...)
	}
	if c.SampleRate > 0 {
		b = fmt.Appendf(b, ` audioSamplingRate="%d"`, c.SampleRate)
	}
	b = append(b, ">\n"...)
	if c.Channels > 0 {
		b = fmt.Appendf(b, `<AudioChannelConfiguration schemeIdUri="urn:mpeg:dash:23003:3:audio_channel_configuration:2011" value="%d"/>`+"\n", c.Channels)
	}
	return b
}

// appendRate writes a frame rate as a whole number or a fraction, as it must be
// (ISO/IEC 23009-1, 5.3.7.2).
func appendRate(b []byte, f float64) []byte {
	whole, ntsc := math.Round(f), math.Round(f*1.001)
	switch {
	case f <= 0:
		return b
	case math.Abs(f-whole) < 1e-6:
		return fmt.Appendf(b, ` frameRate="%.0f"`, whole)
	case math.Abs(f-ntsc/1.001) < 1e-6:
		return fmt.Appendf(b, ` frameRate="%.0f/1001"`, ntsc*1000)
	}
	return fmt.Appendf(b, ` frameRate="%.0f/1000"`, f*1000)
}

// appendSegments writes the SegmentList of a track in a period.
func (m *manifest) appendSegments(b []byte, p *period, track, config int) []byte {
	t := &m.v.Tracks[track]
	scale := t.Configs[config].TimeScale
	shown := int64(0)
	if t.Kind == fragments.KindVideo {
		shown = nearest(p.shown, scale)
	}
	b = append(b, `<SegmentList timescale="`...)
	b = strconv.AppendUint(b, uint64(scale), 10)
	b = append(b, `" presentationTimeOffset="`...)
	// Rounded down: a picture is rather late by a tick than before its Period.
	b = strconv.AppendInt(b, archive.Ticks(p.media, scale), 10)
	b = append(b, "\">\n<Initialization sourceURL=\""...)
	b = escapeFrom(m.v.AppendInit(b, track, config), len(b))
	b = append(b, "\"/>\n<SegmentTimeline>\n"...)
	cells, at := t.Cells[p.from:p.to], int64(-1)
	for i := range cells {
		c := &cells[i]
		length := span(cells, i)
		b = append(b, "<S"...)
		if at != c.Start {
			b = append(b, ` t="`...)
			b = append(strconv.AppendInt(b, c.Start+shown, 10), '"')
		}
		b = append(b, ` d="`...)
		b = append(strconv.AppendInt(b, length, 10), "\"/>\n"...)
		at = c.Start + length
	}
	b = append(b, "</SegmentTimeline>\n"...)
	for i := p.from; i < p.to; i++ {
		b = append(b, `<SegmentURL media="`...)
		b = escapeFrom(m.v.AppendSegment(b, track, i), len(b))
		b = append(b, "\"/>\n"...)
	}
	return append(b, "</SegmentList>\n"...)
}

// escapeFrom escapes what a URL may have and XML may not, in all that follows from.
func escapeFrom(b []byte, from int) []byte {
	if bytes.IndexByte(b[from:], '&') < 0 {
		return b
	}
	return append(b[:from], bytes.ReplaceAll(b[from:], []byte("&"), []byte("&amp;"))...)
}

// appendDuration writes an attribute of type xs:duration.
func appendDuration(b []byte, name string, d time.Duration) []byte {
	b = append(append(append(b, ' '), name...), `="PT`...)
	b = appendSeconds(b, d)
	return append(b, `S"`...)
}

// appendSeconds appends seconds with as many of six decimals as say something.
func appendSeconds(b []byte, d time.Duration) []byte {
	us := max(d.Round(time.Microsecond), 0) / time.Microsecond
	b = strconv.AppendInt(b, int64(us/1e6), 10)
	if us %= 1e6; us > 0 {
		b = append(append(b, '.'), strconv.Itoa(int(1e6 + us))[1:]...)
		b = bytes.TrimRight(b, "0")
	}
	return b
}

// appendTime writes an attribute of type xs:dateTime: of a time since 1970.
func appendTime(b []byte, name string, at time.Duration) []byte {
	b = append(append(append(b, ' '), name...), `="`...)
	b = time.Unix(0, int64(at)).UTC().AppendFormat(b, "2006-01-02T15:04:05.999999Z")
	return append(b, '"')
}

// nearest converts a duration to ticks.
func nearest(d time.Duration, scale uint32) int64 {
	return archive.Ticks(d+time.Second/time.Duration(2*cmp.Or(scale, 1)), scale)
}
