package archive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// modelSteps is how many random operations TestModel does.
const modelSteps = 1500

// TestModel does random operations on an archive and on a model of a few lines,
// and compares them after each.
func TestModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d operations, seed %d", modelSteps, seed)
	runModel(t, seed, modelSteps)
}

// TestModelSeeds repeats random operations that once failed.
func TestModelSeeds(t *testing.T) {
	for _, c := range []struct {
		why  string
		seed uint64
	}{
		{"deleted and recorded again within a millisecond", 1795462477134754080},
		{"retention reached a fragment that was held back", 1795463331500591690},
	} {
		t.Run(c.why, func(t *testing.T) { runModel(t, c.seed, modelSteps) })
	}
}

// model is what an archive is expected to hold.
type model struct {
	t      *testing.T
	random *rand.Rand
	p      *place
	flaky  *flaky
	a      *Archive
	cams   []*modelStream
	rule   atomic.Pointer[modelRule]
	done   map[string]int
}

// modelRule is the retention of the moment.
type modelRule struct {
	name     fragments.StreamName
	maxBytes int64
}

type modelStream struct {
	name    fragments.StreamName
	r       *recorder // nil while there is no lease
	pending []modelNumber
	visible []fragments.Number
}

type modelNumber struct {
	n              fragments.Number
	durable, given bool
	since          time.Time // when it became durable
}

func runModel(t *testing.T, seed uint64, steps int) {
	p := newPlace(t)
	f := &flaky{Bucket: p.opts.Bucket}
	p.opts.Bucket, p.opts.SealBytes = f, 12_000
	p.opts.Logger = nil
	p.opts.Journal = &strictLane{Journal: openLane(t)}
	m := &model{t: t, random: rand.New(rand.NewPCG(seed, 1)), p: p, flaky: f, done: map[string]int{}}
	m.rule.Store(&modelRule{})
	p.opts.RetentionOf = func(n fragments.StreamName) (Retention, bool) {
		r := m.rule.Load()
		return Retention{MaxBytes: r.maxBytes}, n == r.name
	}
	m.a = p.open()
	for _, name := range []fragments.StreamName{"one", "two", "three"} {
		m.cams = append(m.cams, &modelStream{name: name})
	}
	for i := range steps {
		what := m.step()
		m.done[what]++
		for _, c := range m.cams {
			got := []fragments.Number(nil)
			if _, err := m.a.Stream(c.name); err == nil {
				got = m.numbers(c)
			}
			if !slices.Equal(got, c.visible) {
				t.Fatalf("step %d, %s: %s has\n%v\nwant\n%v", i, what, c.name, got, c.visible)
			}
		}
	}
	t.Logf("operations: %v", m.done)
	f.set(false, 0)
	settled(t, m.a)
	for _, c := range m.cams {
		if _, err := m.a.Stream(c.name); err == nil {
			checkReadable(t, m.a, c.name, listed(t, m.a, c.name))
		}
	}
	p.close(m.a)
	report, err := Verify(context.Background(), f.Bucket, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range report.Problems {
		// An object that was stored before its hour's block could be written is
		// listed by the journal alone.
		t.Errorf("verify: %s: %v", problem.Key, problem.Err)
	}
}

func (m *model) numbers(c *modelStream) []fragments.Number {
	if away := m.flaky.isAway(); away {
		// Blocks may be needed to list; reading is not what is tried here.
		m.flaky.set(false, 0)
		defer m.flaky.set(true, 0)
	}
	return numbers(listed(m.t, m.a, c.name))
}

func (f *flaky) isAway() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.away
}

// step does one random operation and says which.
func (m *model) step() string {
	c := m.cams[m.random.IntN(len(m.cams))]
	open := slices.DeleteFunc(slices.Clone(c.pending), func(n modelNumber) bool { return n.durable || n.given })
	switch k := m.random.IntN(100); {
	case c.r == nil || k < 3:
		m.give(c)
		c.r = m.p.record(m.a, c.name)
		return "open"
	case k < 35 || k < 72 && len(open) == 0:
		n := c.r.begin()
		c.pending = append(c.pending, modelNumber{n: n})
		return "begin"
	case k < 66:
		n := open[min(m.random.IntN(len(open)), m.random.IntN(len(open)))].n // rather the oldest
		c.r.commit(n)
		c.settle(n, func(p *modelNumber) { p.durable, p.since = true, m.p.clock.Now() })
		return "commit"
	case k < 72:
		n := open[m.random.IntN(len(open))].n
		c.r.w.Abort(c.r.l, n)
		c.settle(n, func(p *modelNumber) { p.given = true })
		return "abort"
	case k < 74:
		c.r.close()
		m.give(c)
		return "close"
	case k < 80:
		m.p.clock.Add(time.Minute)
		m.chore()
		return "age"
	case k < 84:
		m.p.clock.Add(time.Duration(m.random.IntN(50)) * time.Minute)
		m.chore()
		return "hour"
	case k < 86:
		m.flaky.set(!m.flaky.isAway(), 0)
		return "bucket"
	case k < 89:
		m.reopen(m.random.IntN(2) == 0)
		return "reopen"
	case k < 93:
		return m.retain(c)
	case k < 94:
		return m.delete(c)
	}
	return m.misuse(c)
}

