package feed

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/archive/bucket/dir"
	"github.com/kineweir/kineweir/datastream/journal/wal"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

var (
	testSPS = []byte{0x67, 0x64, 0x00, 0x0c, 0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60}
	testPPS = []byte{0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0}
	video   = &fragments.Track{ID: 1, Codec: fragments.H264, TimeScale: 90000, Width: 320, Height: 180, Reorder: 1, Params: [][]byte{testSPS, testPPS}}
	audio   = &fragments.Track{ID: 2, Codec: fragments.AAC, TimeScale: 48000, SampleRate: 48000, Channels: 2, Params: [][]byte{{0x11, 0x90}}}
)

// camera records fragments of two seconds, 10 pictures and 4 frames of sound.
type camera struct {
	t     testing.TB
	w     *archive.Writer
	lease fragments.Lease
	at    time.Duration // of the next fragment, since creation
	many  int           // pictures in a fragment; 0 = 10
}

func record(t testing.TB, a *archive.Archive, name fragments.StreamName) *camera {
	t.Helper()
	w := a.Writer()
	l, err := w.Open(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	return &camera{t: t, w: w, lease: l, at: max(time.Since(l.Created), 0)}
}

// add records n fragments.
func (c *camera) add(n int) (list []fragments.Number) {
	c.t.Helper()
	for range n {
		number, err := c.commit()
		if err != nil {
			c.t.Fatal(err)
		}
		list = append(list, number)
	}
	return list
}

func (c *camera) commit() (fragments.Number, error) {
	n, err := c.w.Begin(c.lease)
	if err != nil {
		return n, err
	}
	start := c.lease.Created.Add(c.at)
	f := &fragments.Fragment{
		Number: n, Producer: fragments.ProducerTime(start.Add(-150 * time.Millisecond)), Server: fragments.ServerTime(start),
		Duration: 2 * time.Second, Runs: []fragments.Run{c.run(video, n, max(c.many, 10), 200), c.run(audio, n, 4, 30)},
	}
	c.at += f.Duration
	return n, c.w.Commit(context.Background(), c.lease, f)
}

// run makes two parts. Pictures are presented a picture after they are decoded;
// the first two seem swapped.
func (c *camera) run(t *fragments.Track, n fragments.Number, count, size int) fragments.Run {
	begin := archive.Ticks(c.at, t.TimeScale)
	run := fragments.Run{Track: t, DecodeTime: begin, Samples: count}
	each := 2 * int64(t.TimeScale) / int64(count)
	for i := range 2 {
		p := &fragments.Part{Track: t, Sequence: uint32(i + 1), DecodeTime: begin + run.Duration}
		for j := i * count / 2; j < (i+1)*count/2; j++ {
			s := fragments.Sample{Duration: uint32(each), Key: j == 0 || t == audio, Payload: [][]byte{make([]byte, size+j%100)}}
			binary.BigEndian.PutUint64(s.Payload[0], n.Counter)
			if t == video {
				s.Offset = uint32(each)
			}
			p.Samples = append(p.Samples, s)
			p.Duration += each
		}
		p.Data = cmaf.AppendPart(nil, t, p.Sequence, p.DecodeTime, p.Samples)
		run.Parts = append(run.Parts, p)
		run.Bytes += len(p.Data)
		run.Duration += p.Duration
	}
	return run
}

// house is an archive and a store for cursors in a folder.
type house struct {
	archive *archive.Archive
	meta    *wal.Store
}

func openHouse(folder string, change func(*archive.Options)) (*house, error) {
	b, err := dir.Open(filepath.Join(folder, "bucket"))
	if err != nil {
		return nil, err
	}
	meta, err := wal.OpenMeta(filepath.Join(folder, "feed"), wal.Options{ReserveBytes: -1})
	if err != nil {
		return nil, err
	}
	o := archive.Options{Dir: filepath.Join(folder, "data"), Bucket: b, Tick: -1}
	if change != nil {
		change(&o)
	}
	a, err := archive.Open(context.Background(), o)
	return &house{a, meta}, err
}

func newHouse(t testing.TB, change func(*archive.Options)) *house {
	t.Helper()
	h, err := openHouse(t.TempDir(), change)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.close() })
	return h
}

func (h *house) close() error {
	return errors.Join(h.archive.Close(context.Background()), h.meta.Close())
}

// memory is a data stream in memory.
type memory struct {
	mu      sync.Mutex
	made    int
	away    error
	block   chan struct{} // Put waits for it, if not nil
	records []put
	arrived chan struct{} // one for each record, as far as there is room
}

type put struct {
	stream, key string
	data        []byte
	at          time.Time
}

func newMemory() *memory { return &memory{arrived: make(chan struct{}, 1<<16)} }

func (m *memory) Ensure(context.Context, string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.made++
	return m.away
}

func (m *memory) Put(ctx context.Context, stream, key string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.block != nil {
		m.mu.Unlock()
		select {
		case <-m.block:
		case <-ctx.Done():
		}
		m.mu.Lock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if m.made == 0 {
		return errors.New("no such stream")
	}
	if m.away != nil {
		return m.away
	}
	m.records = append(m.records, put{stream, key, data, time.Now()})
	m.arrived <- struct{}{}
	return nil
}

func (m *memory) setAway(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = err
}

func (m *memory) all() []put {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]put(nil), m.records...)
}

// wait waits until n more records have arrived.
func (m *memory) wait(t testing.TB, n int) {
	t.Helper()
	late := time.After(20 * time.Second)
	for i := range n {
		select {
		case <-m.arrived:
		case <-late:
			t.Fatalf("%d of %d records arrived", i, n)
		}
	}
}

func (h *house) feed(t testing.TB, target Target, change func(*Options)) *Feed {
	t.Helper()
	o := Options{Archive: h.archive, Target: target, Stream: "metadata", Meta: h.meta, SaveEvery: 10 * time.Millisecond, RetryMin: time.Millisecond, RetryMax: 5 * time.Millisecond}
	if change != nil {
		change(&o)
	}
	f, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close(context.Background()) })
	return f
}

func shut(t testing.TB, f *Feed) {
	t.Helper()
	if err := f.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func name(i int) fragments.StreamName { return fragments.StreamName(fmt.Sprintf("cam%d", i)) }
