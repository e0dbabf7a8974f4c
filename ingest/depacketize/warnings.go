package depacketize

import (
	"log/slog"
	"sync"
	"time"
)

// Warnings log what goes wrong again and again: each kind at most once a second,
// with how often it happened since the line before. Kinds are constants of the
// code, so that there are few.
type Warnings struct {
	log *slog.Logger
	now func() time.Time

	mu    sync.Mutex // guards the field below
	kinds map[string]*warning
}

type warning struct {
	logged time.Time
	count  uint64 // not yet in the log
	last   error
}

const warningInterval = time.Second

// NewWarnings returns Warnings that have nothing to say yet.
func NewWarnings(log *slog.Logger, now func() time.Time) *Warnings {
	return &Warnings{log: log, now: now, kinds: map[string]*warning{}}
}

// Add counts n warnings of a kind; err is an example and may be nil.
func (w *Warnings) Add(kind string, n uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.kinds[kind]
	if k == nil {
		k = &warning{}
		w.kinds[kind] = k
	}
	k.count += n
	k.last = err
	if now := w.now(); now.Sub(k.logged) >= warningInterval {
		k.logged = now
		w.line(kind, k)
	}
}

// Flush logs what has been counted and not logged.
func (w *Warnings) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for kind, k := range w.kinds {
		if k.count > 0 {
			w.line(kind, k)
		}
	}
}

func (w *Warnings) line(kind string, k *warning) {
	args := []any{"count", k.count}
	if k.last != nil {
		args = append(args, "error", k.last)
	}
	w.log.Warn(kind, args...)
	k.count, k.last = 0, nil
}
