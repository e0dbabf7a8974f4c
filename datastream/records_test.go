package datastream

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
)

func TestPutRules(t *testing.T) {
	e := openEngine(t)
	mustCreate(t, e, "s", 2)
	if err := e.Create(t.Context(), CreateOptions{Name: "large", Shards: 1, MaxRecordKiB: 10240}); err != nil {
		t.Fatal(err)
	}
	if err := e.Create(t.Context(), CreateOptions{Name: "auto", Mode: OnDemand, AutoDistribution: true}); err != nil {
		t.Fatal(err)
	}
	data := func(n int) []byte { return make([]byte, n) }
	many := func(n, size int) (puts []Put) {
		for range n {
			puts = append(puts, Put{PartitionKey: "k", Data: data(size)})
		}
		return puts
	}
	now := time.Now().Unix()
	future := SequenceNumber{ShardMade: now, Index: IndexOf(journal.Position{Frame: 1}), Arrived: now + 10}.String()
	old := new(big.Int).Lsh(big.NewInt(1), 123).String()
	for _, test := range []struct {
		name   string
		stream string
		puts   []Put
		o      PutOptions
		want   error
	}{
		{"one", "s", many(1, 1), PutOptions{}, nil},
		{"no data", "s", many(1, 0), PutOptions{}, nil},
		{"500", "s", many(500, 1), PutOptions{}, nil},
		{"501", "s", many(501, 1), PutOptions{}, ErrInvalid},
		{"none", "s", nil, PutOptions{}, ErrInvalid},
		{"largest", "s", many(1, 1<<20-1), PutOptions{}, nil},
		{"too large with its key", "s", many(1, 1<<20), PutOptions{}, ErrInvalid},
		{"10 MiB together", "s", many(10, 1<<20-1), PutOptions{}, nil},
		{"more together", "s", append(many(10, 1<<20-1), many(1, 0)...), PutOptions{}, ErrInvalid},
		{"a large record", "large", many(1, 10<<20-1), PutOptions{}, nil},
		{"too large", "large", many(1, 10<<20), PutOptions{}, ErrInvalid},
		{"no key", "s", []Put{{Data: data(1)}}, PutOptions{}, ErrInvalid},
		{"no key, automatic", "auto", []Put{{Data: data(1)}}, PutOptions{}, nil},
		{"longest key", "s", []Put{{PartitionKey: strings.Repeat("語", 256)}}, PutOptions{}, nil},
		{"no stream", "none", many(1, 1), PutOptions{}, ErrNotFound},
		{"dry run", "s", many(2, 1), PutOptions{DryRun: true}, nil},
		{"after zero", "s", many(1, 1), PutOptions{After: "0"}, nil},
		{"after an older version", "s", many(1, 1), PutOptions{After: old}, nil},
		{"after what is to come", "s", many(1, 1), PutOptions{After: future}, ErrInvalid},
		{"after nonsense", "s", many(1, 1), PutOptions{After: "x"}, ErrInvalid},
		{"after a long number", "s", many(1, 1), PutOptions{After: strings.Repeat("9", 129)}, ErrInvalid},
	} {
		rs, err := e.Put(t.Context(), test.stream, test.puts, test.o)
		if !errors.Is(err, test.want) || err == nil && len(rs) != len(test.puts) {
			t.Errorf("%s: %d results, %v, want %v", test.name, len(rs), err, test.want)
		}
		for i, r := range rs {
			if r.Err != nil {
				t.Errorf("%s: record %d: %v", test.name, i, r.Err)
			}
		}
	}
	if n := len(readAll(t, e, "s")); n != 1+1+500+1+10+1+1+1 {
		t.Errorf("%d records", n)
	}
}

func TestRouting(t *testing.T) {
	e := openEngine(t)
	mustCreate(t, e, "s", 7)
	list := mustShards(t, e, "s", "")
	for i, sh := range list {
		for _, h := range []HashKey{sh.Range.Start, sh.Range.End, sh.Range.Start.Add(99)} {
			rs, err := e.Put(t.Context(), "s", []Put{{PartitionKey: "k", ExplicitHash: &h}}, PutOptions{})
			if err != nil || rs[0].Shard != uint32(i) {
				t.Errorf("%v went to shard %d, not %d: %v", h, rs[0].Shard, i, err)
			}
		}
	}
	for i := range 100 {
		key := fmt.Sprint("key", i)
		if r := mustPut(t, e, "s", key, ""); !list[r.Shard].Range.Has(HashOf(key)) {
			t.Errorf("%s went to shard %d", key, r.Shard)
		}
	}
	if err := e.Create(t.Context(), CreateOptions{Name: "auto", Mode: OnDemand, AutoDistribution: true}); err != nil {
		t.Fatal(err)
	}
	var counts [4]int
	for range 25 {
		rs, err := e.Put(t.Context(), "auto", []Put{{PartitionKey: "k"}, {PartitionKey: "k"}, {}, {}}, PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			counts[r.Shard]++
		}
	}
	if counts != [4]int{25, 25, 25, 25} {
		t.Errorf("spread as %v", counts)
	}
}

