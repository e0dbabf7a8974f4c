package events

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
	"github.com/kineweir/kineweir/datastream/journal/wal"
	"github.com/kineweir/kineweir/fragments"
)

var (
	// ErrFull refuses detections while too many wait for the bucket.
	ErrFull = errors.New("no room for more detections")
	// ErrClosed answers calls on a store that was closed.
	ErrClosed = errors.New("store of detections is closed")
)

// Videos knows the video beside which detections are kept.
type Videos interface {
	// Stream describes a stream, or answers archive.ErrNoStream.
	Stream(name fragments.StreamName) (archive.StreamInfo, error)
}

// Options say where detections lie. Dir, Bucket and Videos are needed; the zero
// value of everything else stands for its default.
type Options struct {
	// Dir is a folder on a local disk for the lane and the summaries.
	Dir    string
	Bucket bucket.Bucket
	Videos Videos
	// Journal and Meta default to files in Dir/journal and Dir/meta. Those that are
	// given are not closed.
	Journal journal.Journal
	Meta    journal.Meta
	FS      vfs.FS // default the real one

	// MemBytes is what may wait in memory for the end of its hour; beyond it blocks
	// are written earlier, and beyond four times as much Add answers ErrFull.
	// Default 32 MiB.
	MemBytes int64
	// LaneBytes is how long the lane may be before the older half of what is in
	// memory is written, due or not: Open reads the lane. Default 32 MiB.
	LaneBytes int64
	// MaxCameras bounds the cameras with detections: those of further ones are
	// dropped and counted. Default 10,000.
	MaxCameras int
	// Orphans is how long detections of a camera are kept of which there is no
	// video. Default 24 h.
	Orphans time.Duration
	// Settle is how long nothing must have come for an hour that has ended before
	// it is written. Default 2 min.
	Settle time.Duration
	// Tick is how often that is looked at. Default 5 s; negative: never.
	Tick time.Duration
	Now  func() time.Time // default time.Now
	Log  *slog.Logger     // default: nowhere
}

