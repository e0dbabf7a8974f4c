package image

import (
	"container/list"
	"context"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// key names a picture: equal keys have equal pictures.
type key struct {
	name    fragments.StreamName
	born    int64            // when the stream was created; 0: of the hub
	at      int64            // the instant, or of the hub the frame, nanoseconds since 1970
	last    fragments.Number // the newest, where it matters
	clock   fragments.Clock
	exact   bool
	format  Format
	width   int
	height  int
	quality int
	video   int
}

func keyOf(name fragments.StreamName, r *Request) key {
	k := key{
		name: name, clock: r.Clock, exact: r.Exact, format: r.Format,
		width: r.Width, height: r.Height, quality: r.Quality, video: r.Video,
	}
	if !r.Time.IsZero() {
		k.at = r.Time.UnixNano()
	}
	return k
}

// flight is a picture that is being made for everybody who asked for it.
type flight struct {
	waiters int // guarded by Maker.mu
	cancel  context.CancelFunc
	done    chan struct{} // closed when the fields below are set
	picture *Picture
	err     error
}

// once returns the picture of a key: the kept one, or the one that is being
// made, or one that f makes. f's context ends when nobody waits any more. What
// was made of a fragment before first, which is deleted, is deleted too.
func (m *Maker) once(ctx context.Context, k key, first fragments.Number, f func(context.Context) (*Picture, error)) (*Picture, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	if p := m.cache.get(k, first); p != nil {
		m.mu.Unlock()
		m.count.cached.Add(1)
		return p, nil
	}
	fl := m.flights[k]
	if fl != nil {
		m.count.joined.Add(1)
	} else {
		fl = m.launch(k, f)
	}
	fl.waiters++
	m.mu.Unlock()
	select {
	case <-fl.done:
	case <-ctx.Done():
	}
	m.mu.Lock()
	fl.waiters--
	if fl.waiters == 0 {
		fl.cancel()
		if m.flights[k] == fl {
			delete(m.flights, k) // nobody may join what is being given up
		}
	}
	m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return fl.picture, fl.err
}

// launch begins a flight; the caller holds m.mu and has entered.
func (m *Maker) launch(k key, f func(context.Context) (*Picture, error)) *flight {
	ctx, cancel := context.WithCancel(m.ctx)
	fl := &flight{cancel: cancel, done: make(chan struct{})}
	m.flights[k] = fl
	m.work.Go(func() {
		defer cancel()
		p, err := f(ctx)
		if m.ctx.Err() != nil && err != nil {
			err = ErrClosed
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		fl.picture, fl.err = p, err
		if err == nil {
			m.cache.put(k, p)
		}
		if m.flights[k] == fl {
			delete(m.flights, k)
		}
		close(fl.done)
	})
	return fl
}

// cacheAge is how long a picture is kept: long enough for a page of thumbnails
// that several people open, no longer than retention would like.
const cacheAge = time.Minute

// cache keeps pictures, bounded by bytes; those that were used last stay.
type cache struct {
	max   int64
	bytes int64
	byKey map[key]*list.Element // of *kept
	order *list.List            // the last used first
}

type kept struct {
	key     key
	picture *Picture
	until   time.Time
}

func newCache(bytes int64) cache {
	return cache{max: bytes, byKey: map[key]*list.Element{}, order: list.New()}
}

func (c *cache) get(k key, first fragments.Number) *Picture {
	e := c.byKey[k]
	if e == nil {
		return nil
	}
	it := e.Value.(*kept)
	if time.Now().After(it.until) || it.picture.Fragment.Less(first) {
		c.drop(e)
		return nil
	}
	c.order.MoveToFront(e)
	return it.picture
}

func (c *cache) put(k key, p *Picture) {
	if e := c.byKey[k]; e != nil {
		c.drop(e)
	}
	if int64(len(p.Data)) > c.max/4 {
		return // it would push out too many others
	}
	c.byKey[k] = c.order.PushFront(&kept{k, p, time.Now().Add(cacheAge)})
	c.bytes += sizeOf(p)
	for c.bytes > c.max {
		c.drop(c.order.Back())
	}
}

func (c *cache) drop(e *list.Element) {
	it := c.order.Remove(e).(*kept)
	delete(c.byKey, it.key)
	c.bytes -= sizeOf(it.picture)
}

func sizeOf(p *Picture) int64 { return int64(len(p.Data)) + 500 }
