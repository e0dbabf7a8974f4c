package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
	"github.com/kineweir/kineweir/datastream/journal/wal"
	"github.com/kineweir/kineweir/datastream/segment"
)

// engineLoads measures the engine, its rivals and the bare disk by turns.
func engineLoads(ctx context.Context, b *bench) error {
	for round := range b.rounds {
		for _, part := range []func(context.Context, *bench) error{
			raw,
			func(ctx context.Context, b *bench) error { return withEngine(ctx, b, round) },
			withJetStream, withPebble,
		} {
			if err := part(ctx, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// coreLoads measures the engine and the bare disk by turns.
func coreLoads(ctx context.Context, b *bench) error {
	for round := range b.rounds {
		if err := raw(ctx, b); err != nil {
			return err
		}
		if err := withEngine(ctx, b, round); err != nil {
			return err
		}
	}
	return nil
}

// withEngine puts through the whole engine: partition hash, shard, lane, sealing.
func withEngine(ctx context.Context, b *bench, round int) error {
	dir := filepath.Join(b.dir, fmt.Sprint("engine", round))
	defer os.RemoveAll(dir)
	lane, err := wal.Open(filepath.Join(dir, "records"), wal.Options{})
	if err != nil {
		return err
	}
	defer lane.Close()
	meta, err := wal.OpenMeta(filepath.Join(dir, "streams"), wal.Options{})
	if err != nil {
		return err
	}
	defer meta.Close()
	store, err := segment.Open(ctx, segment.Options{Lane: lane, Meta: meta, FS: vfs.OS{}, Dir: filepath.Join(dir, "segments"), Keep: func(uint64) (time.Duration, bool) { return time.Hour, true }})
	if err != nil {
		return err
	}
	defer store.Close(context.WithoutCancel(ctx))
	engine, err := datastream.Open(ctx, datastream.Options{Log: store, Meta: meta, Limits: datastream.NoLimits()})
	if err != nil {
		return err
	}
	defer engine.Close(context.WithoutCancel(ctx))
	if err := engine.Create(ctx, datastream.CreateOptions{Name: "b", Shards: 16, Mode: datastream.Provisioned}); err != nil {
		return err
	}
	body := noise(recordSize)
	keys := make([]string, 4096)
	for i := range keys {
		keys[i] = fmt.Sprint("key ", i)
	}
	put := func(n int) load {
		return func(ctx context.Context, w int) (int, int64, error) {
			puts := make([]datastream.Put, n)
			for i := range puts {
				puts[i] = datastream.Put{PartitionKey: keys[(w*n+i)%len(keys)], Data: body}
			}
			_, err := engine.Put(ctx, "b", puts, datastream.PutOptions{})
			return n, int64(n * recordSize), err
		}
	}
	if err := warm(ctx, put(500)); err != nil {
		return err
	}
	for _, l := range []struct {
		name       string
		workers, n int
	}{{engineBatches, 16, 500}, {engineSingles, 256, 1}, {engineSingle, 1, 1}} {
		if err := b.measure(ctx, l.name, l.workers, ownCPU, put(l.n)); err != nil {
			return err
		}
	}
	return nil
}

// warmBytes is what fills the log's files once, so that they are written over
// from then on, as the file of the raw disk is.
const warmBytes = 1 << 30

func warm(ctx context.Context, put load) error {
	for done := int64(0); done < warmBytes; {
		_, size, err := put(ctx, 0)
		if err != nil {
			return err
		}
		done += size
	}
	return nil
}
