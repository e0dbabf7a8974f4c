package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kineweir/kineweir/archive/events"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/wal"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/playback/detect"
	"github.com/kineweir/kineweir/web/api"
)

// eventSink tells publishers of detections, for streams that are recorded around
// events only. Detections are read before there can be publishers.
type eventSink struct {
	sessions atomic.Pointer[ingest.Sessions]
}

func (e *eventSink) seen(list []events.Detection) {
	sessions := e.sessions.Load()
	if sessions == nil {
		return
	}
	for i := range list {
		d := &list[i]
		to := d.Time // a moment
		if d.End.After(to) {
			to = d.End
		}
		sessions.Keep(d.Camera, d.Time, to)
	}
}

// openSettings reads how streams are recorded and watched. Whoever publishes or
// watches comes later.
func (s *server) openSettings(context.Context) error {
	dir := filepath.Join(s.config.Data, "settings")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.Chmod(dir, 0o700)); err != nil {
		return fmt.Errorf("open the settings: %w", err) // The passwords of cameras are in there.
	}
	store, err := wal.OpenMeta(dir, wal.Options{FS: s.disk, Logger: s.log})
	if err != nil {
		return fmt.Errorf("open the settings: %w", err)
	}
	s.onStop("settings", func(context.Context) error { return store.Close() })
	s.settings = &settings{fixed: s.config.Streams, store: store, set: map[fragments.StreamName]api.StreamSettings{}}
	for item := range store.List(settingsPrefix) {
		name := fragments.StreamName(strings.TrimPrefix(item.Key, settingsPrefix))
		var r settingsRecord
		if err := json.Unmarshal(item.Value, &r); err != nil {
			s.log.Error("settings of a stream cannot be read", "stream", string(name), "error", err)
			continue
		}
		s.settings.set[name] = api.StreamSettings{
			EventsOnly: r.EventsOnly, Before: r.Before, After: r.After, Late: r.Late, Detect: detect.Settings{Motion: r.Motion, External: r.External},
		}
	}
	for name, c := range s.config.Streams { // the config file counts
		s.settings.set[fragments.StreamName(name)] = c.settings()
	}
	return nil
}

// openDetectors starts what looks at cameras.
func (s *server) openDetectors(context.Context) error {
	if s.config.Events.Stream != "" {
		all, err := detect.New(detect.Options{
			Hub: s.hub, Pictures: s.images, Records: detectorRecords{recordStream{s.records.engine}}, Stream: s.config.Events.Stream, Log: s.log,
		})
		if err != nil {
			return err
		}
		s.settings.detectors = all
		s.onStop("detectors", func(context.Context) error { all.Close(); return nil })
	}
	s.settings.sessions = s.sessions
	for name := range s.settings.set {
		if err := s.settings.apply(name); err != nil {
			s.log.Error("stream cannot be watched as it is set", "stream", string(name), "error", err)
		}
	}
	return nil
}

// detectorRecords makes the stream of detections when the first one comes, so
// that a new server has no streams.
type detectorRecords struct{ to recordStream }

// Put implements detect.Records.
func (r detectorRecords) Put(ctx context.Context, stream, key string, data []byte) error {
	if err := r.to.Ensure(ctx, stream); err != nil {
		return err
	}
	return r.to.Put(ctx, stream, key, data)
}

// settings are those of streams: of the config file, which stay as they are
// there, and those set through the API, which are kept in a store.
type settings struct {
	fixed     map[string]Stream
	store     journal.Meta
	detectors *detect.Detectors // nil: there is no stream for what they say
	sessions  *ingest.Sessions

	changing sync.Mutex // so that what counts is what is kept

	mu  sync.Mutex // guards the field below
	set map[fragments.StreamName]api.StreamSettings
}

var _ api.Settings = (*settings)(nil)

const settingsPrefix = "stream/"

// settingsRecord is how settings are kept.
type settingsRecord struct {
	Version    int              `json:"v"`
	EventsOnly bool             `json:"events_only,omitempty"`
	Before     time.Duration    `json:"before,omitempty"`
	After      time.Duration    `json:"after,omitempty"`
	Late       time.Duration    `json:"late,omitempty"`
	Motion     *detect.Motion   `json:"motion,omitempty"`
	External   *detect.External `json:"external,omitempty"`
}

// settings returns what the config file says of a stream.
func (c Stream) settings() api.StreamSettings {
	around := func(d *duration) time.Duration {
		if d == nil {
			return aroundEvent
		}
		return time.Duration(*d)
	}
	s := api.StreamSettings{
		EventsOnly: c.Record == "events", Before: around(c.Before), After: around(c.After), Detect: c.detectors(), Fixed: true,
	}
	if c.Late != nil {
		s.Late = time.Duration(*c.Late)
	}
	return s
}

