package hls

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
)

// timeline is a stretch of a stream as the playlists tell it: rows, and per
// track a line with one cell for each row. It is compact, so that a day of
// fragments is some megabytes: 64 bytes per row, 48 per cell.
//
// It grows at its end and, when live, shrinks at its front; a row never changes
// once it is shown, but for becoming a gap when nobody has it any more. Live, the
// last row may be that of the fragment that is still open; what was decided of it
// when it was first shown holds when it is taken in for good ([pin]).
type timeline struct {
	clock     fragments.Clock
	join      time.Duration // rows are filled up to this length; 0: one fragment each
	tolerance time.Duration // holes up to this long are no discontinuity
	track     func(fragments.ConfigHash) (*fragments.Track, error)

	rows  []row
	lines []*line // video, then audio, then others, each by track ID
	// seq and discSeq are the media sequence number and the discontinuity number
	// of the first row.
	seq, discSeq int64
	target       int64 // seconds: no rounded cell is longer

	last       fragments.Number // newest fragment taken in
	lastServer fragments.ServerTimestamp
	lastEnd    time.Time // of the newest fragment, on the clock

	memory    []fragments.Number // of rows that only memory is known to have
	tentative *tentative         // set: the last row is that of the open fragment
	pin       pin
}

// row is one line of every media playlist.
type row struct {
	number    fragments.Number // of the first fragment
	stamp     int64            // when it begins on the clock, ns since 1970
	server    int64            // when it arrived, ns since 1970
	start     int64            // decode time of the leading track, ns since the creation of the stream
	duration  int64            // of the leading track, ns
	count     int32            // fragments
	dependent bool
	disc      bool // the time line does not continue that of the row before
	lost      bool // it was in memory alone, and no longer is
}

// line is one track through all rows.
type line struct {
	id      int
	kind    fragments.Kind
	cells   []cell
	configs []config
	current int32 // configuration of the newest fragment that has the track
	// behind is how much later than its row, by decode times, the newest cell of
	// the track ended: with B-frames, pictures are decoded before they are shown.
	behind int64
	// part is what the playlists say no part is longer than, ns; 0: no part has
	// been seen.
	part int64
}

// cell is what a row holds of one track.
type cell struct {
	start    int64 // decode time, ns since the creation of the stream
	duration int64 // ns
	bytes    int64
	samples  int32
	lead     int64 // ns of silence that come first, within duration
	config   int32 // index in line.configs; missing: the track is silent here
}

const missing = -1

// config is one configuration of a track.
type config struct {
	hash    fragments.ConfigHash
	track   *fragments.Track
	codec   string // RFC 6381
	refused error  // why it cannot be played
	fill    bool   // silence can be written
}

// append takes in the next fragment.
func (t *timeline) append(e *archive.Entry) error {
	if len(e.Runs) == 0 || len(t.rows) > 0 && !t.last.Less(e.Number) {
		return nil
	}
	pinned := t.pin.number == e.Number
	disc := len(t.rows) > 0 && (e.Discontinuity || t.hole(e))
	for i := range e.Runs {
		changed, err := t.configure(&e.Runs[i])
		if err != nil {
			return err
		}
		disc = disc || changed && len(t.rows) > 0
	}
	if pinned {
		disc = t.pin.disc
	}
	if t.joins(e, disc) {
		t.extend(e)
	} else {
		t.push(e, disc)
	}
	t.last, t.lastServer = e.Number, e.Server
	t.lastEnd = playback.Stamp(e, t.clock).Add(e.Duration)
	if t.tentative == nil {
		t.raiseTarget()
	}
	return nil
}

// hole reports whether time is missing, or runs back, before e. Any track that
// is in both fragments can tell.
func (t *timeline) hole(e *archive.Entry) bool {
	lastRow := &t.rows[len(t.rows)-1]
	start, end := playback.Stamp(e, t.clock).UnixNano(), lastRow.stamp+lastRow.duration
	for i := range e.Runs {
		l := t.line(e.Runs[i].Track)
		if l == nil || l.cells[len(t.rows)-1].config == missing {
			continue
		}
		c := &l.cells[len(t.rows)-1]
		start, end = nanos(e.Runs[i].DecodeTime, e.Runs[i].TimeScale), c.start+c.duration
		break
	}
	d := time.Duration(start - end)
	return max(d, -d) > t.tolerance
}

