package depacketize

import (
	"log/slog"
	"sync"
	"time"
)

// Warnings log what goes wrong again and again, with how often it happened since
// the line before: each kind at once, and when it goes on after 1 s, 2 s, 4 s and
// so on, up to 5 minutes. A kind that has not been seen for as long as that begins
// anew. Kinds are constants of the code, so that there are few.
type Warnings struct {
	log *slog.Logger
	now func() time.Time

	mu    sync.Mutex // guards the field below
	kinds map[string]*warning
}

type warning struct {
	logged time.Time
	pause  time.Duration // until the next line
	seen   time.Time     // the newest
	count  uint64        // not yet in the log
	last   error
}

const (
	minWarningPause = time.Second
	maxWarningPause = 5 * time.Minute
)

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
	now := w.now()
	if now.Sub(k.seen) >= maxWarningPause {
		k.pause = 0
	}
	k.seen = now
	if now.Sub(k.logged) >= k.pause {
		k.logged = now
		k.pause = min(max(2*k.pause, minWarningPause), maxWarningPause)
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
