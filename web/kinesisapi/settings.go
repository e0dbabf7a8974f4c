package kinesisapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/web/awswire"
)

// keyOfSettings is where Meta keeps the account's settings.
const keyOfSettings = "kinesisapi/account"

// commitmentTerm is how long a billing commitment lasts at least. Source: the
// service's page on the on-demand Advantage mode, 24 hours.
const commitmentTerm = 24 * time.Hour

// Statuses of a commitment.
const (
	commitmentOn     = "ENABLED"
	commitmentOff    = "DISABLED"
	commitmentEnding = "ENABLED_UNTIL_EARLIEST_ALLOWED_END"
)

// commitment is the promise to pay for a minimum of throughput. Nobody pays
// here: it only opens what the service opens to those who made it.
type commitment struct {
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"` // when it ends, or ended; zero: not to end
}

// status is what the commitment is at a moment.
func (c commitment) status(now time.Time) string {
	switch {
	case c.Started.IsZero(), !c.Ended.IsZero() && !now.Before(c.Ended):
		return commitmentOff
	case !c.Ended.IsZero():
		return commitmentEnding
	}
	return commitmentOn
}

// earliestEnd is when the commitment may end.
func (c commitment) earliestEnd() time.Time {
	if c.Started.IsZero() {
		return time.Time{}
	}
	return c.Started.Add(commitmentTerm)
}

// settings are the account's, read once and written through.
type settings struct {
	meta journal.Meta // nil: nowhere

	mu       sync.Mutex
	now      commitment
	revision uint64
}

func openSettings(meta journal.Meta) (*settings, error) {
	s := &settings{meta: meta}
	if meta == nil {
		return s, nil
	}
	b, revision, err := meta.Get(keyOfSettings)
	switch {
	case errors.Is(err, journal.ErrAbsent):
		return s, nil
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(b, &s.now); err != nil {
		return nil, fmt.Errorf("%s: %w", keyOfSettings, err)
	}
	s.revision = revision
	return s, nil
}

func (s *settings) get() commitment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// commit makes or ends the commitment. What is so already stays as it is.
func (s *settings) commit(ctx context.Context, on bool) (commitment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, now := s.now, time.Now().UTC().Truncate(time.Millisecond)
	switch status := s.now.status(now); {
	case on && status == commitmentOff:
		next = commitment{Started: now}
	case on && status == commitmentEnding:
		next.Ended = time.Time{}
	case !on && status == commitmentOn:
		next.Ended = now
		if end := s.now.earliestEnd(); end.After(now) {
			next.Ended = end
		}
	default:
		return s.now, nil
	}
	if s.meta != nil {
		b, err := json.Marshal(next)
		if err != nil {
			return s.now, err
		}
		revision, err := s.meta.Put(ctx, keyOfSettings, b, s.revision)
		if err != nil {
			return s.now, fmt.Errorf("keep account settings: %w", err)
		}
		s.revision = revision
	}
	s.now = next
	return next, nil
}

// commitmentInput and commitmentOutput are the commitment on the wire.
type commitmentInput struct {
	Status string `aws:"Status,required,enum=ENABLED|DISABLED"`
}

type commitmentOutput struct {
	Status               string       `aws:"Status"`
	StartedAt            awswire.Time `aws:"StartedAt"`
	EndedAt              awswire.Time `aws:"EndedAt"`
	EarliestAllowedEndAt awswire.Time `aws:"EarliestAllowedEndAt"`
}

func (c commitment) output() *commitmentOutput {
	return &commitmentOutput{
		Status:               c.status(time.Now()),
		StartedAt:            awswire.At(c.Started),
		EndedAt:              awswire.At(c.Ended),
		EarliestAllowedEndAt: awswire.At(c.earliestEnd()),
	}
}
