package journaltest

import (
	"sync"
	"time"
)

// Clock is a journal.Clock that stands still until it is told to go on.
type Clock struct {
	mu     sync.Mutex
	now    time.Time
	alarms map[*alarm]bool
}

type alarm struct {
	at time.Time
	f  func()
}

// NewClock returns a clock at some moment.
func NewClock() *Clock {
	return &Clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), alarms: map[*alarm]bool{}}
}

// Now is where the clock stands.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// AfterFunc calls f when the clock has been moved on by d.
func (c *Clock) AfterFunc(d time.Duration, f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &alarm{c.now.Add(d), f}
	c.alarms[a] = true
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		was := c.alarms[a]
		delete(c.alarms, a)
		return was
	}
}

// Advance moves the clock on and calls what is due by then, which is over when
// it returns.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	var due []func()
	for a := range c.alarms {
		if !a.at.After(c.now) {
			due = append(due, a.f)
			delete(c.alarms, a)
		}
	}
	c.mu.Unlock()
	for _, f := range due {
		f()
	}
}
