package segment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/kineweir/kineweir/datastream/journal"
)

// Keys in Meta.
const (
	stateKey  = "segment/state"
	filesKeys = "segment/files/" // and the number of the file, 16 hexadecimal digits
)

// state is the record that says what is sealed.
type state struct {
	Format int              `json:"format"` // the newest of the files that ever were
	Store  uint64           `json:"store"`  // random; in every file of the store
	Next   uint64           `json:"next"`   // number of the next file
	Sealed journal.Position `json:"sealed"`
}

// listed is the record of a sealed file.
type listed struct {
	Number      uint64           `json:"number"`
	Class       int              `json:"class"`
	Bytes       int64            `json:"bytes"`
	Records     uint64           `json:"records"`
	First       journal.Position `json:"first"`
	Last        journal.Position `json:"last"`
	LastArrived int64            `json:"last_arrived"`
	Shards      []byte           `json:"shards,omitempty"` // copy of the directory; files of before have none
	Pieces      []uint64         `json:"pieces,omitempty"` // of the lane, in which its blocks lie, by their first frames
	Held        int64            `json:"held,omitempty"`   // bytes of blocks in them
}

// catalog is the list of sealed files as Meta has it.
type catalog struct {
	meta journal.Meta

	mu       sync.Mutex
	state    state
	revision uint64  // of the state's key
	live     []*file // in the order of their numbers
}

func (c *catalog) files() []*file {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.live)
}

func (c *catalog) next() state {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// read takes the state from Meta; it is made when there is none.
func (c *catalog) read(ctx context.Context) (files []listed, revisions []uint64, err error) {
	value, revision, err := c.meta.Get(stateKey)
	switch {
	case errors.Is(err, journal.ErrAbsent):
		c.state = state{Format: sortedFormat, Store: rand.Uint64() | 1, Next: 1}
		c.revision, err = c.meta.Put(ctx, stateKey, mustJSON(c.state), 0)
		return nil, nil, err
	case err != nil:
		return nil, nil, err
	}
	if err := json.Unmarshal(value, &c.state); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", stateKey, err)
	}
	if c.state.Format < sortedFormat || c.state.Format > placedFormat {
		return nil, nil, fmt.Errorf("%s: unknown format %d", stateKey, c.state.Format)
	}
	c.revision = revision
	for it := range c.meta.List(filesKeys) {
		var l listed
		if err := json.Unmarshal(it.Value, &l); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", it.Key, err)
		}
		files, revisions = append(files, l), append(revisions, it.Revision)
	}
	return files, revisions, nil
}

// commit adds files and moves the position up to which all is sealed.
func (c *catalog) commit(ctx context.Context, made []*sealed, upTo journal.Position) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := c.state
	next.Sealed = upTo
	next.Next += uint64(len(made))
	for _, m := range made {
		next.Format = max(next.Format, int(m.file.format()))
	}
	changes := []journal.Change{{Key: stateKey, Value: mustJSON(next), Expect: c.revision}}
	for _, m := range made {
		changes = append(changes, journal.Change{Key: fileKey(m.file.id.number), Value: mustJSON(m.listed())})
	}
	revision, err := c.meta.Txn(ctx, changes...)
	if err != nil {
		return err
	}
	c.state, c.revision = next, revision
	for _, m := range made {
		m.file.revision = revision
		c.live = append(c.live, m.file)
	}
	return nil
}

// remove takes a file off the list.
func (c *catalog) remove(ctx context.Context, f *file) error {
	if err := c.meta.Delete(ctx, fileKey(f.id.number), f.revision); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live = slices.DeleteFunc(c.live, func(o *file) bool { return o == f })
	return nil
}

func fileKey(number uint64) string { return fmt.Sprintf("%s%016x", filesKeys, number) }

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // structs of numbers always encode
	}
	return b
}

// load reads the catalog and the files it lists, and sweeps away others.
func (s *Store) load(ctx context.Context) error {
	if err := s.fs.MkdirAll(s.opts.Dir); err != nil {
		return err
	}
	names, err := s.fs.List(s.opts.Dir)
	if err != nil {
		return err
	}
	s.catalog.meta = s.opts.Meta
	if _, _, err := s.opts.Meta.Get(stateKey); errors.Is(err, journal.ErrAbsent) {
		// Without the list, files look like leftovers: better not to begin.
		for _, name := range names {
			if strings.HasSuffix(name, fileSuffix) {
				return fmt.Errorf("%s holds sealed files, but the list of them is lost: %s is absent", s.opts.Dir, stateKey)
			}
		}
	}
	files, revisions, err := s.catalog.read(ctx)
	if err != nil {
		return err
	}
	if err := s.checkLane(); err != nil {
		return err
	}
	if err := s.someThere(files, names); err != nil {
		return err
	}
	if err := s.loadFiles(ctx, files, revisions); err != nil {
		return err
	}
	return s.sweep(names)
}

// checkLane wants the lane to go on from where the files end.
func (s *Store) checkLane() error {
	sealed, st := s.catalog.state.Sealed, s.lane.Stats()
	reason := ""
	switch {
	case st.First.Frame > max(sealed.Frame, 1):
		reason = fmt.Sprintf("the sealed files end at %s, but the lane begins with frame %d", sealed, st.First.Frame)
	case st.End.Less(sealed):
		reason = fmt.Sprintf("the sealed files end at %s, but the lane already at %s", sealed, st.End)
	case st.End.Frame > maxFrame/2:
		return fmt.Errorf("the lane is at frame %d: positions are used up", st.End.Frame)
	default:
		return nil
	}
	return &journal.CorruptError{File: s.opts.Dir, Frame: sealed.Frame, Reason: reason}
}

// someThere refuses a folder that has none of several files: more likely it is
// another folder, or its disk is not mounted, and readers would go on behind
// everything.
func (s *Store) someThere(files []listed, names []string) error {
	for i := range files {
		if slices.Contains(names, filepath.Base(fileName(s.opts.Dir, files[i].Number))) {
			return nil
		}
	}
	if len(files) < 2 {
		return nil
	}
	return fmt.Errorf("none of %d sealed files is there; is the disk mounted?: %w", len(files), fs.ErrNotExist)
}

// loadFiles opens the listed files, oldest first, so that each shard's extents
// come in order. What can not be read of one is said, and missing.
func (s *Store) loadFiles(ctx context.Context, files []listed, revisions []uint64) error {
	s.pieces.look()
	defer func() { s.pieces.sizes = nil }()
	for i := range files {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		f, places, err := s.openListed(&files[i])
		if err != nil {
			return err
		}
		f.revision = revisions[i]
		for j := range places {
			s.shards.get(places[j].key).found(f.extent(&places[j]))
		}
		s.catalog.live = append(s.catalog.live, f)
	}
	return nil
}

// sweep removes what a crash left: files that were not yet or no longer listed.
func (s *Store) sweep(names []string) error {
	live := make(map[string]bool, len(s.catalog.live))
	for _, f := range s.catalog.live {
		live[f.name] = true
	}
	swept, err := s.pieces.sweep()
	if err != nil {
		return err
	}
	for _, name := range names {
		base, _ := strings.CutSuffix(name, tempSuffix)
		path := s.path(name)
		if !strings.HasSuffix(base, fileSuffix) || live[path] {
			continue
		}
		if err := s.fs.Remove(path); err != nil {
			return err
		}
		swept++
	}
	if swept == 0 {
		return nil
	}
	s.log.Info("removed leftovers of sealing", "dir", s.opts.Dir, "files", swept)
	return s.fs.SyncDir(s.opts.Dir)
}
