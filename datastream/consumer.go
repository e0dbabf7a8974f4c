package datastream

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// keptConsumer is what Meta holds of a consumer.
type keptConsumer struct {
	Created int64 // unix s
	Status  Status
	Tags    map[string]string `json:",omitempty"`
	Policy  string            `json:",omitempty"`
}

// consumer is an enhanced fan-out consumer of a stream.
type consumer struct {
	name string
	rev  uint64 // under the stream's ctl

	mu   sync.Mutex
	is   keptConsumer             // never modified, replaced
	subs map[uint32]*Subscription // by shard: the newest, ended or not
	gone bool
}

func (c *consumer) kept() keptConsumer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.is
}

func (c *consumer) view() Consumer {
	k := c.kept()
	return Consumer{Name: c.name, Created: time.Unix(k.Created, 0).UTC(), Status: k.Status}
}

func (s *stream) consumer(name string) (*consumer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.consumers[name]; c != nil {
		return c, nil
	}
	return nil, refuse(ErrNotFound, s.name, "Consumer %s of stream %s not found.", name, s.name)
}

func (e *Engine) loadConsumers(s *stream) error {
	s.consumers = map[string]*consumer{}
	for it := range e.meta.List(consumerPrefix(s.id)) {
		c := &consumer{name: strings.TrimPrefix(it.Key, consumerPrefix(s.id)), rev: it.Revision}
		if err := json.Unmarshal(it.Value, &c.is); err != nil {
			return fmt.Errorf("consumer %s: %w", c.name, err)
		}
		switch c.is.Status {
		case Deleting:
			if err := e.meta.Delete(context.Background(), it.Key, it.Revision); err != nil {
				return fmt.Errorf("consumer %s: %w", c.name, err)
			}
			continue
		case Creating:
			c.is.Status = Active
			if err := e.keepConsumer(s, c, c.is); err != nil {
				return err
			}
		}
		s.consumers[c.name] = c
	}
	return nil
}

// keepConsumer makes a consumer's next state durable and then visible. Called
// under ctl, or alone.
func (e *Engine) keepConsumer(s *stream, c *consumer, next keptConsumer) error {
	value, err := json.Marshal(&next)
	if err != nil {
		return err
	}
	rev, err := e.meta.Put(context.Background(), consumerPrefix(s.id)+c.name, value, c.rev)
	if err != nil {
		return unkept(s.name, "the change of consumer "+c.name+" could not be kept", err)
	}
	c.mu.Lock()
	c.is, c.rev = next, rev
	c.mu.Unlock()
	return nil
}

// RegisterConsumer makes an enhanced fan-out consumer.
func (e *Engine) RegisterConsumer(_ context.Context, stream, name string, tags map[string]string) (Consumer, error) {
	if err := checkName(name, "consumer name"); err != nil {
		return Consumer{}, err
	}
	if err := checkTags(stream, tags); err != nil {
		return Consumer{}, err
	}
	s, err := e.serving(stream)
	if err != nil {
		return Consumer{}, err
	}
	if err := e.rates.allow(callRegister, stream); err != nil {
		return Consumer{}, err
	}
	s.ctl.Lock()
	defer s.ctl.Unlock()
	if s.gone || s.now().record.Status == Deleting {
		return Consumer{}, refuse(ErrNotFound, stream, "stream not found: it is being deleted")
	}
	if err := e.roomForConsumer(s, name); err != nil {
		return Consumer{}, err
	}
	next := keptConsumer{Created: s.clock() / 1000, Status: Active, Tags: cloneTags(tags)}
	if e.delay > 0 {
		next.Status = Creating
	}
	c := &consumer{name: name, subs: map[uint32]*Subscription{}}
	if err := e.keepConsumer(s, c, next); err != nil {
		return Consumer{}, err
	}
	s.mu.Lock()
	s.consumers[name] = c
	s.mu.Unlock()
	if e.delay > 0 {
		e.laterConsumer(s, c)
	}
	// The service answers a registration with CREATING, whatever follows.
	v := c.view()
	v.Status = Creating
	return v, nil
}

func (e *Engine) roomForConsumer(s *stream, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.consumers[name] != nil {
		return refuse(ErrInUse, s.name, "Consumer %s of stream %s already exists.", name, s.name)
	}
	most := e.limits.ConsumersPerStream
	if most == 0 {
		most = MaxConsumers
	}
	if len(s.consumers) >= most {
		return refuse(ErrLimit, s.name, "A stream has at most %d registered consumers.", most)
	}
	creating := 0
	for _, c := range s.consumers {
		if c.kept().Status == Creating {
			creating++
		}
	}
	if e.limits.ControlRates && creating >= creatingAtOnce {
		return refuse(ErrLimit, s.name, "%d consumers are being created already.", creating)
	}
	return nil
}

