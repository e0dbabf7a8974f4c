package events

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kineweir/kineweir/fragments"
)

// Bounds of a detection, in bytes.
const (
	MaxBytes      = 64 << 10 // of the whole
	MaxID         = 128
	MaxLabel      = 128
	MaxSource     = 256
	MaxAttributes = 8 << 10
)

// Version is that of the schema.
const Version = 1

// TypeDetection is the type of a detection's record.
const TypeDetection = "detection"

var (
	// ErrOther answers a record that is something else, and well formed.
	ErrOther = errors.New("not a detection")
	// ErrBad answers what was to be a detection and is none, or is no JSON.
	ErrBad = errors.New("not a good detection")
)

// Detection is something seen by a detector. See the package comment.
type Detection struct {
	ID         string
	Camera     fragments.StreamName
	Time       time.Time // producer time
	End        time.Time // zero for a moment
	Label      string
	Score      float64 // 0 to 1; 0: not told
	Box        *Box    // nil: everywhere
	Source     string
	Fragment   fragments.Number // zero: not told
	Attributes json.RawMessage  // an object, or nil
}

// Box is left, top, width and height as parts of the picture, 0 to 1.
type Box [4]float64

// wire is a detection as it is written; the members that are read are those of
// the package comment.
type wire struct {
	V          *int            `json:"v,omitempty"`
	Type       *string         `json:"type,omitempty"`
	ID         string          `json:"id,omitempty"`
	Camera     string          `json:"camera"`
	Time       looseTime       `json:"time"`
	End        looseTime       `json:"end,omitzero"`
	Label      string          `json:"label"`
	Score      float64         `json:"score,omitempty"`
	Box        []float64       `json:"box,omitempty"`
	Source     string          `json:"source,omitempty"`
	Fragment   string          `json:"fragment,omitempty"`
	Attributes json.RawMessage `json:"attributes,omitempty"`
}

// looseTime is read from RFC 3339 or from unix milliseconds.
type looseTime struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (l *looseTime) UnmarshalJSON(b []byte) error {
	s := string(b)
	if s == "null" {
		return nil
	}
	if s[0] == '"' {
		t, err := time.Parse(time.RFC3339Nano, strings.Trim(s, `"`))
		l.Time = t.UTC()
		return err
	}
	ms, err := strconv.ParseFloat(s, 64)
	if err != nil || math.Abs(ms) > 1e13 {
		return fmt.Errorf("time %.40s is neither RFC 3339 nor unix milliseconds", s)
	}
	whole := math.Floor(ms)
	l.Time = time.UnixMilli(int64(whole)).Add(time.Duration((ms - whole) * 1e6)).UTC()
	return nil
}

// MarshalJSON implements json.Marshaler.
func (l looseTime) MarshalJSON() ([]byte, error) {
	return l.UTC().AppendFormat(nil, `"`+time.RFC3339Nano+`"`), nil
}

// Parse reads a detection. Errors are ErrOther or ErrBad. A detection without an
// ID is left without one.
func Parse(data []byte) (Detection, error) {
	if len(data) > MaxBytes {
		return Detection{}, fmt.Errorf("%w: %d bytes are more than %d", ErrBad, len(data), MaxBytes)
	}
	if data = bytes.TrimSpace(data); len(data) == 0 || data[0] != '{' {
		return Detection{}, fmt.Errorf("%w: no JSON object", ErrOther)
	}
	var w wire
	if err := json.Unmarshal(data, &w); err != nil {
		if other(data) {
			return Detection{}, ErrOther
		}
		return Detection{}, fmt.Errorf("%w: %w", ErrBad, err)
	}
	if w.Type != nil && *w.Type != TypeDetection {
		return Detection{}, fmt.Errorf("%w: type %.40q", ErrOther, *w.Type)
	}
	if w.V != nil && *w.V != Version {
		return Detection{}, fmt.Errorf("%w: version %d", ErrOther, *w.V)
	}
	d, err := w.detection()
	if err == nil {
		err = d.Validate()
	}
	if err != nil {
		return Detection{}, fmt.Errorf("%w: %w", ErrBad, err)
	}
	return d, nil
}

// other reports whether a record whose members have unexpected types says that
// it is something else.
func other(data []byte) bool {
	var w struct {
		Type string `json:"type"`
	}
	return json.Unmarshal(data, &w) == nil && w.Type != "" && w.Type != TypeDetection
}

