package archive

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"path/filepath"
	"slices"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
	"github.com/kineweir/kineweir/fragments"
)

// writing is what the holder of a stream's slot works with.
type writing struct {
	current *spool // nil between segments
	buf     []byte // of the last fragment, for the next
	scratch []byte // likewise, of its entry
	predict prediction
	lately  []trackRef // that the segment before had samples of
	// refs remembers the hashes of configurations, which are dear to compute.
	refs map[*fragments.Track]trackRef
}

// spool is the segment that a stream is writing.
type spool struct {
	o    *object
	file vfs.File
	// ends are the decode times, per track of the object, before which no sample
	// may lie; used tells the tracks that had one.
	ends []int64
	used []bool
}

// maxRefs bounds the memory for hashes; a stream has a few tracks at a time.
const maxRefs = 64

// maxKeptBuffer bounds the buffer that a stream keeps between fragments.
const maxKeptBuffer = 8 << 20

// persist makes f durable and returns its entry and the hour it lies in. The
// caller holds the slot. After an error nothing of f is left.
func (s *stream) persist(ctx context.Context, f *fragments.Fragment) (*Entry, hour, error) {
	e, refs, err := s.describe(f)
	if err != nil {
		return nil, 0, err
	}
	s.mu.RLock()
	h := max(hourOf(f.Server), s.earliestHour())
	s.mu.RUnlock()
	if cur := s.writing.current; cur != nil && !cur.takes(e, h, s.a.opts) {
		s.seal()
	}
	if s.writing.current == nil {
		if err := s.openSpool(ctx, e, refs, h); err != nil {
			return nil, 0, err
		}
	}
	if err := s.append(f, e); err != nil {
		return nil, 0, err
	}
	return e, h, nil
}

// describe makes the entry of f but for what is known once it is written.
func (s *stream) describe(f *fragments.Fragment) (*Entry, []trackRef, error) {
	if len(f.Runs) == 0 || f.Duration < 0 {
		return nil, nil, fmt.Errorf("%w: no runs, or a negative duration", ErrUnfit)
	}
	e := &Entry{
		Number: f.Number, Producer: f.Producer, Server: f.Server, Duration: f.Duration,
		Dependent: f.Dependent, Discontinuity: f.Discontinuity, Runs: make([]EntryRun, len(f.Runs)),
	}
	refs := make([]trackRef, 0, 4)
	for i := range f.Runs {
		run, t := &f.Runs[i], f.Runs[i].Track
		if t == nil || t.ID < 1 || t.TimeScale == 0 || t.TimeScale > MaxTimeScale || run.Duration < 0 || run.Samples < 0 || len(run.Parts) == 0 {
			return nil, nil, fmt.Errorf("%w: run %d has no parts or an impossible track", ErrUnfit, i)
		}
		if slices.ContainsFunc(refs, func(r trackRef) bool { return r.ID == t.ID }) {
			return nil, nil, fmt.Errorf("%w: track %d twice", ErrUnfit, t.ID)
		}
		ref := s.refOf(t)
		refs = append(refs, ref)
		e.Runs[i] = EntryRun{
			Track: t.ID, Config: ref.hash, Kind: t.Kind(), TimeScale: t.TimeScale,
			DecodeTime: run.DecodeTime, Duration: run.Duration, Samples: run.Samples,
		}
		if _, ok := timeOf(run.DecodeTime, t.TimeScale); !ok {
			return nil, nil, fmt.Errorf("%w: decode time %d of track %d", ErrUnfit, run.DecodeTime, t.ID)
		}
	}
	return e, refs, nil
}

func (s *stream) refOf(t *fragments.Track) trackRef {
	w := &s.writing
	ref, ok := w.refs[t]
	if !ok {
		if w.refs == nil || len(w.refs) >= maxRefs {
			w.refs = map[*fragments.Track]trackRef{}
		}
		ref = refTrack(t)
		w.refs[t] = ref
	}
	return ref
}

