package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/archive/events"
	"github.com/kineweir/kineweir/archive/feed"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
	"github.com/kineweir/kineweir/datastream/journal/wal"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/ingest/rtsp"
	"github.com/kineweir/kineweir/playback/image"
	"github.com/kineweir/kineweir/web"
	"github.com/kineweir/kineweir/web/auth"
)

var _ ingest.Sink = (*archive.Writer)(nil)

// stopTimeout bounds an orderly stop; each step has what is left of it.
const stopTimeout = 15 * time.Second

// server is everything that runs, in the order in which it was started.
type server struct {
	config *Config
	log    *slog.Logger
	disk   vfs.FS // where the data folder is
	steps  []step

	users    *auth.Store
	catalog  *wal.Store
	bucket   *bucket.Measured
	archive  *archive.Archive
	hub      *live.Hub
	sessions *ingest.Sessions
	events   eventSink
	settings *settings
	images   *image.Maker
	records  records

	detections *events.Store
	pumps      []*events.Pump // what reads detections from data streams
	feed       *feed.Feed     // nil for none
	cameras    *cameras
	rtsp       *rtsp.Server
	webrtc     webRTC
	web        atomic.Pointer[web.Server] // /metrics may be asked before it is set
}

// step is one part's way to stop.
type step struct {
	name string
	stop func(ctx context.Context) error
}

// serve runs the server until ctx ends or a disk fails, and calls ready once
// every listener is up.
func serve(ctx context.Context, c *Config, log *slog.Logger, ready func(listening)) error {
	started := time.Now()
	for _, off := range c.dropTaken(ctx) {
		log.Warn(off)
	}
	s := &server{config: c, log: log, disk: vfs.OS{}}
	where, err := s.start(ctx)
	if err != nil {
		s.stop()
		return err
	}
	log.Info("ready", "http", where.HTTP, "rtsp", where.RTSP, "rtsps", where.RTSPS, "webrtc", where.WebRTC, "data", c.Data, "took", time.Since(started).Round(time.Millisecond))
	ready(where)
	select {
	case <-ctx.Done():
	case <-s.archive.Fatal():
		err = errors.New("the disk of the index has failed: nothing more can be recorded safely; see the log")
	case <-s.records.engine.Fatal():
		err = errors.New("the disk of the records has failed: nothing more can be kept safely; see the log")
	case <-s.detections.Fatal():
		err = errors.New("the disk of the detections has failed: nothing more can be kept safely; see the log")
	case <-s.catalog.Fatal():
		err = errors.New("the disk of the catalog has failed: nothing more can be recorded safely; see the log")
	}
	log.Info("stopping")
	s.stop()
	return err
}

// start starts everything from the disk up, listeners last, so that nothing
// comes in before there is a place for it. It stops in the opposite order:
// listeners, publishers, what they left to be written, the index.
func (s *server) start(ctx context.Context) (listening, error) {
	for _, start := range []func(context.Context) error{s.forgetful, s.openUsers, s.openRecords, s.openArchive, s.openFeed, s.openSettings, s.openSessions, s.openImages, s.openDetectors, s.openRTSP, s.openWebRTC, s.openWeb} {
		if err := start(ctx); err != nil {
			return listening{}, err
		}
	}
	return s.where(), nil
}

func (s *server) onStop(name string, stop func(ctx context.Context) error) {
	s.steps = append(s.steps, step{name, stop})
}

func (s *server) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	for i := len(s.steps) - 1; i >= 0; i-- {
		begun := time.Now()
		err := s.steps[i].stop(ctx)
		took := time.Since(begun).Round(time.Millisecond)
		if err != nil {
			s.log.Error("stopped", "part", s.steps[i].name, "took", took, "error", err)
		} else {
			s.log.Info("stopped", "part", s.steps[i].name, "took", took)
		}
	}
	s.steps = nil
}

func (s *server) openUsers(context.Context) error {
	c := s.config
	if err := os.MkdirAll(c.Data, 0o750); err != nil { // as the bucket in it
		return fmt.Errorf("data folder: %w", err)
	}
	var addrs []string
	for _, l := range c.listeners() {
		addrs = append(addrs, string(l.addr))
	}
	users, key, err := auth.Prepare(auth.Options{File: c.Auth.File, Addrs: addrs, Insecure: c.Auth.Insecure, DataDir: c.Data, Log: s.log})
	if err != nil {
		return err
	}
	s.users = users
	s.onStop("credentials", func(context.Context) error { users.Close(); return nil })
	if key != "" {
		fmt.Fprintf(os.Stderr, "\nThis server wants credentials, as others can reach it or auth.file names them.\n"+
			"They are in %s; the first user is %q, and this is its key, shown only now:\n\n    %s\n\n", users.File(), auth.FirstUser, key)
	}
	return nil
}

func (s *server) openArchive(ctx context.Context) error {
	c := s.config
	store, err := openBucket(c, s.log)
	if err != nil {
		return err
	}
	s.bucket = bucket.Measure(store)
	if s.catalog, err = wal.OpenMeta(filepath.Join(c.Data, "meta"), wal.Options{FS: s.disk, Logger: s.log}); err != nil {
		return fmt.Errorf("open the catalog: %w", s.damaged(s.locked(err), rebuildVideo))
	}
	s.onStop("catalog", func(context.Context) error { return s.catalog.Close() })
	s.archive, err = archive.Open(ctx, archive.Options{
		Dir: c.Data, FS: s.disk, Bucket: s.bucket, Meta: s.catalog,
		SealBytes: int64(c.Archive.SegmentSize), SealAge: time.Duration(c.Archive.SegmentAge), MaxSpoolBytes: int64(c.Archive.MaxSpool),
		Retention: archive.Retention{MaxAge: time.Duration(c.Archive.Retention.MaxAge), MaxBytes: int64(c.Archive.Retention.MaxBytes)},
		RetentionOf: func(name fragments.StreamName) (archive.Retention, bool) {
			age, bytes := c.retention(string(name))
			return archive.Retention{MaxAge: age, MaxBytes: bytes}, true
		},
		MinFree: int64(c.Archive.Retention.MinFree), Free: freeSpace(c),
		Logger: s.log,
	})
	if err != nil {
		return fmt.Errorf("open the archive: %w", s.damaged(err, rebuildVideo))
	}
	s.onStop("archive", s.archive.Close)
	return nil
}

func (s *server) openSessions(context.Context) error {
	f := s.config.Fragments
	s.hub = live.New()
	s.sessions = ingest.New(ingest.Options{
		Hub: s.hub, Sink: s.archive.Writer(), RefuseSecond: s.config.RTSP.SecondPublisher == "refuse",
		MaxSessions: s.config.Ingest.MaxPublishers, Keep: s.settings.keeping,
		Cut: fragments.FragmenterOptions{
			MinDuration: time.Duration(f.MinDuration), MaxDuration: time.Duration(f.MaxDuration),
			MaxBytes: int(f.MaxBytes), PartDuration: time.Duration(f.PartDuration),
			Encode: func(t *fragments.Track, sequence uint32, decodeTime int64, samples []fragments.Sample) []byte {
				return cmaf.AppendPart(nil, t, sequence, decodeTime, samples)
			},
		},
		Logger: s.log,
	})
	s.events.sessions.Store(s.sessions)
	s.onStop("publishers", func(context.Context) error { s.sessions.Close(); return nil })
	return nil
}
