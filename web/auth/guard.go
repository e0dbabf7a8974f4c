package auth

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Limits on guessing. A wrong guess is answered late; ten of them from one
// address use up its credit, which comes back one guess every ten seconds, and
// without credit nothing is even looked at.
const (
	guessCredit  = 10
	guessRefill  = 10 * time.Second
	guessDelay   = 500 * time.Millisecond
	maxGuessers  = 4096 // addresses remembered
	maxKnownGood = 1024 // address and secret pairs remembered
)

// guard slows guessing down. Behind one address may be a proxy with many
// users, so what was right before is let through even when others there have
// used the credit up.
type guard struct {
	store *Store

	mu       sync.Mutex // guards the fields below
	guessers map[netip.Addr]*guesser
	good     map[goodPair]struct{}
}

type guesser struct {
	used float64 // guesses of the credit
	at   time.Time
}

type goodPair struct {
	addr   netip.Addr
	secret digest
}

func newGuard(s *Store) *guard {
	return &guard{store: s, guessers: map[netip.Addr]*guesser{}, good: map[goodPair]struct{}{}}
}

// try runs check for the given secret and returns the user it proves, nil when
// it proves none. wait > 0 says that nothing was looked at and how long it will
// take until something is.
func (g *guard) try(r *http.Request, secret string, check func() *user) (u *user, wait time.Duration) {
	addr := guessAddr(r.RemoteAddr)
	pair := goodPair{addr, g.store.digest(secret)}
	now := g.store.now()
	g.mu.Lock()
	_, known := g.good[pair]
	if !known {
		wait = g.wait(addr, now)
	}
	g.mu.Unlock()
	if wait > 0 {
		return nil, wait
	}
	u = check()
	g.mu.Lock()
	if u != nil {
		makeRoom(g.good, maxKnownGood)
		g.good[pair] = struct{}{}
	} else {
		delete(g.good, pair)
		g.charge(addr, now)
	}
	g.mu.Unlock()
	if u == nil {
		pause(r.Context(), guessDelay)
	}
	return u, 0
}

// wait returns how long addr has to wait for credit; the caller holds g.mu.
func (g *guard) wait(addr netip.Addr, now time.Time) time.Duration {
	x := g.guessers[addr]
	if x == nil {
		return 0
	}
	x.refill(now)
	if x.used == 0 {
		delete(g.guessers, addr)
		return 0
	}
	if over := x.used - (guessCredit - 1); over > 0 {
		return max(time.Second, time.Duration(over*float64(guessRefill)))
	}
	return 0
}

// charge takes one guess from the credit; the caller holds g.mu.
func (g *guard) charge(addr netip.Addr, now time.Time) {
	x := g.guessers[addr]
	if x == nil {
		makeRoom(g.guessers, maxGuessers)
		x = &guesser{at: now}
		g.guessers[addr] = x
	}
	x.refill(now)
	x.used++
}

func (x *guesser) refill(now time.Time) {
	x.used = max(0, x.used-now.Sub(x.at).Seconds()/guessRefill.Seconds())
	x.at = now
}

// makeRoom forgets any entry of a full map. Which one does not matter: to be
// forgotten early an address needs thousands of others.
func makeRoom[K comparable, V any](m map[K]V, limit int) {
	for k := range m {
		if len(m) < limit {
			return
		}
		delete(m, k)
	}
}

// guessAddr is what guesses are counted by: the address, or for IPv6 its /64,
// which is what one customer is given at least.
func guessAddr(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
