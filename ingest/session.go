package ingest

import (
	"github.com/kineweir/kineweir/fragments"
)

// Source describes who publishes, for the log, the API and the metrics.
type Source struct {
	Protocol string // "rtsp", "rtsp-pull", "whip"
	Remote   string // address of the other side
	User     string // "" when not authenticated
}

// Sessions owns the sessions of all streams.
type Sessions struct{}

// Session is one publisher's right to feed one stream.
type Session struct{}

// Publish opens a session. With the policy newest-wins (the default) an
// earlier session of the same stream ends first: its kicked function is called
// once, from another goroutine, with the reason.
func (s *Sessions) Publish(name fragments.StreamName, tracks []*fragments.Track, src Source, kicked func(reason error)) (*Session, error) {
	return nil, nil
}

// Write feeds one access unit. It is called by one goroutine and never waits for disk or network.
func (s *Session) Write(au *fragments.AccessUnit) {}

// Lost counts n packets that the transport lost, for the metrics.
func (s *Session) Lost(n uint64) {}

// Jitter reports the interarrival jitter of a track in seconds (RFC 3550 section 6.4.1).
func (s *Session) Jitter(track int, seconds float64) {}

// Close ends the session; what is open is closed as a fragment and committed.
// It returns when that is done. Closing twice is fine.
func (s *Session) Close(reason error) {}
