package datastream

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// alter changes the record of a stream that is ACTIVE; with a delay it is
// UPDATING for that long afterwards.
func (e *Engine) alter(_ context.Context, name string, f func(s *stream, r *record) error) error {
	return e.change("", name, func(s *stream, p *picture) error {
		next := *p
		next.record.Cipher.Keys = slices.Clone(next.record.Cipher.Keys)
		if err := f(s, &next.record); err != nil {
			return err
		}
		if e.delay > 0 {
			next.record.Status = Updating
		}
		if err := e.save(s, next); err != nil {
			return err
		}
		if e.delay > 0 {
			e.later(s)
		}
		return nil
	})
}

// note changes what is noted about a stream and does not touch how it works:
// it is allowed in every state but CREATING and DELETING, and shows none.
func (e *Engine) note(name string, f func(r *record) error) error {
	s, err := e.find(name)
	if err != nil {
		return err
	}
	s.ctl.Lock()
	defer s.ctl.Unlock()
	next := *s.now()
	switch {
	case s.gone:
		return refuse(ErrNotFound, name, "stream not found")
	case next.record.Status == Creating || next.record.Status == Deleting:
		return notActive(name, next.record.Status)
	case next.broken:
		return broken(name)
	}
	if err := f(&next.record); err != nil {
		return err
	}
	return e.save(s, next)
}

// SetRetention sets for how many hours records are kept: raise wants more than
// now, its opposite less; as many as now is allowed in both. Raising does not
// bring back what was beyond the retention before.
func (e *Engine) SetRetention(ctx context.Context, name string, hours int, raise bool) error {
	err := e.alter(ctx, name, func(s *stream, r *record) error {
		switch {
		case hours < MinRetentionHours:
			return refuse(ErrInvalid, name, "Minimum allowed retention period is %d hours. Requested retention period (%d hours) is too short.", MinRetentionHours, hours)
		case hours > MaxRetentionHours:
			return refuse(ErrInvalid, name, "Maximum allowed retention period is %d hours. Requested retention period (%d hours) is too long.", MaxRetentionHours, hours)
		case raise && hours < r.RetentionHours:
			return refuse(ErrInvalid, name, "Requested retention period (%d hours) for stream %s can not be shorter than existing retention period (%d hours). Use DecreaseRetentionPeriod API.", hours, name, r.RetentionHours)
		case !raise && hours > r.RetentionHours:
			return refuse(ErrInvalid, name, "Requested retention period (%d hours) for stream %s can not be longer than existing retention period (%d hours). Use IncreaseRetentionPeriod API.", hours, name, r.RetentionHours)
		case hours == r.RetentionHours:
			return errSame
		}
		if hours > r.RetentionHours {
			r.Floor = s.now().horizon(time.Now())
		}
		r.RetentionHours = hours
		return nil
	})
	if errors.Is(err, errSame) {
		return nil
	}
	return err
}

// errSame ends a change that would change nothing, so that the stream does not
// become UPDATING for it.
var errSame = errors.New("it is so already")

const maxWarmMiBps = 10 << 10 // the service's bound, 10 GiB/s

// warmShards is how many shards carry a warm throughput: each takes 1 MiB/s.
func warmShards(mibps int) int { return min(max(onDemandShards, mibps), MaxShards) }

// warmSteps splits until the stream carries its warm throughput.
func warmSteps(p *picture, mibps int) []step {
	if target := warmShards(mibps); mibps > 0 && target > len(p.shards.open) {
		return stepsOf(planCount(p.shards.ranges(), target))
	}
	return nil
}

// SetMode switches between provisioned and on demand; the shards stay, but for
// those that a warm throughput asks for, which only goes with OnDemand.
func (e *Engine) SetMode(_ context.Context, name string, mode Mode, warm *int) error {
	return e.change("", name, func(s *stream, p *picture) error {
		mibps := 0
		switch {
		case mode != Provisioned && mode != OnDemand:
			return refuse(ErrInvalid, name, "mode %q is unknown", mode)
		case warm != nil && mode != OnDemand:
			return refuse(ErrMode, name, "only a stream on demand has a warm throughput")
		case warm != nil && (*warm < 0 || *warm > maxWarmMiBps):
			return refuse(ErrInvalid, name, "a warm throughput is at most %d MiB/s", maxWarmMiBps)
		case warm != nil:
			mibps = *warm
		}
		switched := p.record.Switched
		if mode != p.record.Mode {
			if mode == OnDemand {
				if err := e.roomOnDemand(name); err != nil {
					return err
				}
			} else if err := e.roomForShards(name, len(p.shards.open)); err != nil {
				return err
			}
			if e.limits.ControlRates {
				var ok bool
				if switched, ok = switched.add(s.clock(), 2); !ok {
					return refuse(ErrLimit, name, "A stream's mode can be switched twice in 24 hours.")
				}
			}
		}
		return e.begin(s, warmSteps(p, mibps), func(r *record) {
			r.Mode, r.Switched, r.WarmMiBps = mode, switched, mibps
			r.Auto = r.Auto && mode == OnDemand
		})
	})
}

// SetWarm sets the throughput that an on-demand stream is ready for, and splits
// until it is.
func (e *Engine) SetWarm(_ context.Context, name string, mibps int) error {
	return e.change(callWarm, name, func(s *stream, p *picture) error {
		if p.record.Mode != OnDemand {
			return refuse(ErrMode, name, "only a stream on demand has a warm throughput")
		}
		if mibps < 0 || mibps > maxWarmMiBps {
			return refuse(ErrInvalid, name, "a warm throughput is at most %d MiB/s", maxWarmMiBps)
		}
		return e.begin(s, warmSteps(p, mibps), func(r *record) { r.WarmMiBps = mibps })
	})
}

