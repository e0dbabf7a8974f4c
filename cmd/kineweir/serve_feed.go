package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/kineweir/kineweir/archive/events"
	"github.com/kineweir/kineweir/archive/feed"
	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/web/metrics"
)

// openFeed starts what goes from the archive into a data stream, and what comes
// from data streams into the archive.
func (s *server) openFeed(ctx context.Context) error {
	c := s.config
	var err error
	s.detections, err = events.Open(ctx, events.Options{Dir: filepath.Join(c.Data, "events"), FS: s.disk, Bucket: s.bucket, Videos: s.archive, Log: s.log})
	if err != nil {
		return fmt.Errorf("open the detections: %w", s.damaged(s.locked(err), giveUpDetections))
	}
	s.onStop("detections", s.detections.Close)
	from := recordStream{s.records.engine}
	names := []string{c.Events.Stream, c.Feed.Stream}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if name == "" {
			continue
		}
		pump, err := events.NewPump(events.PumpOptions{Source: from, Store: s.detections, Stream: name, Seen: s.events.seen, Log: s.log})
		if err != nil {
			return fmt.Errorf("read detections from %s: %w", name, err)
		}
		s.pumps = append(s.pumps, pump)
		s.onStop("reader of detections from "+name, pump.Close)
	}
	if c.Feed.Stream == "" {
		return nil
	}
	s.feed, err = feed.New(ctx, feed.Options{Archive: s.archive, Target: from, Stream: c.Feed.Stream, Meta: s.catalog, Log: s.log})
	if err != nil {
		return fmt.Errorf("feed %s: %w", c.Feed.Stream, err)
	}
	s.onStop("feed", s.feed.Close)
	return nil
}

// feedFigures are those for /metrics.
func (s *server) feedFigures() []func(*metrics.Writer) {
	figures := []func(*metrics.Writer){metrics.DetectionFigures(s.detections.Stats, func() (all []events.PumpStats) {
		for _, p := range s.pumps {
			all = append(all, p.Stats())
		}
		return all
	})}
	if s.feed != nil {
		figures = append(figures, metrics.FeedFigures(s.feed.Stats))
	}
	return figures
}

// recordStream is the engine as those see it who write or read whole streams.
type recordStream struct{ engine *datastream.Engine }

// Ensure makes a stream unless there is one, and returns once it takes records.
func (r recordStream) Ensure(ctx context.Context, name string) error {
	for {
		stream, err := r.engine.Stream(name)
		if errors.Is(err, datastream.ErrNotFound) {
			err = r.engine.Create(ctx, datastream.CreateOptions{Name: name, Shards: 1, Mode: datastream.Provisioned})
			if err == nil || errors.Is(err, datastream.ErrInUse) {
				continue
			}
		}
		if err != nil || stream.Status == datastream.Active || stream.Status == datastream.Updating {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Put returns once the record is durable.
func (r recordStream) Put(ctx context.Context, stream, partitionKey string, data []byte) error {
	out, err := r.engine.Put(ctx, stream, []datastream.Put{{PartitionKey: partitionKey, Data: data}}, datastream.PutOptions{})
	if err != nil {
		return err
	}
	return out[0].Err
}

// Shards lists all shards that have records.
func (r recordStream) Shards(_ context.Context, stream string) ([]datastream.Shard, error) {
	return r.engine.Shards(stream, datastream.ShardFilter{After: datastream.NoShard})
}

// Open begins to read a shard.
func (r recordStream) Open(_ context.Context, stream string, shard uint32, start datastream.Start) (events.Reader, error) {
	at, err := r.engine.Seek(stream, shard, start)
	if err != nil {
		return nil, err
	}
	return &shardReader{engine: r.engine, stream: stream, at: at}, nil
}

// shardReader reads one shard.
type shardReader struct {
	engine *datastream.Engine
	stream string
	at     datastream.Cursor
}

const (
	readRecords = 1000
	readBytes   = 1 << 20
)

// Next waits for records and returns some.
func (r *shardReader) Next(ctx context.Context) (records []datastream.Record, end bool, err error) {
	for {
		if err := r.engine.Wait(ctx, r.stream, r.at); err != nil {
			return nil, false, err
		}
		b, err := r.engine.Read(ctx, r.stream, r.at, readRecords, readBytes)
		if err != nil {
			return nil, false, err
		}
		r.at = b.Next
		if len(b.Records) > 0 || b.End {
			return b.Records, b.End, nil
		}
	}
}
