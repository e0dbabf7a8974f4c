package events

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/journal"
)

// Source is a data stream as the pump reads it. Its errors are those of
// datastream.
type Source interface {
	// Shards lists all shards that have records, closed ones too.
	Shards(ctx context.Context, stream string) ([]datastream.Shard, error)
	// Open begins to read a shard.
	Open(ctx context.Context, stream string, shard uint32, start datastream.Start) (Reader, error)
}

// Reader reads one shard, in order.
type Reader interface {
	// Next waits for records and returns some; end says that the shard is closed
	// and they were the last.
	Next(ctx context.Context) (records []datastream.Record, end bool, err error)
}

// PumpOptions say what a Pump reads. Source, Store and Stream are needed; the
// zero value of everything else stands for its default.
type PumpOptions struct {
	Source Source
	Store  *Store
	Stream string // name of the data stream
	// Seen is told of detections as they come, before they are stored, and again
	// should they be read again; nil: nobody is. It must not block.
	Seen func(list []Detection)
	// Poll is how often new shards are looked for. Default 2 s.
	Poll time.Duration
	// SaveEvery is how often cursors are saved: what a crash has read again.
	// Default 1 s.
	SaveEvery time.Duration
	// RetryMin and RetryMax bound the pause before something is tried again.
	// Defaults 100 ms and 10 s.
	RetryMin, RetryMax time.Duration
	Log                *slog.Logger // default: nowhere
}

// Pump takes detections from a data stream into a Store, from New to Close: all
// that are still in the stream when it first sees a shard, and then all that come.
// A detection is in the store before the cursor of its shard moves on.
type Pump struct {
	o     PumpOptions
	meta  journal.Meta
	stats pumpCounters
	stop  context.CancelFunc
	all   sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	shards  map[uint32]*shard
	trouble string // with the stream, told last
}

// shard is one that is being read, or was.
type shard struct {
	shardCursor
	revision uint64 // in meta
	dirty    bool
	reading  bool
}

// shardCursor is how far a shard has been read, as meta keeps it, JSON.
type shardCursor struct {
	Version int    `json:"v"`
	Made    int64  `json:"made_ms"`         // of the shard: one of a stream made anew begins anew
	After   string `json:"after,omitempty"` // sequence number read last
	End     bool   `json:"end,omitempty"`   // closed and read
}

const (
	cursorVersion = 1
	shardPrefix   = "events/shard/"
	// maxReaders bounds the shards that are read at once; others have their turn
	// when one of them ends.
	maxReaders = 1024
)

func (p *Pump) prefix() string { return shardPrefix + p.o.Stream + "/" }

func (p *Pump) shardKey(index uint32) string {
	return p.prefix() + strconv.FormatUint(uint64(index), 10)
}

