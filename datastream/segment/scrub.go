package segment

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"time"
)

// errDropped ends the verification of a file that was dropped meanwhile.
var errDropped = errors.New("dropped")

// Scrub reads all sealed files through and verifies every byte of them, as fast
// as the device gives them. Damage is logged, counted, and returned joined, a
// *journal.CorruptError per file; the other files are verified all the same.
func (s *Store) Scrub(ctx context.Context) error {
	var damage []error
	for _, f := range s.catalog.files() {
		if err := s.verify(ctx, f, 0); err != nil {
			damage = append(damage, err)
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if s.closed.Load() {
			break
		}
	}
	return errors.Join(damage...)
}

// verify verifies a file at a rate in bytes per second; 0 for as fast as it goes.
func (s *Store) verify(ctx context.Context, f *file, rate float64) error {
	err := f.verify(ctx, s.fs, func(ctx context.Context, n int) error {
		s.count.scrubbed.Add(uint64(n))
		if f.dropped.Load() {
			return errDropped // so that its room is not held
		}
		if rate > 0 {
			return s.rest(ctx, time.Duration(float64(n)/rate*float64(time.Second)))
		}
		return context.Cause(ctx)
	})
	if f.dropped.Load() {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = f.damage(0, errMissing)
	}
	return s.met(f, err)
}

func (s *Store) rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// patrol verifies one file after the other for as long as the store is open, so
// slowly that all of them take Options.ScrubEvery. It begins anywhere, so that
// processes of short lives come by every file too.
func (s *Store) patrol() {
	if s.rest(s.life, dropEvery) != nil {
		return
	}
	at := uint64(0)
	if files := s.catalog.files(); len(files) > 0 {
		at = files[rand.IntN(len(files))].id.number
	}
	for {
		if !s.patrolOne(&at) && s.rest(s.life, dropEvery) != nil {
			return
		}
		if s.life.Err() != nil {
			return
		}
	}
}

// patrolOne verifies the file after number at, and moves at there. It reports
// whether there was one and all is well with it.
func (s *Store) patrolOne(at *uint64) bool {
	files := s.catalog.files()
	if len(files) == 0 {
		return false
	}
	total := int64(0)
	for _, f := range files {
		total += f.size + f.held
	}
	f := after(files, *at)
	*at = f.id.number
	rate := min(float64(s.opts.ScrubRate), float64(total)/s.opts.ScrubEvery.Seconds())
	return s.verify(s.life, f, rate) == nil
}

// after is the file that comes after a number, or the first.
func after(files []*file, number uint64) *file {
	for _, f := range files {
		if f.id.number > number {
			return f
		}
	}
	return files[0]
}
