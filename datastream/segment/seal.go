package segment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// classes are the retention classes: streams that are kept up to a day, a week,
// thirty days, longer. One file holds one class, so that a stream of a year does
// not keep the records of others.
const classes = 4

func classOf(keep time.Duration) int {
	const day = 24 * time.Hour
	for class, limit := range [...]time.Duration{day, 7 * day, 30 * day} {
		if keep <= limit {
			return class
		}
	}
	return classes - 1
}

// part is what a table holds of a shard.
type part struct {
	shard     *shard
	records   []Record
	stretches []stretch
}

// sealed is a file that was written and may not yet be listed.
type sealed struct {
	file   *file
	class  int
	parts  []part
	places []place // of the parts
}

func (m *sealed) listed() listed {
	l := listed{
		Number: m.file.id.number, Class: m.class, Bytes: m.file.size, Records: m.file.records,
		Pieces: m.file.uses, Held: m.file.held,
		First: journal.Position{Frame: math.MaxUint64}, Shards: encodePlaces(m.places),
	}
	for i := range m.places {
		p := &m.places[i]
		if first := unpack(p.first); first.Less(l.First) {
			l.First = first
		}
		if last := unpack(p.last); l.Last.Less(last) {
			l.Last = last
		}
		l.LastArrived = max(l.LastArrived, p.lastArrived)
	}
	return l
}

// seal is the sealer: it turns full tables into files, oldest first, until the
// store closes or fails.
func (s *Store) seal() {
	for {
		t := s.nextTable()
		if t == nil {
			return
		}
		err := s.sealTable(t)
		switch {
		case err == nil:
			s.forgetTable()
		case s.life.Err() != nil:
			return
		case noRoom(err):
			s.starve(err)
		default:
			s.fail(fmt.Errorf("seal records: %w", err))
			return
		}
	}
}

// noRoom reports whether an error leaves everything as it was, until there is
// room on the device.
func noRoom(err error) bool { return vfs.NoRoom(err) || errors.Is(err, journal.ErrFull) }

// nextTable waits for a full table.
func (s *Store) nextTable() *table {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) == 0 && !s.closing && s.failure == nil {
		s.full.Wait()
	}
	if s.closing || s.failure != nil {
		return nil
	}
	return s.waiting[0]
}

// forgetTable lets the oldest table go, which is sealed.
func (s *Store) forgetTable() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noRoom {
		s.noRoom = false
		s.log.Info("sealing goes on", "dir", s.opts.Dir)
	}
	s.waiting = slices.Delete(s.waiting, 0, 1)
	s.work.Signal() // the publisher may have a full table for the free place
	s.room.Broadcast()
}

// starve waits a little for room.
func (s *Store) starve(err error) {
	s.mu.Lock()
	if !s.noRoom {
		s.noRoom = true
		s.log.Warn("no room to seal records; it is tried again", "dir", s.opts.Dir, "error", err)
	}
	s.room.Broadcast()
	s.mu.Unlock()
	timer := time.NewTimer(retryRoom)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.kick:
	case <-s.life.Done():
	case <-s.fatal:
	}
}

// sealTable writes a table's files, lists them, puts them in the table's place
// and trims the lane. The order is what makes a crash at any point harmless:
// files that are not listed are swept away, records that are listed are not
// replayed, and pieces that a listed file refers to are kept before the lane is
// trimmed.
func (s *Store) sealTable(t *table) error {
	made, err := s.writeTable(t)
	if err == nil && len(made) > 0 {
		err = s.fs.SyncDir(s.opts.Dir)
	}
	if err == nil {
		err = s.catalog.commit(context.WithoutCancel(s.life), made, t.end)
		if err != nil && !noRoom(err) {
			return err // listed or not, nobody knows: the files stay
		}
	}
	if err != nil {
		return errors.Join(err, s.discard(made))
	}
	s.install(t, made)
	s.count.seals.Add(1)
	if len(made) > 0 && made[0].file.inPlace() {
		s.count.inPlace.Add(1)
	}
	if err := s.lane.Trim(t.end); err != nil {
		if lane := s.lane.Stats().Err; lane != nil {
			return lane
		}
		s.log.Warn("the lane could not be trimmed; it is tried again with the next table", "error", err)
	}
	return nil
}

