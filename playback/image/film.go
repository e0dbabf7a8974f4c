package image

import (
	"cmp"
	"slices"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

// Times in a film are not those of the stream: frames are numbered, so that the
// number of a picture is that of its frame. A second of filmScale ticks has 25,
// which no decoder finds odd.
const (
	filmScale = 1000
	filmStep  = 40
)

// film is what one process is fed: some shots of one configuration, one after
// the other, as an MP4 file.
type film struct {
	data []byte
	// wanted are the presentation times of the frames that are wanted, one for
	// each shot.
	wanted []int64
}

// newFilm writes the film of shots, which have the same track. Those next to
// each other that begin with the same frame are written once.
func newFilm(shots []*shot) (*film, error) {
	track := *shots[0].track
	track.TimeScale = filmScale
	init, err := cmaf.InitSegment(&track)
	if err != nil {
		return nil, err
	}
	scenes := scenesOf(shots)
	size, late := len(init), 0
	for _, s := range scenes {
		for i, rank := range s.ranks {
			late = max(late, i-rank) // no frame may be shown before it is decoded
			size += s.frames[i].size() + 32
		}
		size += 256
	}
	f := &film{data: append(make([]byte, 0, size), init...)}
	at := 0
	for n, s := range scenes {
		samples := make([]fragments.Sample, len(s.frames))
		for i := range s.frames {
			samples[i] = fragments.Sample{
				Duration: filmStep, Offset: uint32(s.ranks[i]-i+late) * filmStep,
				Key: s.frames[i].key, Payload: s.frames[i].payload,
			}
		}
		f.data = cmaf.AppendPart(f.data, packing(&track, shots[0].stored), uint32(n+1), int64(at)*filmStep, samples)
		for _, target := range s.targets {
			f.wanted = append(f.wanted, int64(at+s.ranks[target]+late)*filmStep)
		}
		at += len(s.frames)
	}
	return f, nil
}

// scene is what is decoded from one key frame on.
type scene struct {
	frames  []frame
	ranks   []int
	targets []int // the frames that are wanted, one for each shot
}

func scenesOf(shots []*shot) (scenes []*scene) {
	for i, s := range shots {
		if i == 0 || !shots[i-1].begins(s) {
			scenes = append(scenes, &scene{})
		}
		last := scenes[len(scenes)-1]
		last.targets = append(last.targets, len(s.frames)-1)
		if len(s.frames) > len(last.frames) {
			last.frames = s.frames
		}
	}
	for _, s := range scenes {
		s.ranks = ranks(s.frames)
	}
	return scenes
}

// packing returns the track by which payloads are written: what is stored as in
// MP4 files is copied as it is, as that of codecs nobody knows.
func packing(t *fragments.Track, stored bool) *fragments.Track {
	if !stored {
		return t
	}
	plain := *t
	plain.Codec = fragments.Opaque
	return &plain
}

func (f *frame) size() (n int) {
	for _, p := range f.payload {
		n += len(p) + 4
	}
	return n
}

// ranks returns the places of frames in order of presentation.
func ranks(frames []frame) []int {
	order := make([]int, len(frames))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(frames[a].pts, frames[b].pts) })
	rank := make([]int, len(frames))
	for place, i := range order {
		rank[i] = place
	}
	return rank
}
