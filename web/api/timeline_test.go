package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
)

func TestTimeline(t *testing.T) {
	f := newFixture(t, nil)
	const at = "/api/streams/s/timeline"
	f.archive.entries["s"] = []*archive.Entry{
		entry(1, 0, 2), entry(2, 2, 2), entry(3, 4.3, 2), // a breath, no gap
		entry(4, 60, 5), entry(5, 65, 5), // a minute away
		entry(6, 62, 1),  // the clock went back
		entry(7, 300, 2), // alone
	}
	f.archive.entries["bare"] = nil
	for _, c := range []struct {
		query string
		want  string // spans as seconds after day
	}{
		{"start=2026-11-20T10:00:00Z&end=2026-11-20T10:10:00Z", "0-6.3 60-70 300-302"},
		{"start=2026-11-20T10:00:03Z&end=2026-11-20T10:01:01Z", "3-6.3 60-61"}, // clipped
		{"start=2026-11-20T10:00:10Z&end=2026-11-20T10:00:20Z", ""},
		{"end=2026-11-20T10:00:05Z", "0-5"}, // from the oldest
		{"", "0-6.3 60-70 300-302"},         // up to now
		{"start=2026-11-20T11:00:00Z&end=2026-11-20T11:00:59Z&time=server", "3600-3606.3"},
		{"start=2026-11-20T10:00:00Z&end=2026-11-20T10:10:00Z&points=2", "0-302"}, // cannot be seen apart
	} {
		m := f.get(t, at+"?"+c.query)
		var got []string
		for _, s := range m["spans"].([]any) {
			got = append(got, seconds(t, s, "start")+"-"+seconds(t, s, "end"))
		}
		want := strings.Fields(c.want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: spans %v, want %v", c.query, got, want)
		}
		gaps := m["gaps"].([]any)
		if len(gaps) != max(0, len(got)-1) {
			t.Errorf("%s: %d gaps between %d spans", c.query, len(gaps), len(got))
		}
	}
	if m := f.get(t, "/api/streams/bare/timeline"); len(m["spans"].([]any)) != 0 {
		t.Errorf("nothing recorded: %v", m)
	}
	f.archive.failing = errors.New("index block is damaged")
	if status, body := f.do("root", "GET", at, ""); status != 500 || strings.Contains(body, "damaged") {
		t.Errorf("a damaged index: %d %s", status, body)
	}
}

func seconds(t *testing.T, span any, key string) string {
	t.Helper()
	at, err := time.Parse(time.RFC3339, span.(map[string]any)[key].(string))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(at.Sub(day).Seconds())
}

// Whatever the order of the entries and however many the gaps, the spans are
// sorted, apart, within bounds, at most as many as points, and cover every entry.
func TestSpansHoldWhatWasRecorded(t *testing.T) {
	const seed = 7
	rnd := rand.New(rand.NewPCG(seed, seed))
	for round := range 200 {
		points := 1 + rnd.IntN(50)
		sel := fragments.Selector{Start: day, End: day.Add(time.Duration(1+rnd.IntN(100_000)) * time.Second)}
		var entries []*archive.Entry
		at := 0.0
		for i := range rnd.IntN(2000) {
			at += rnd.Float64() * float64(rnd.IntN(60))
			e := entry(uint64(i+1), at-float64(rnd.IntN(20)), 0.1+2*rnd.Float64())
			entries = append(entries, e)
		}
		spans, _, err := spansOf(func(yield func(*archive.Entry, error) bool) {
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
		}, sel, points)
		if err != nil {
			t.Fatal(err)
		}
		if len(spans) > points {
			t.Fatalf("seed %d round %d: %d spans, want at most %d", seed, round, len(spans), points)
		}
		for i, s := range spans {
			if s.start >= s.end || s.start < sel.Start.UnixNano() || s.end > sel.End.UnixNano() || i > 0 && s.start <= spans[i-1].end {
				t.Fatalf("seed %d round %d: span %d of %v", seed, round, i, spans)
			}
		}
		for _, e := range entries {
			from, to := max(int64(e.Producer), sel.Start.UnixNano()), min(int64(e.End()), sel.End.UnixNano())
			if from < to && !slices.ContainsFunc(spans, func(s span) bool { return s.start <= from && to <= s.end }) {
				t.Fatalf("seed %d round %d: entry %v is in no span", seed, round, e.Producer.Time())
			}
		}
	}
	t.Logf("200 rounds, seed %d", seed)
}

func BenchmarkTimelineWeek(b *testing.B) {
	entries := make([]*archive.Entry, 7*86400/2)
	for i := range entries {
		entries[i] = entry(uint64(i+1), float64(2*i), 2)
	}
	sel := fragments.Selector{Start: day, End: day.Add(7 * 24 * time.Hour)}
	b.ReportAllocs()
	for b.Loop() {
		spans, _, err := spansOf(func(yield func(*archive.Entry, error) bool) {
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
		}, sel, defaultPoints)
		if err != nil || len(spans) != 1 {
			b.Fatal(len(spans), err)
		}
	}
}

func TestStampIsOneForm(t *testing.T) {
	for want, in := range map[string]time.Time{
		`null`:                       {},
		`"2026-11-20T10:00:00.000Z"`: day,
		`"2026-11-20T10:00:00.120Z"`: day.Add(120 * time.Millisecond).In(time.FixedZone("x", 7200)),
	} {
		if got, err := json.Marshal(stampOf(in)); err != nil || string(got) != want {
			t.Errorf("%v = %s %v, want %s", in, got, err, want)
		}
	}
}
