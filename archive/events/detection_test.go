package events

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

func TestParse(t *testing.T) {
	at := time.Date(2026, 11, 23, 16, 10, 1, 480_000_000, time.UTC)
	number := fragments.Number{Epoch: 1, Counter: 42}
	for _, c := range []struct {
		text string
		want Detection
	}{
		{
			`{"camera":"c","time":"2026-11-23T16:10:01.480Z","label":"person"}`,
			Detection{Camera: "c", Time: at, Label: "person"},
		},
		{
			`{"v":1,"type":"detection","id":"7","camera":"front-door","time":"2026-11-23T17:10:01.48+01:00","end":"2026-11-23T16:10:02.480Z","label":"Größe","score":0.93,
			  "box":[0.1,0.2,0.3,0.4],"source":"yolo","fragment":"` + number.String() + `","attributes":{"colour": "red", "n": [1, 2]},"later":{"x":1}}`,
			Detection{
				ID: "7", Camera: "front-door", Time: at, End: at.Add(time.Second), Label: "Größe", Score: 0.93, Box: &Box{0.1, 0.2, 0.3, 0.4},
				Source: "yolo", Fragment: number, Attributes: json.RawMessage(`{"colour":"red","n":[1,2]}`),
			},
		},
		{`{"camera":"c","time":1795450201480,"label":"x","score":1,"box":[0,0,1,1]}`, Detection{Camera: "c", Time: at, Label: "x", Score: 1, Box: &Box{0, 0, 1, 1}}},
		{`{"camera":"c","time":1795450201480.25,"end":1795450201480.25,"label":"x","attributes":null,"box":null}`, Detection{Camera: "c", Time: at.Add(250 * time.Microsecond), End: at.Add(250 * time.Microsecond), Label: "x"}},
		{` {"camera":"c","time":1795450201480,"label":"x","box":[0.5,0.5,0.505,0.5]} `, Detection{Camera: "c", Time: at, Label: "x", Box: &Box{0.5, 0.5, 0.505, 0.5}}},
	} {
		d, err := Parse([]byte(c.text))
		if err != nil || !reflect.DeepEqual(d, c.want) {
			t.Errorf("%s:\n%+v, %v, want\n%+v", c.text, d, err, c.want)
		}
		again, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := Parse(again); err != nil || !reflect.DeepEqual(d, e) {
			t.Errorf("%s is read back as %+v, %v", again, e, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const rest = `"camera":"c","time":"2026-11-23T16:10:01Z","label":"x"`
	for _, c := range []struct {
		text string
		want error
	}{
		{``, ErrOther},
		{`hello`, ErrOther},
		{`[1]`, ErrOther},
		{`{"v":1,"type":"fragment","stream":"c","number":"x","tracks":[]}`, ErrOther},
		{`{"type":"fragment","time":[1]}`, ErrOther},
		{`{"v":2,` + rest + `}`, ErrOther},
		{`{"type":"alarm",` + rest + `}`, ErrOther},
		{`{`, ErrBad},
		{`{}`, ErrBad},
		{`{` + rest + `}x`, ErrBad},
		{`{"camera":"c","time":"2026-11-23T16:10:01Z"}`, ErrBad},
		{`{"camera":"c","label":"x"}`, ErrBad},
		{`{"time":"2026-11-23T16:10:01Z","label":"x"}`, ErrBad},
		{`{"camera":"a/b","time":"2026-11-23T16:10:01Z","label":"x"}`, ErrBad},
		{`{"camera":"c","time":"yesterday","label":"x"}`, ErrBad},
		{`{"camera":"c","time":"1970-01-01T00:00:00Z","label":"x"}`, ErrBad},
		{`{"camera":"c","time":1e300,"label":"x"}`, ErrBad},
		{`{"camera":"c","time":true,"label":"x"}`, ErrBad},
		{`{"end":"2026-11-23T16:10:00Z",` + rest + `}`, ErrBad},
		{`{"score":1.01,` + rest + `}`, ErrBad},
		{`{"score":-0.1,` + rest + `}`, ErrBad},
		{`{"score":"high",` + rest + `}`, ErrBad},
		{`{"box":[0,0,1],` + rest + `}`, ErrBad},
		{`{"box":[0,0,1,1,1],` + rest + `}`, ErrBad},
		{`{"box":[0,0,1,1.2],` + rest + `}`, ErrBad},
		{`{"box":[0.5,0,0.7,1],` + rest + `}`, ErrBad},
		{`{"fragment":"12",` + rest + `}`, ErrBad},
		{`{"attributes":[1],` + rest + `}`, ErrBad},
		{`{"attributes":"x",` + rest + `}`, ErrBad},
		{`{"attributes":{"x":"` + strings.Repeat("y", MaxAttributes) + `"},` + rest + `}`, ErrBad},
		{`{"id":"` + strings.Repeat("y", MaxID+1) + `",` + rest + `}`, ErrBad},
		{`{"source":"a\nb",` + rest + `}`, ErrBad},
		{`{` + rest + `,"more":"` + strings.Repeat("y", MaxBytes) + `"}`, ErrBad},
	} {
		if d, err := Parse([]byte(c.text)); !errors.Is(err, c.want) {
			t.Errorf("%.100s: %+v, %v, want %v", c.text, d, err, c.want)
		}
	}
}

// FuzzParse looks for detections that are taken and cannot be kept.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"camera":"c","time":"2026-11-23T16:10:01.480Z","label":"person"}`,
		`{"v":1,"type":"detection","id":"7","camera":"d","time":1795450201480.5,"end":1795450202480,"label":"G","score":0.93,"box":[0.1,0.2,0.3,0.4],"source":"y","fragment":"91343852330000000000000000100000000000000000042","attributes":{"c": "r"}}`,
		`{"type":"fragment","time":[1]}`, `{`, `[]`, ``, `{"attributes":{"a":{"b":[null]}},"camera":"c","time":0,"label":"\u0000"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Parse(data)
		if err != nil {
			if !errors.Is(err, ErrOther) && !errors.Is(err, ErrBad) {
				t.Errorf("%q: %v", data, err)
			}
			return
		}
		again, err := d.appendLine(nil)
		if err != nil {
			t.Fatalf("%q is taken and cannot be written: %v", data, err)
		}
		e, err := Parse(again)
		if err != nil || !reflect.DeepEqual(d, e) {
			t.Fatalf("%q is taken and read back as %+v, not %+v: %v", data, e, d, err)
		}
		if err := d.identify(); err != nil || d.ID == "" {
			t.Fatalf("%q has no id: %v", data, err)
		}
	})
}

// FuzzBlock looks for objects that a damaged bucket could hold and that do harm.
func FuzzBlock(f *testing.F) {
	at := time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)
	_, data, err := encodeBlock([]*Detection{{ID: "1", Camera: "c", Time: at, Label: "x"}, {ID: "2", Camera: "c", Time: at, Label: "y"}}, hourOf(at), 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)-4])
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := decodeBlock(strings.NewReader(string(data)))
		if err != nil {
			return
		}
		for _, d := range list {
			if err := d.Validate(); err != nil {
				t.Errorf("%+v: %v", d, err)
			}
		}
	})
}

func FuzzPage(f *testing.F) {
	k := key{5, "c", "i"}
	f.Add(k.page())
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := parsePage(s); err == nil {
			if again, err := parsePage(k.page()); err != nil || again != k {
				t.Errorf("%q: %v, %v", s, again, err)
			}
		}
	})
}
