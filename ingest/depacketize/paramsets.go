package depacketize

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/bluenviron/mediacommon/v2/pkg/bits"
)

// maxParamSets bounds the parameter sets kept of one track; real streams have
// two to ten.
const maxParamSets = 32

// paramSets are the parameter sets of an H264 or H265 track in force, in order of
// kind and id, so that they can stand before a key frame as they are.
type paramSets struct {
	kinds []byte // NAL unit types, in the order in which they refer to each other
	sets  []paramSet
	nalus [][]byte // the data of sets; replaced, never changed
}

type paramSet struct {
	kind byte
	id   uint32
	data []byte
}

// put adds or replaces a set and reports whether that changed anything.
func (p *paramSets) put(kind byte, id uint32, data []byte) (bool, error) {
	at, found := slices.BinarySearchFunc(p.sets, paramSet{kind: kind, id: id}, func(a, b paramSet) int {
		if a.kind != b.kind {
			return int(a.kind) - int(b.kind)
		}
		return int(int64(a.id) - int64(b.id))
	})
	switch {
	case found && bytes.Equal(p.sets[at].data, data):
		return false, nil
	case found:
		p.sets[at].data = bytes.Clone(data)
	case len(p.sets) == maxParamSets:
		return false, fmt.Errorf("more than %d parameter sets", maxParamSets)
	default:
		p.sets = slices.Insert(p.sets, at, paramSet{kind, id, bytes.Clone(data)})
	}
	p.nalus = make([][]byte, len(p.sets))
	for i := range p.sets {
		p.nalus[i] = p.sets[i].data
	}
	return true, nil
}

// has reports whether exactly this set is in force.
func (p *paramSets) has(data []byte) bool {
	return slices.ContainsFunc(p.sets, func(s paramSet) bool { return bytes.Equal(s.data, data) })
}

// params returns the first set of each kind, or nil when a kind is missing.
func (p *paramSets) params() [][]byte {
	first := make([][]byte, 0, len(p.kinds))
	for _, kind := range p.kinds {
		i := slices.IndexFunc(p.sets, func(s paramSet) bool { return s.kind == kind })
		if i < 0 {
			return nil
		}
		first = append(first, p.sets[i].data)
	}
	return first
}

// golomb reads the unsigned Exp-Golomb number that b begins with.
func golomb(b []byte) (uint32, error) {
	pos := 0
	return bits.ReadGolombUnsigned(b, &pos)
}

// hasRecoveryPoint reports whether the body of an SEI NAL unit (after its header)
// holds a recovery point (payload type 6 in H264 and in H265): decoding can start
// there although the frame is no IDR, as cameras with open groups of pictures or
// intra refresh want it.
func hasRecoveryPoint(body []byte) bool {
	const recoveryPoint = 6
	r := rbsp{b: body}
	for {
		kind, ok := r.varying()
		if !ok {
			return false
		}
		size, ok := r.varying()
		switch {
		case !ok:
			return false
		case kind == recoveryPoint:
			return size > 0
		case !r.skip(size):
			return false
		}
	}
}

// rbsp reads a NAL unit without its emulation prevention bytes.
type rbsp struct {
	b     []byte
	zeros int
}

func (r *rbsp) next() (byte, bool) {
	if r.zeros >= 2 && len(r.b) > 0 && r.b[0] == 3 {
		r.b, r.zeros = r.b[1:], 0
	}
	if len(r.b) == 0 {
		return 0, false
	}
	c := r.b[0]
	r.b = r.b[1:]
	if c == 0 {
		r.zeros++
	} else {
		r.zeros = 0
	}
	return c, true
}

// varying reads a number written as any count of 0xff and a last byte.
func (r *rbsp) varying() (n int, ok bool) {
	for {
		c, ok := r.next()
		if !ok {
			return 0, false
		}
		n += int(c)
		if c != 0xff {
			return n, true
		}
	}
}

func (r *rbsp) skip(n int) bool {
	for range n {
		if _, ok := r.next(); !ok {
			return false
		}
	}
	return true
}
