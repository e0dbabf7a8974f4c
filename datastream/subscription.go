package datastream

import (
	"context"
	"io"
	"sync"
	"time"
)

// Times of a subscription, as the service has them.
const (
	subscriptionLife  = 5 * time.Minute // then Next is io.EOF and the client subscribes anew
	subscriptionGuard = 5 * time.Second // another one sooner is refused, later takes over
	subscriptionQuiet = 5 * time.Second // an empty batch is sent after so long
)

// Subscription pushes the records of one shard to one consumer.
type Subscription struct {
	engine   *Engine
	stream   *stream
	consumer *consumer
	began    time.Time
	ended    chan struct{} // closed by end
	once     sync.Once
	why      error // set before ended is closed

	// Of the one goroutine that calls Next.
	at       Cursor
	finished bool
	free     time.Time // of the consumer's own 2 MiB/s
}

// Subscribe begins to push a shard's records to a consumer, from start on. One
// goroutine at a time may call Next.
func (e *Engine) Subscribe(_ context.Context, stream, name string, index uint32, start Start) (*Subscription, error) {
	s, err := e.serving(stream)
	if err != nil {
		return nil, err
	}
	c, err := s.consumer(name)
	if err != nil {
		return nil, err
	}
	if status := c.kept().Status; status != Active {
		return nil, refuse(ErrInUse, stream, "Consumer %s is not ACTIVE, instead in state %s", name, status)
	}
	p := s.now()
	sh := p.shards.find(index)
	if sh == nil || sh.expired(p.horizon(time.Now())) {
		return nil, refuse(ErrNotFound, stream, "Shard shardId-%012d in stream %s does not exist", index, stream)
	}
	at, err := e.seek(s, p, sh, start)
	if err != nil {
		return nil, err
	}
	sub := &Subscription{
		engine: e, stream: s, consumer: c, began: time.Now(), ended: make(chan struct{}),
		at: Cursor{Stream: s.id, Shard: index, Next: at},
	}
	if err := c.add(sub); err != nil {
		s.figures.subscribesRefused.Add(1)
		return nil, err
	}
	s.figures.subscribes.Add(1)
	return sub, nil
}

// add makes a subscription the consumer's only one of its shard.
func (c *consumer) add(sub *Subscription) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return refuse(ErrNotFound, sub.stream.name, "Consumer %s of stream %s not found.", c.name, sub.stream.name)
	}
	shard := sub.at.Shard
	if old := c.subs[shard]; old != nil {
		if sub.began.Sub(old.began) < subscriptionGuard {
			return refuse(ErrInUse, sub.stream.name, "Another active subscription exists for this consumer: it began less than %v ago.", subscriptionGuard)
		}
		old.end(refuse(ErrSubscriptions, sub.stream.name, "Another subscription took over shard shardId-%012d of consumer %s.", shard, c.name))
	}
	if c.subs == nil {
		c.subs = map[uint32]*Subscription{}
	}
	c.subs[shard] = sub
	return nil
}

// end ends the subscriptions of a consumer that is gone.
func (c *consumer) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	for _, sub := range c.subs {
		sub.end(refuse(ErrNotFound, sub.stream.name, "Consumer %s of stream %s not found.", c.name, sub.stream.name))
	}
	c.subs = nil
}

func (s *Subscription) end(why error) {
	s.once.Do(func() {
		s.why = why
		close(s.ended)
	})
}

// Close ends the subscription. That it was there still counts for five seconds.
func (s *Subscription) Close() {
	s.end(io.EOF)
	c := s.consumer
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subs[s.at.Shard] == s && time.Since(s.began) >= subscriptionGuard {
		delete(c.subs, s.at.Shard)
	}
}

// Next returns the next records as soon as there are some, or after five
// seconds a batch without any. The batch that ends the shard has End set. Then,
// and five minutes after Subscribe, comes io.EOF; ErrSubscriptions when another
// subscription took over, ErrNotFound when consumer or stream have gone.
func (s *Subscription) Next(ctx context.Context) (Batch, error) {
	quiet := time.NewTimer(min(subscriptionQuiet, time.Until(s.began.Add(subscriptionLife))))
	defer quiet.Stop()
	if err := s.pace(ctx); err != nil {
		return Batch{}, err
	}
	e := s.engine
	key := s.stream.segmentKey(s.at.Shard)
	for late := false; ; {
		if err := s.over(); err != nil {
			return Batch{}, err
		}
		wake := e.log.Wake(key)
		p := s.stream.now()
		sh := p.shards.find(s.at.Shard)
		if sh == nil {
			return Batch{}, refuse(ErrNotFound, s.stream.name, "the shard is gone")
		}
		b, bytes, err := e.read(s.stream, p, sh, s.at, 0, pushBytes)
		if err != nil {
			return Batch{}, err
		}
		if len(b.Records) > 0 || b.End || late {
			s.took(sh, &b, bytes)
			return b, nil
		}
		select {
		case <-wake:
		case <-p.changed:
		case <-quiet.C:
			late = true
		case <-s.ended:
		case <-e.closing:
		case <-ctx.Done():
			return Batch{}, context.Cause(ctx)
		}
	}
}

// pushBytes bounds one pushed batch, so that what a consumer is sent comes in
// pieces that it can work on.
const pushBytes = 1 << 20

func (s *Subscription) over() error {
	select {
	case <-s.ended:
		return s.why
	case <-s.engine.closing:
		return io.EOF
	default:
	}
	if s.finished || time.Since(s.began) >= subscriptionLife {
		return io.EOF
	}
	return nil
}

func (s *Subscription) took(sh *shard, b *Batch, bytes int) {
	s.at, s.finished = b.Next, b.End
	if s.engine.limits.Throttle {
		s.free = paced(s.free, time.Now(), bytes)
	}
	s.stream.figures.countPush(sh, b, bytes)
}

// pace waits until the consumer's throughput allows more.
func (s *Subscription) pace(ctx context.Context) error {
	wait := time.Until(s.free)
	if wait <= 0 {
		return nil
	}
	select {
	case <-time.After(wait):
	case <-s.ended:
	case <-s.engine.closing:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}
