package playback_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
)

func TestParseRange(t *testing.T) {
	at := time.Date(2026, 11, 23, 14, 5, 0, 0, time.UTC)
	for _, c := range []struct {
		query string
		want  playback.Range
	}{
		{"start=2026-11-23T14:05:00Z", playback.Range{Start: at}},
		{"start=1795442700000", playback.Range{Start: at}},
		{"start=2026-11-23T15:05:00%2B01:00", playback.Range{Start: at}},
		{"start=2026-11-23T15:05:00+01:00", playback.Range{Start: at}}, // the plus arrives as a blank
		{"start=2026-11-23T14:05:00.250Z&end=1795442701500", playback.Range{Start: at.Add(250 * time.Millisecond), End: at.Add(1500 * time.Millisecond)}},
		{"start=1795442700000&time=producer", playback.Range{Start: at}},
		{"start=1795442700000&end=1795442760000&time=server", playback.Range{Clock: fragments.ByServer, Start: at, End: at.Add(time.Minute)}},
	} {
		q, _ := url.ParseQuery(c.query)
		got, err := playback.ParseRange(q)
		if err != nil || !got.Start.Equal(c.want.Start) || !got.End.Equal(c.want.End) || got.Clock != c.want.Clock {
			t.Errorf("%s: got %v, %v; want %v", c.query, got, err, c.want)
		}
		if got.Open() != c.want.End.IsZero() {
			t.Errorf("%s: open %v", c.query, got.Open())
		}
	}
}

func TestParseRangeErrorsSayWhatToWrite(t *testing.T) {
	for _, c := range []struct{ query, name, hint string }{
		{"", "start", "2026-11-23T14:05:00Z"},
		{"end=1795442700000", "start", "missing"},
		{"start=yesterday", "start", "2026-11-23T14:05:00Z"},
		{"start=2026-11-23", "start", "RFC 3339"},
		{"start=2026-11-23T14:05:00", "start", "2026-11-23T14:05:00Z"},
		{"start=1795442700", "start", "write start=1795442700000"},
		{"start=-5", "start", "out of range"},
		{"start=99999999999999999", "start", "out of range"},
		{"start=0001-01-01T00:00:00Z", "start", "out of range"},
		{"start=9999-01-01T00:00:00Z", "start", "out of range"},
		{"start=1795442700000&end=soon", "end", "RFC 3339"},
		{"start=1795442700000&end=1795442700000", "end", "later than start=1795442700000"},
		{"start=1795442700000&time=local", "time", "producer"},
	} {
		q, _ := url.ParseQuery(c.query)
		_, err := playback.ParseRange(q)
		var p *playback.ParamError
		if !errors.As(err, &p) || p.Name != c.name || !strings.Contains(err.Error(), c.hint) {
			t.Errorf("%s: got %v; want an error of %s that says %q", c.query, err, c.name, c.hint)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	f.Add("start=2026-11-23T14:05:00Z&end=1795442760000")
	f.Add("start=2026-11-23T15:05:00+01:00&time=server")
	f.Add("start=1795442700&end=x&time=y")
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		r, err := playback.ParseRange(q)
		if err != nil {
			var p *playback.ParamError
			if !errors.As(err, &p) {
				t.Fatalf("%q: %v is no ParamError", query, err)
			}
			return
		}
		if !r.Open() && !r.End.After(r.Start) {
			t.Fatalf("%q: %v", query, r)
		}
		// What is written is read as the same range, to the millisecond.
		q, err = url.ParseQuery(string(r.AppendQuery(nil)))
		if err != nil {
			t.Fatal(err)
		}
		again, err := playback.ParseRange(q)
		if short := !r.Open() && r.End.UnixMilli() == r.Start.UnixMilli(); short {
			return
		}
		if err != nil || again.Start.UnixMilli() != r.Start.UnixMilli() || again.Clock != r.Clock || again.Open() != r.Open() {
			t.Fatalf("%q: %v, then %v, %v", query, r, again, err)
		}
	})
}
