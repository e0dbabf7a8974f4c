package fragments

import "time"

// ProducerTimestamp is a moment by the publisher's clock, mapped to UTC, in
// nanoseconds since 1970-01-01: when something was in front of the lens. It is
// never to be compared with a [ServerTimestamp].
type ProducerTimestamp int64

// Time returns the moment as a time in UTC.
func (p ProducerTimestamp) Time() time.Time { return time.Unix(0, int64(p)).UTC() }

// ProducerTime makes a ProducerTimestamp of t.
func ProducerTime(t time.Time) ProducerTimestamp { return ProducerTimestamp(t.UnixNano()) }

// ServerTimestamp is a moment by the clock of this server, in nanoseconds
// since 1970-01-01 UTC: when something arrived here.
type ServerTimestamp int64

// Time returns the moment as a time in UTC.
func (s ServerTimestamp) Time() time.Time { return time.Unix(0, int64(s)).UTC() }

// ServerTime makes a ServerTimestamp of t.
func ServerTime(t time.Time) ServerTimestamp { return ServerTimestamp(t.UnixNano()) }

// Clock says which of the two times of a fragment is meant.
type Clock uint8

// The two clocks of a [Selector].
const (
	ByProducer Clock = iota
	ByServer
)

// Selector selects the fragments of a stream that overlap a span of time.
type Selector struct {
	Clock Clock
	Start time.Time // zero: from the first kept fragment
	End   time.Time // exclusive; zero: up to the newest
}
