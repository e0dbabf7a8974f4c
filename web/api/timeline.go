package api

import (
	"cmp"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/web"
)

// Limits of a timeline. A screen has not many more columns than points, and a
// longer span would read more of the index than one request should.
const (
	defaultPoints   = 2000
	maxPoints       = 10_000
	maxTimelineSpan = 35 * 24 * time.Hour
	// minGap is the least that counts as a gap: cameras drift and breathe.
	minGap = 500 * time.Millisecond
)

// span is a stretch of time without a gap, in nanoseconds since 1970.
type span struct{ start, end int64 }

// merger joins what is recorded to spans, however the entries come: by number,
// which is not always by time. When there are more spans than limit, what is
// too close to be seen apart is joined.
type merger struct {
	tolerance int64 // nanoseconds
	limit     int
	spans     []span
}

func (m *merger) add(s span) {
	if n := len(m.spans); n > 0 {
		last := &m.spans[n-1]
		if s.start >= last.start && s.start <= last.end+m.tolerance {
			last.end = max(last.end, s.end)
			return
		}
	}
	m.spans = append(m.spans, s)
	if len(m.spans) > 2*m.limit {
		m.reduce()
	}
}

// reduce sorts and joins until limit is kept.
func (m *merger) reduce() {
	slices.SortFunc(m.spans, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	for {
		out := m.spans[:0]
		for _, s := range m.spans {
			if n := len(out); n > 0 && s.start <= out[n-1].end+m.tolerance {
				out[n-1].end = max(out[n-1].end, s.end)
			} else {
				out = append(out, s)
			}
		}
		m.spans = out
		if len(m.spans) <= m.limit {
			return
		}
		m.tolerance *= 2
	}
}

// spansOf returns the recorded spans within the selector's, in order of time.
func spansOf(entries iter.Seq2[*archive.Entry, error], sel fragments.Selector, points int) ([]span, time.Duration, error) {
	length := sel.End.Sub(sel.Start)
	m := &merger{tolerance: int64(max(minGap, length/time.Duration(points))), limit: points}
	from, to := sel.Start.UnixNano(), sel.End.UnixNano()
	for e, err := range entries {
		if err != nil {
			return nil, 0, err
		}
		start := int64(e.Producer)
		if sel.Clock == fragments.ByServer {
			start = int64(e.Server)
		}
		s := span{max(start, from), min(start+int64(e.Duration), to)}
		if s.start < s.end {
			m.add(s)
		}
	}
	m.reduce()
	return m.spans, time.Duration(m.tolerance), nil
}

type spanBody struct {
	Start stamp `json:"start"`
	End   stamp `json:"end"`
}

type timelineBody struct {
	Stream     string     `json:"stream"`
	Start      stamp      `json:"start"`
	End        stamp      `json:"end"`
	Resolution float64    `json:"resolution"` // seconds; gaps not longer than this are not told
	Spans      []spanBody `json:"spans"`
	Gaps       []spanBody `json:"gaps"` // between spans
}

func (a *API) timeline(w http.ResponseWriter, r *http.Request) error {
	name, err := a.streamName(r, ingest.View)
	if err != nil {
		return err
	}
	info, err := a.o.Streams.Stream(name)
	if err != nil {
		return err
	}
	sel, points, err := a.timelineQuery(r, info)
	if err != nil {
		return err
	}
	spans, resolution, err := spansOf(a.o.Streams.Fragments(r.Context(), name, sel), sel, points)
	if err != nil {
		return err
	}
	b := timelineBody{
		Stream: string(name), Start: stampOf(sel.Start), End: stampOf(sel.End), Resolution: resolution.Seconds(),
		Spans: make([]spanBody, 0, len(spans)), Gaps: []spanBody{},
	}
	for i, s := range spans {
		b.Spans = append(b.Spans, spanBody{nanos(s.start), nanos(s.end)})
		if i > 0 {
			b.Gaps = append(b.Gaps, spanBody{nanos(spans[i-1].end), nanos(s.start)})
		}
	}
	web.WriteJSON(w, http.StatusOK, b)
	return nil
}

func nanos(ns int64) stamp { return stampOf(time.Unix(0, ns)) }

// timelineQuery reads start (default: the oldest kept, or a day before end),
// end (default: now), time and points.
func (a *API) timelineQuery(r *http.Request, info archive.StreamInfo) (sel fragments.Selector, points int, err error) {
	bad := func(code, message, hint string) error {
		return &web.Error{Status: http.StatusBadRequest, Code: code, Message: message, Hint: hint}
	}
	if sel.Start, err = web.QueryTime(r, "start"); err != nil {
		return sel, 0, err
	}
	if sel.End, err = web.QueryTime(r, "end"); err != nil {
		return sel, 0, err
	}
	switch clock := r.URL.Query().Get("time"); clock {
	case "", "producer":
	case "server":
		sel.Clock = fragments.ByServer
	default:
		return sel, 0, bad("bad_clock", "time: "+strconv.Quote(clock)+" is no clock", "use producer or server")
	}
	points = defaultPoints
	if p := r.URL.Query().Get("points"); p != "" {
		if points, err = strconv.Atoi(p); err != nil || points < 1 || points > maxPoints {
			return sel, 0, bad("bad_points", "points: "+strconv.Quote(p)+" is not between 1 and "+strconv.Itoa(maxPoints), "")
		}
	}
	if sel.End.IsZero() {
		sel.End = a.o.Now()
	}
	if sel.Start.IsZero() {
		sel.Start = sel.End.Add(-24 * time.Hour)
		if info.First != nil && info.First.Producer.Time().After(sel.Start) {
			sel.Start = info.First.Producer.Time()
		}
		if !sel.Start.Before(sel.End) {
			sel.Start = sel.End.Add(-time.Second)
		}
	}
	switch {
	case !sel.Start.Before(sel.End):
		return sel, 0, bad("bad_range", "start is not before end", "")
	case sel.End.Sub(sel.Start) > maxTimelineSpan:
		return sel, 0, bad("long_range", "a timeline covers up to 35 days", "ask for it in parts")
	}
	return sel, points, nil
}