// configure makes r's configuration the current one of its line, which it
// creates if need be; changed reports that the track had another one before.
func (t *timeline) configure(r *archive.EntryRun) (changed bool, err error) {
	l := t.line(r.Track)
	if l == nil {
		l = t.addLine(r)
	}
	if len(l.configs) > 0 && l.configs[l.current].hash == r.Config {
		return false, nil
	}
	changed = len(l.configs) > 0
	i := slices.IndexFunc(l.configs, func(c config) bool { return c.hash == r.Config })
	if i < 0 {
		track, err := t.track(r.Config)
		if err != nil {
			return false, fmt.Errorf("configuration of track %d: %w", r.Track, err)
		}
		i = len(l.configs)
		l.configs = append(l.configs, newConfig(r.Config, track))
	}
	l.current = int32(i)
	return changed, nil
}

func (t *timeline) line(id int) *line {
	for _, l := range t.lines {
		if l.id == id {
			return l
		}
	}
	return nil
}

// addLine adds a track that was silent in all rows so far.
func (t *timeline) addLine(r *archive.EntryRun) *line {
	l := &line{id: r.Track, kind: r.Kind, cells: make([]cell, 0, cap(t.rows))}
	for i := range t.rows {
		l.cells = append(l.cells, cell{start: t.rows[i].start, duration: t.rows[i].duration, config: missing})
	}
	t.lines = append(t.lines, l)
	order := func(k fragments.Kind) int { return (int(k) + 2) % 3 } // video, audio, other
	slices.SortFunc(t.lines, func(a, b *line) int {
		return cmp.Or(cmp.Compare(order(a.kind), order(b.kind)), cmp.Compare(a.id, b.id))
	})
	return l
}

// joins reports whether e belongs into the last row.
func (t *timeline) joins(e *archive.Entry, disc bool) bool {
	if t.join == 0 || disc || len(t.rows) == 0 || !t.open() {
		return false
	}
	for _, l := range t.lines {
		has := slices.ContainsFunc(e.Runs, func(r archive.EntryRun) bool { return r.Track == l.id })
		if has != (l.cells[len(t.rows)-1].config != missing) {
			return false
		}
	}
	for i := range e.Runs {
		run := &e.Runs[i]
		l := t.line(run.Track)
		c := &l.cells[len(t.rows)-1]
		if l.configs[l.current].fill && nanos(run.DecodeTime, run.TimeScale)-c.start-c.duration > int64(audible) {
			return false
		}
	}
	return true
}

// open reports whether the last row may still grow.
func (t *timeline) open() bool {
	r := &t.rows[len(t.rows)-1]
	return r.duration < int64(t.join) && r.count < maxCount
}

func (t *timeline) extend(e *archive.Entry) {
	r := &t.rows[len(t.rows)-1]
	r.count++
	r.duration += nanos(e.Runs[0].Duration, e.Runs[0].TimeScale)
	for i := range e.Runs {
		run := &e.Runs[i]
		c := &t.line(run.Track).cells[len(t.rows)-1]
		// From the end, so that roundings and small holes do not add up.
		c.duration = nanos(run.DecodeTime+run.Duration, run.TimeScale) - c.start
		c.bytes += run.Size
		c.samples += int32(run.Samples)
		t.settle(t.line(run.Track))
	}
}

func (t *timeline) push(e *archive.Entry, disc bool) {
	r := row{
		number: e.Number, count: 1, dependent: e.Dependent, disc: disc,
		stamp: playback.Stamp(e, t.clock).UnixNano(), server: int64(e.Server),
		start:    nanos(e.Runs[0].DecodeTime, e.Runs[0].TimeScale),
		duration: nanos(e.Runs[0].Duration, e.Runs[0].TimeScale),
	}
	if t.pin.number == e.Number {
		r.stamp, r.start = t.pin.stamp, t.pin.start
	}
	for _, l := range t.lines {
		l.cells = append(l.cells, t.silent(l, &r))
	}
	for i := range e.Runs {
		run := &e.Runs[i]
		l := t.line(run.Track)
		l.cells[len(t.rows)] = cell{
			start: nanos(run.DecodeTime, run.TimeScale), duration: nanos(run.Duration, run.TimeScale),
			bytes: run.Size, samples: int32(run.Samples), config: l.current,
		}
		t.lead(l, &r)
	}
	t.rows = append(t.rows, r)
	for i := range e.Runs {
		t.settle(t.line(e.Runs[i].Track))
	}
}

