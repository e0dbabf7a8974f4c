package journal

import "context"

// Future is the outcome, still to come, of one Append. It is a small value, as
// all entries of a frame share one Commit; the zero Future never resolves.
type Future struct {
	commit *Commit
	index  uint16
}

// Done is closed when the outcome is known.
func (f Future) Done() <-chan struct{} {
	if f.commit == nil {
		return nil
	}
	return f.commit.done
}

// Wait returns where the entry is durable, or why it is not. When the context
// ends first it returns the context's error, and the entry may still become
// durable: its outcome is then unknown to the caller.
func (f Future) Wait(ctx context.Context) (Position, error) {
	select {
	case <-f.Done():
		return f.Outcome()
	default:
	}
	select {
	case <-f.Done():
		return f.Outcome()
	case <-ctx.Done():
		return Position{}, context.Cause(ctx)
	}
}

// Outcome is what Wait returns, for one who has seen Done closed.
func (f Future) Outcome() (Position, error) {
	if f.commit.err != nil {
		return Position{}, f.commit.err
	}
	return Position{Frame: f.commit.frame, Index: f.index}, nil
}

// Together reports whether both are entries of one frame: they resolve together.
func (f Future) Together(o Future) bool { return f.commit == o.commit }

// Failed is a future that has already resolved with err.
func Failed(err error) Future {
	c := NewCommit()
	c.Resolve(0, err)
	return c.Future(0)
}

// Commit is the shared outcome of the entries of one frame. It is for those who
// implement Journal: one channel per frame wakes everyone who waits for it.
type Commit struct {
	done  chan struct{}
	frame uint64
	err   error
}

// NewCommit returns a Commit that is not resolved.
func NewCommit() *Commit { return &Commit{done: make(chan struct{})} }

// Future is the outcome of the entry with this index in the frame.
func (c *Commit) Future(index uint16) Future { return Future{commit: c, index: index} }

// Resolve settles the outcome of all the frame's entries: durable in the
// numbered frame when err is nil. It is called exactly once.
func (c *Commit) Resolve(frame uint64, err error) {
	c.frame, c.err = frame, err
	close(c.done)
}
