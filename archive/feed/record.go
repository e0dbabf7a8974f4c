package feed

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// Version is that of the schema.
const Version = 1

// TypeFragment is the type of the feed's records.
const TypeFragment = "fragment"

// Reasons for frames that are left out.
const (
	LeftOutSize    = "size"    // too many: only key frames of video, or none
	LeftOutDamaged = "damaged" // the media does not read as it was written
)

// Record is what is told of one fragment. See the package comment.
type Record struct {
	V             int                  `json:"v"`
	Type          string               `json:"type"`
	Stream        fragments.StreamName `json:"stream"`
	Number        fragments.Number     `json:"number"`
	ProducerStart time.Time            `json:"producer_start"`
	ProducerEnd   time.Time            `json:"producer_end"`
	ServerStart   time.Time            `json:"server_start"`
	ServerEnd     time.Time            `json:"server_end"`
	DurationMs    int64                `json:"duration_ms"`
	Bytes         int64                `json:"bytes"`
	Dependent     bool                 `json:"dependent,omitempty"`
	Discontinuity bool                 `json:"discontinuity,omitempty"`
	Tags          map[string]string    `json:"tags,omitempty"` // no way in gives any yet
	Tracks        []Track              `json:"tracks"`
	FramesLeftOut string               `json:"frames_left_out,omitempty"`
}

// Track is what a fragment holds of one track.
type Track struct {
	ID         int     `json:"id"`
	Kind       string  `json:"kind"`
	Codec      string  `json:"codec,omitempty"`
	Width      int     `json:"width,omitempty"`
	Height     int     `json:"height,omitempty"`
	SampleRate int     `json:"sample_rate,omitempty"`
	Channels   int     `json:"channels,omitempty"`
	Samples    int     `json:"samples"`
	Bytes      int64   `json:"bytes"`
	Frames     []Frame `json:"frames"`
}

// Frame is one coded frame: an array of two or three numbers.
type Frame struct {
	PTS  int64 // microseconds after the record's ProducerStart
	Size int   // bytes
	Key  bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (f *Frame) UnmarshalJSON(b []byte) error {
	var n []int64
	if err := json.Unmarshal(b, &n); err != nil {
		return fmt.Errorf("frame: %w", err)
	}
	if len(n) < 2 || len(n) > 3 {
		return errors.New("frame: want two or three numbers")
	}
	*f = Frame{PTS: n[0], Size: int(n[1]), Key: len(n) == 3 && n[2] == 1}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (f Frame) MarshalJSON() ([]byte, error) { return f.append(nil), nil }

func (f Frame) append(b []byte) []byte {
	b = strconv.AppendInt(append(b, '['), f.PTS, 10)
	b = strconv.AppendInt(append(b, ','), int64(f.Size), 10)
	if f.Key {
		b = append(b, ",1"...)
	}
	return append(b, ']')
}

const timeLayout = "2006-01-02T15:04:05.000000Z"

// AppendJSON appends the record as it goes into the data stream: as json.Marshal
// writes it but for the times, which have six decimals, and an eighth of its time.
func (r *Record) AppendJSON(b []byte) []byte {
	b = append(b, `{"v":`...)
	b = strconv.AppendInt(b, int64(r.V), 10)
	b = append(b, `,"type":"`...)
	b = append(b, r.Type...)
	b = append(b, `","stream":"`...)
	b = append(b, r.Stream...) // its letters need no escapes
	b = append(b, `","number":"`...)
	b, _ = r.Number.AppendText(b)
	b = append(b, '"')
	for _, t := range [...]struct {
		key string
		at  time.Time
	}{
		{`,"producer_start":"`, r.ProducerStart},
		{`,"producer_end":"`, r.ProducerEnd},
		{`,"server_start":"`, r.ServerStart},
		{`,"server_end":"`, r.ServerEnd},
	} {
		b = t.at.UTC().AppendFormat(append(b, t.key...), timeLayout)
		b = append(b, '"')
	}
	b = appendNumber(b, `,"duration_ms":`, r.DurationMs)
	b = appendNumber(b, `,"bytes":`, r.Bytes)
	if r.Dependent {
		b = append(b, `,"dependent":true`...)
	}
	if r.Discontinuity {
		b = append(b, `,"discontinuity":true`...)
	}
	if len(r.Tags) > 0 {
		tags, _ := json.Marshal(r.Tags) // of strings: never fails
		b = append(append(b, `,"tags":`...), tags...)
	}
	b = append(b, `,"tracks":[`...)
	for i := range r.Tracks {
		if i > 0 {
			b = append(b, ',')
		}
		b = r.Tracks[i].append(b)
	}
	b = append(b, ']')
	if r.FramesLeftOut != "" {
		b = append(b, `,"frames_left_out":"`...)
		b = append(append(b, r.FramesLeftOut...), '"')
	}
	return append(b, '}')
}

func (t *Track) append(b []byte) []byte {
	b = appendNumber(b, `{"id":`, int64(t.ID))
	b = append(b, `,"kind":"`...)
	b = append(append(b, t.Kind...), '"')
	if t.Codec != "" {
		codec, _ := json.Marshal(t.Codec) // of unknown codecs it is the publisher's
		b = append(append(b, `,"codec":`...), codec...)
	}
	for _, n := range [...]struct {
		key   string
		value int
	}{{`,"width":`, t.Width}, {`,"height":`, t.Height}, {`,"sample_rate":`, t.SampleRate}, {`,"channels":`, t.Channels}} {
		if n.value != 0 {
			b = appendNumber(b, n.key, int64(n.value))
		}
	}
	b = appendNumber(b, `,"samples":`, int64(t.Samples))
	b = appendNumber(b, `,"bytes":`, t.Bytes)
	b = append(b, `,"frames":[`...)
	for i, f := range t.Frames {
		if i > 0 {
			b = append(b, ',')
		}
		b = f.append(b)
	}
	return append(b, "]}"...)
}

func appendNumber(b []byte, key string, n int64) []byte {
	return strconv.AppendInt(append(b, key...), n, 10)
}

// fit appends the record and leaves out frames until it takes at most limit
// bytes.
func (r *Record) fit(b []byte, limit int) []byte {
	start := len(b)
	if b = r.AppendJSON(b); len(b)-start <= limit {
		return b
	}
	r.FramesLeftOut = LeftOutSize
	for i := range r.Tracks {
		t := &r.Tracks[i]
		keys := t.Frames[:0]
		for _, f := range t.Frames {
			if f.Key && t.Kind == fragments.KindVideo.String() {
				keys = append(keys, f)
			}
		}
		t.Frames = keys
	}
	if b = r.AppendJSON(b[:start]); len(b)-start <= limit {
		return b
	}
	for i := range r.Tracks {
		r.Tracks[i].Frames = nil
	}
	return r.AppendJSON(b[:start])
}
