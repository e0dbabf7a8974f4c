package socket

import (
	"cmp"
	"errors"
	"net/http"
	"slices"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/web"
)

// place is where a reader is in a stream: the shards it has yet to finish, in
// the order of their indexes. It is changed only by who has the turn of the
// connection.
//
// A shard is read when no parent of it is in the place any more, so that what
// has the same partition key comes in the order in which it was put, across
// splits and merges. Indexes of shards only grow, and every new shard is cut
// from open ones, which are all in the place: so whatever has an index of seen
// or more is new, and belongs in it.
type place struct {
	stream uint64
	seen   uint32
	single bool
	list   []*station
}

// station is one shard of a place.
type station struct {
	shard   uint32
	parents [2]uint32        // NoShard for none
	next    journal.Position // zero: from the beginning
	running bool             // somebody reads it
}

// begin finds the place where a client wants to begin.
func begin(e Reader, s datastream.Stream, a ask) (*place, error) {
	p := &place{stream: s.ID}
	all, err := e.Shards(s.Name, datastream.ShardFilter{After: datastream.NoShard})
	if err != nil {
		return nil, err
	}
	switch {
	case a.from == fromToken:
		err = p.resume(s, all, a.token)
	case a.shard != datastream.NoShard:
		err = p.beginOne(e, s, all, a)
	default:
		err = p.beginAll(e, s, all, a)
	}
	if err == nil && len(p.list) > maxShards {
		err = tooManyShards()
	}
	return p, err
}

func tooManyShards() error {
	return badRequest("too_many_shards", "the stream has more than %d shards to read", "read them one by one, with shard=", maxShards)
}

func (p *place) resume(s datastream.Stream, all []datastream.Shard, t token) error {
	if t.stream != s.ID {
		return &web.Error{Status: http.StatusGone, Code: "other_stream", Message: "the stream of this token was deleted, and the one of this name is another", Hint: "begin with from=trim_horizon"}
	}
	p.seen, p.single = t.seen, t.single
	for _, m := range t.at {
		if i, ok := slices.BinarySearchFunc(all, m.shard, byIndex); ok {
			p.add(all[i], m.next)
		} // else it has expired: what was in it is gone
	}
	if !p.single {
		p.discover(all)
	}
	return nil
}

func byIndex(s datastream.Shard, index uint32) int { return cmp.Compare(s.Index, index) }

func (p *place) beginOne(e Reader, s datastream.Stream, all []datastream.Shard, a ask) error {
	i, ok := slices.BinarySearchFunc(all, a.shard, byIndex)
	if !ok {
		return &web.Error{Status: http.StatusNotFound, Code: "no_such_shard", Message: "the stream has no shard " + shardName(a.shard), Hint: "it may have expired; leave out shard to read all"}
	}
	c, err := e.Seek(s.Name, a.shard, a.start)
	if err != nil {
		return err
	}
	p.single, p.seen = true, a.shard+1
	p.add(all[i], c.Next)
	return nil
}

func (p *place) beginAll(e Reader, s datastream.Stream, all []datastream.Shard, a ask) error {
	for _, sh := range all {
		p.seen = max(p.seen, sh.Index+1)
		switch {
		case a.from == fromLatest && !sh.Open(), a.from == fromTime && !sh.Open() && sh.Closed.Before(a.start.Time):
			continue // all of it is older
		case len(p.list) > maxShards:
			return tooManyShards()
		}
		c, err := e.Seek(s.Name, sh.Index, a.start)
		if errors.Is(err, datastream.ErrNotFound) && len(all) > 1 {
			continue // expired just now
		}
		if err != nil {
			return err
		}
		p.add(sh, c.Next)
	}
	return nil
}

// add puts a shard into the place.
func (p *place) add(s datastream.Shard, next journal.Position) {
	i, there := slices.BinarySearchFunc(p.list, s.Index, func(st *station, index uint32) int { return cmp.Compare(st.shard, index) })
	if !there {
		p.list = slices.Insert(p.list, i, &station{shard: s.Index, parents: [2]uint32{s.Parent, s.AdjacentParent}, next: next})
	}
}

// discover adds the shards that are new, and takes away those that are not
// there any more and that nobody reads.
func (p *place) discover(all []datastream.Shard) {
	for _, s := range all {
		if s.Index >= p.seen {
			p.add(s, journal.Position{})
			p.seen = s.Index + 1
		}
	}
	p.list = slices.DeleteFunc(p.list, func(st *station) bool {
		_, there := slices.BinarySearchFunc(all, st.shard, byIndex)
		return !there && !st.running
	})
}

// done takes a shard away that has been read to its end.
func (p *place) done(st *station) {
	p.list = slices.DeleteFunc(p.list, func(o *station) bool { return o == st })
}

// ready returns the shards that can be read now and that nobody reads yet, and
// marks them as read.
func (p *place) ready() []*station {
	var list []*station
	for _, st := range p.list {
		if !st.running && !p.has(st.parents[0]) && !p.has(st.parents[1]) {
			st.running = true
			list = append(list, st)
		}
	}
	return list
}

func (p *place) has(shard uint32) bool {
	if shard == datastream.NoShard {
		return false
	}
	_, ok := slices.BinarySearchFunc(p.list, shard, func(st *station, index uint32) int { return cmp.Compare(st.shard, index) })
	return ok
}

// appendToken appends the resume token of the place.
func (p *place) appendToken(b []byte) []byte {
	t := token{stream: p.stream, seen: p.seen, single: p.single, at: make([]mark, len(p.list))}
	for i, st := range p.list {
		t.at[i] = mark{st.shard, st.next}
	}
	return t.append(b)
}

// shards returns the names of the shards in the place.
func (p *place) shards() []string {
	names := make([]string, len(p.list))
	for i, st := range p.list {
		names[i] = shardName(st.shard)
	}
	return names
}
