package image

import (
	"context"
	"sync/atomic"
	"time"
)

// pool bounds how many processes run and how many callers wait for one.
type pool struct {
	slots   chan struct{}
	queue   int64
	waiting atomic.Int64
}

func newPool(workers, queue int) *pool {
	return &pool{slots: make(chan struct{}, workers), queue: int64(queue)}
}

// acquire waits for a slot; the error is a *BusyError or that of ctx.
func (p *pool) acquire(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	if p.waiting.Add(1) > p.queue {
		p.waiting.Add(-1)
		return &BusyError{Queue: int(p.queue), After: 2 * time.Second}
	}
	defer p.waiting.Add(-1)
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pool) release() { <-p.slots }