func TestSeekRules(t *testing.T) {
	e := openEngine(t)
	mustCreate(t, e, "s", 2)
	var h HashKey
	var rs []PutResult
	for i := range 5 {
		r, err := e.Put(t.Context(), "s", []Put{{PartitionKey: "k", ExplicitHash: &h, Data: []byte{byte(i)}}}, PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r...)
		time.Sleep(3 * time.Millisecond)
	}
	all := mustRead(t, e, "s", mustSeek(t, e, "s", 0, Start{From: TrimHorizon})).Records
	list := mustShards(t, e, "s", "")
	foreign := rs[1].Sequence
	foreign.ShardMade--
	era0 := rs[1].Sequence
	era0.Index &= 1<<56 - 1
	for _, test := range []struct {
		name  string
		shard uint32
		start Start
		from  int // index of the first record; 5 = none
		want  error
	}{
		{"horizon", 0, Start{From: TrimHorizon}, 0, nil},
		{"latest", 0, Start{From: Latest}, 5, nil},
		{"at", 0, Start{From: AtSequence, Sequence: rs[2].Sequence.String()}, 2, nil},
		{"after", 0, Start{From: AfterSequence, Sequence: rs[2].Sequence.String()}, 3, nil},
		{"after the last", 0, Start{From: AfterSequence, Sequence: rs[4].Sequence.String()}, 5, nil},
		{"at the shard's own", 0, Start{From: AtSequence, Sequence: list[0].First.String()}, 0, nil},
		{"after the shard's own", 0, Start{From: AfterSequence, Sequence: list[0].First.String()}, 0, nil},
		{"long ago", 0, Start{From: AtTimestamp, Time: time.Unix(1, 0)}, 0, nil},
		{"at a record's time", 0, Start{From: AtTimestamp, Time: all[3].Arrived}, 3, nil},
		{"just before it", 0, Start{From: AtTimestamp, Time: all[3].Arrived.Add(-time.Millisecond)}, 3, nil},
		{"just behind it", 0, Start{From: AtTimestamp, Time: all[3].Arrived.Add(time.Millisecond)}, 4, nil},
		{"now", 0, Start{From: AtTimestamp, Time: time.Now()}, 5, nil},
		{"to come", 0, Start{From: AtTimestamp, Time: time.Now().Add(time.Hour)}, 0, ErrInvalid},
		{"of another shard", 1, Start{From: AtSequence, Sequence: rs[2].Sequence.String()}, 0, ErrInvalid},
		{"of another stream", 0, Start{From: AtSequence, Sequence: foreign.String()}, 0, ErrInvalid},
		{"of no era", 0, Start{From: AtSequence, Sequence: era0.String()}, 0, ErrInvalid},
		{"nonsense", 0, Start{From: AtSequence, Sequence: "0"}, 0, ErrInvalid},
		{"nothing", 0, Start{From: AfterSequence}, 0, ErrInvalid},
		{"no start", 0, Start{From: "X"}, 0, ErrInvalid},
		{"no shard", 7, Start{From: TrimHorizon}, 0, ErrNotFound},
		{"horizon of an empty shard", 1, Start{From: TrimHorizon}, 5, nil},
		{"latest of an empty shard", 1, Start{From: Latest}, 5, nil},
		{"time in an empty shard", 1, Start{From: AtTimestamp, Time: time.Now().Add(-time.Minute)}, 5, nil},
	} {
		for _, closed := range []bool{false, true} {
			if closed && test.name == "no shard" {
				continue
			}
			c, err := e.Seek("s", test.shard, test.start)
			if !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", test.name, err, test.want)
			}
			if err != nil {
				break
			}
			b := mustRead(t, e, "s", c)
			if len(b.Records) != 5-test.from || len(b.Records) > 0 && b.Records[0].Data[0] != byte(test.from) {
				t.Errorf("%s: %d records from %v", test.name, len(b.Records), b.Records)
			}
			if test.from < 5 {
				again := mustRead(t, e, "s", c)
				if !slices.EqualFunc(b.Records, again.Records, func(x, y Record) bool { return x.Sequence == y.Sequence }) || again.Next != b.Next {
					t.Errorf("%s: another read differs", test.name)
				}
			}
		}
	}
	latest := mustSeek(t, e, "s", 0, Start{From: Latest})
	if _, err := e.SetShardCount(t.Context(), "s", 1); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Cursor{
		"from before": latest,
		"latest":      mustSeek(t, e, "s", 0, Start{From: Latest}),
		"its end":     mustSeek(t, e, "s", 0, Start{From: AtSequence, Sequence: mustShards(t, e, "s", "")[0].Last.String()}),
		"empty":       mustSeek(t, e, "s", 1, Start{From: Latest}),
	} {
		if err := e.Wait(timeout(t, 100), "s", c); err != nil {
			t.Errorf("closed shard, %s: %v", name, err)
		}
		if b := mustRead(t, e, "s", c); !b.End || len(b.Records) != 0 || len(b.Children) != 1 || b.Children[0].Index != 2 || b.Behind != 0 {
			t.Errorf("closed shard, %s: %+v", name, b)
		}
	}
}

