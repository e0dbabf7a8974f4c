package rtsp

import (
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/ingest/depacketize"
)

// Session is where the access units of one publisher go; *[ingest.Session] is one.
type Session = depacketize.Session

// PublishFunc opens a session, as [ingest.Sessions.Publish] does: kicked is called
// once, from another goroutine, when somebody else takes the stream over.
type PublishFunc func(name fragments.StreamName, tracks []*fragments.Track, src ingest.Source, kicked func(reason error)) (Session, error)

// PublishTo publishes to s.
func PublishTo(s *ingest.Sessions) PublishFunc {
	return func(name fragments.StreamName, tracks []*fragments.Track, src ingest.Source, kicked func(reason error)) (Session, error) {
		session, err := s.Publish(name, tracks, src, kicked)
		if err != nil {
			return nil, err // not a nil *ingest.Session in an interface
		}
		return session, nil
	}
}
