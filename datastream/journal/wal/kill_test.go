package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
)

const (
	killRounds  = 12
	killWriters = 8
)

// killOptions make files, and so also trims and snapshots, small and frequent.
func killOptions() Options {
	return Options{MaxFileBytes: 1 << 20, SnapshotBytes: 16 << 10, ReserveBytes: -1}
}

// killPayload is what a writer's n-th entry holds, of a size that goes from
// nothing to many pages.
func killPayload(writer, n int) []byte {
	rng := rand.New(rand.NewPCG(uint64(writer), uint64(n)))
	size := rng.IntN(1 << rng.IntN(18))
	return bytes.Repeat(fmt.Appendf(nil, "%016x", rng.Uint64()), size/16+1)[:size]
}

// laneChild appends until it is killed. A line is an acknowledged entry (writer,
// number, frame, index) or a trim about to happen.
func laneChild(dir string, round int) error {
	l, err := Open(dir, killOptions())
	if err != nil {
		return err
	}
	next := make([]int, killWriters)
	for e, err := range l.Read(journal.Position{}) {
		if err != nil {
			return err
		}
		var w, n int
		fmt.Sscanf(e.Key, "%d/%d", &w, &n)
		next[w] = n + 1
	}
	ledger("ready")
	var all sync.WaitGroup
	for w := range killWriters {
		all.Go(func() { laneWriter(l, w, next[w], rand.New(rand.NewPCG(uint64(round), uint64(w)))) })
	}
	all.Wait()
	return nil
}

func laneWriter(l *Lane, w, n int, rng *rand.Rand) {
	for {
		entries := make([]journal.Shared, 1+rng.IntN(20))
		for i := range entries {
			entries[i] = journal.Shared{Key: fmt.Sprintf("%d/%d", w, n+i), Body: killPayload(w, n+i)}
		}
		if rng.IntN(4) > 0 {
			l.AppendShared(journal.Kind(w), entries)
		} else {
			for i := range entries {
				entries[i].Future = l.Append(journal.Kind(w), entries[i].Key, entries[i].Body)
			}
		}
		for _, e := range entries {
			p, err := e.Future.Wait(context.Background())
			if err != nil {
				ledger("error %v", err)
				return
			}
			ledger("ack %d %d %d %d", w, n, p.Frame, p.Index)
			n++
			if w == 0 && n%100 == 0 {
				p.Frame -= min(p.Frame, 20)
				ledger("trim %d", p.Frame)
				if err := l.Trim(p); err != nil {
					ledger("error %v", err)
				}
			}
		}
	}
}

type writerEntry struct{ writer, n int }

func TestKillLane(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	acked := map[writerEntry]journal.Position{}
	var trimmed uint64
	torn, total, reused := 0, 0, int64(0)
	for round := range killRounds {
		untilKilled(t, "lane", dir, round, time.Duration(20+rng.IntN(180))*time.Millisecond, func(f []string) {
			switch f[0] {
			case "ack":
				var e writerEntry
				var p journal.Position
				fmt.Sscan(fmt.Sprint(f[1], " ", f[2], " ", f[3], " ", f[4]), &e.writer, &e.n, &p.Frame, &p.Index)
				acked[e] = p
				total++
			case "trim":
				fmt.Sscan(f[1], &trimmed)
			}
		})
		l := mustOpen(t, dir, killOptions())
		if l.Stats().TornTail > 0 {
			torn++
		}
		reused += reusedFiles(l)
		checkLane(t, l, acked, trimmed)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("round %d, seed %d", round, seed)
		}
	}
	t.Logf("%d kills, seed %d: %d entries acknowledged, %d torn tails, %d reused files", killRounds, seed, total, torn, reused)
}

// checkLane wants every acknowledged entry that was not trimmed where it was
// acknowledged, no writer's entries out of order or with a hole, and all of
// them as they were written. What is not there, because trimmed, is forgotten.
func checkLane(t *testing.T, l *Lane, acked map[writerEntry]journal.Position, trimmed uint64) {
	t.Helper()
	last := map[int]int{}
	found := map[writerEntry]bool{}
	for e, err := range l.Read(journal.Position{}) {
		if err != nil {
			t.Fatal(err)
		}
		var k writerEntry
		fmt.Sscanf(e.Key, "%d/%d", &k.writer, &k.n)
		if n, seen := last[k.writer]; seen && k.n != n+1 {
			t.Errorf("writer %d: entry %d after %d", k.writer, k.n, n)
		}
		last[k.writer] = k.n
		if p, ok := acked[k]; ok && p != e.Position {
			t.Errorf("entry %v is at %v, was acknowledged at %v", k, e.Position, p)
		}
		if e.Kind != journal.Kind(k.writer) || !bytes.Equal(e.Payload, killPayload(k.writer, k.n)) {
			t.Errorf("entry %v is not what was written", k)
		}
		found[k] = true
	}
	for k, p := range acked {
		switch {
		case found[k]:
		case p.Frame >= trimmed:
			t.Errorf("entry %v, acknowledged at %v, is lost", k, p)
		default:
			delete(acked, k)
		}
	}
}

