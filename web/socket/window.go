package socket

import (
	"context"
	"strconv"
	"sync"
	"time"
)

// window bounds what is on its way to a client: bytes that no pong has answered
// yet, and records that the client has given credit for. A ping behind each
// message carries the number of bytes sent until then, and so does its pong.
type window struct {
	size     int64
	patience time.Duration

	mu      sync.Mutex // guards the fields below
	sent    int64
	acked   int64
	credit  int64 // -1: no limit
	changed chan struct{}
}

func newWindow(size int, patience time.Duration, credit int64) *window {
	return &window{size: int64(size), patience: patience, credit: credit, changed: make(chan struct{})}
}

// sending counts bytes in, and returns what the ping behind them carries.
func (w *window) sending(n int) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent += int64(n)
	return strconv.AppendInt(nil, w.sent, 10)
}

// pong takes the content of a pong. What was never sent counts for nothing.
func (w *window) pong(content string) {
	n, err := strconv.ParseInt(content, 10, 64)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > w.acked && n <= w.sent {
		w.acked = n
		w.wake()
	}
}

// give adds credit; false when the connection has no limit.
func (w *window) give(n int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.credit < 0 {
		return false
	}
	w.credit = min(w.credit+n, maxCredit)
	w.wake()
	return true
}

// spend takes the credit of records sent.
func (w *window) spend(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.credit > 0 {
		w.credit -= min(w.credit, int64(n))
	}
}

// wake is called with mu held.
func (w *window) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// wait returns, once there is room, how many records may be sent. A client
// without credit is waited for, one that takes nothing is not: errSlow.
func (w *window) wait(ctx context.Context) (records int, err error) {
	patience := time.NewTimer(w.patience)
	defer patience.Stop()
	acked := int64(-1)
	for {
		w.mu.Lock()
		flying, credit, changed := w.sent-w.acked, w.credit, w.changed
		if w.acked != acked {
			acked = w.acked
			patience.Reset(w.patience)
		}
		w.mu.Unlock()
		full := flying >= w.size
		if !full && credit != 0 {
			if credit < 0 || credit > batchRecords {
				credit = batchRecords
			}
			return int(credit), nil
		}
		late := patience.C
		if !full {
			late = nil
		}
		select {
		case <-changed:
		case <-late:
			return 0, errSlow
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}