// NewPump reads the cursors and begins.
func NewPump(o PumpOptions) (*Pump, error) {
	o.Poll = cmp.Or(o.Poll, 2*time.Second)
	o.SaveEvery = cmp.Or(o.SaveEvery, time.Second)
	o.RetryMin = cmp.Or(o.RetryMin, 100*time.Millisecond)
	o.RetryMax = cmp.Or(o.RetryMax, 10*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Source == nil || o.Store == nil || o.Stream == "" {
		return nil, errors.New("pump options: Source, Store and Stream are needed")
	}
	if o.Poll < 0 || o.SaveEvery < 0 || o.RetryMin < 0 || o.RetryMax < o.RetryMin {
		return nil, errors.New("pump options: a number is out of range")
	}
	p := &Pump{o: o, meta: o.Store.meta, shards: map[uint32]*shard{}}
	for i := range p.meta.List(p.prefix()) {
		index, err := strconv.ParseUint(strings.TrimPrefix(i.Key, p.prefix()), 10, 32)
		s := &shard{revision: i.Revision}
		if err == nil {
			err = json.Unmarshal(i.Value, &s.shardCursor)
		}
		if err != nil || s.Version != cursorVersion {
			return nil, fmt.Errorf("cursor %s of version %d cannot be read: %w", i.Key, s.Version, err)
		}
		p.shards[uint32(index)] = s
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.all.Go(func() { p.look(ctx) })
	p.all.Go(func() { p.saveOften(ctx) })
	return p, nil
}

// Close stops reading, waits for what is under way and saves the cursors. The
// store is to be closed after it.
func (p *Pump) Close(ctx context.Context) error {
	p.stop()
	p.all.Wait()
	return p.save(ctx)
}

// look looks for shards, again and again, and has each read.
func (p *Pump) look(ctx context.Context) {
	for ctx.Err() == nil {
		shards, err := p.o.Source.Shards(ctx, p.o.Stream)
		if err == nil {
			p.begin(ctx, shards)
		}
		p.tell(ctx, err)
		sleep(ctx, p.o.Poll)
	}
}

// tell logs a trouble with the stream when it is another than before.
func (p *Pump) tell(ctx context.Context, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if text != p.trouble && err != nil && ctx.Err() == nil {
		p.o.Log.Info("data stream of detections cannot be read yet", "stream", p.o.Stream, "err", err)
	}
	p.trouble = text
}

// begin begins to read the shards that are not being read, and forgets those that
// are gone.
func (p *Pump) begin(ctx context.Context, shards []datastream.Shard) {
	p.mu.Lock()
	defer p.mu.Unlock()
	there, reading := map[uint32]bool{}, 0
	for _, s := range p.shards {
		if s.reading {
			reading++
		}
	}
	for _, d := range shards {
		there[d.Index] = true
		s := p.shards[d.Index]
		if s == nil {
			s = &shard{shardCursor: shardCursor{Version: cursorVersion}}
			p.shards[d.Index] = s
		}
		if s.reading {
			continue
		}
		if made := d.Made.UnixMilli(); s.Made != made {
			s.shardCursor = shardCursor{Version: cursorVersion, Made: made}
			s.dirty = true
		}
		if s.End || reading >= maxReaders {
			continue
		}
		s.reading = true
		reading++
		p.all.Go(func() { p.read(ctx, d.Index, s) })
	}
	for index, s := range p.shards {
		if !there[index] && !s.reading {
			s.shardCursor, s.dirty = shardCursor{}, true // save deletes it
		}
	}
}

// read reads a shard until it ends or fails; the next look begins anew.
func (p *Pump) read(ctx context.Context, index uint32, s *shard) {
	err := p.readFrom(ctx, index, s)
	if err != nil && ctx.Err() == nil {
		p.stats.failures.Add(1)
		p.o.Log.Warn("shard of detections cannot be read, will try again", "stream", p.o.Stream, "shard", index, "err", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.reading = false
}

func (p *Pump) readFrom(ctx context.Context, index uint32, s *shard) error {
	start := datastream.Start{From: datastream.TrimHorizon}
	p.mu.Lock()
	if s.After != "" {
		start = datastream.Start{From: datastream.AfterSequence, Sequence: s.After}
	}
	p.mu.Unlock()
	r, err := p.o.Source.Open(ctx, p.o.Stream, index, start)
	if errors.Is(err, datastream.ErrInvalid) && start.Sequence != "" {
		p.o.Log.Warn("shard does not know the record read last, it is read from its beginning", "stream", p.o.Stream, "shard", index, "err", err)
		r, err = p.o.Source.Open(ctx, p.o.Stream, index, datastream.Start{From: datastream.TrimHorizon})
	}
	if err != nil {
		return err
	}
	for {
		records, end, err := r.Next(ctx)
		if err != nil {
			return err
		}
		if err := p.store(ctx, records); err != nil {
			return err
		}
		p.mu.Lock()
		if n := len(records); n > 0 {
			s.After = records[n-1].Sequence.String()
		}
		s.End, s.dirty = end, true
		p.mu.Unlock()
		if end {
			return nil
		}
	}
}

// store stores what is a detection among the records, and tries until it is.
func (p *Pump) store(ctx context.Context, records []datastream.Record) error {
	var list []Detection
	for i := range records {
		r := &records[i]
		d, err := Parse(r.Data)
		switch {
		case errors.Is(err, ErrOther):
			p.stats.others.Add(1)
			continue
		case err != nil:
			p.stats.bad.Add(1)
			text := err.Error()
			p.stats.lastBad.Store(&text)
			continue
		}
		if d.ID == "" {
			d.ID = r.Sequence.String()
		}
		list = append(list, d)
	}
	p.stats.records.Add(uint64(len(records)))
	if p.o.Seen != nil && len(list) > 0 {
		p.o.Seen(list)
	}
	for pause := p.o.RetryMin; ; pause = min(2*pause, p.o.RetryMax) {
		err := p.o.Store.Add(ctx, list)
		if err == nil {
			p.stats.detections.Add(uint64(len(list)))
			return nil
		}
		if errors.Is(err, ErrClosed) || ctx.Err() != nil {
			return err
		}
		p.stats.failures.Add(1)
		p.o.Log.Warn("detections are not stored, will try again", "err", err)
		sleep(ctx, pause)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// saveOften saves the cursors until the pump closes.
func (p *Pump) saveOften(ctx context.Context) {
	for bad := false; ctx.Err() == nil; {
		sleep(ctx, p.o.SaveEvery)
		err := p.save(context.WithoutCancel(ctx))
		if err != nil && !bad {
			p.o.Log.Error("cursors of detections are not saved, will try again", "err", err)
		}
		bad = err != nil
	}
}

// save brings what has changed to meta. It is called by one at a time.
func (p *Pump) save(ctx context.Context) error {
	p.mu.Lock()
	dirty := map[uint32]shardCursor{}
	for index, s := range p.shards {
		if s.dirty {
			dirty[index], s.dirty = s.shardCursor, false
		}
	}
	p.mu.Unlock()
	var errs []error
	for index, c := range dirty {
		if err := p.saveOne(ctx, index, c); err != nil {
			errs = append(errs, fmt.Errorf("cursor of shard %d: %w", index, err))
		}
	}
	return errors.Join(errs...)
}

func (p *Pump) saveOne(ctx context.Context, index uint32, c shardCursor) error {
	p.mu.Lock()
	s := p.shards[index]
	expect := s.revision
	p.mu.Unlock()
	var revision uint64
	var err error
	switch {
	case c.Version != 0:
		var value []byte
		if value, err = json.Marshal(c); err == nil {
			revision, err = p.meta.Put(ctx, p.shardKey(index), value, expect)
		}
	case expect != 0:
		err = p.meta.Delete(ctx, p.shardKey(index), expect)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		s.dirty = true
		if _, r, gerr := p.meta.Get(p.shardKey(index)); gerr == nil || errors.Is(gerr, journal.ErrAbsent) {
			s.revision = r // an earlier change may have come through after its context had ended
		}
		return err
	}
	s.revision = revision
	if c.Version == 0 && s.Version == 0 && !s.reading {
		delete(p.shards, index)
	}
	return nil
}

// PumpStats is what a Pump has done since it began, for the metrics.
type PumpStats struct {
	Stream     string
	Records    uint64 // read
	Detections uint64 // of them
	Others     uint64 // well formed, and something else
	Bad        uint64 // neither
	LastBad    string // why the newest of them is bad, "" when there was none
	Failures   uint64 // tries that failed; each is made again
	Shards     int    // being read
}

type pumpCounters struct {
	records, detections, others, bad, failures atomic.Uint64
	lastBad                                    atomic.Pointer[string]
}

// Stats counts.
func (p *Pump) Stats() PumpStats {
	c := &p.stats
	st := PumpStats{
		Stream: p.o.Stream, Records: c.records.Load(), Detections: c.detections.Load(), Others: c.others.Load(),
		Bad: c.bad.Load(), Failures: c.failures.Load(),
	}
	if text := c.lastBad.Load(); text != nil {
		st.LastBad = *text
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.shards {
		if s.reading {
			st.Shards++
		}
	}
	return st
}