// settle changes a pending number and makes visible what it held back.
func (c *modelStream) settle(n fragments.Number, f func(*modelNumber)) {
	for i := range c.pending {
		if c.pending[i].n == n {
			f(&c.pending[i])
		}
	}
	for len(c.pending) > 0 && (c.pending[0].durable || c.pending[0].given) {
		if c.pending[0].durable {
			c.visible = append(c.visible, c.pending[0].n)
		}
		c.pending = c.pending[1:]
	}
}

// give ends the lease: what is open is gone, what is durable is seen.
func (m *model) give(c *modelStream) {
	for _, p := range c.pending {
		if p.durable {
			c.visible = append(c.visible, p.n)
		}
	}
	c.pending, c.r = nil, nil
}

// chore does the chores; numbers that were open for too long are given up.
func (m *model) chore() {
	for _, c := range m.cams {
		i := slices.IndexFunc(c.pending, func(n modelNumber) bool { return n.durable })
		expired := i >= 0 && m.p.clock.Now().Sub(c.pending[i].since) >= m.a.opts.HoldTimeout
		for i := 0; expired && i < len(c.pending) && !c.pending[i].durable; i++ {
			c.pending[i].given = true
		}
		if expired {
			c.settle(fragments.Number{}, nil)
		}
	}
	m.a.chore(context.Background())
}

func (m *model) reopen(crash bool) {
	if crash {
		m.p.crash(m.a)
	} else {
		m.p.close(m.a)
	}
	for _, c := range m.cams {
		m.give(c)
	}
	m.a = m.p.open()
}

// retain keeps a random part of a stream. What goes is a prefix.
func (m *model) retain(c *modelStream) string {
	if !m.flaky.isAway() {
		settled(m.t, m.a)
	}
	limit := int64(1 + m.random.IntN(60_000))
	m.rule.Store(&modelRule{c.name, limit})
	m.a.retain(context.Background())
	m.rule.Store(&modelRule{})
	got := m.numbers(c)
	if n := len(c.visible) - len(got); n < 0 || !slices.Equal(got, c.visible[n:]) {
		m.t.Fatalf("retention left\n%v\nof\n%v", got, c.visible)
	}
	c.visible = slices.Clone(got)
	if len(got) == 0 {
		c.visible = nil
	}
	if m.flaky.isAway() {
		return "retain while away"
	}
	// Numbers that were committed out of order may lie in the spool before others,
	// and those that are held back are kept with what lies beside them.
	held := slices.ContainsFunc(c.pending, func(n modelNumber) bool { return n.durable })
	if info, _ := m.a.Stream(c.name); info.Spooled == 0 && !held && info.Bytes > limit {
		m.t.Fatalf("retention left %d bytes, limit %d", info.Bytes, limit)
	}
	return "retain"
}

func (m *model) delete(c *modelStream) string {
	if err := m.a.DeleteStream(context.Background(), c.name); err != nil {
		m.t.Fatal(err)
	}
	c.pending, c.visible, c.r = nil, nil, nil
	m.a.retain(context.Background())
	return "delete"
}

// misuse does what must fail and change nothing.
func (m *model) misuse(c *modelStream) string {
	l := c.r.l
	settled := fragments.Number{Epoch: l.Epoch, Counter: 1 << 40}
	stale := l
	stale.Epoch--
	err1 := c.r.w.Commit(context.Background(), l, newSynthetic(l.Created, m.p.clock.Now()).next(settled))
	err2 := c.r.w.Commit(context.Background(), stale, newSynthetic(l.Created, m.p.clock.Now()).next(settled))
	_, err3 := c.r.w.Begin(stale)
	c.r.w.Abort(stale, settled)
	if !errors.Is(err1, ErrNotReserved) || !errors.Is(err2, ErrLeaseLost) || !errors.Is(err3, ErrLeaseLost) {
		m.t.Fatal(fmt.Sprint(err1, err2, err3))
	}
	return "misuse"
}
