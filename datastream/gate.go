package datastream

import "sync/atomic"

// gate counts the puts that are under way and tells whoever shuts it when the
// last of them has gone: a put that has entered is durable, or failed, before
// its shards are closed.
type gate struct {
	n       atomic.Int64 // puts inside; less shutBias once shut
	shut    atomic.Bool
	drained chan struct{}
}

const shutBias = 1 << 40

func newGate() *gate { return &gate{drained: make(chan struct{})} }

// enter reports whether the gate is open; then leave must follow.
func (g *gate) enter() bool {
	if g.n.Add(1) > 0 {
		return true
	}
	g.leave()
	return false
}

func (g *gate) leave() {
	if g.n.Add(-1) == -shutBias {
		g.empty()
	}
}

// close lets nobody in any more and returns when everyone has left.
func (g *gate) close() {
	if g.n.Add(-shutBias) == -shutBias {
		g.empty()
	}
	<-g.drained
}

func (g *gate) empty() {
	if g.shut.CompareAndSwap(false, true) {
		close(g.drained)
	}
}
