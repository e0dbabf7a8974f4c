package hls

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
	"github.com/kineweir/kineweir/playback"
)

// View is a stretch of a stream as the playlists of a request tell it, for
// whoever tells it in another language: the same rows with the same numbers, and
// segments of the same names. It is read-only, and does not change.
//
// Rows are complete fragments. Live, they grow at the end and leave at the front;
// a row that both of two views have is the same in both, but may have become a
// gap.
type View struct {
	Name    fragments.StreamName
	Created time.Time // of the stream: the origin of decode times
	Live    bool      // a live window; else a range
	Ended   bool      // nothing will be added
	Target  time.Duration
	Window  time.Duration // live: how far back Rows[From:] reach
	From    int           // live: rows before it are known, but behind the window
	// Sequence and Discontinuity number the first row; they go on over views.
	Sequence, Discontinuity int64
	Rows                    []ViewRow
	Tracks                  []ViewTrack // that can be played: video, then audio
	LeftOut                 []string    // why others are not there, for people

	born  int64
	query []byte
}

// ViewRow is one segment of every track.
type ViewRow struct {
	Number        fragments.Number
	Time          time.Time     // of its beginning, on the clock that was asked for
	Arrival       time.Time     // of its beginning, on the server's clock
	Start         time.Duration // decode time of the leading track, since View.Created
	Duration      time.Duration // of the leading track
	Discontinuity bool          // its time line does not continue that of the row before
	Dependent     bool          // decoding cannot start here
	count         int
}

// ViewTrack is one track in all rows.
type ViewTrack struct {
	ID      int
	Kind    fragments.Kind
	Configs []ViewConfig
	Cells   []ViewCell // one for each row
	// Peak and Average are bits per second of the segments; Frames is per second.
	Peak, Average int64
	Frames        float64
}

// ViewConfig is one configuration of a track.
type ViewConfig struct {
	Hash      fragments.ConfigHash
	Track     *fragments.Track // as published: G.711 and linear PCM are served as FLAC
	Codec     string           // RFC 6381, of what is served; "" when it cannot be played
	TimeScale uint32           // of Start and Duration, and of the segments
}

// ViewCell is what a row has of a track. In ticks of its configuration it begins
// where the segment's first sample is decoded, and lasts as long as all of them.
type ViewCell struct {
	Config          int // index in ViewTrack.Configs
	Start, Duration int64
	Lead            int64 // ticks of silence that come first, within Duration
	Bytes           int64 // as archived
	Fill            bool  // the track was silent: the segment is coded silence
	Gap             bool  // there is no segment
}

// View returns what the playlists of r, a Multivariant or Media request, tell.
// Live it waits as they do: for a first fragment, and with r.Ahead for one that
// is to come. Errors are as of [Packager.List].
func (p *Packager) View(ctx context.Context, name fragments.StreamName, r Request) (*View, error) {
	if err := p.checkWindow(&r); err != nil {
		return nil, err
	}
	if !r.Live && r.Kind == Multivariant && r.Join == 0 {
		r.Join = p.joinFor(r.Range)
	}
	if r.Live {
		if err := p.wake(ctx, name); err != nil {
			return nil, err
		}
	}
	s, err := p.timeline(ctx, name, &r)
	if err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	shown, to := s.view(p, &r)
	to = min(to, s.t.closed())
	from := shown
	if r.Live {
		from = 0
	}
	if shown >= to {
		return nil, fmt.Errorf("stream %s: %w", name, ErrNothing)
	}
	v := &View{
		Name: name, Created: s.made, Live: r.Live, Ended: s.ended, Target: time.Duration(s.t.target) * time.Second,
		Sequence: s.t.seq + int64(from), Discontinuity: s.t.discAt(from), From: shown - from, born: s.born, query: r.segmentQuery(),
	}
	if r.Live {
		v.Window = cmp.Or(r.Window, p.o.Window)
	}
	v.Rows = make([]ViewRow, 0, to-from)
	for i := from; i < to; i++ {
		w := &s.t.rows[i]
		v.Rows = append(v.Rows, ViewRow{
			Number: w.number, Time: time.Unix(0, w.stamp).UTC(), Arrival: time.Unix(0, w.server).UTC(), Start: time.Duration(w.start), Duration: time.Duration(w.duration),
			Discontinuity: i > from && w.disc, Dependent: w.dependent, count: int(w.count),
		})
	}
	offered := shown
	if r.Live {
		offered = s.t.offered(shown)
	}
	for _, l := range s.t.lines {
		v.addLine(s, l, from, to, offered, r.Live)
	}
	if len(v.Tracks) == 0 {
		return nil, &NotPlayableError{name, v.LeftOut}
	}
	return v, nil
}

