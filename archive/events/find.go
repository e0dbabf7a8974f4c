package events

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/fragments"
)

// ErrPage answers a page that is none of this store's.
var ErrPage = errors.New("not a page")

// Limits of a Find.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
	// maxReads bounds the blocks read for one page: a page may end before it is
	// full.
	maxReads = 256
)

// Query selects detections. The zero value selects all, oldest first.
type Query struct {
	Cameras []fragments.StreamName // nil: all
	Start   time.Time              // zero: from the oldest
	End     time.Time              // exclusive; zero: to the newest
	Label   string                 // "": any
	Newest  bool                   // newest first
	Limit   int                    // default DefaultLimit, at most MaxLimit
	Page    string                 // Page.Next of the page before
}

// Page is a part of what a Query selects.
type Page struct {
	Detections []Detection // by time, camera and id
	Next       string      // for the next page; "": this is the last
}

// finder is a Query under way.
type finder struct {
	s          *Store
	q          Query
	start, end int64 // unix ns
	after      *key  // what was given out last
	limit      int
	reads      int
	oldest     map[fragments.StreamName]int64 // that is kept, by camera
}

// Find returns the detections whose Time lies in the span of the query, a page at
// a time. What is added or deleted between two pages may or may not be in them.
// Detections that are older than the camera's video are left out.
func (s *Store) Find(ctx context.Context, q Query) (Page, error) {
	f := &finder{s: s, q: q, start: nanos(q.Start, math.MinInt64), end: nanos(q.End, math.MaxInt64), oldest: map[fragments.StreamName]int64{}}
	f.limit = min(cmp.Or(q.Limit, DefaultLimit), MaxLimit)
	if f.limit < 1 {
		return Page{}, fmt.Errorf("limit %d is not positive", q.Limit)
	}
	if q.Page != "" {
		k, err := parsePage(q.Page)
		if err != nil {
			return Page{}, err
		}
		f.after = &k
	}
	if q.Cameras == nil {
		f.q.Cameras = s.Cameras()
	}
	page := Page{Detections: []Detection{}}
	hours := f.hours()
	for i, h := range hours {
		list, err := f.hour(ctx, h)
		if err != nil {
			return Page{}, err
		}
		for _, d := range list {
			if len(page.Detections) == f.limit {
				last := page.Detections[f.limit-1].key()
				page.Next = last.page()
				return page, nil
			}
			page.Detections = append(page.Detections, *d)
		}
		if f.reads >= maxReads && i < len(hours)-1 {
			edge := key{at: (h + 1).start().UnixNano()}
			if q.Newest {
				edge = key{at: h.start().UnixNano() - 1, camera: "~"} // after every name
			}
			page.Next = edge.page()
			return page, nil
		}
	}
	return page, nil
}

func nanos(t time.Time, zero int64) int64 {
	switch {
	case t.IsZero():
		return zero
	case t.Before(earliest):
		return earliest.UnixNano()
	case t.After(latest):
		return latest.UnixNano()
	}
	return t.UnixNano()
}

// hours are those that may hold something, in the order of the query.
func (f *finder) hours() []hour {
	set := map[hour]bool{}
	f.s.mu.RLock()
	for _, name := range f.q.Cameras {
		c := f.s.cameras[name]
		if c == nil {
			continue
		}
		for _, b := range c.blocks {
			if b.Last >= f.start && b.First < f.end && b.may(f.q.Label) {
				set[b.hour] = true
			}
		}
		for h := range c.hours {
			set[h] = true
		}
	}
	f.s.mu.RUnlock()
	var list []hour
	for h := range set {
		from, to := h.start().UnixNano(), (h + 1).start().UnixNano()
		passed := f.after != nil && (f.q.Newest && from > f.after.at || !f.q.Newest && to <= f.after.at)
		if from < f.end && to > f.start && !passed {
			list = append(list, h)
		}
	}
	slices.Sort(list)
	if f.q.Newest {
		slices.Reverse(list)
	}
	return list
}

// hour returns what is selected of an hour, of all cameras, in order, up to one
// more than a page.
func (f *finder) hour(ctx context.Context, h hour) ([]*Detection, error) {
	var all []*Detection
	for _, name := range f.q.Cameras {
		list, err := f.load(ctx, name, h)
		if err != nil {
			return nil, err
		}
		all = append(all, f.pick(name, list)...)
		if len(all) > 4*MaxLimit {
			all = f.cut(all)
		}
	}
	return f.cut(all), nil
}

// pick takes what is selected out of a sorted list, up to one more than a page.
func (f *finder) pick(name fragments.StreamName, list []*Detection) (picked []*Detection) {
	oldest, known := f.oldest[name]
	if !known {
		oldest = nanos(f.s.oldest(name), math.MinInt64)
		f.oldest[name] = oldest
	}
	if len(list) > 0 && f.q.Newest {
		list = slices.Clone(list)
		slices.Reverse(list)
	}
	for _, d := range list {
		k := d.key()
		if k.at < max(f.start, oldest) || k.at >= f.end || f.q.Label != "" && d.Label != f.q.Label || !f.isAfter(k) {
			continue
		}
		if picked = append(picked, d); len(picked) > f.limit {
			break
		}
	}
	return picked
}

func (f *finder) isAfter(k key) bool {
	if f.after == nil {
		return true
	}
	c := k.compare(*f.after)
	return f.q.Newest && c < 0 || !f.q.Newest && c > 0
}

// cut sorts and keeps one more than a page.
func (f *finder) cut(list []*Detection) []*Detection {
	slices.SortFunc(list, byKey)
	if f.q.Newest {
		slices.Reverse(list)
	}
	return list[:min(len(list), f.limit+1)]
}

// load returns all detections of a camera in an hour, sorted, each once.
func (f *finder) load(ctx context.Context, name fragments.StreamName, h hour) ([]*Detection, error) {
	for try := 0; ; try++ {
		blocks, list := f.s.take(name, h)
		gone := false
		for _, b := range slices.Backward(blocks) { // what is newer is there first
			if b.Last < f.start || b.First >= f.end || !b.may(f.q.Label) {
				continue
			}
			f.reads++
			more, err := f.s.read(ctx, b)
			if errors.Is(err, bucket.ErrAbsent) && try < 3 {
				gone = true // merged into another meanwhile, or deleted
				break
			}
			if err != nil {
				return nil, err
			}
			list = merge(more, list)
		}
		if !gone {
			return list, nil
		}
	}
}

// take returns what there is of an hour: blocks, and what is in memory.
func (s *Store) take(name fragments.StreamName, h hour) (blocks []*block, list []*Detection) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.cameras[name]
	if c == nil {
		return nil, nil
	}
	for _, b := range c.blocks {
		if b.hour == h {
			blocks = append(blocks, b)
		}
	}
	if t := c.hours[h]; t != nil {
		list = make([]*Detection, len(t.items))
		for i := range t.items {
			list[i] = t.items[i].Detection
		}
	}
	return blocks, list
}

// page writes a key so that it can stand in a URL.
func (k key) page() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(k.at, 10) + "|" + string(k.camera) + "|" + k.id))
}

func parsePage(s string) (key, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	parts := strings.SplitN(string(b), "|", 3)
	if err != nil || len(parts) != 3 {
		return key{}, fmt.Errorf("%w: %.40q", ErrPage, s)
	}
	at, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return key{}, fmt.Errorf("%w: %.40q", ErrPage, s)
	}
	return key{at, fragments.StreamName(parts[1]), parts[2]}, nil
}
