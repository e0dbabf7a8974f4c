package hls

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kineweir/kineweir/fragments"
)

// NotPlayableError says that a stream has nothing that a browser can play.
type NotPlayableError struct {
	Stream  fragments.StreamName
	Reasons []string // one for each track
}

// Error returns the reasons, track by track.
func (e *NotPlayableError) Error() string {
	return fmt.Sprintf("stream %s cannot be played as HLS: %s", e.Stream, strings.Join(e.Reasons, "; "))
}

// rendition is a line as the multivariant playlist offers it.
type rendition struct {
	line   *line
	config *config
	rates
}

// variants is a multivariant playlist to be written.
type variants struct {
	video   *rendition  // nil: audio only
	audio   []rendition // by track ID
	leftOut []string    // why tracks are not there
	// independent: every segment of what has ended is.
	independent bool
}

// choose finds what to offer of the rows from..: the first video track, or the
// one asked for, and every audio track, each in the configuration that stands
// for it.
func (t *timeline) choose(from int, live bool, video int) variants {
	v := variants{independent: true}
	for i := range t.rows[from:] {
		v.independent = v.independent && !t.rows[from+i].dependent
	}
	for _, l := range t.lines {
		if !l.heard(from) {
			continue
		}
		use := l.stands(live)
		r := rendition{line: l, config: &l.configs[use]}
		switch {
		case r.config.refused != nil:
			v.leaveOut(l, r.config.refused.Error())
		case l.kind == fragments.KindAudio:
			r.rates = t.measure(l, missing)
			r.asFLAC()
			v.audio = append(v.audio, r)
		case l.kind != fragments.KindVideo:
			v.leaveOut(l, "neither video nor audio")
		case video != 0 && l.id != video:
			v.leaveOut(l, fmt.Sprintf("video=%d was asked for", video))
		case v.video != nil:
			v.leaveOut(l, fmt.Sprintf("it is not the first video track; ask for it with video=%d", l.id))
		default:
			r.rates = t.measure(l, use)
			v.video = &r
		}
	}
	return v
}

func (v *variants) leaveOut(l *line, reason string) {
	v.leftOut = append(v.leftOut, fmt.Sprintf("track %d (%s) left out: %s", l.id, l.kind, reason))
}

// heard reports whether the track is in any row from the given one on.
func (l *line) heard(from int) bool {
	return slices.ContainsFunc(l.cells[from:], func(c cell) bool { return c.config != missing })
}

// stands returns the configuration that stands for the line: live, the current
// one; else, of those of the current codec, the one with the most pixels, which
// a player must be able to decode.
func (l *line) stands(live bool) int32 {
	best := l.current
	if live {
		return best
	}
	for i := range l.configs {
		c, b := l.configs[i].track, l.configs[best].track
		if c.Codec == b.Codec && l.configs[i].refused == nil && c.Width*c.Height > b.Width*b.Height {
			best = int32(i)
		}
	}
	return best
}

// asFLAC replaces the rates of what the index knows of PCM by those of FLAC,
// which is made when it is asked for: at most 16 or 24 bits of every sample.
func (r *rendition) asFLAC() {
	t := r.config.track
	if r.config.codec != "fLaC" {
		return
	}
	bits := max(t.BitDepth, 16)
	r.peak = int64(t.SampleRate*t.Channels*bits) + 8000 // boxes and frame headers
	r.average = r.peak * 3 / 4
}

// append writes the multivariant playlist. Audio tracks of one codec form a
// group, and each group is a variant with the same video (RFC 8216, 4.3.4.2.1).
func (v *variants) append(b []byte, req *Request, ended bool) []byte {
	b = append(b, "#EXTM3U\n"+version...)
	if ended && v.independent {
		b = append(b, "#EXT-X-INDEPENDENT-SEGMENTS\n"...)
	}
	for _, reason := range v.leftOut {
		b = append(append(append(b, "# "...), strings.ReplaceAll(reason, "\n", " ")...), '\n')
	}
	var groups []string
	for i := range v.audio {
		if c := v.audio[i].config.codec; !slices.Contains(groups, c) {
			groups = append(groups, c)
		}
	}
	if v.video != nil || len(v.audio) > 1 {
		for i := range v.audio {
			b = v.audio[i].appendMedia(b, req, i == 0)
		}
	}
	if len(groups) == 0 {
		groups = []string{""}
	}
	for _, g := range groups {
		b = v.appendVariant(b, req, g)
	}
	return b
}

func groupID(codec string) string {
	return "audio-" + codec
}

func (r *rendition) appendMedia(b []byte, req *Request, first bool) []byte {
	b = append(b, `#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="`...)
	b = append(b, groupID(r.config.codec)...)
	b = append(b, `",NAME="Track `...)
	b = strconv.AppendInt(b, int64(r.line.id), 10)
	b = append(b, `",AUTOSELECT=YES,DEFAULT=`...)
	if first {
		b = append(b, "YES"...)
	} else {
		b = append(b, "NO"...)
	}
	if n := r.config.track.Channels; n > 0 {
		b = append(b, `,CHANNELS="`...)
		b = append(strconv.AppendInt(b, int64(n), 10), '"')
	}
	b = append(b, `,URI="`...)
	b = req.mediaURI(b, r.line.id)
	return append(b, "\"\n"...)
}

func (v *variants) appendVariant(b []byte, req *Request, group string) []byte {
	var peak, average int64
	var codecs []string
	uri := 0
	if v.video != nil {
		peak, average, uri = v.video.peak, v.video.average, v.video.line.id
		codecs = append(codecs, v.video.config.codec)
	}
	var audioPeak, audioAverage int64
	for i := range v.audio {
		a := &v.audio[i]
		if a.config.codec != group {
			continue
		}
		audioPeak, audioAverage = max(audioPeak, a.peak), max(audioAverage, a.average)
		if uri == 0 {
			uri = a.line.id
		}
	}
	if group != "" {
		codecs = append(codecs, group)
	}
	b = append(b, "#EXT-X-STREAM-INF:BANDWIDTH="...)
	b = strconv.AppendInt(b, peak+audioPeak, 10)
	b = append(b, ",AVERAGE-BANDWIDTH="...)
	b = strconv.AppendInt(b, average+audioAverage, 10)
	b = append(append(append(b, `,CODECS="`...), strings.Join(codecs, ",")...), '"')
	if v.video != nil {
		b = v.video.appendPicture(b)
	}
	if group != "" && (v.video != nil || len(v.audio) > 1) {
		b = append(append(append(b, `,AUDIO="`...), groupID(group)...), '"')
	}
	b = append(b, ",CLOSED-CAPTIONS=NONE\n"...)
	return append(req.mediaURI(b, uri), '\n')
}

func (r *rendition) appendPicture(b []byte) []byte {
	if t := r.config.track; t.Width > 0 && t.Height > 0 {
		b = append(b, ",RESOLUTION="...)
		b = strconv.AppendInt(b, int64(t.Width), 10)
		b = append(b, 'x')
		b = strconv.AppendInt(b, int64(t.Height), 10)
	}
	if r.frames > 0 {
		b = append(b, ",FRAME-RATE="...)
		b = strconv.AppendFloat(b, r.frames, 'f', 3, 64)
	}
	return b
}
