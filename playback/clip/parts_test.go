package clip

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

// blob is an archive that is one object. It seeks as far as it is told to.
type blob struct {
	Archive
	data   []byte
	seeks  bool
	opened int
	read   int64
}

func (b *blob) OpenRange(_ context.Context, _ fragments.StreamName, _ *archive.Entry, offset, length int64) (io.ReadCloser, error) {
	b.opened++
	return &blobReader{b, bytes.NewReader(b.data[offset : offset+length])}, nil
}

type blobReader struct {
	b *blob
	r *bytes.Reader
}

func (r *blobReader) Close() error { return nil }

func (r *blobReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.b.read += int64(n)
	return n, err
}

func (r *blobReader) Seek(offset int64, whence int) (int64, error) {
	if !r.b.seeks {
		return 0, errors.ErrUnsupported
	}
	return r.r.Seek(offset, whence)
}

// parts returns n parts of samples of the given size.
func parts(n, samples, size int) []byte {
	t := &fragments.Track{ID: 1, Codec: fragments.AAC, TimeScale: 48000}
	var data []byte
	for i := range n {
		var list []fragments.Sample
		for range samples {
			list = append(list, fragments.Sample{Duration: 1024, Key: true, Payload: [][]byte{make([]byte, size)}})
		}
		data = cmaf.AppendPart(data, t, uint32(i+1), int64(i*samples)*1024, list)
	}
	return data
}

func walk(b *blob) (found []cmaf.Part, err error) {
	e := &archive.Entry{}
	h := heads{src: b, ctx: context.Background(), e: e, run: &archive.EntryRun{Size: int64(len(b.data))}}
	err = h.each(func(p cmaf.Part) error {
		found = append(found, p)
		return nil
	})
	return found, err
}

func TestHeadsPassOverTheMedia(t *testing.T) {
	for _, c := range []struct {
		name             string
		n, samples, size int
		seeks            bool
		opened           int
		read             int64 // at most
	}{
		{"seeking", 10, 5, 10_000, true, 1, 10 * window},
		{"large parts, not seeking", 10, 5, 100_000, false, 10, 10 * window},
		{"small parts, not seeking", 10, 5, 1000, false, 1, 60_000},
		{"many samples in a part", 3, 2000, 100, true, 1, 3 * 40_000},
	} {
		b := &blob{data: parts(c.n, c.samples, c.size), seeks: c.seeks}
		found, err := walk(b)
		if err != nil || len(found) != c.n {
			t.Errorf("%s: %d parts, %v", c.name, len(found), err)
		}
		for i, p := range found {
			if p.DecodeTime != int64(i*c.samples)*1024 || len(p.Samples) != c.samples || p.Samples[0].Size != c.size {
				t.Errorf("%s: part %d at %d with %d samples", c.name, i, p.DecodeTime, len(p.Samples))
			}
		}
		if b.opened != c.opened || b.read > c.read {
			t.Errorf("%s: opened %d times, read %d of %d bytes; want %d times, at most %d bytes", c.name, b.opened, b.read, len(b.data), c.opened, c.read)
		}
	}
}

func TestHeadsOfDamagedRuns(t *testing.T) {
	good := parts(2, 3, 50)
	for n := range len(good) - 1 {
		b := &blob{data: good[:n+1], seeks: n%2 == 0}
		if found, err := walk(b); err == nil && len(found) != 1 {
			t.Fatalf("cut after %d of %d bytes: %d parts and no error", n+1, len(good), len(found))
		}
	}
}

func FuzzHeads(f *testing.F) {
	f.Add(parts(2, 3, 50), true)
	f.Add(parts(1, 1, 0), false)
	f.Add([]byte("\x00\x00\x00\x08moof\x00\x00\x00\x08mdat"), true)
	f.Add([]byte("\xff\xff\xff\xffmoof"), false)
	f.Fuzz(func(t *testing.T, data []byte, seeks bool) {
		found, err := walk(&blob{data: data, seeks: seeks})
		total := 0
		for _, p := range found {
			for _, s := range p.Samples {
				if s.Size < 0 || s.At < 0 {
					t.Fatalf("a sample of %d bytes at %d", s.Size, s.At)
				}
			}
			total += p.Moof
		}
		if err == nil && total > len(data) {
			t.Fatalf("%d bytes of moof in %d bytes", total, len(data))
		}
	})
}
