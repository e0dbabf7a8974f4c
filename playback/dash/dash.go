package dash

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback/hls"
)

// ErrNoName is returned for a name that is no manifest.
var ErrNoName = errors.New("no such file: ask for manifest.mpd, live, or for manifest.mpd?start=…&end=…")

// NotPlayableError says that a stream has nothing that a browser can play.
type NotPlayableError struct {
	Stream  fragments.StreamName
	Reasons []string // one for each track
}

// Error returns the reasons, track by track.
func (e *NotPlayableError) Error() string {
	return fmt.Sprintf("stream %s cannot be played as DASH: %s", e.Stream, strings.Join(e.Reasons, "; "))
}

// ParseRequest reads the path behind /dash/<stream>/ and the query of a URL:
// start, end and time for a range, or else window; and video. The error is
// ErrNoName or a *playback.ParamError. Who checks rights sets the token.
func ParseRequest(path string, q url.Values) (hls.Request, error) {
	if path != "manifest.mpd" {
		return hls.Request{}, ErrNoName
	}
	if q.Has("start") || q.Has("end") {
		return hls.ParseRequest("index.m3u8", q)
	}
	return hls.ParseRequest("live.m3u8", q)
}

// Options of a Packager. The zero value is good.
type Options struct {
	MaxStreams int          // whose live Periods are remembered; default 1,000
	Log        *slog.Logger // default: nothing is logged
}

// Packager makes manifests. Its methods may be called concurrently.
type Packager struct {
	hls *hls.Packager
	o   Options

	mu      sync.Mutex // guards the fields below
	streams map[fragments.StreamName]*stream
	uses    int64 // counts, to find the stream that has not been used for longest
}

// New returns a Packager that tells of what p has.
func New(p *hls.Packager, o Options) (*Packager, error) {
	switch {
	case p == nil:
		return nil, errors.New("dash: needs a packager of segments")
	case o.MaxStreams < 0:
		return nil, fmt.Errorf("dash max_streams %d: must not be negative", o.MaxStreams)
	case o.MaxStreams == 0:
		o.MaxStreams = 1000
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Packager{hls: p, o: o, streams: map[fragments.StreamName]*stream{}}, nil
}

// Manifest returns the manifest that r asks for. That of a live stream which has
// just begun waits for its first fragment. Errors are those of
// [hls.Packager.List], but for *NotPlayableError.
func (p *Packager) Manifest(ctx context.Context, name fragments.StreamName, r hls.Request) (*hls.List, error) {
	v, err := p.hls.View(ctx, name, r)
	var unplayable *hls.NotPlayableError
	if errors.As(err, &unplayable) {
		return nil, &NotPlayableError{name, unplayable.Reasons}
	}
	if err != nil {
		return nil, err
	}
	m := &manifest{v: v, r: &r, tracks: choose(v, r.Video)}
	if len(m.tracks) == 0 {
		return nil, &NotPlayableError{name, v.LeftOut}
	}
	s := &stream{}
	if r.Live {
		s = p.stream(v)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.periods = s.periods(m, func(track, row int) time.Duration { return p.delay(ctx, s, v, track, row) })
	if len(m.periods) == 0 {
		return nil, fmt.Errorf("stream %s: %w", name, hls.ErrNothing)
	}
	return s.list(p, &r, m.append(nil)), nil
}

// choose returns which tracks of v are told of: the first video track, or the one
// asked for, and all audio.
func choose(v *hls.View, video int) (tracks []int) {
	found := false
	for i := range v.Tracks {
		t := &v.Tracks[i]
		if t.Kind == fragments.KindVideo {
			switch {
			case video != 0 && t.ID != video:
				v.LeftOut = append(v.LeftOut, fmt.Sprintf("track %d (%s) left out: video=%d was asked for", t.ID, t.Kind, video))
				continue
			case found:
				v.LeftOut = append(v.LeftOut, fmt.Sprintf("track %d (%s) left out: it is not the first video track; ask for it with video=%d", t.ID, t.Kind, t.ID))
				continue
			}
			found = true
		}
		tracks = append(tracks, i)
	}
	return tracks
}

// stream is what is remembered of a stream, so that its live manifests agree.
type stream struct {
	used    int64 // guarded by Packager.mu
	created time.Time

	mu     sync.Mutex // guards the fields below
	starts []start    // of the Periods in reach, in order
	delays []delay
	lists  []list
}

// stream returns what is remembered of the stream of v.
func (p *Packager) stream(v *hls.View) *stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.uses++
	s := p.streams[v.Name]
	if s == nil || !s.created.Equal(v.Created) {
		s = &stream{created: v.Created}
		p.streams[v.Name] = s
	}
	s.used = p.uses
	for len(p.streams) > p.o.MaxStreams {
		var oldest fragments.StreamName
		for name, other := range p.streams {
			if o := p.streams[oldest]; o == nil || other.used < o.used {
				oldest = name
			}
		}
		delete(p.streams, oldest)
	}
	return s
}

// delay is how much later than it is decoded the first picture of a segment is
// shown.
type delay struct {
	config hls.ViewConfig
	d      time.Duration
}

const maxDelays = 16

// delay returns the reorder delay of a track at a row. It is that of the
// configuration: one segment of each is looked at.
func (p *Packager) delay(ctx context.Context, s *stream, v *hls.View, track, row int) time.Duration {
	t := &v.Tracks[track]
	c := t.Configs[t.Cells[row].Config]
	for _, known := range s.delays {
		if known.config.Hash == c.Hash {
			return known.d
		}
	}
	ticks, err := p.hls.ReorderDelay(ctx, v, track, row)
	if err != nil {
		// Pictures are told to be shown some frames early, no more.
		p.o.Log.Warn("manifest without the reorder delay", "stream", string(v.Name), "fragment", v.Rows[row].Number.String(), "error", err)
		return 0
	}
	d := time.Duration(ticks) * time.Second / time.Duration(c.TimeScale)
	if len(s.delays) == maxDelays {
		s.delays = slices.Delete(s.delays, 0, 1)
	}
	s.delays = append(s.delays, delay{c, d})
	return d
}

// list is the manifest that was written last for some requests.
type list struct {
	window time.Duration
	video  int
	token  string
	list   *hls.List
}

// maxLists bounds the manifests kept of a stream: beyond it, as where every
// viewer has a token of its own, they are compressed for each.
const maxLists = 64

// list returns text as a list. Live, those who ask for the same share it until it
// changes, and it is compressed once.
func (s *stream) list(p *Packager, r *hls.Request, text []byte) *hls.List {
	if !r.Live {
		return p.hls.NewList(text)
	}
	for i := range s.lists {
		l := &s.lists[i]
		if l.window != r.Window || l.video != r.Video || l.token != r.Token {
			continue
		}
		if string(l.list.Text) != string(text) {
			l.list = p.hls.NewList(text)
		}
		return l.list
	}
	if len(s.lists) == maxLists {
		s.lists = slices.Delete(s.lists, 0, 1)
	}
	s.lists = append(s.lists, list{r.Window, r.Video, r.Token, p.hls.NewList(text)})
	return s.lists[len(s.lists)-1].list
}
