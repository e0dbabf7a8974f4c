package ingest

import (
	"errors"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

var errQueueFull = errors.New("the disk is too slow: the queue of fragments is full")

// Stats are the figures of one session.
type Stats struct {
	Started     time.Time
	FPS         float64       // video access units per second, over the last full seconds
	BitRate     float64       // payload bits per second, likewise
	Units       int64         // access units received
	Bytes       int64         // payload bytes received
	LostPackets uint64        // by the transport
	Jitter      float64       // seconds, the worst track's
	Lag         time.Duration // from capture to arrival here, of the newest unit
	Source      fragments.ClockSource
	LastUnit    time.Time // arrival of the newest unit; zero before the first
	Fragments   int64     // committed
	Dropped     int64     // fragments lost
	Passed      int64     // fragments that no event wanted, where only events are recorded
	QueuedBytes int       // waiting for the disk
	Skipped     uint64    // units before the first key frame
	Err         error     // why the newest dropped fragment was dropped
}

// Stats returns the figures of the session.
func (s *Session) Stats() Stats {
	s.mu.Lock()
	m := &s.meter
	st := Stats{
		Started: m.started, Units: m.units, Bytes: m.bytes, LostPackets: m.lost, Lag: m.lag,
		Source: m.source, LastUnit: m.last, Skipped: s.cut.Skipped(),
	}
	st.FPS, st.BitRate = m.rates(s.owner.o.Now())
	for _, j := range m.jitter {
		st.Jitter = max(st.Jitter, j)
	}
	s.mu.Unlock()
	q := s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	st.Fragments, st.Dropped, st.Passed, st.QueuedBytes, st.Err = q.committed, q.dropped, q.passed, q.bytes, q.lastErr
	return st
}

// meterSeconds is how many full seconds the rates are taken over.
const meterSeconds = 5

// meter counts what a publisher sends.
type meter struct {
	started time.Time
	units   int64
	bytes   int64
	lost    uint64
	jitter  map[int]float64
	lag     time.Duration
	source  fragments.ClockSource
	last    time.Time

	second  int64 // since 1970, of the newest bucket
	buckets [meterSeconds + 1]struct{ frames, bytes int64 }
}

func newMeter(now time.Time) meter {
	return meter{started: now, jitter: map[int]float64{}, second: now.Unix()}
}

func (m *meter) unit(au *fragments.AccessUnit, now time.Time) {
	size := int64(au.Size())
	m.units++
	m.bytes += size
	m.lag = time.Duration(int64(au.Arrival) - int64(au.Capture))
	m.source, m.last = au.Source, now
	m.turn(now)
	b := &m.buckets[m.second%int64(len(m.buckets))]
	b.bytes += size
	if au.Track.Kind() == fragments.KindVideo {
		b.frames++
	}
}

// turn opens the bucket of now and empties those passed over.
func (m *meter) turn(now time.Time) {
	sec := now.Unix()
	for i := max(m.second+1, sec-int64(len(m.buckets))+1); i <= sec; i++ {
		m.buckets[i%int64(len(m.buckets))] = struct{ frames, bytes int64 }{}
	}
	m.second = max(m.second, sec)
}

// rates returns frames and bits per second over the full seconds before now.
func (m *meter) rates(now time.Time) (fps, bits float64) {
	m.turn(now)
	span := min(now.Unix()-m.started.Unix()-1, meterSeconds)
	if span < 1 {
		if d := now.Sub(m.started).Seconds(); d > 0.2 {
			b := m.buckets[m.second%int64(len(m.buckets))]
			return float64(b.frames) / d, float64(b.bytes*8) / d
		}
		return 0, 0
	}
	for i := m.second - span; i < m.second; i++ {
		b := m.buckets[i%int64(len(m.buckets))]
		fps += float64(b.frames)
		bits += float64(b.bytes * 8)
	}
	return fps / float64(span), bits / float64(span)
}