// silent is the cell of a line that r has nothing of: from where the line ended
// to where it would end with the row.
func (t *timeline) silent(l *line, r *row) cell {
	from, to := r.start+l.behind, r.start+r.duration+l.behind
	if due := t.due(l, r); due > from-int64(time.Second) && due < to-r.duration/2 {
		from = due
	}
	return cell{start: from, duration: to - from, config: missing}
}

// due is the decode time at which a line has to go on in r, so that nothing is
// missing or doubled to who plays on from the row before. At a discontinuity
// players put the leading track of r right behind what it had before, and the
// other tracks beside it.
func (t *timeline) due(l *line, r *row) int64 {
	n := len(t.rows)
	if n == 0 {
		return r.start + l.behind
	}
	before := &l.cells[n-1]
	end := before.start + before.duration
	if r.disc {
		end += r.start - t.rows[n-1].start - t.rows[n-1].duration
	}
	return end
}

// audible is how long a hole in the sound must be to be filled. Chromium stops
// before holes that are longer than a frame of the audio, 10 or 20 ms mostly.
const audible = 10 * time.Millisecond

// reordering is how much earlier than they are shown pictures may be decoded:
// a first sound that is later by less may well be beside the first picture.
const reordering = 200 * time.Millisecond

// lead begins the newest cell of a line with silence where a hole is before it:
// a publisher that stops often has sent its video further than its audio, and
// one that starts has seldom both at once. The hole before a discontinuity is
// filled behind it, since the row before may be shown already.
func (t *timeline) lead(l *line, r *row) {
	c := &l.cells[len(t.rows)]
	from, least := t.due(l, r), int64(audible)
	if len(t.rows) == 0 {
		from, least = r.start, int64(reordering)
	}
	hole := c.start - from
	if !l.configs[l.current].fill || hole <= least || hole > int64(maxJoin) || from < 0 {
		return
	}
	c.start, c.duration, c.lead = from, c.duration+hole, hole
}

// settle notes how the newest cell of a line ends.
func (t *timeline) settle(l *line) {
	n := len(t.rows) - 1
	d := l.cells[n].start + l.cells[n].duration - t.rows[n].start - t.rows[n].duration
	if max(d, -d) < int64(time.Second) {
		l.behind = d
	}
}

// raiseTarget keeps the target duration at or above every rounded cell.
func (t *timeline) raiseTarget() {
	n := len(t.rows) - 1
	longest := t.rows[n].duration
	for _, l := range t.lines {
		longest = max(longest, l.cells[n].duration)
	}
	t.target = max(t.target, (longest+int64(time.Second)/2)/int64(time.Second))
}

// trim forgets the rows before i.
func (t *timeline) trim(i int) {
	if i == 0 {
		return
	}
	t.seq, t.discSeq = t.seq+int64(i), t.discAt(i)
	t.rows = t.rows[i:] // the dead front goes when the array next grows
	for _, l := range t.lines {
		l.cells = l.cells[i:]
	}
}

// discAt returns the discontinuity number of row i.
func (t *timeline) discAt(i int) int64 {
	n := t.discSeq
	for k := 1; k <= i && k < len(t.rows); k++ {
		if t.rows[k].disc {
			n++
		}
	}
	return n
}

// nanos converts ticks to nanoseconds, rounded down.
func nanos(ticks int64, timeScale uint32) int64 {
	if ticks < 0 {
		return -nanos(-ticks, timeScale)
	}
	hi, lo := bits.Mul64(uint64(ticks), uint64(time.Second))
	if timeScale == 0 || hi >= uint64(timeScale) {
		return 0 // no time scale, or beyond 292 years: no such entry is written
	}
	q, _ := bits.Div64(hi, lo, uint64(timeScale))
	return int64(q)
}