// timeOf converts ticks to a duration, rounded up, so that Ticks gives the same
// ticks back. It reports false beyond maxBase.
func timeOf(ticks int64, timeScale uint32) (time.Duration, bool) {
	abs, negative := uint64(ticks), ticks < 0
	if negative {
		abs = -abs
	}
	hi, lo := bits.Mul64(abs, uint64(time.Second))
	if hi >= uint64(timeScale) {
		return 0, false
	}
	q, r := bits.Div64(hi, lo, uint64(timeScale))
	if r > 0 && !negative {
		q++
	}
	if q > uint64(maxBase) {
		return 0, false
	}
	if negative {
		return -time.Duration(q), true
	}
	return time.Duration(q), true
}

// takes reports whether e, in hour h, may go into the segment: the rules of
// sealing.
func (sp *spool) takes(e *Entry, h hour, o Options) bool {
	id := sp.o.id
	if id.hour != h || id.first.Epoch != e.Number.Epoch || sp.o.size >= o.SealBytes || o.Now().Sub(sp.o.opened) >= o.SealAge {
		return false
	}
	for i := range e.Runs {
		r := &e.Runs[i]
		at := id.track(r.Track, r.Config)
		// A decode time that steps back would make a file that players stumble
		// over, and before the base there is none that could be written.
		if at < 0 || r.DecodeTime < sp.ends[at] {
			return false
		}
	}
	return true
}

// track finds a track of the object, or -1.
func (o *objectID) track(id int, hash fragments.ConfigHash) int {
	for i := range o.tracks {
		if o.tracks[i].ID == id && o.tracks[i].hash == hash {
			return i
		}
	}
	return -1
}

// openSpool begins the segment whose first fragment is e.
func (s *stream) openSpool(ctx context.Context, e *Entry, refs []trackRef, h hour) error {
	for _, t := range refs {
		if err := s.learnTrack(ctx, t); err != nil {
			return err
		}
	}
	id := &objectID{
		dir: s.dir, key: objectKey(s.dir, h, e.Number), created: s.created,
		first: e.Number, hour: h, opened: e.Server, tracks: s.tracksFor(refs),
	}
	for i := range e.Runs {
		at, _ := timeOf(e.Runs[i].DecodeTime, e.Runs[i].TimeScale)
		if i == 0 || at < id.base {
			id.base = at
		}
	}
	head, err := appendSegmentHeader(nil, s.name, id)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	dir := filepath.Join(s.a.spoolDir(), s.dir)
	if err := s.a.fs.MkdirAll(dir); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	path := filepath.Join(dir, objectName(id.first))
	file, err := s.a.fs.Create(path)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	sp := &spool{
		o:    &object{id: id, opened: s.a.opts.Now(), path: path, size: int64(len(head))},
		file: file, ends: make([]int64, len(id.tracks)), used: make([]bool, len(id.tracks)),
	}
	for i, t := range id.tracks {
		sp.ends[i] = Ticks(id.base, t.TimeScale)
	}
	s.writing.current = sp
	s.mu.Lock()
	s.objects[id.first] = sp.o
	s.openHourOf(h).objects++
	s.mu.Unlock()
	s.a.spooled.Add(sp.o.size)
	if _, err := file.WriteAt(head, 0); err != nil {
		return s.abandon(fmt.Errorf("spool: %w", err))
	}
	return nil
}

// tracksFor returns the tracks of the next segment: those of its first fragment,
// and those that the segment before had samples of, for a track may be silent
// for a while.
func (s *stream) tracksFor(refs []trackRef) []trackRef {
	tracks := slices.Clone(refs)
	for _, t := range s.writing.lately {
		if !slices.ContainsFunc(tracks, func(r trackRef) bool { return r.ID == t.ID }) {
			tracks = append(tracks, t)
		}
	}
	return tracks
}

