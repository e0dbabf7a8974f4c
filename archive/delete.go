package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/fragments"
)

// DeleteStream deletes a stream with all that is kept of it. A lease on it is
// lost and its name is free at once; the objects go in the background, also
// after a restart.
func (a *Archive) DeleteStream(ctx context.Context, name fragments.StreamName) error {
	a.catalog.Lock()
	defer a.catalog.Unlock()
	s, err := a.stream(name)
	if err != nil {
		return err
	}
	if !s.takeSlot(ctx.Done()) {
		return s.wrap(fragments.Number{}, context.Cause(ctx))
	}
	defer s.giveSlot()
	gone := goneRecord{Version: recordVersion, Name: name, Created: s.created.UnixMilli()}
	if err := s.bury(ctx, gone); err != nil {
		return err
	}
	a.mu.Lock()
	delete(a.streams, name)
	delete(a.dirs, s.dir)
	a.gone[s.dir] = gone
	a.mu.Unlock()
	a.spooled.Add(-s.close())
	a.wake()
	return nil
}

// bury replaces the record of the stream by the mark that it is gone.
func (s *stream) bury(ctx context.Context, gone goneRecord) error {
	value, err := json.Marshal(gone)
	if err != nil {
		return fmt.Errorf("catalog record: %w", err)
	}
	s.recordMu.Lock()
	defer s.recordMu.Unlock()
	if err := s.reload(); err != nil {
		return s.wrap(fragments.Number{}, err)
	}
	_, err = s.a.meta.Txn(ctx,
		journal.Change{Key: recordKey(s.name), Expect: s.record.revision, Delete: true},
		journal.Change{Key: gonePrefix + s.dir, Value: value})
	if err != nil {
		return fmt.Errorf("catalog of stream %s: %w", s.name, err)
	}
	return nil
}

// close ends everything about a deleted stream and returns how many bytes it
// had in the spool. The caller holds the slot.
func (s *stream) close() (spooled int64) {
	if sp := s.writing.current; sp != nil {
		s.writing.current = nil
		if err := sp.file.Close(); err != nil {
			s.a.log.Warn("close spool file", "path", sp.o.path, "err", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	spooled = s.spooled()
	s.deleted, s.epoch, s.reserved = true, 0, nil
	s.hours, s.closed, s.first, s.last = nil, nil, nil, nil
	s.objects = map[fragments.Number]*object{}
	s.announce()
	return spooled
}

// sweepGone deletes what deleted streams have left behind.
func (a *Archive) sweepGone(ctx context.Context) {
	a.mu.RLock()
	gone := maps.Clone(a.gone)
	a.mu.RUnlock()
	for dir, g := range gone {
		if a.uploads.busyDir(dir) {
			continue
		}
		if err := a.sweepDir(ctx, dir, g); err != nil {
			a.retentionFailed(ctx, g.Name, err)
			continue
		}
		a.mu.Lock()
		delete(a.gone, dir)
		a.mu.Unlock()
	}
}

// sweepDir deletes a stream's spool files, then marks it deleted in the bucket,
// then deletes its objects, last the mark.
func (a *Archive) sweepDir(ctx context.Context, dir string, g goneRecord) error {
	if err := a.sweepSpool(dir); err != nil {
		return err
	}
	file := settingsFile{Version: settingsVersion, Name: g.Name, Created: timeOfMillis(g.Created), Deleted: true}
	if err := putSettings(ctx, a.bucket, dir, file); err != nil {
		return err
	}
	mark := settingsKey(dir)
	for o, err := range a.bucket.List(ctx, keyRoot+dir+"/", "") {
		if err != nil {
			return err
		}
		if o.Key == mark {
			continue
		}
		if err := a.retire(ctx, o.Key); err != nil {
			return err
		}
	}
	if err := a.bucket.Delete(ctx, mark); err != nil {
		return err
	}
	var keys []string
	for _, prefix := range []string{trackPrefix, hourPrefix} {
		for item := range a.meta.List(prefix + dir + "/") {
			keys = append(keys, item.Key)
		}
	}
	for _, key := range append(keys, gonePrefix+dir) {
		if err := a.dropKey(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// sweepSpool deletes a stream's spool folder, but for damaged files that were
// kept aside.
func (a *Archive) sweepSpool(dir string) error {
	path := filepath.Join(a.spoolDir(), dir)
	names, err := a.fs.List(path)
	if isAbsent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, nerr := parseObjectName(name); nerr == nil {
			err = errors.Join(err, a.fs.Remove(filepath.Join(path, name)))
		}
	}
	kept := slices.DeleteFunc(names, func(n string) bool { _, err := parseObjectName(n); return err == nil })
	if err == nil && len(kept) == 0 {
		err = a.fs.Remove(path)
	}
	return err
}