// install moves the readers of a table's records to the files.
func (s *Store) install(t *table, made []*sealed) {
	extents := make(map[*shard]extent, len(t.shards))
	for _, m := range made {
		for i := range m.parts {
			extents[m.parts[i].shard] = m.file.extent(&m.places[i])
		}
		s.count.sealed.Add(uint64(m.file.size))
	}
	for _, sh := range t.shards {
		sh.install(t, extents[sh])
	}
}

// sortTable puts the parts of a table that are worth keeping into their
// classes, in order.
func (s *Store) sortTable(t *table) [classes][]part {
	var sorted [classes][]part
	now := time.Now()
	for _, sh := range t.shards {
		keep, ok := s.opts.Keep(sh.key.Stream)
		if !ok {
			continue
		}
		sh.mu.Lock()
		records, stretches := sh.runs[0].records, sh.runs[0].stretches
		sh.mu.Unlock()
		if records[len(records)-1].Arrived < now.Add(-keep).UnixMilli() {
			continue
		}
		class := classOf(keep)
		sorted[class] = append(sorted[class], part{sh, records, stretches})
	}
	for _, parts := range sorted {
		slices.SortFunc(parts, func(a, b part) int { return a.shard.key.compare(b.shard.key) })
	}
	return sorted
}

// writeTable writes the files of a table under their final names: the index of
// what the lane has, or else all records. What it returns beside an error is to be
// discarded.
func (s *Store) writeTable(t *table) ([]*sealed, error) {
	sorted := s.sortTable(t)
	m, w, err := s.placed(t, &sorted)
	switch {
	case m != nil && err == nil:
		err = s.hasRoom(int64(len(w.buf) + len(w.index) + len(w.places)*dirSize + footerSize))
		if err == nil {
			err = s.writeFile(m, func(out vfs.File) error {
				w.out = out
				return m.finish(w)
			})
		}
		return []*sealed{m}, err
	case m != nil:
		return []*sealed{m}, err
	}
	if err := s.hasRoom(t.bytes); err != nil {
		return nil, err
	}
	var made []*sealed
	next := s.catalog.next()
	for class, parts := range sorted {
		if len(parts) == 0 {
			continue
		}
		m := &sealed{class: class, parts: parts, file: s.newFile(next.Next + uint64(len(made)))}
		made = append(made, m)
		if err := s.writeFile(m, func(out vfs.File) error { return s.writeParts(out, m) }); err != nil {
			return made, err
		}
	}
	return made, nil
}

// hasRoom looks whether there is room for so many bytes, rather than fill the
// device to find out.
func (s *Store) hasRoom(size int64) error {
	free, err := s.fs.Free(s.opts.Dir)
	if err == nil && free < uint64(size) {
		err = fmt.Errorf("%w: %d bytes free in %s, %d are to be sealed", journal.ErrFull, free, s.opts.Dir, size)
	}
	return err
}

// writeFile writes one file and gives it its name.
func (s *Store) writeFile(m *sealed, write func(out vfs.File) error) error {
	temp := m.file.name + tempSuffix
	out, err := vfs.CreateDirect(s.fs, temp)
	if err != nil {
		return err
	}
	err = write(out)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return s.fs.Rename(temp, m.file.name)
}

func (s *Store) writeParts(out vfs.File, m *sealed) error {
	w := newWriter(out, m.file.id, sortedFormat, m.class)
	for _, p := range m.parts {
		if err := context.Cause(s.life); err != nil {
			return err
		}
		if err := w.add(p.shard.key, p.records); err != nil {
			return err
		}
	}
	return m.finish(w)
}

// finish ends the file that a writer has all blocks of.
func (m *sealed) finish(w *writer) (err error) {
	if m.file.footer, m.file.size, err = w.finish(); err != nil {
		return err
	}
	m.places = w.places
	m.file.note(w.places)
	return nil
}

// discard removes files that will not be listed, complete or not.
func (s *Store) discard(made []*sealed) error {
	var errs []error
	for _, m := range made {
		for _, name := range []string{m.file.name, m.file.name + tempSuffix} {
			if err := s.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		if m.file.inPlace() {
			errs = append(errs, s.pieces.letGo(m.file.uses))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) path(name string) string { return filepath.Join(s.opts.Dir, name) }