// A store's child makes, on each key, operations with growing numbers; every
// fifth deletes the key, all others put their number there.
const opsPerRound = 1_000_000

func deletes(op int) bool { return op%5 == 4 }

// metaChild changes keys until it is killed. A line is an acknowledged
// operation: key, number, revision.
func metaChild(dir string, round int) error {
	s, err := OpenMeta(dir, killOptions())
	if err != nil {
		return err
	}
	ledger("ready")
	var all sync.WaitGroup
	for w := range killWriters {
		for k := range 4 {
			all.Go(func() { metaWriter(s, fmt.Sprintf("%d/%d", w, k), round*opsPerRound) })
		}
		all.Go(func() { pairWriter(s, fmt.Sprintf("pair%d/", w), round*opsPerRound) })
	}
	all.Wait()
	return nil
}

func metaWriter(s *Store, key string, op int) {
	_, rev, err := s.Get(key)
	if errors.Is(err, journal.ErrAbsent) {
		err = nil
	}
	for ; err == nil; op++ {
		if deletes(op) && rev > 0 {
			err, rev = s.Delete(context.Background(), key, rev), 0
		} else {
			rev, err = s.Put(context.Background(), key, fmt.Appendf(nil, "%d %0200d", op, op), rev)
		}
		if err == nil {
			ledger("op %s %d %d", key, op, rev)
		}
	}
	ledger("error %v", err)
}

// pairWriter keeps two keys equal.
func pairWriter(s *Store, key string, op int) {
	_, rev, err := s.Get(key + "a")
	if errors.Is(err, journal.ErrAbsent) {
		err = nil
	}
	for ; err == nil; op++ {
		value := fmt.Appendf(nil, "%d", op)
		rev, err = s.Txn(context.Background(),
			journal.Change{Key: key + "a", Value: value, Expect: rev},
			journal.Change{Key: key + "b", Value: value, Expect: rev})
		if err == nil {
			ledger("op %sa %d %d", key, op, rev)
		}
	}
	ledger("error %v", err)
}

// acknowledged is the last operation on a key that its child heard of.
type acknowledged struct {
	op       int
	revision uint64
}

func TestKillMeta(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	state := map[string]acknowledged{} // what the check before found, or -1
	torn, total, snaps := 0, 0, map[string]bool{}
	for round := range killRounds {
		acked := map[string]acknowledged{}
		untilKilled(t, "meta", dir, round, time.Duration(20+rng.IntN(180))*time.Millisecond, func(f []string) {
			if f[0] == "op" {
				var a acknowledged
				fmt.Sscan(f[2]+" "+f[3], &a.op, &a.revision)
				acked[f[1]] = a
				total++
			}
		})
		for _, name := range namesIn(t, dir, snapSuffix) {
			snaps[name] = true
		}
		s := mustOpenMeta(t, dir, killOptions())
		if s.Stats().TornTail > 0 {
			torn++
		}
		checkMeta(t, s, round, acked, state)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("round %d, seed %d", round, seed)
		}
	}
	if len(snaps) < 2 {
		t.Errorf("only %d snapshots were seen: they were not tested", len(snaps))
	}
	t.Logf("%d kills, seed %d: %d changes acknowledged, %d torn tails, %d snapshots seen", killRounds, seed, total, torn, len(snaps))
}

// checkMeta wants on every key the last acknowledged operation of the round, or
// the one after it, which may have become durable unheard. With none
// acknowledged that is the state before, or the round's first operation.
func checkMeta(t *testing.T, s *Store, round int, acked, state map[string]acknowledged) {
	t.Helper()
	check := func(key string) {
		heard, any := acked[key]
		next := heard.op + 1
		if !any {
			next = round * opsPerRound
			if before, ok := state[key]; ok {
				heard = before
			} else {
				heard.op = -1 // never there
			}
		}
		value, rev, err := s.Get(key)
		if errors.Is(err, journal.ErrAbsent) {
			if !deletes(heard.op) && !deletes(next) && heard.op != -1 {
				t.Errorf("%s is lost: operation %d was acknowledged", key, heard.op)
			}
			state[key] = acknowledged{op: -1}
			return
		}
		var op int
		fmt.Sscan(string(value), &op)
		if op != next && (op != heard.op || rev != heard.revision) {
			t.Errorf("%s is at operation %d, revision %d; acknowledged was %d, %d", key, op, rev, heard.op, heard.revision)
		}
		if op == next && rev <= heard.revision {
			t.Errorf("%s: revision %d of operation %d, but %d was at %d", key, rev, op, heard.op, heard.revision)
		}
		state[key] = acknowledged{op, rev}
	}
	for w := range killWriters {
		for k := range 4 {
			check(fmt.Sprintf("%d/%d", w, k))
		}
		a, b := fmt.Sprintf("pair%d/a", w), fmt.Sprintf("pair%d/b", w)
		check(a)
		va, ra, _ := s.Get(a)
		vb, rb, _ := s.Get(b)
		if !bytes.Equal(va, vb) || ra != rb {
			t.Errorf("%s holds %q at %d, %s %q at %d: half a transaction", a, va, ra, b, vb, rb)
		}
	}
}