func TestReadSizes(t *testing.T) {
	e := openEngine(t)
	mustCreate(t, e, "s", 1)
	began := time.Now()
	for i := range 30 {
		mustPut(t, e, "s", "k", string(bytes.Repeat([]byte{byte(i)}, 1000)))
	}
	time.Sleep(20 * time.Millisecond)
	start := mustSeek(t, e, "s", 0, Start{From: TrimHorizon})
	for _, test := range []struct {
		max, bytes, want int
		behind           bool
	}{
		{0, 0, 30, false},
		{1, 0, 1, true},
		{29, 0, 29, true},
		{30, 0, 30, false},
		{31, 0, 30, false},
		{0, 1, 1, true},
		{0, 5100, 5, true},
		{3, 5100, 3, true},
	} {
		c, n := start, 0
		for first := true; n < 30; first = false {
			b, err := e.Read(t.Context(), "s", c, test.max, test.bytes)
			if err != nil {
				t.Fatal(err)
			}
			if first && (len(b.Records) != test.want || (b.Behind > 0) != test.behind || b.Behind > time.Since(began)+time.Millisecond) {
				t.Errorf("%d, %d: %d records, behind %v", test.max, test.bytes, len(b.Records), b.Behind)
			}
			for _, r := range b.Records {
				if r.Data[0] != byte(n) {
					t.Fatalf("%d, %d: record %d is %d", test.max, test.bytes, n, r.Data[0])
				}
				n++
			}
			if c = b.Next; (b.Behind > 0) != (n < 30) || b.Continue != b.Records[len(b.Records)-1].Sequence {
				t.Errorf("%d, %d: behind %v after %d", test.max, test.bytes, b.Behind, n)
			}
		}
	}
	// What is not encrypted is not copied.
	a, b := mustRead(t, e, "s", start), mustRead(t, e, "s", start)
	if &a.Records[3].Data[0] != &b.Records[3].Data[0] {
		t.Error("two reads have two copies")
	}
}

func TestShardFilters(t *testing.T) {
	bubble(t, nil, func(t *testing.T, _ *ground, e *Engine) {
		mustCreate(t, e, "s", 2)
		made := time.Now()
		time.Sleep(time.Hour)
		if _, err := e.SetShardCount(t.Context(), "s", 1); err != nil {
			t.Fatal(err)
		}
		merged := time.Now()
		time.Sleep(time.Hour)
		if err := e.Split(t.Context(), "s", 2, HashKey{1 << 62, 0}); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			f    ShardFilter
			want string
		}{
			{ShardFilter{After: NoShard}, "[0 1 2 3 4]"},
			{ShardFilter{After: 1}, "[2 3 4]"},
			{ShardFilter{After: 9}, "[]"},
			{ShardFilter{Kind: ShardsAfterID, After: 2}, "[3 4]"},
			{ShardFilter{Kind: ShardsFromTrimHorizon, After: NoShard}, "[0 1 2 3 4]"},
			{ShardFilter{Kind: ShardsAtTrimHorizon, After: NoShard}, "[0 1]"},
			{ShardFilter{Kind: ShardsAtLatest, After: NoShard}, "[3 4]"},
			{ShardFilter{Kind: ShardsAtLatest, After: 3}, "[4]"},
			{ShardFilter{Kind: ShardsAtTimestamp, After: NoShard, Time: made.Add(time.Minute)}, "[0 1]"},
			{ShardFilter{Kind: ShardsAtTimestamp, After: NoShard, Time: made.Add(-time.Minute)}, "[0 1]"},
			{ShardFilter{Kind: ShardsAtTimestamp, After: NoShard, Time: merged.Add(time.Minute)}, "[2]"},
			{ShardFilter{Kind: ShardsAtTimestamp, After: NoShard, Time: time.Now().Add(time.Minute)}, "[3 4]"},
			{ShardFilter{Kind: ShardsFromTimestamp, After: NoShard, Time: merged.Add(time.Minute)}, "[2 3 4]"},
			{ShardFilter{Kind: ShardsFromTimestamp, After: NoShard, Time: time.Unix(0, 0)}, "[0 1 2 3 4]"},
		} {
			list, err := e.Shards("s", test.f)
			got := []uint32{}
			for _, sh := range list {
				got = append(got, sh.Index)
			}
			if err != nil || fmt.Sprint(got) != test.want {
				t.Errorf("%+v: %v, %v, want %s", test.f, got, err, test.want)
			}
		}
		_, err := e.Shards("s", ShardFilter{Kind: "X"})
		wantKind(t, err, ErrInvalid)
		time.Sleep(22*time.Hour + time.Minute)
		list := mustShards(t, e, "s", ShardsAtTrimHorizon)
		if len(list) != 2 || list[0].Index != 0 {
			t.Errorf("open at the horizon: %+v", list)
		}
		time.Sleep(time.Hour)
		if list = mustShards(t, e, "s", ShardsAtTrimHorizon); len(list) != 1 || list[0].Index != 2 {
			t.Errorf("open at the horizon an hour later: %+v", list)
		}
	})
}

