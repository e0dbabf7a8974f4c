package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// LeasePrefix begins the keys under which a Meta keeps its leases: the lease of
// "lane/3" is the key "lease/lane/3", whose value is a Holding. They can be read,
// listed and watched like any other. Who changes or deletes one ends the lease.
const LeasePrefix = "lease/"

// Bounds of a lease.
const (
	MaxHolder   = 1 << 10 // bytes of a holder's name
	MinLeaseTTL = 10 * time.Millisecond
	MaxLeaseTTL = 24 * time.Hour
)

var (
	// ErrHeld refuses a lease that somebody else holds.
	ErrHeld = errors.New("lease is held by another")
	// ErrLost answers the holder of a lease that it no longer holds.
	ErrLost = errors.New("lease is lost")
)

// Leaser gives out leases: the right to be the only one who does something, for
// as long as the holder says in time that it is still there.
type Leaser interface {
	// Grant takes the lease of a key for a holder, for ttl (MinLeaseTTL to
	// MaxLeaseTTL) from the beginning of the call. It succeeds when nobody holds
	// the lease or its time is over, and at once when the holder itself has it: a
	// process that was started anew need not wait for itself, so that no two at
	// a time may have one name. Otherwise it is ErrHeld, with the name of who
	// holds it. Of several who ask, one gets it: compare-and-set decides, in the
	// store, and a lease is durable before Grant returns. ErrFull, ErrTooLarge
	// and the context's error are those of Put.
	Grant(ctx context.Context, key, holder string, ttl time.Duration) (Lease, error)
}

// Lease is a lease from the side of its holder.
//
// Time decides only when others may take it. That they do not do the same thing
// twice is up to the epoch: it is greater than that of every lease granted
// before, of any key, so that what a holder writes carries it, and what carries a
// smaller one than was seen is refused. A holder to whom the end of its lease was
// told late is then late, and not wrong.
type Lease interface {
	// Epoch is the revision of the Grant. It stays through renewals, and is
	// raised by every takeover, also by the same holder's.
	Epoch() uint64
	// Renew prolongs the lease to a ttl from the beginning of the call. ErrLost
	// says that it is over, for good: its time ran out, even if nobody has taken
	// it since and even while Renew was under way; or another took it; or its
	// key was changed or deleted. After any other error it is held until its
	// time runs out, and can be renewed again.
	Renew(ctx context.Context) error
	// Release gives the lease up, for others to take at once. A lost one is
	// ErrLost.
	Release(ctx context.Context) error
	// Lost is closed when the lease is over: lost, released, or out of reach as
	// the store was closed. A closed store leaves the lease as it is: when it is
	// opened again, the rest of its time is left, by the clock of the machine,
	// and never more than a ttl.
	Lost() <-chan struct{}
}

// Clock is the time that leases run by. Now has to carry a monotonic reading, or
// a step of the clock prolongs leases or ends them early.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f once, but never before it has returned itself, when d has
	// passed; stop keeps it from that if it comes in time.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// SystemClock is the clock of the machine.
type SystemClock struct{}

// Now is time.Now.
func (SystemClock) Now() time.Time { return time.Now() }

// AfterFunc is time.AfterFunc.
func (SystemClock) AfterFunc(d time.Duration, f func()) func() bool {
	return time.AfterFunc(d, f).Stop
}

// Holding is who holds a lease, as its key says.
type Holding struct {
	Holder string
	Epoch  uint64
	TTL    time.Duration
	Until  time.Time // by the clock of the machine that keeps the store; to the millisecond
}

// holdingFormat is the value of a lease's key. The epoch is left out by the
// Grant, whose revision it is.
type holdingFormat struct {
	Holder string `json:"holder"`
	Epoch  uint64 `json:"epoch,omitempty"`
	TTL    int64  `json:"ttl_ms"`
	Until  int64  `json:"until_ms"`
}

// Encode is the value of a lease's key. An epoch of 0 stands for the revision
// that the key is about to get.
func (h Holding) Encode() []byte {
	b, err := json.Marshal(holdingFormat{h.Holder, h.Epoch, h.TTL.Milliseconds(), h.Until.UnixMilli()})
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return b
}

// ParseHolding reads the key of a lease.
func ParseHolding(it Item) (Holding, error) {
	var f holdingFormat
	if err := json.Unmarshal(it.Value, &f); err != nil {
		return Holding{}, fmt.Errorf("lease %q: %w", it.Key, err)
	}
	if f.TTL < MinLeaseTTL.Milliseconds() || f.TTL > MaxLeaseTTL.Milliseconds() || f.Epoch > it.Revision {
		return Holding{}, fmt.Errorf("lease %q: a time of %d ms and epoch %d can not be", it.Key, f.TTL, f.Epoch)
	}
	h := Holding{Holder: f.Holder, Epoch: f.Epoch, TTL: time.Duration(f.TTL) * time.Millisecond, Until: time.UnixMilli(f.Until)}
	if h.Epoch == 0 {
		h.Epoch = it.Revision
	}
	return h, nil
}
