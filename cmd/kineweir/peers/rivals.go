package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"
)

const recordSize = 1024

// The names of the loads.
const (
	rawDisk           = "raw: 4 MiB writes to a written file, fdatasync"
	engineBatches     = "engine: 16 x 500 x 1 KiB"
	engineSingles     = "engine: 256 x 1 x 1 KiB"
	engineSingle      = "engine: 1 x 1 x 1 KiB"
	jetStreamSingles  = "JetStream R1 sync always: 256 x 1 x 1 KiB"
	pebbleBatches     = "Pebble sync: 16 x 500 x 1 KiB"
	pebbleSingles     = "Pebble sync: 256 x 1 x 1 KiB"
	httpBatches       = "HTTP PutRecords: 8 x 500 x 1 KiB"
	httpSingles       = "HTTP PutRecord: 8 x 1 x 1 KiB"
	httpReads         = "HTTP GetRecords: 4 readers"
	httpPush          = "HTTP SubscribeToShard: put to push"
	kinesaliteBatches = "kinesalite PutRecords: 8 x 500 x 1 KiB"
	kinesaliteSingles = "kinesalite PutRecord: 8 x 1 x 1 KiB"
)

// raw writes 4 MiB and syncs, over and over in one file that was written before:
// what a log that recycles its files can at most reach.
func raw(ctx context.Context, b *bench) error {
	const chunk, chunks = 4 << 20, 32
	f, err := os.Create(filepath.Join(b.dir, "raw"))
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	buf := noise(chunk)
	for i := range chunks {
		if _, err := f.WriteAt(buf, int64(i*chunk)); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	i := 0
	return b.measure(ctx, rawDisk, 1, ownCPU, func(context.Context, int) (int, int64, error) {
		buf[i%chunk]++
		if _, err := f.WriteAt(buf, int64(i%chunks*chunk)); err != nil {
			return 0, 0, err
		}
		i++
		return chunk / recordSize, chunk, unix.Fdatasync(int(f.Fd()))
	})
}

// withJetStream runs an embedded server with a file-backed stream of one replica
// that syncs before it acknowledges, and 256 publishers that wait.
func withJetStream(ctx context.Context, b *bench) error {
	dir := filepath.Join(b.dir, "nats")
	defer os.RemoveAll(dir)
	s, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: dir, SyncAlways: true, NoLog: true, NoSigs: true})
	if err != nil {
		return err
	}
	go s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(10 * time.Second) {
		return fmt.Errorf("JetStream is not ready")
	}
	const conns = 16
	var js [conns]jetstream.JetStream
	for i := range js {
		nc, err := nats.Connect("", nats.InProcessServer(s))
		if err != nil {
			return err
		}
		defer nc.Close()
		if js[i], err = jetstream.New(nc); err != nil {
			return err
		}
	}
	if _, err := js[0].CreateStream(ctx, jetstream.StreamConfig{Name: "s", Subjects: []string{"s.*"}, Storage: jetstream.FileStorage, Replicas: 1}); err != nil {
		return err
	}
	body := noise(recordSize)
	return b.measure(ctx, jetStreamSingles, 256, ownCPU, func(ctx context.Context, w int) (int, int64, error) {
		_, err := js[w%conns].Publish(ctx, "s.a", body)
		return 1, recordSize, err
	})
}

func withPebble(ctx context.Context, b *bench) error {
	dir := filepath.Join(b.dir, "pebble")
	defer os.RemoveAll(dir)
	db, err := pebble.Open(dir, &pebble.Options{Logger: quiet{}})
	if err != nil {
		return err
	}
	defer db.Close()
	body := noise(recordSize)
	err = b.measure(ctx, pebbleSingles, 256, ownCPU, func(context.Context, int) (int, int64, error) {
		return 1, recordSize, db.Set(randomKey(), body, pebble.Sync)
	})
	if err != nil {
		return err
	}
	return b.measure(ctx, pebbleBatches, 16, ownCPU, func(context.Context, int) (int, int64, error) {
		batch := db.NewBatch()
		defer batch.Close()
		for range 500 {
			if err := batch.Set(randomKey(), body, nil); err != nil {
				return 0, 0, err
			}
		}
		return 500, 500 * recordSize, batch.Commit(pebble.Sync)
	})
}

// quiet is a log that says nothing.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

func randomKey() []byte {
	return fmt.Appendf(nil, "%016x%016x", rand.Uint64(), rand.Uint64())
}

// noise does not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
