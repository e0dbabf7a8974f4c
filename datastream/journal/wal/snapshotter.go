package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

const (
	// keptSnapshots is how many snapshots stay: with the lane trimmed to the
	// oldest of them, a damaged newest costs nothing but time.
	keptSnapshots = 2

	// damagedSuffix is what a damaged snapshot is renamed with, for a person to
	// look at.
	damagedSuffix = ".damaged"
)

// snapshotter holds what taking snapshots needs to remember.
type snapshotter struct {
	due     chan struct{} // one waiting request is enough
	pending int64         // bytes of changes since the last request; the applier's
	size    atomic.Int64  // of the newest snapshot, bytes
	kept    []uint64      // frames of the snapshots that stay, oldest first
}

// ask requests a snapshot once as much has changed as it would hold, and at
// least min bytes: that bounds both what is written twice and what an opening
// has to replay.
func (n *snapshotter) ask(min int64) {
	if n.pending < max(min, n.size.Load()) {
		return
	}
	select {
	case n.due <- struct{}{}:
	default:
	}
	n.pending = 0
}

// foundSnapshot is where a store begins.
type foundSnapshot struct {
	state   *state
	floor   uint64   // this frame of the lane was durable
	damaged []string // newer snapshots that could not be read
	damage  error    // what was wrong with them
}

// findSnapshot loads the newest snapshot that can be read, or an empty state.
func (s *Store) findSnapshot() (found foundSnapshot, err error) {
	names, err := s.opts.FS.List(s.dir)
	if err != nil {
		return found, err
	}
	frames, unfinished := snapshots(names)
	for _, name := range unfinished {
		if err := s.opts.FS.Remove(filepath.Join(s.dir, name)); err != nil {
			return found, err
		}
	}
	for ; len(frames) > 0; frames = frames[:len(frames)-1] {
		frame := frames[len(frames)-1]
		found.floor = max(found.floor, frame)
		name := snapName(s.dir, frame)
		st, size, err := readSnapshot(s.opts.FS, name, s.ranks)
		if err == nil {
			found.state = st
			s.snap.kept = frames
			s.snap.size.Store(size)
			return found, nil
		}
		if corrupt := (*journal.CorruptError)(nil); !errors.As(err, &corrupt) {
			return found, err
		}
		found.damaged = append(found.damaged, name)
		found.damage = errors.Join(found.damage, err)
	}
	found.state = &state{}
	return found, nil
}

// setAside renames damaged snapshots that the store got by without.
func (s *Store) setAside(found *foundSnapshot) error {
	for _, name := range found.damaged {
		s.log.Error("snapshot is damaged; the one before it and the lane made up for it", "file", name, "error", found.damage)
		if err := s.opts.FS.Rename(name, name+damagedSuffix); err != nil {
			return err
		}
	}
	return nil
}

// takeSnapshots takes one whenever it is due. A failure is not fatal: the lane
// still holds everything, and the next one may succeed.
func (s *Store) takeSnapshots() {
	for range s.snap.due {
		if err := s.takeSnapshot(); err != nil && !errors.Is(err, journal.ErrClosed) {
			s.log.Warn("snapshot failed; the journal keeps what it would have held", "dir", s.dir, "error", err)
		}
	}
}

func (s *Store) takeSnapshot() error {
	st := s.state.Load()
	size, err := writeSnapshot(s.opts.FS, s.dir, st)
	if vfs.NoRoom(err) && s.lane.giveBack() {
		size, err = writeSnapshot(s.opts.FS, s.dir, st)
	}
	if err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	n := &s.snap
	n.size.Store(size)
	if k := len(n.kept); k == 0 || n.kept[k-1] != st.next.Frame {
		n.kept = append(n.kept, st.next.Frame)
	}
	for len(n.kept) > keptSnapshots {
		if err := s.opts.FS.Remove(snapName(s.dir, n.kept[0])); err != nil {
			return fmt.Errorf("remove old snapshot: %w", err)
		}
		n.kept = n.kept[1:]
	}
	if len(n.kept) < keptSnapshots {
		return nil
	}
	return s.lane.Trim(journal.Position{Frame: n.kept[0]})
}