// TestFullLog: what the log refuses is refused record by record.
func TestFullLog(t *testing.T) {
	g := newGround(t)
	e := g.open(t)
	mustCreate(t, e, "s", 1)
	g.lane.(*memoryLane).refuse = journal.ErrFull
	rs, err := e.Put(t.Context(), "s", []Put{{PartitionKey: "a"}, {PartitionKey: "b"}}, PutOptions{Batch: true})
	if err != nil || !errors.Is(rs[0].Err, ErrUnavailable) || !errors.Is(rs[1].Err, ErrUnavailable) {
		t.Error(rs, err)
	}
	g.lane.(*memoryLane).refuse = nil
	mustPut(t, e, "s", "a", "")
	e.Figures(func(name string, f StreamFigures) {
		if name != "s" || f.PutRecordsFailedRecords != 2 || f.PutRecords.Calls != 1 || f.PutRecords.Success != 0 || f.PutRecord.Success != 1 || f.IncomingRecords != 1 {
			t.Errorf("%+v", f)
		}
	})
}

// TestClockBack: stamps never go back, not even when the clock did, over a
// restart, and a number read is the number that put returned.
func TestClockBack(t *testing.T) {
	g := newGround(t)
	e := g.open(t)
	mustCreate(t, e, "s", 1)
	mustPut(t, e, "s", "a", "0")
	s, _ := e.find("s")
	s.arrived += time.Hour.Milliseconds() // the clock was ahead
	put := []PutResult{mustPut(t, e, "s", "a", "1"), mustPut(t, e, "s", "a", "2")}
	if err := e.Split(t.Context(), "s", 0, HashKey{1 << 63, 0}); err != nil {
		t.Fatal(err)
	}
	g.close(t)
	e = g.open(t)
	put = append(put, mustPut(t, e, "s", "a", "3"))
	all := readAll(t, e, "s")
	for i, r := range all[1:] {
		if r.Sequence != put[i].Sequence || r.Arrived.Before(all[i].Arrived) {
			t.Errorf("record %d: %+v after %v, put as %+v", i+1, r, all[i].Arrived, put[i].Sequence)
		}
	}
	if len(all) != 4 {
		t.Errorf("%d records", len(all))
	}
}

// TestPutGroupsByShard: the records that a put has for a shard lie one behind the
// other in the log, in their order, and each result tells of its own record.
func TestPutGroupsByShard(t *testing.T) {
	e := openEngine(t)
	mustCreate(t, e, "s", 4)
	puts := make([]Put, 100)
	for i := range puts {
		puts[i] = Put{PartitionKey: fmt.Sprint("key ", i), Data: fmt.Append(nil, i)}
	}
	results, err := e.Put(t.Context(), "s", puts, PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for i, r := range results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		found[r.Sequence.String()] = string(puts[i].Data)
	}
	slices.SortFunc(results, func(a, b PutResult) int { return cmp.Compare(a.Sequence.Index, b.Sequence.Index) })
	shards := slices.CompactFunc(results, func(a, b PutResult) bool { return a.Shard == b.Shard })
	if len(shards) != 4 {
		t.Errorf("in the log stand %d runs of records of 4 shards", len(shards))
	}
	for shard := range uint32(4) {
		for _, r := range mustRead(t, e, "s", mustSeek(t, e, "s", shard, Start{From: TrimHorizon})).Records {
			if sequence := r.Sequence.String(); found[sequence] != string(r.Data) {
				t.Errorf("%s reads %q, and was given for %q", sequence, r.Data, found[sequence])
			}
			delete(found, r.Sequence.String())
		}
	}
	if len(found) > 0 {
		t.Errorf("not read: %v", found)
	}
}
