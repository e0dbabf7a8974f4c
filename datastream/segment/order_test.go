package segment

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// durability follows the calls on sealed files: what of them would be there
// after a power cut.
type durability struct {
	mu      sync.Mutex
	dirty   map[string]bool // written since the last sync, by name of the file
	renamed map[string]bool // not yet synced with the directory
	wrong   []string
}

func (d *durability) see(c vfs.Call, meta journal.Meta) {
	d.mu.Lock()
	defer d.mu.Unlock()
	base := filepath.Base(c.Name)
	switch {
	case c.Op == vfs.OpWrite && strings.HasSuffix(base, tempSuffix):
		d.dirty[strings.TrimSuffix(base, tempSuffix)] = true
	case c.Op == vfs.OpSync && strings.HasSuffix(base, tempSuffix):
		delete(d.dirty, strings.TrimSuffix(base, tempSuffix))
	case c.Op == vfs.OpRename && strings.HasSuffix(base, fileSuffix):
		if d.dirty[base] {
			d.wrong = append(d.wrong, base+" got its name before it was synced")
		}
		d.renamed[base] = true
	case c.Op == vfs.OpSyncDir && base == "segments":
		clear(d.renamed)
	case c.Op == vfs.OpRemove && strings.HasSuffix(base, fileSuffix):
		if _, _, err := meta.Get(filesKeys + strings.TrimSuffix(base, fileSuffix)); !errors.Is(err, journal.ErrAbsent) {
			d.wrong = append(d.wrong, base+" was removed while it was listed")
		}
	}
}

// listing looks at a transaction that is about to be made.
func (d *durability) listing(changes []journal.Change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range changes {
		name := strings.TrimPrefix(c.Key, filesKeys) + fileSuffix
		if d.dirty[name] || d.renamed[name] {
			d.wrong = append(d.wrong, name+" was listed before it was durable")
		}
	}
}

// watchedMeta tells of transactions before they are made.
type watchedMeta struct {
	journal.Meta
	d       *durability
	commits atomic.Int32
}

func (m *watchedMeta) Txn(ctx context.Context, changes ...journal.Change) (uint64, error) {
	m.commits.Add(1)
	m.d.listing(changes)
	return m.Meta.Txn(ctx, changes...)
}

// watchedLane tells of trims.
type watchedLane struct {
	journal.Journal
	meta  journal.Meta
	wrong atomic.Int32
	trims atomic.Int32
}

func (l *watchedLane) Trim(before journal.Position) error {
	l.trims.Add(1)
	value, _, err := l.meta.Get(stateKey)
	if err != nil || !strings.Contains(string(value), string(mustJSON(before))) {
		l.wrong.Add(1)
	}
	return l.Journal.Trim(before)
}

