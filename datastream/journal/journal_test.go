package journal

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
)

func TestPositionOrder(t *testing.T) {
	sorted := []Position{
		{}, {0, 1}, {0, math.MaxUint16}, {1, 0}, {1, 1}, {2, 0}, {math.MaxUint64, 0}, {math.MaxUint64, math.MaxUint16},
	}
	if !slices.IsSortedFunc(sorted, Position.Compare) {
		t.Error("not in order")
	}
	for i, p := range sorted {
		for j, q := range sorted {
			if p.Less(q) != (i < j) {
				t.Errorf("%v less than %v: %v", p, q, p.Less(q))
			}
		}
	}
	for _, test := range []struct{ p, next Position }{
		{Position{}, Position{0, 1}},
		{Position{7, 3}, Position{7, 4}},
		{Position{7, math.MaxUint16}, Position{8, 0}},
	} {
		if n := test.p.Next(); n != test.next {
			t.Errorf("after %v comes %v, want %v", test.p, n, test.next)
		}
	}
	if s := (Position{12, 3}).String(); s != "12.3" {
		t.Errorf("written as %s", s)
	}
}

func TestFuture(t *testing.T) {
	c := NewCommit()
	a, b := c.Future(0), c.Future(65534)
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := a.Wait(ended); err == nil || err.Error() != "enough" {
		t.Errorf("before it resolves: %v", err)
	}
	c.Resolve(9, nil)
	for _, f := range []Future{a, b} {
		<-f.Done()
		if p, err := f.Wait(ended); p.Frame != 9 || err != nil { // known outcomes beat an ended context
			t.Errorf("%v, %v", p, err)
		}
	}
	if p, _ := b.Outcome(); p.Index != 65534 {
		t.Errorf("index %d", p.Index)
	}
	if _, err := Failed(ErrFull).Wait(t.Context()); err != ErrFull {
		t.Errorf("failed with %v", err)
	}
	if _, err := (Future{}).Wait(ended); err == nil {
		t.Error("a future of nothing resolved")
	}
}

func TestCorruptError(t *testing.T) {
	err := error(&CorruptError{File: "d/1.wal", Offset: 64, Frame: 3, Reason: "no frame begins here"})
	if got := err.Error(); got != "d/1.wal: damaged at byte 64 (frame 3): no frame begins here" {
		t.Error(got)
	}
}