func (v *View) addLine(s *shared, l *line, from, to, offered int, live bool) {
	switch refused := l.configs[l.stands(live)].refused; {
	case !l.heard(offered):
		return
	case refused != nil:
		v.LeftOut = append(v.LeftOut, fmt.Sprintf("track %d (%s) left out: %v", l.id, l.kind, refused))
		return
	case l.kind == fragments.KindOther:
		v.LeftOut = append(v.LeftOut, fmt.Sprintf("track %d left out: neither video nor audio", l.id))
		return
	}
	t := ViewTrack{ID: l.id, Kind: l.kind, Cells: make([]ViewCell, 0, to-from)}
	for i := range l.configs {
		c := &l.configs[i]
		t.Configs = append(t.Configs, ViewConfig{Hash: c.hash, Track: c.track, Codec: c.codec, TimeScale: c.timeScale()})
	}
	r := rendition{line: l, config: &l.configs[l.stands(live)]}
	r.rates = s.t.measure(l, missing)
	r.asFLAC()
	t.Peak, t.Average, t.Frames = r.peak, r.average, r.frames
	m := media{t: s.t, l: l, from: from, to: to, kept: s.kept}
	at := place{mapped: missing, known: l.known(from)}
	for i := from; i < to; i++ {
		c := &l.cells[i]
		fill, gap := m.look(i, &at)
		cell := ViewCell{Config: max(int(at.known), 0), Bytes: c.bytes, Fill: fill, Gap: gap}
		scale := l.configs[cell.Config].timeScale()
		cell.Start = ticks(max(c.start, 0), scale)
		cell.Duration = ticks(max(c.start+c.duration, 0), scale) - cell.Start
		if fill {
			cell.Duration = ticks(c.duration, scale) // as the playlists name it
		} else if !gap {
			cell.Lead = l.leadTicks(i)
		}
		t.Cells = append(t.Cells, cell)
	}
	v.Tracks = append(v.Tracks, t)
}

// AppendBase appends the folder of all segments, relative to /hls/<stream>/.
func (v *View) AppendBase(b []byte) []byte { return appendBorn(b, v.born) }

// AppendSegment appends the name of the segment of a row and a track, both by
// index, relative to [View.AppendBase]. A gap has none.
func (v *View) AppendSegment(b []byte, track, row int) []byte {
	t, r := &v.Tracks[track], &v.Rows[row]
	c := &t.Cells[row]
	switch {
	case c.Gap:
		return b
	case c.Fill:
		b = appendFill(b, t.Configs[c.Config].Hash, c.Start, c.Duration)
	default:
		b = appendSegment(b, t.ID, r.Number, r.count, c.Lead)
	}
	return append(b, v.query...)
}

// AppendInit appends the name of the initialisation segment of a configuration,
// by index, relative to [View.AppendBase].
func (v *View) AppendInit(b []byte, track, config int) []byte {
	b = appendInit(b, v.Tracks[track].Configs[config].Hash)
	return append(b, v.query...)
}

// ReorderDelay returns how many ticks after ViewCell.Start the first picture of a
// segment is shown, which is where segments begin as they are served: 0 without
// B-frames. Where the configuration does not tell that there are none, the
// segment is looked at. The row must have the track.
func (p *Packager) ReorderDelay(ctx context.Context, v *View, track, row int) (int64, error) {
	t, n := &v.Tracks[track], v.Rows[row].Number
	c := &t.Configs[t.Cells[row].Config]
	if t.Kind != fragments.KindVideo || c.Track.Reorder == 0 {
		return 0, nil
	}
	if s := p.recent(v.Name, anyBorn); s != nil {
		if f := s.Find(n); f != nil && !f.Open && f.Run(t.ID) != nil {
			delay, _, err := cmaf.ReorderDelay(f.Run(t.ID).Data())
			return delay, err
		}
	}
	e, err := p.src.Entry(ctx, v.Name, n)
	if err != nil {
		return 0, err
	}
	i, err := runOf(v.Name, e, t.ID)
	if err != nil {
		return 0, err
	}
	data, err := p.src.ReadRun(ctx, v.Name, e, i)
	if err != nil {
		return 0, err
	}
	delay, _, err := cmaf.ReorderDelay(data)
	if err != nil {
		return 0, fmt.Errorf("stream %s, fragment %s, track %d: %w", v.Name, n, t.ID, err)
	}
	return delay, nil
}

// AppendToken appends the token, if there is one, to a query that is empty or ends
// with an ampersand.
func (r *Request) AppendToken(q []byte) []byte {
	if r.Token == "" {
		return q
	}
	return append(append(q, "token="...), url.QueryEscape(r.Token)...)
}

// NewList returns a text that is to be served as playlists are.
func (p *Packager) NewList(text []byte) *List { return p.newList(text) }

// checkWindow reports a live window that is too long.
func (p *Packager) checkWindow(r *Request) error {
	if r.Window <= p.o.MaxWindow {
		return nil
	}
	return &playback.ParamError{
		Name: "window", Value: fmt.Sprint(int(r.Window.Seconds())),
		Reason: fmt.Sprintf("at most %d seconds of the past are within reach of a live playlist; write start=… for more", int(p.o.MaxWindow.Seconds())),
	}
}
