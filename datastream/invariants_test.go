package datastream

import (
	"fmt"
	"testing"
)

// checkTiles wants open shards without gap or overlap, and lineage that fits.
func checkTiles(t testing.TB, e *Engine, name string) {
	t.Helper()
	all := mustShards(t, e, name, "")
	byIndex := map[uint32]Shard{}
	m := map[HashKey]HashRange{}
	for _, sh := range all {
		byIndex[sh.Index] = sh
		if sh.Open() {
			m[sh.Range.Start] = sh.Range
		}
	}
	at := HashKey{}
	for range m {
		r, ok := m[at]
		if !ok {
			t.Fatalf("%s: no open shard begins at %v", name, at)
		}
		at = r.End.Add(1)
	}
	if at != (HashKey{}) {
		t.Fatalf("%s: open shards end before %v", name, at)
	}
	for _, sh := range all {
		for _, parent := range []uint32{sh.Parent, sh.AdjacentParent} {
			p, ok := byIndex[parent]
			if !ok {
				continue // none, or expired
			}
			if p.Open() || p.Closed.After(sh.Made) || p.First.String() >= sh.First.String() {
				t.Fatalf("%s: shard %d is no child of %+v", name, sh.Index, p)
			}
		}
	}
	s, err := e.Stream(name)
	if err != nil || s.Status != Active || s.OpenShards != len(m) {
		t.Fatalf("%s: %+v, %v; %d shards open", name, s, err, len(m))
	}
}

// readAll reads a stream from its beginning as a client does, parents before
// children, and returns the records in the order they came.
func readAll(t testing.TB, e *Engine, name string) (all []Record) {
	t.Helper()
	list := mustShards(t, e, name, "")
	parents := map[uint32]int{}
	byIndex := map[uint32]Shard{}
	for _, sh := range list {
		byIndex[sh.Index] = sh
	}
	var ready []uint32
	for _, sh := range list {
		for _, p := range []uint32{sh.Parent, sh.AdjacentParent} {
			if _, known := byIndex[p]; known {
				parents[sh.Index]++
			}
		}
		if parents[sh.Index] == 0 {
			ready = append(ready, sh.Index)
		}
	}
	read := 0
	for ; len(ready) > 0; read++ {
		shard := ready[0]
		ready = ready[1:]
		c := mustSeek(t, e, name, shard, Start{From: TrimHorizon})
		last := ""
		for {
			b := mustRead(t, e, name, c)
			for _, r := range b.Records {
				if s := r.Sequence.String(); s <= last {
					t.Fatalf("%s shard %d: %s after %s", name, shard, s, last)
				} else {
					last = s
				}
				if sh := byIndex[shard]; r.Arrived.Before(sh.Made) || !sh.Open() && r.Arrived.After(sh.Closed) {
					t.Fatalf("%s shard %d: arrived at %v, outside of %+v", name, shard, r.Arrived, byIndex[shard])
				}
			}
			all = append(all, b.Records...)
			if b.End {
				for _, child := range b.Children {
					if parents[child.Index]--; parents[child.Index] == 0 {
						ready = append(ready, child.Index)
					}
				}
				break
			}
			if len(b.Records) == 0 {
				break
			}
			c = b.Next
		}
	}
	if read != len(list) {
		t.Fatalf("%s: %d of %d shards can be reached", name, read, len(list))
	}
	return all
}

// checkSame wants exactly these records, by data, and each key's in the order
// they were put.
func checkSame(t testing.TB, got []Record, want []Put) {
	t.Helper()
	byKey := map[string][]string{}
	for _, p := range want {
		byKey[p.PartitionKey] = append(byKey[p.PartitionKey], string(p.Data))
	}
	have := map[string][]string{}
	for _, r := range got {
		have[r.PartitionKey] = append(have[r.PartitionKey], string(r.Data))
	}
	for key, list := range byKey {
		if fmt.Sprint(have[key]) != fmt.Sprint(list) {
			t.Fatalf("key %s: read %v, put %v", key, have[key], list)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("read %d records, put %d", len(got), len(want))
	}
}