func (w *wire) detection() (Detection, error) {
	name, err := fragments.ParseStreamName(w.Camera)
	if err != nil {
		return Detection{}, fmt.Errorf("camera: %w", err)
	}
	d := Detection{
		ID: w.ID, Camera: name, Time: w.Time.Time, End: w.End.Time, Label: w.Label, Score: w.Score, Source: w.Source,
	}
	if w.Fragment != "" {
		if d.Fragment, err = fragments.ParseNumber(w.Fragment); err != nil {
			return Detection{}, err
		}
	}
	switch len(w.Box) {
	case 0:
	case 4:
		d.Box = (*Box)(w.Box)
	default:
		return Detection{}, fmt.Errorf("box: want four numbers, not %d", len(w.Box))
	}
	if len(w.Attributes) > 0 && string(w.Attributes) != "null" {
		var b bytes.Buffer
		if err := json.Compact(&b, w.Attributes); err != nil {
			return Detection{}, err
		}
		d.Attributes = b.Bytes()
	}
	return d, nil
}

// boxSlack is how far rounding may push a box over the edge.
const boxSlack = 0.01

// Times that a detection may have: those of video, and not so far ahead that a
// clock must be wrong by decades.
var earliest, latest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// Validate says what is wrong with a detection.
func (d *Detection) Validate() error {
	if _, err := fragments.ParseStreamName(string(d.Camera)); err != nil {
		return fmt.Errorf("camera: %w", err)
	}
	switch {
	case d.Time.IsZero():
		return errors.New("time is missing")
	case d.Time.Before(earliest) || !d.Time.Before(latest):
		return fmt.Errorf("time: %v is before 2000 or after 2200", d.Time)
	case !d.End.IsZero() && (d.End.Before(d.Time) || d.End.After(latest)):
		return errors.New("end: lies before time, or after 2200")
	case d.Label == "":
		return errors.New("label is missing")
	case !(d.Score >= 0 && d.Score <= 1):
		return fmt.Errorf("score: %v is not between 0 and 1", d.Score)
	}
	for _, t := range [...]struct {
		name, text string
		most       int
	}{{"id", d.ID, MaxID}, {"label", d.Label, MaxLabel}, {"source", d.Source, MaxSource}} {
		if len(t.text) > t.most || !utf8.ValidString(t.text) || strings.ContainsFunc(t.text, unicode.IsControl) {
			return fmt.Errorf("%s: more than %d bytes, or not plain text", t.name, t.most)
		}
	}
	if b := d.Box; b != nil {
		for _, v := range b {
			if !(v >= 0 && v <= 1) {
				return fmt.Errorf("box: %v is not between 0 and 1", v)
			}
		}
		if b[0]+b[2] > 1+boxSlack || b[1]+b[3] > 1+boxSlack {
			return errors.New("box: goes beyond the picture")
		}
	}
	if a := d.Attributes; a != nil && (len(a) > MaxAttributes || a[0] != '{' || !json.Valid(a)) {
		return fmt.Errorf("attributes: no JSON object of up to %d bytes", MaxAttributes)
	}
	return nil
}

// MarshalJSON writes the detection as the schema says.
func (d Detection) MarshalJSON() ([]byte, error) { return json.Marshal(d.wire()) }

// appendLine appends the detection as it is kept, and the end of the line.
// Attributes keep their very bytes: json.Marshal would make them longer than
// what is taken.
func (d *Detection) appendLine(b []byte) ([]byte, error) {
	w := bytes.NewBuffer(b)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	err := e.Encode(d.wire())
	return w.Bytes(), err
}

func (d *Detection) wire() *wire {
	v, kind := Version, TypeDetection
	w := &wire{
		V: &v, Type: &kind, ID: d.ID, Camera: string(d.Camera), Time: looseTime{d.Time}, End: looseTime{d.End},
		Label: d.Label, Score: d.Score, Source: d.Source, Attributes: d.Attributes,
	}
	if !d.Fragment.IsZero() {
		w.Fragment = d.Fragment.String()
	}
	if d.Box != nil {
		w.Box = d.Box[:]
	}
	return w
}

// UnmarshalJSON is Parse.
func (d *Detection) UnmarshalJSON(b []byte) error {
	p, err := Parse(b)
	if err == nil {
		*d = p
	}
	return err
}

// identify gives a detection without an ID one of its content.
func (d *Detection) identify() error {
	if d.ID != "" {
		return nil
	}
	b, err := d.appendLine(nil)
	sum := sha256.Sum256(b)
	d.ID = hex.EncodeToString(sum[:16])
	return err
}

// key orders detections, and tells whether two are one.
type key struct {
	at     int64 // unix nanoseconds
	camera fragments.StreamName
	id     string
}

func (d *Detection) key() key { return key{d.Time.UnixNano(), d.Camera, d.ID} }

func (k key) compare(o key) int {
	return cmp.Or(cmp.Compare(k.at, o.at), cmp.Compare(k.camera, o.camera), cmp.Compare(k.id, o.id))
}

func byKey(a, b *Detection) int { return a.key().compare(b.key()) }