// detectors returns what the config file says of the detectors of a stream.
func (c Stream) detectors() (s detect.Settings) {
	if m := c.Motion; m.Enabled {
		s.Motion = &detect.Motion{Sensitivity: m.Sensitivity, FPS: m.FPS, Quiet: time.Duration(m.Quiet), Zones: m.Zones}
	}
	if d := c.Detector; d.URL != "" || len(d.Command) > 0 {
		s.External = &detect.External{
			Name: d.Name, URL: d.URL, Command: d.Command, FPS: d.FPS, Width: d.Width, Height: d.Height,
			Timeout: time.Duration(d.Timeout), MinScore: d.MinScore, Sure: d.Sure, Quiet: time.Duration(d.Quiet),
		}
	}
	return s
}

// apply has the settings of a stream count from now on.
func (s *settings) apply(name fragments.StreamName) error {
	s.sessions.KeepAnew(name)
	set := s.Get(name).Detect
	if s.detectors != nil {
		return s.detectors.Set(name, set)
	}
	if set != (detect.Settings{}) {
		return errNoEvents
	}
	return nil
}

var errNoEvents = errors.New("detectors have nowhere to tell what they see: set events.stream")

// Get implements api.Settings.
func (s *settings) Get(name fragments.StreamName) api.StreamSettings {
	s.mu.Lock()
	defer s.mu.Unlock()
	set, ok := s.set[name]
	if !ok {
		return api.StreamSettings{Before: aroundEvent, After: aroundEvent}
	}
	return set
}

// Set implements api.Settings: it keeps the settings first, so that what counts
// counts after a restart too.
func (s *settings) Set(ctx context.Context, name fragments.StreamName, set api.StreamSettings) error {
	if _, fixed := s.fixed[string(name)]; fixed {
		return api.ErrFixedSettings
	}
	value, err := json.Marshal(settingsRecord{
		Version: 1, EventsOnly: set.EventsOnly, Before: set.Before, After: set.After, Late: set.Late, Motion: set.Detect.Motion, External: set.Detect.External,
	})
	if err != nil {
		return fmt.Errorf("keep the settings of %s: %w", name, err)
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	revision, err := revisionOf(s.store, settingsPrefix+string(name))
	if err == nil {
		_, err = s.store.Put(ctx, settingsPrefix+string(name), value, revision)
	}
	if err != nil {
		return fmt.Errorf("keep the settings of %s: %w", name, err)
	}
	s.mu.Lock()
	s.set[name] = set
	s.mu.Unlock()
	return s.apply(name)
}

// Delete implements api.Settings.
func (s *settings) Delete(ctx context.Context, name fragments.StreamName) error {
	if _, fixed := s.fixed[string(name)]; fixed {
		return api.ErrFixedSettings
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	revision, err := revisionOf(s.store, settingsPrefix+string(name))
	if err == nil && revision > 0 {
		err = s.store.Delete(ctx, settingsPrefix+string(name), revision)
	}
	if err != nil {
		return fmt.Errorf("forget the settings of %s: %w", name, err)
	}
	s.mu.Lock()
	delete(s.set, name)
	s.mu.Unlock()
	return s.apply(name)
}

// Detectors implements api.Settings.
func (s *settings) Detectors(name fragments.StreamName) []detect.Status {
	return slices.DeleteFunc(s.list(), func(d detect.Status) bool { return d.Camera != name })
}

// list returns how all detectors fare.
func (s *settings) list() []detect.Status {
	if s.detectors == nil {
		return nil
	}
	return s.detectors.List()
}

// keeping tells which streams are recorded around events only.
func (s *settings) keeping(name fragments.StreamName) (ingest.Keeping, bool) {
	set := s.Get(name)
	return ingest.Keeping{Before: set.Before, After: set.After, Late: lateness(set)}, set.EventsOnly
}

// lateness returns how late detections of a stream may come: as it is set, or as
// late as the detector that is set may be, 0 for the default.
func lateness(set api.StreamSettings) time.Duration {
	if set.Late > 0 || set.Detect.External == nil {
		return set.Late
	}
	return min(max(set.Detect.External.SureAfter(), aroundEvent), maxAround)
}

// revisionOf returns that of a key in a store, 0 when it is not there.
func revisionOf(store journal.Meta, key string) (uint64, error) {
	_, revision, err := store.Get(key)
	if errors.Is(err, journal.ErrAbsent) {
		return 0, nil
	}
	return revision, err
}