func (o Options) withDefaults() (Options, error) {
	o.MemBytes = cmp.Or(o.MemBytes, 32<<20)
	o.LaneBytes = cmp.Or(o.LaneBytes, 32<<20)
	o.MaxCameras = cmp.Or(o.MaxCameras, 10_000)
	o.Orphans = cmp.Or(o.Orphans, 24*time.Hour)
	o.Settle = cmp.Or(o.Settle, 2*time.Minute)
	o.Tick = cmp.Or(o.Tick, 5*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dir == "" && (o.Journal == nil || o.Meta == nil) || o.Bucket == nil || o.Videos == nil {
		return o, errors.New("events options: Dir, Bucket and Videos are needed")
	}
	if o.MemBytes < 1 || o.LaneBytes < 1 || o.MaxCameras < 1 || o.Orphans < 0 || o.Settle < 0 {
		return o, errors.New("events options: a number is out of range")
	}
	return o, nil
}

// Store keeps detections. Its methods may be called concurrently.
type Store struct {
	o       Options
	journal journal.Journal
	meta    journal.Meta
	own     []func() error // closes what Open opened, in order

	stats  counters
	cache  cache
	kick   chan struct{} // wakes the chores
	stop   context.CancelFunc
	chores sync.WaitGroup
	closed atomic.Bool

	// adding is held for reading from the append of a detection until it can be
	// found, so that the lane is not trimmed in between.
	adding  sync.RWMutex
	choring sync.Mutex // held for as long as chores are done; before mu

	mu      sync.RWMutex // guards the fields below
	cameras map[fragments.StreamName]*camera
	bytes   int64 // of what is in memory
}

// camera is what is kept of one camera.
type camera struct {
	hours map[hour]*table
	// blocks are sorted by hour, then sequence. The slice is replaced, never
	// changed.
	blocks []*block
}

// table holds the detections of an hour that are in memory, sorted. The slice may
// be read without the lock up to the length it was taken with: it is appended to
// or replaced.
type table struct {
	items   []*item
	bytes   int64
	first   time.Time // when the first of them came, by our clock
	touched time.Time // and the last
}

type item struct {
	*Detection
	at    journal.Position // of its entry in the lane
	bytes int64
}

// perItem is what an item takes in memory beside its texts.
const perItem = 320

// Open opens the store and reads what is not in a block yet. The context governs
// Open alone.
func Open(ctx context.Context, o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{o: o, journal: o.Journal, meta: o.Meta, kick: make(chan struct{}, 1), cameras: map[fragments.StreamName]*camera{}}
	err = s.openStores()
	if err == nil {
		err = s.load(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open detections: %w", err), s.closeStores())
	}
	work, stop := context.WithCancel(context.Background())
	s.stop = stop
	if o.Tick > 0 {
		s.chores.Go(func() { s.runChores(work) })
	}
	return s, nil
}

func (s *Store) openStores() error {
	if s.journal == nil {
		l, err := wal.Open(filepath.Join(s.o.Dir, "journal"), wal.Options{MaxFileBytes: 16 << 20, FS: s.o.FS, Logger: s.o.Log})
		if err != nil {
			return err
		}
		s.journal = l
		s.own = append(s.own, l.Close)
	}
	if s.meta == nil {
		m, err := wal.OpenMeta(filepath.Join(s.o.Dir, "meta"), wal.Options{FS: s.o.FS, Logger: s.o.Log})
		if err != nil {
			return err
		}
		s.meta = m
		s.own = append(s.own, m.Close)
	}
	return nil
}

func (s *Store) closeStores() error {
	var errs []error
	for _, c := range s.own {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// Close ends the store. What is in memory is in the lane too, and is read by the
// next Open.
func (s *Store) Close(ctx context.Context) error {
	if s.closed.Swap(true) {
		return nil
	}
	s.stop()
	s.chores.Wait()
	s.adding.Lock()
	defer s.adding.Unlock()
	return s.closeStores()
}

// Fatal is closed when nothing can be made durable any more. The owner should end
// the process.
func (s *Store) Fatal() <-chan struct{} { return s.journal.Fatal() }

// load reads the summaries of the blocks, then the lane.
func (s *Store) load(ctx context.Context) error {
	for i := range s.meta.List(blockPrefix) {
		b, err := parseBlock(i.Key, i.Value)
		if err != nil {
			return err
		}
		b.revision = i.Revision
		c := s.camera(b.Camera)
		c.blocks = append(c.blocks, b) // meta lists them in order
	}
	from := journal.Position{}
	if value, _, err := s.meta.Get(replayKey); err == nil {
		if _, err := fmt.Sscanf(string(value), "%d.%d", &from.Frame, &from.Index); err != nil {
			return fmt.Errorf("%s: %q: %w", replayKey, value, err)
		}
	}
	for e, err := range s.journal.Read(from) {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		list, err := decodeLines(bytes.NewReader(e.Payload))
		if err != nil {
			return fmt.Errorf("lane entry %s: %w", e.Position, err)
		}
		s.insert(list, e.Position)
	}
	return nil
}

// camera finds a camera, or makes it. The caller holds mu, or is Open.
func (s *Store) camera(name fragments.StreamName) *camera {
	c := s.cameras[name]
	if c == nil {
		c = &camera{hours: map[hour]*table{}}
		s.cameras[name] = c
	}
	return c
}

// kindLines is the kind of the lane's entries: detections as JSON lines.
const kindLines journal.Kind = 1

// maxEntry bounds an entry of the lane.
const maxEntry = 1 << 20

// Add makes detections durable and lets them be found. It changes nothing when
// one of them is not valid. A detection without an ID is given one of its
// content. After another error than that, some of them may have been added: it is
// safe to add them again.
func (s *Store) Add(ctx context.Context, list []Detection) error {
	if len(list) == 0 {
		return nil
	}
	own := make([]*Detection, len(list))
	for i := range list {
		d := list[i]
		d.Time, d.End = d.Time.UTC(), d.End.UTC()
		err := d.Validate()
		if err == nil {
			err = d.identify()
		}
		if err != nil {
			return fmt.Errorf("detection %d: %w: %w", i, ErrBad, err)
		}
		own[i] = &d
	}
	s.adding.RLock()
	defer s.adding.RUnlock()
	if s.closed.Load() {
		return ErrClosed
	}
	own, err := s.room(own)
	if err != nil || len(own) == 0 {
		return err
	}
	return s.append(ctx, own)
}

// room returns the detections for which there is room.
func (s *Store) room(list []*Detection) ([]*Detection, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.bytes >= 4*s.o.MemBytes {
		s.wake()
		return nil, fmt.Errorf("%w: %d bytes wait for the bucket", ErrFull, s.bytes)
	}
	fresh := map[fragments.StreamName]bool{}
	return slices.DeleteFunc(list, func(d *Detection) bool {
		if s.cameras[d.Camera] != nil || fresh[d.Camera] {
			return false
		}
		if len(s.cameras)+len(fresh) >= s.o.MaxCameras {
			s.stats.refused.Add(1)
			return true
		}
		fresh[d.Camera] = true
		return false
	}), nil
}

// append appends detections to the lane and, once they are durable, to memory.
func (s *Store) append(ctx context.Context, list []*Detection) error {
	type part struct {
		list   []*Detection
		future journal.Future
	}
	var parts []part
	var lines []byte
	start := 0
	for i, d := range list {
		var err error
		if lines, err = d.appendLine(lines); err != nil {
			return fmt.Errorf("detection %d: %w", i, err)
		}
		if len(lines) >= maxEntry || i == len(list)-1 {
			parts = append(parts, part{list[start : i+1], s.journal.Append(kindLines, "", lines)})
			lines, start = lines[:0], i+1
		}
	}
	var errs []error
	for _, p := range parts {
		// Not ended by ctx: what becomes durable must be found.
		at, err := p.future.Wait(context.WithoutCancel(ctx))
		if err != nil {
			errs = append(errs, fmt.Errorf("detections: %w", err))
			continue
		}
		s.mu.Lock()
		s.insert(p.list, at)
		full := s.bytes > s.o.MemBytes
		s.mu.Unlock()
		if full {
			s.wake()
		}
	}
	return errors.Join(errs...)
}

// insert puts detections into memory. The caller holds mu, or is Open.
func (s *Store) insert(list []*Detection, at journal.Position) {
	now := s.o.Now()
	for _, d := range list {
		c := s.camera(d.Camera)
		h := hourOf(d.Time)
		t := c.hours[h]
		if t == nil {
			t = &table{first: now}
			c.hours[h] = t
		}
		i := &item{Detection: d, at: at}
		i.bytes = int64(perItem + len(d.ID) + len(d.Camera) + len(d.Label) + len(d.Source) + len(d.Attributes))
		old := t.insert(i)
		s.bytes += i.bytes
		t.touched = now
		if old != nil {
			s.bytes -= old.bytes
			s.stats.again.Add(1)
			continue
		}
		s.stats.added.Add(1)
	}
}

// insert puts an item in its place. It returns the one that it replaces, or nil.
func (t *table) insert(i *item) (old *item) {
	t.bytes += i.bytes
	n := len(t.items)
	if n == 0 || byKey(t.items[n-1].Detection, i.Detection) < 0 {
		t.items = append(t.items, i)
		return nil
	}
	at, found := slices.BinarySearchFunc(t.items, i, func(a, b *item) int { return byKey(a.Detection, b.Detection) })
	t.items = slices.Clone(t.items) // others are reading it
	if !found {
		t.items = slices.Insert(t.items, at, i)
		return nil
	}
	old, t.items[at] = t.items[at], i
	t.bytes -= old.bytes
	return old
}

// wake has the chores done soon.
func (s *Store) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Cameras lists the cameras with detections, in the order of their names.
func (s *Store) Cameras() []fragments.StreamName {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]fragments.StreamName, 0, len(s.cameras))
	for name := range s.cameras {
		list = append(list, name)
	}
	slices.SortFunc(list, func(a, b fragments.StreamName) int { return strings.Compare(string(a), string(b)) })
	return list
}
