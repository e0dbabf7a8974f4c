package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/fragments"
)

// replay makes the objects of the open hours from the journal. Frames of closed
// hours and of streams that the catalog does not know are passed over.
func (a *Archive) replay() error {
	var p prediction
	for e, err := range a.journal.Read(journal.Position{}) {
		if err != nil {
			return fmt.Errorf("index: %w", err)
		}
		s := a.dirs[e.Key]
		if s == nil {
			continue
		}
		f, err := decodeFrame(e)
		if err == nil {
			err = s.replay(f, e.Position, &p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) replay(f frame, at journal.Position, p *prediction) error {
	switch f.kind {
	case frameOpened, frameRestated:
		if s.isClosed(f.id.hour) || f.id.dir != s.dir {
			return nil
		}
		o := s.objects[f.id.first]
		if o == nil || len(o.entries) == 0 && f.kind == frameOpened {
			o = &object{id: f.id, state: sealed, at: at, path: s.spoolPath(f.id.first)}
			s.objects[f.id.first] = o
		}
		if f.kind == frameRestated {
			o.entries = f.entries
		}
		s.record.Epoch = max(s.record.Epoch, f.id.first.Epoch)
	case frameFragment:
		o := s.objects[f.first]
		if o == nil {
			return nil
		}
		e, err := decodeFragmentFrame(o.id, p, f.rest)
		if err != nil {
			return fmt.Errorf("index frame %s of %s: %w", at, s.dir, err)
		}
		if o.entry(e.Number) == nil {
			o.entries = append(o.entries, e)
		}
	case frameStored:
		if o := s.objects[f.first]; o != nil {
			o.state = stored
		}
	}
	return nil
}

func (s *stream) isClosed(h hour) bool {
	n := len(s.closed)
	return n > 0 && h <= s.closed[n-1].hour
}

func (o *object) entry(n fragments.Number) *Entry {
	for _, e := range o.entries {
		if e.Number == n {
			return e
		}
	}
	return nil
}

func (s *stream) spoolPath(first fragments.Number) string {
	return filepath.Join(s.a.spoolDir(), s.dir, objectName(first))
}

// recoveries is how many streams are recovered at once: it is reading and
// checksums.
const recoveries = 4

// recoverSpool brings index and spool files together: every good fragment that
// lacks its frame gets one, for it may have been acknowledged; what is torn off
// at the end was not, and goes; what is damaged otherwise is reported and kept
// aside. Then all is made visible and what is in the spool is to be uploaded.
func (a *Archive) recoverSpool(ctx context.Context) error {
	files, err := a.spoolFiles()
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	slots := make(chan struct{}, recoveries)
	errs := make(chan error, len(a.dirs))
	for dir, s := range a.dirs {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			errs <- s.recover(files[dir])
		})
	}
	group.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	return errors.Join(err, ctx.Err())
}

// damagedExt marks spool files that were set aside.
const damagedExt = ".damaged"

// spoolFiles lists the spool: the base names of the segments by folder. What
// belongs to no stream of the catalog is reported and left alone.
func (a *Archive) spoolFiles() (map[string][]string, error) {
	dirs, err := a.fs.List(a.spoolDir())
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	files := map[string][]string{}
	for _, dir := range dirs {
		names, err := a.fs.List(filepath.Join(a.spoolDir(), dir))
		if err != nil {
			return nil, fmt.Errorf("spool: %w", err)
		}
		if a.dirs[dir] == nil {
			if _, gone := a.gone[dir]; !gone && len(names) > 0 {
				a.log.Warn("spool folder of a stream that is not in the catalog is left alone", "folder", dir, "files", len(names))
			}
			continue
		}
		for _, name := range names {
			if _, err := parseObjectName(name); err == nil {
				files[dir] = append(files[dir], name)
			} else if !strings.HasSuffix(name, damagedExt) {
				a.log.Warn("file in the spool is none of ours and is left alone", "folder", dir, "file", name)
			}
		}
	}
	return files, nil
}

// recover brings one stream's objects and spool files together. Nothing else
// uses the stream yet.
func (s *stream) recover(names []string) error {
	found := map[fragments.Number]bool{}
	for _, name := range names {
		first, _ := parseObjectName(name)
		s.record.Epoch = max(s.record.Epoch, first.Epoch)
		found[first] = true
		sc, restate, err := s.recoverFile(first)
		if err != nil {
			s.a.log.Error("spool file cannot be recovered now and is left alone", "stream", s.name, "path", s.spoolPath(first), "err", err)
			continue
		}
		if sc == nil {
			continue
		}
		if err := s.enlist(sc, restate); err != nil {
			return s.wrap(first, err)
		}
	}
	for first, o := range s.objects {
		if o.state != stored && !found[first] && len(o.entries) == 0 {
			delete(s.objects, first)
		}
	}
	s.show()
	return nil
}

// show makes the entries of all objects visible and queues what is not in the
// bucket.
func (s *stream) show() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.objects {
		h := s.openHourOf(o.id.hour)
		h.objects++
		h.entries = append(h.entries, o.entries...)
		o.opened = s.a.opts.Now()
		if o.size == 0 && len(o.entries) > 0 {
			last := o.entries[len(o.entries)-1]
			o.size = last.Offset + last.Size
		}
		if o.state != stored {
			s.a.spooled.Add(o.size)
			s.a.uploads.add(s, o)
		}
	}
	for _, h := range s.hours {
		all := h.entries
		sortEntries(all)
		h.entries = nil
		for _, e := range all {
			s.reveal(e, h.hour)
		}
	}
}

