package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
	"github.com/kineweir/kineweir/datastream/journal/wal"
	"github.com/kineweir/kineweir/datastream/keyring"
	"github.com/kineweir/kineweir/datastream/segment"
)

// records are the parts that keep data streams.
type records struct {
	lane   *wal.Lane
	meta   *wal.Store
	store  *segment.Store
	engine *datastream.Engine
}

// openRecords opens the engine of data streams, from the disk up. With ephemeral
// the disk is memory.
func (s *server) openRecords(ctx context.Context) error {
	c := s.config
	disk := s.disk
	if c.Ephemeral {
		disk = vfs.NewMemory()
	}
	var err error
	r := &s.records
	files := wal.Options{FS: disk, Logger: s.log}
	// The catalog needs little room, and much can be freed by what it is told:
	// streams are deleted on a disk that takes no records any more.
	catalog := files
	catalog.ReserveBytes = 1 << 20
	if r.meta, err = wal.OpenMeta(filepath.Join(c.Data, "streams"), catalog); err != nil {
		return fmt.Errorf("open the catalog of data streams: %w", s.damaged(s.locked(err), giveUpRecords))
	}
	s.onStop("catalog of data streams", func(context.Context) error { return r.meta.Close() })
	log := files
	log.ReserveBytes = int64(c.Records.reserve())
	if r.lane, err = wal.Open(filepath.Join(c.Data, "records"), log); err != nil {
		return fmt.Errorf("open the log of records: %w", s.damaged(err, giveUpRecords))
	}
	s.onStop("log of records", func(context.Context) error { return r.lane.Close() })
	// The store asks the engine how long records are kept, and the engine reads
	// from the store: until there is an engine everything is kept.
	var engine atomic.Pointer[datastream.Engine]
	r.store, err = segment.Open(ctx, segment.Options{
		Lane: r.lane, Meta: r.meta, FS: disk, Dir: filepath.Join(c.Data, "segments"), MemBytes: int64(c.Records.Memory), Logger: s.log,
		Keep: func(stream uint64) (time.Duration, bool) {
			if e := engine.Load(); e != nil {
				return e.Keep(stream)
			}
			return datastream.MaxRetentionHours * time.Hour, true
		},
	})
	if err != nil {
		return fmt.Errorf("open the records: %w", s.damaged(err, giveUpRecords))
	}
	s.onStop("records", r.store.Close)
	keys, err := keyring.Open(filepath.Join(c.Data, "keys"), disk)
	if err != nil {
		return fmt.Errorf("open the key ring: %w", err)
	}
	r.engine, err = datastream.Open(ctx, datastream.Options{
		Log: r.store, Meta: r.meta, Keys: ring{keys}, Limits: c.recordLimits(), StateDelay: time.Duration(c.Records.StateDelay), Logger: s.log,
	})
	if err != nil {
		return fmt.Errorf("open the data streams: %w", err)
	}
	engine.Store(r.engine)
	s.onStop("data streams", r.engine.Close)
	return nil
}

// reserve is the free room that the log leaves on the disk: room to seal what is
// in memory, twice over. What is sealed is trimmed from the log, and that makes
// room again.
func (c RecordsConfig) reserve() size { return max(2*c.Memory, 64<<20) }

// locked says what to do about a folder that another server has.
func (s *server) locked(err error) error {
	if errors.Is(err, journal.ErrLocked) {
		return fmt.Errorf("data: another server is running on %s: stop it, or give this one a folder of its own with --data", s.config.Data)
	}
	return err
}

// What is left to do about damage when there is no copy of a file.
const (
	giveUpRecords    = "to go on without all records and streams, move the folders streams, records and segments out of %s"
	giveUpDetections = "to go on without the detections so far, move the folder events out of %s"
	rebuildVideo     = "make the index of video anew with \"kineweir archive rebuild --data %s\""
)

// damaged says what to do about files that do not read as they were written, or
// are gone.
func (s *server) damaged(err error, instead string) error {
	var damage *journal.CorruptError
	if errors.As(err, &damage) || errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; put back a copy of the data folder, or "+instead, err, s.config.Data)
	}
	return err
}

// recordLimits are those that the key limits names, with what is set beside it.
func (c *Config) recordLimits() datastream.Limits {
	l := datastream.NoLimits()
	if c.Limits == "aws" {
		l = datastream.AWSLimits()
	}
	l.ShardLimit = cmp.Or(c.Records.MaxShards, l.ShardLimit)
	l.OnDemandStreams = cmp.Or(c.Records.MaxOnDemandStreams, l.OnDemandStreams)
	l.ConsumersPerStream = cmp.Or(c.Records.MaxConsumers, l.ConsumersPerStream)
	return l
}

// ring is the key ring with the engine's words for what can be wrong.
type ring struct{ *keyring.Ring }

// Wrap makes a data key.
func (r ring) Wrap(keyID string) (dataKey, wrapped []byte, err error) {
	dataKey, wrapped, err = r.Ring.Wrap(keyID)
	return dataKey, wrapped, ringError(err)
}

// Unwrap gives a data key back.
func (r ring) Unwrap(keyID string, wrapped []byte) ([]byte, error) {
	dataKey, err := r.Ring.Unwrap(keyID, wrapped)
	return dataKey, ringError(err)
}

func ringError(err error) error {
	switch {
	case errors.Is(err, keyring.ErrUnknown):
		return fmt.Errorf("%w: %w", datastream.ErrKeyNotFound, err)
	case errors.Is(err, keyring.ErrName):
		return fmt.Errorf("%w: %w", datastream.ErrInvalid, err)
	case errors.Is(err, keyring.ErrDisabled):
		return fmt.Errorf("%w: %w", datastream.ErrKeyDisabled, err)
	}
	return err
}

// forgetful gives a server that keeps nothing a folder for its video, in memory
// where the system has such a place, which goes when the server stops.
func (s *server) forgetful(context.Context) error {
	if !s.config.Ephemeral {
		return nil
	}
	const shared = "/dev/shm"
	dir, err := os.MkdirTemp(shared, "kineweir-ephemeral-*")
	if err != nil {
		dir, err = os.MkdirTemp("", "kineweir-ephemeral-*")
	}
	if err != nil {
		return fmt.Errorf("make a folder for video that is not kept: %w", err)
	}
	if _, given := s.config.origin["data"]; given {
		s.log.Warn("the data folder is not used: with ephemeral nothing is kept", "data", s.config.Data)
	}
	s.config.Data, s.disk = dir, passing{}
	s.onStop("temporary folder", func(context.Context) error { return os.RemoveAll(dir) })
	return nil
}

// passing is the disk under a temporary folder: what is in it may go with the
// machine's power, which is what was asked for and no cause for a warning.
type passing struct{ vfs.OS }

// Kind tells package wal so.
func (passing) Kind(string) (string, error) { return "memory", nil }