// laterConsumer ends a consumer's CREATING or DELETING when the delay has passed.
func (e *Engine) laterConsumer(s *stream, c *consumer) {
	e.run(func() {
		select {
		case <-time.After(e.delay):
		case <-e.closing:
			return
		}
		s.ctl.Lock()
		defer s.ctl.Unlock()
		if s.gone {
			return
		}
		next := c.kept()
		var err error
		switch next.Status {
		case Creating:
			next.Status = Active
			err = e.keepConsumer(s, c, next)
		case Deleting:
			err = e.removeConsumer(s, c)
		}
		if err != nil {
			e.logger.Error("consumer stays in its state until the next start", "stream", s.name, "consumer", c.name, "error", err)
		}
	})
}

// DeregisterConsumer removes a consumer and ends its subscriptions.
func (e *Engine) DeregisterConsumer(_ context.Context, stream, name string) error {
	s, err := e.find(stream)
	if err != nil {
		return err
	}
	if err := e.rates.allow(callDeregister, stream); err != nil {
		return err
	}
	s.ctl.Lock()
	defer s.ctl.Unlock()
	c, err := s.consumer(name)
	if err != nil {
		return err
	}
	next := c.kept()
	if next.Status == Deleting {
		return nil
	}
	if e.delay == 0 {
		return e.removeConsumer(s, c)
	}
	next.Status = Deleting
	if err := e.keepConsumer(s, c, next); err != nil {
		return err
	}
	e.laterConsumer(s, c)
	return nil
}

func (e *Engine) removeConsumer(s *stream, c *consumer) error {
	if err := e.meta.Delete(context.Background(), consumerPrefix(s.id)+c.name, c.rev); err != nil {
		return unkept(s.name, "consumer "+c.name+" could not be removed", err)
	}
	s.mu.Lock()
	delete(s.consumers, c.name)
	s.mu.Unlock()
	c.end()
	return nil
}

// endConsumers ends every subscription of a stream that is gone.
func (s *stream) endConsumers() {
	s.mu.Lock()
	list := s.consumers
	s.consumers = map[string]*consumer{}
	s.mu.Unlock()
	for _, c := range list {
		c.end()
	}
}

// Consumer returns a consumer of a stream.
func (e *Engine) Consumer(stream, name string) (Consumer, error) {
	s, err := e.find(stream)
	if err != nil {
		return Consumer{}, err
	}
	c, err := s.consumer(name)
	if err != nil {
		return Consumer{}, err
	}
	return c.view(), nil
}

// Consumers returns up to limit consumers of a stream in the order of their
// names, beginning behind the name after; more says whether others follow.
func (e *Engine) Consumers(stream, after string, limit int) (list []Consumer, more bool, err error) {
	s, err := e.find(stream)
	if err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	for name, c := range s.consumers {
		if name > after {
			list = append(list, c.view())
		}
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b Consumer) int { return compareNames(a.Name, b.Name) })
	if len(list) > limit {
		return list[:limit], true, nil
	}
	return list, false, nil
}

func (e *Engine) noteConsumer(stream, name string, f func(k *keptConsumer) error) error {
	s, err := e.find(stream)
	if err != nil {
		return err
	}
	s.ctl.Lock()
	defer s.ctl.Unlock()
	c, err := s.consumer(name)
	if err != nil {
		return err
	}
	next := c.kept()
	if err := f(&next); err != nil {
		return err
	}
	return e.keepConsumer(s, c, next)
}

// ConsumerTags returns the tags of a consumer.
func (e *Engine) ConsumerTags(stream, name string) (map[string]string, error) {
	s, err := e.find(stream)
	if err != nil {
		return nil, err
	}
	c, err := s.consumer(name)
	if err != nil {
		return nil, err
	}
	return cloneTags(c.kept().Tags), nil
}

// TagConsumer sets tags of a consumer.
func (e *Engine) TagConsumer(_ context.Context, stream, name string, tags map[string]string) error {
	if err := e.rates.allow(callTag, stream); err != nil {
		return err
	}
	return e.noteConsumer(stream, name, func(k *keptConsumer) (err error) {
		k.Tags, err = withTags(stream, k.Tags, tags)
		return err
	})
}

// UntagConsumer removes tags of a consumer; absent ones are no error.
func (e *Engine) UntagConsumer(_ context.Context, stream, name string, keys []string) error {
	if err := e.rates.allow(callUntag, stream); err != nil {
		return err
	}
	return e.noteConsumer(stream, name, func(k *keptConsumer) error {
		k.Tags = withoutTags(k.Tags, keys)
		return nil
	})
}