// recoverFile looks at one spool file. It returns what is good in it, if that
// is to be kept, and whether that is less than the index says.
func (s *stream) recoverFile(first fragments.Number) (sc *scan, restate bool, err error) {
	o, path := s.objects[first], s.spoolPath(first)
	if o != nil && o.state == stored {
		return nil, false, s.discard(path)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	sc, err = scanSegment(f, info.Size())
	if err == nil && (sc.id.first != first || sc.id.dir != s.dir) {
		err = &DamagedError{Object: path, Err: fmt.Errorf("its header names %s of %s", sc.id.first, sc.id.dir)}
	}
	var damage *DamagedError
	switch {
	case errors.As(err, &damage) && (o == nil || len(o.entries) == 0):
		// A crash came before the first commit was done.
		return nil, false, s.discard(path)
	case errors.As(err, &damage):
		return nil, false, s.lose(o, path, damage)
	case err != nil:
		return nil, false, err
	case s.isClosed(sc.id.hour):
		// Its hour could be closed only once the bucket had it.
		return nil, false, s.discard(path)
	}
	lost, err := s.mend(f, path, sc, o, info.Size())
	if err != nil {
		return nil, false, err
	}
	if len(sc.entries) == 0 && lost == 0 {
		delete(s.objects, first)
		return nil, false, s.discard(path)
	}
	if len(sc.entries) == 0 {
		return nil, false, s.lose(o, path, &DamagedError{Object: path, Offset: sc.end, Err: sc.fault})
	}
	return sc, lost > 0, nil
}

// discard removes a spool file that nobody needs.
func (s *stream) discard(path string) error {
	if err := s.a.fs.Remove(path); err != nil && !isAbsent(err) {
		return err
	}
	return nil
}

// enlist gives every fragment of a spool file its frame in the index and takes
// the object over.
func (s *stream) enlist(sc *scan, restate bool) error {
	var last journal.Future
	appended := false
	add := func(kind journal.Kind, payload []byte) journal.Future {
		last, appended = s.a.journal.Append(kind, s.dir, payload), true
		return last
	}
	o := s.objects[sc.id.first]
	if o == nil {
		at, err := add(frameOpened, appendOpened(nil, s.name, sc.id)).Wait(context.Background())
		if err != nil {
			return fmt.Errorf("index: %w", err)
		}
		o = &object{at: at}
		s.objects[sc.id.first] = o
	}
	if restate {
		add(frameRestated, appendRestated(nil, s.name, sc.id, sc.entries))
	}
	var p prediction
	for _, e := range sc.entries {
		if !restate && o.entry(e.Number) == nil {
			add(frameFragment, appendFragmentFrame(nil, sc.id, &p, e))
		}
	}
	if appended {
		if _, err := last.Wait(context.Background()); err != nil {
			return fmt.Errorf("index: %w", err)
		}
	}
	o.id, o.entries, o.size, o.path, o.state = sc.id, sc.entries, sc.end, s.spoolPath(sc.id.first), sealed
	for _, t := range sc.id.tracks {
		if err := s.learnTrack(context.Background(), t); err != nil {
			return err
		}
	}
	return nil
}