// append writes f to the current spool file and makes it durable there and in
// the index.
func (s *stream) append(f *fragments.Fragment, e *Entry) error {
	w, sp := &s.writing, s.writing.current
	o, id := sp.o, sp.o.id
	fresh := len(o.entries) == 0
	e.Object, e.Base = id.key, id.base
	out, err := w.encode(id, e, f, o.size)
	if err != nil {
		return s.retreat(fmt.Errorf("%w: %w", ErrUnfit, err))
	}
	if _, err := sp.file.WriteAt(out, o.size); err != nil {
		return s.retreat(fmt.Errorf("spool: %w", err))
	}
	if err := s.a.syncSpool(sp, fresh); err != nil {
		return s.a.fail(fmt.Errorf("spool: sync: %w", err))
	}
	if err := s.index(o, e, fresh); err != nil {
		return s.retreat(fmt.Errorf("index: %w", err))
	}
	for i := range e.Runs {
		at := id.track(e.Runs[i].Track, e.Runs[i].Config)
		sp.ends[at], sp.used[at] = e.Runs[i].DecodeTime+e.Runs[i].Duration, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o.entries = append(o.entries, e)
	o.size += int64(len(out))
	s.a.spooled.Add(int64(len(out)))
	return nil
}

// index appends the frames of e, and of its object when it is new, and waits
// until they are durable.
func (s *stream) index(o *object, e *Entry, fresh bool) error {
	var first journal.Future
	if fresh {
		first = s.a.journal.Append(frameOpened, s.dir, appendOpened(nil, s.name, o.id))
	}
	w := &s.writing
	w.scratch = appendFragmentFrame(w.scratch[:0], o.id, &w.predict, e)
	_, err := s.a.journal.Append(frameFragment, s.dir, w.scratch).Wait(context.Background())
	if !fresh || err != nil {
		return err
	}
	at, err := first.Wait(context.Background())
	s.mu.Lock()
	o.at = at
	s.mu.Unlock()
	return err
}

// retreat takes back what a failed append has written. A spool file that was to
// begin with it goes as well; one that cannot be cut back is sealed as it was.
func (s *stream) retreat(why error) error {
	sp := s.writing.current
	if len(sp.o.entries) == 0 {
		return s.abandon(why)
	}
	if err := sp.file.Truncate(sp.o.size); err != nil {
		s.a.log.Error("spool file cannot be cut back and is sealed", "stream", s.name, "path", sp.o.path, "err", err)
		s.seal()
	}
	return why
}

// abandon removes a spool file without fragments.
func (s *stream) abandon(why error) error {
	sp := s.writing.current
	s.writing.current = nil
	s.mu.Lock()
	delete(s.objects, sp.o.id.first)
	s.openHourOf(sp.o.id.hour).objects--
	s.mu.Unlock()
	s.a.spooled.Add(-sp.o.size)
	err := errors.Join(sp.file.Close(), s.a.fs.Remove(sp.o.path))
	if err != nil {
		s.a.log.Warn("empty spool file is left behind", "stream", s.name, "path", sp.o.path, "err", err)
	}
	return why
}

// seal ends the current segment, if there is one, and hands it to those who
// bring it to the bucket. The caller holds the slot.
func (s *stream) seal() {
	sp := s.writing.current
	if sp == nil {
		return
	}
	s.writing.current = nil
	s.writing.lately = s.writing.lately[:0]
	for i, used := range sp.used {
		if used {
			s.writing.lately = append(s.writing.lately, sp.o.id.tracks[i])
		}
	}
	if err := sp.file.Close(); err != nil {
		s.a.log.Warn("close spool file", "stream", s.name, "path", sp.o.path, "err", err)
	}
	s.mu.Lock()
	sp.o.state = sealed
	s.mu.Unlock()
	s.a.uploads.add(s, sp.o)
}

// syncSpool makes the file durable, and its name if it is new.
func (a *Archive) syncSpool(sp *spool, fresh bool) error {
	a.syncs <- struct{}{}
	defer func() { <-a.syncs }()
	start := time.Now()
	err := sp.file.Sync()
	a.counters.synced(time.Since(start))
	if err == nil && fresh {
		err = a.fs.SyncDir(filepath.Dir(sp.o.path))
	}
	return err
}
