package metrics

import (
	"net/http"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/web"
)

// Archive is asked for its figures; [archive.Archive] answers.
type Archive interface{ Stats() archive.Stats }

// Bucket is asked for its figures; [bucket.Measured] answers.
type Bucket interface{ Stats() bucket.Stats }

// Server is asked for its figures; [web.Server] answers.
type Server interface{ Stats() web.Stats }

// Hub knows who publishes now; [live.Hub] answers.
type Hub interface {
	Names() []fragments.StreamName
	Live(name fragments.StreamName) (*live.Publisher, error)
}

// Publisher is one who publishes now.
type Publisher struct {
	Stream fragments.StreamName
	Source ingest.Source
	Stats  ingest.Stats
}

// PublishersOf returns what lists the sessions.
func PublishersOf(s *ingest.Sessions) func() []Publisher {
	return func() []Publisher {
		var list []Publisher
		for _, ss := range s.List() {
			list = append(list, Publisher{ss.Name(), ss.Source(), ss.Stats()})
		}
		return list
	}
}

// Options are the parts that are asked. Any may be nil, and its figures are
// left out then.
type Options struct {
	Archive    Archive
	Bucket     Bucket
	Hub        Hub
	Publishers func() []Publisher
	// Server may be asked before there is one: the routes are made before it.
	Server func() Server
	// Extra write families of their own.
	Extra []func(*Writer)
	// Access returns why who sent a request may not read the figures, or nil.
	Access func(r *http.Request) error
	// Version of this program.
	Version string
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Metrics answers /metrics.
type Metrics struct {
	o       Options
	started time.Time
}

// New returns what answers /metrics.
func New(o Options) *Metrics {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Metrics{o: o, started: o.Now()}
}

// Routes returns the route.
func (m *Metrics) Routes() []web.Route {
	return []web.Route{{Pattern: "GET /metrics", Kind: web.Probe, Handler: m}}
}

// ServeHTTP answers with the figures of the moment.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m.o.Access != nil {
		if err := m.o.Access(r); err != nil {
			web.WriteError(w, err)
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(m.text())
}

// text collects everything once and writes it family by family.
func (m *Metrics) text() []byte {
	w := &Writer{b: make([]byte, 0, 16<<10)}
	m.build(w)
	process(w)
	runtimeFigures(w)
	if m.o.Server != nil {
		if s := m.o.Server(); s != nil {
			server(w, s.Stats())
		}
	}
	var kept archive.Stats
	if m.o.Archive != nil {
		kept = m.o.Archive.Stats()
		archived(w, kept)
	}
	m.streams(w, kept.Streams)
	if m.o.Bucket != nil {
		operations(w, m.o.Bucket.Stats())
	}
	for _, extra := range m.o.Extra {
		extra(w)
	}
	return w.Bytes()
}