// SetMaxRecord sets how large, in KiB, key and data of a record may be together.
func (e *Engine) SetMaxRecord(ctx context.Context, name string, kib int) error {
	return e.alter(ctx, name, func(_ *stream, r *record) error {
		if kib < MinRecordKiB || kib > MaxRecordKiB {
			return refuse(ErrInvalid, name, "records are limited to %d to %d KiB, not to %d", MinRecordKiB, MaxRecordKiB, kib)
		}
		r.MaxRecordKiB = kib
		return nil
	})
}

// SetDistribution says whether an on-demand stream spreads records by itself,
// whatever their partition keys.
func (e *Engine) SetDistribution(ctx context.Context, name string, auto bool) error {
	return e.alter(ctx, name, func(_ *stream, r *record) error {
		if auto && r.Mode != OnDemand {
			return refuse(ErrInvalid, name, "only a stream on demand distributes records by itself")
		}
		r.Auto = auto
		return nil
	})
}

// flags are the figures that enhanced monitoring shows for each shard.
var flags = []string{
	"IncomingBytes", "IncomingRecords", "IteratorAgeMilliseconds", "OutgoingBytes", "OutgoingRecords",
	"ReadProvisionedThroughputExceeded", "WriteProvisionedThroughputExceeded",
}

// SetMonitored turns enhanced monitoring flags on or off; "ALL" is all of them.
func (e *Engine) SetMonitored(_ context.Context, name string, which []string, on bool) (before, after []string, err error) {
	if slices.Contains(which, "ALL") {
		which = flags
	}
	for _, f := range which {
		if !slices.Contains(flags, f) {
			return nil, nil, refuse(ErrInvalid, name, "there is no figure %q to monitor", f)
		}
	}
	err = e.note(name, func(r *record) error {
		before = slices.Clone(r.Monitored)
		after = slices.DeleteFunc(slices.Clone(flags), func(f string) bool {
			if slices.Contains(which, f) {
				return !on
			}
			return !slices.Contains(before, f)
		})
		r.Monitored = after
		return nil
	})
	return before, slices.Clone(after), err
}

// Tags returns the tags of a stream.
func (e *Engine) Tags(name string) (map[string]string, error) {
	s, err := e.find(name)
	if err != nil {
		return nil, err
	}
	return cloneTags(s.now().record.Tags), nil
}

// Tag sets tags of a stream.
func (e *Engine) Tag(_ context.Context, name string, tags map[string]string) error {
	if err := e.rates.allow(callTag, name); err != nil {
		return err
	}
	return e.note(name, func(r *record) (err error) {
		r.Tags, err = withTags(name, r.Tags, tags)
		return err
	})
}

// Untag removes tags of a stream; absent ones are no error.
func (e *Engine) Untag(_ context.Context, name string, keys []string) error {
	if err := e.rates.allow(callUntag, name); err != nil {
		return err
	}
	return e.note(name, func(r *record) error {
		r.Tags = withoutTags(r.Tags, keys)
		return nil
	})
}

func withTags(name string, have, add map[string]string) (map[string]string, error) {
	next := cloneTags(have)
	maps.Copy(next, add)
	return next, checkTags(name, next)
}

func withoutTags(have map[string]string, keys []string) map[string]string {
	next := cloneTags(have)
	for _, k := range keys {
		delete(next, k)
	}
	return next
}

// checkTags holds tags to the service's bounds.
func checkTags(name string, tags map[string]string) error {
	if len(tags) > MaxTags {
		return refuse(ErrInvalid, name, "there are at most %d tags, not %d", MaxTags, len(tags))
	}
	for k, v := range tags {
		switch {
		case k == "" || utf8.RuneCountInString(k) > 128:
			return refuse(ErrInvalid, name, "a tag's key has 1 to 128 characters")
		case utf8.RuneCountInString(v) > 256:
			return refuse(ErrInvalid, name, "a tag's value has at most 256 characters")
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return refuse(ErrInvalid, name, "tag %q: keys that begin with aws: are the service's", k)
		}
	}
	return nil
}

const maxPolicy = 20 << 10 // bytes

func checkPolicy(name, policy string) error {
	if len(policy) > maxPolicy {
		return refuse(ErrInvalid, name, "a policy has at most %d bytes", maxPolicy)
	}
	return nil
}

// Policy returns the resource policy of a stream, or of one of its consumers;
// "" when there is none.
func (e *Engine) Policy(name, consumer string) (string, error) {
	s, err := e.find(name)
	if err != nil {
		return "", err
	}
	if consumer == "" {
		return s.now().record.Policy, nil
	}
	c, err := s.consumer(consumer)
	if err != nil {
		return "", err
	}
	return c.kept().Policy, nil
}

// SetPolicy sets the resource policy of a stream or consumer; "" deletes it, and
// is ErrNotFound when there is none.
func (e *Engine) SetPolicy(_ context.Context, name, consumer, policy string) error {
	if err := checkPolicy(name, policy); err != nil {
		return err
	}
	none := func(have string) error {
		if policy == "" && have == "" {
			return refuse(ErrNotFound, name, "there is no policy")
		}
		return nil
	}
	if consumer == "" {
		return e.note(name, func(r *record) error {
			defer func() { r.Policy = policy }()
			return none(r.Policy)
		})
	}
	return e.noteConsumer(name, consumer, func(k *keptConsumer) error {
		defer func() { k.Policy = policy }()
		return none(k.Policy)
	})
}