// TestOrderOfSealing: files are durable before they are listed, listed before the
// lane is trimmed, and off the list before they are removed.
func TestOrderOfSealing(t *testing.T) {
	r, fsys := faultyRig(t, sorted)
	r.Close(t.Context())
	opts := r.Store.opts
	d := &durability{dirty: map[string]bool{}, renamed: map[string]bool{}}
	meta := &watchedMeta{Meta: r.meta, d: d}
	lane := &watchedLane{Journal: r.lane, meta: r.meta}
	opts.Meta, opts.Lane = meta, lane
	var err error
	if r.Store, err = Open(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	fsys.Set(func(c vfs.Call) vfs.Fault {
		d.see(c, r.meta)
		return vfs.Fault{}
	})
	if _, err := r.feed(t, 60); err != nil {
		t.Fatal(err)
	}
	r.sealAll(t)
	r.set(1, -1)
	if err := r.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range d.wrong {
		t.Error(wrong)
	}
	st := r.Stats()
	if lane.wrong.Load() != 0 || lane.trims.Load() < 5 || meta.commits.Load() < 5 || st.Dropped < 5 {
		t.Errorf("%d of %d trims went before the list, %d commits, %d dropped", lane.wrong.Load(), lane.trims.Load(), meta.commits.Load(), st.Dropped)
	}
}

// TestNotBeforeDurable: nothing is visible, and nobody is woken, before the lane
// has synced; then it is, before Wait returns.
func TestNotBeforeDurable(t *testing.T) {
	r, fsys := faultyRig(t, sorted)
	k := Key{Stream: 2}
	hold, entered := make(chan struct{}), make(chan struct{}, 8)
	fsys.Set(func(c vfs.Call) vfs.Fault {
		if c.Op == vfs.OpSync && strings.HasSuffix(c.Name, ".wal") {
			entered <- struct{}{}
			<-hold
		}
		return vfs.Fault{}
	})
	wake := r.Wake(k)
	now := time.Now().UnixMilli()
	p := r.Append([]Item{{Key: k, Arrived: now, Body: []byte("a")}})
	<-entered
	time.Sleep(10 * time.Millisecond)
	if rs, next, err := r.Read(k, journal.Position{}, 1, 1, nil); len(rs) != 0 || next != (journal.Position{}) || err != nil {
		t.Errorf("%d records, next %v, %v", len(rs), next, err)
	}
	if _, end, _ := r.Bounds(k); end != (journal.Position{}) {
		t.Errorf("ends at %v", end)
	}
	select {
	case <-wake:
		t.Error("woken")
	default:
	}
	if st := r.Stats(); st.Queued != 1+recordCost {
		t.Errorf("%d bytes are queued", st.Queued)
	}
	close(hold)
	if err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-wake
	if rs, _, err := r.Read(k, journal.Position{}, 1, 1, nil); len(rs) != 1 || rs[0].Position != p.Position(0) || err != nil {
		t.Errorf("%d records, %v", len(rs), err)
	}
}

// TestWaitsForSealing: when sealing is slow, appends wait, memory stays bounded,
// and everything goes on once it is done.
func TestWaitsForSealing(t *testing.T) {
	r, fsys := faultyRig(t, sorted)
	hold := make(chan struct{})
	fsys.Set(func(c vfs.Call) vfs.Fault {
		if c.Op == vfs.OpCreate && strings.HasSuffix(c.Name, tempSuffix) {
			<-hold
		}
		return vfs.Fault{}
	})
	type fed struct {
		kept [2][]Record
		err  error
	}
	done := make(chan fed)
	go func() {
		kept, err := r.feed(t, 100)
		done <- fed{kept, err}
	}()
	for range 1000 {
		if st := r.Stats(); st.Waiting == maxWaiting && st.MemBytes >= (maxWaiting+1)*r.mem {
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	st := r.Stats()
	if st.Waiting != maxWaiting || st.MemBytes > (maxWaiting+2)*r.mem || st.Refused != 0 {
		t.Errorf("stats say %+v", st)
	}
	select {
	case <-done:
		t.Error("appends did not wait")
	default:
	}
	close(hold)
	f := <-done
	if f.err != nil {
		t.Fatal(f.err)
	}
	r.has(t, f.kept)
}

// TestCloseWhileFull: those who wait for sealing are refused when the store
// closes, and closing does not wait for what need not be sealed.
func TestCloseWhileFull(t *testing.T) {
	r, fsys := faultyRig(t, sorted)
	var held sync.WaitGroup
	held.Add(1)
	fsys.Set(func(c vfs.Call) vfs.Fault {
		if c.Op == vfs.OpCreate && strings.HasSuffix(c.Name, tempSuffix) {
			held.Wait()
		}
		return vfs.Fault{}
	})
	done := make(chan error)
	var kept [2][]Record
	go func() {
		var err error
		kept, err = r.feed(t, 1000)
		done <- err
	}()
	for r.Stats().MemBytes < (maxWaiting+1)*r.mem {
		time.Sleep(time.Millisecond)
	}
	time.AfterFunc(20*time.Millisecond, held.Done)
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, journal.ErrClosed) {
		t.Errorf("who waited got %v", err)
	}
	if n := r.Stats().Seals; n > 1 {
		t.Errorf("%d tables were sealed while closing", n)
	}
	fsys.Set(nil)
	r.lane.Close()
	r.meta.Close()
	r.open(t)
	r.has(t, kept)
}
