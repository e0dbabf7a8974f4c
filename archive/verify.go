package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

// Problem is something in a bucket that is not as it should be.
type Problem struct {
	Key string
	Err error
}

// Report is what Verify and Rebuild have seen.
type Report struct {
	Streams   int // not deleted
	Deleted   int // marked as deleted, with objects that are still to go
	Objects   int
	Fragments int64
	Bytes     int64 // of objects
	Problems  []Problem
}

// Progress tells of each object that has been dealt with.
type Progress struct {
	Key     string
	Objects int
	Bytes   int64
	Problem error // with this object, or nil
}

// maxVerified bounds the size of an object that is read into memory.
const maxVerified = 2 << 30

// Verify reads every object in the bucket and checks all there is to check: the
// structure and the checksums of segment objects, that their index boxes say
// what they hold, that hour blocks say the same and name objects that exist,
// and stream.json. What is wrong is reported; the error is for a bucket that
// cannot be read. It changes nothing and needs no data folder, but what is being
// written meanwhile may look orphaned.
func Verify(ctx context.Context, b bucket.Bucket, progress func(Progress)) (Report, error) {
	v := &verifier{bucket: b, progress: progress}
	for o, err := range b.List(ctx, keyRoot, "") {
		if err != nil {
			return v.report, fmt.Errorf("verify: %w", err)
		}
		k := parseKey(o.Key)
		if k.dir != v.dir {
			v.endDir()
			v.dir = k.dir
		}
		err := v.check(ctx, k, o)
		if ctx.Err() != nil {
			return v.report, context.Cause(ctx)
		}
		if k.kind == keyObject {
			v.report.Objects++
			v.report.Bytes += o.Size
		}
		if err != nil {
			v.report.Problems = append(v.report.Problems, Problem{o.Key, err})
		}
		if progress != nil {
			progress(Progress{Key: o.Key, Objects: v.report.Objects, Bytes: v.report.Bytes, Problem: err})
		}
	}
	v.endDir()
	return v.report, nil
}

type verifier struct {
	bucket   bucket.Bucket
	progress func(Progress)
	report   Report
	buf      []byte

	// Of the folder that is being walked.
	dir      string
	objects  map[string][]*Entry // by key
	blocks   map[hour]*block
	settings *settingsFile
}

// check checks one object of the bucket.
func (v *verifier) check(ctx context.Context, k parsedKey, o bucket.Object) error {
	if k.kind == keyOther {
		return errors.New("not an object of the archive")
	}
	data, err := v.read(ctx, o)
	if err != nil {
		return err
	}
	switch k.kind {
	case keySettings:
		f, err := decodeSettings(data)
		if err == nil && streamDir(f.Name, f.Created) != k.dir {
			err = fmt.Errorf("stream.json names %s, created %s: %w", f.Name, f.Created, errSense)
		}
		v.settings = &f
		return err
	case keyBlock:
		blk, err := decodeBlock(data)
		if err == nil && (blk.hour != k.hour || streamDir(blk.name, blk.created) != k.dir) {
			err = errSense
		}
		if err == nil {
			set(&v.blocks, k.hour, blk)
		}
		return err
	}
	entries, err := verifySegment(data, o.Key)
	set(&v.objects, o.Key, entries)
	v.report.Fragments += int64(len(entries))
	return err
}

func set[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}

// read reads an object into the verifier's buffer.
func (v *verifier) read(ctx context.Context, o bucket.Object) ([]byte, error) {
	if o.Size > maxVerified {
		return nil, errTooMany
	}
	r, err := v.bucket.Get(ctx, o.Key, 0, o.Size)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	v.buf = slices.Grow(v.buf[:0], int(o.Size))[:o.Size]
	_, err = io.ReadFull(r, v.buf)
	return v.buf, err
}

// verifySegment checks a whole segment object and returns its entries.
func verifySegment(data []byte, key string) ([]*Entry, error) {
	s, err := scanSegment(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	damaged := func(at int64, err error) ([]*Entry, error) {
		return s.entries, &DamagedError{Object: key, Offset: at, Err: err}
	}
	switch {
	case s.id.key != key:
		return damaged(0, fmt.Errorf("its header says that it is %s", s.id.key))
	case s.fault != nil:
		return damaged(s.end, s.fault)
	case s.closed == nil:
		return damaged(s.end, errNoIndex)
	case !reflect.DeepEqual(s.closed.id, s.id) || !slices.EqualFunc(s.closed.entries, s.entries, equalEntries):
		return damaged(s.end, errors.New("the index box does not say what the object holds"))
	}
	if err := verifyInit(data[:s.body], s.id); err != nil {
		return damaged(0, err)
	}
	return s.entries, nil
}

// verifyInit checks that the moov box says what the header says.
func verifyInit(head []byte, o *objectID) error {
	end := 0
	for box, err := range cmaf.Boxes(bytes.NewReader(head), 0, int64(len(head))) {
		if err != nil {
			return err
		}
		if box.Type != "uuid" {
			end = int(box.End())
		}
	}
	tracks, err := cmaf.ParseInit(head[:end])
	if err != nil {
		return err
	}
	if !slices.EqualFunc(tracks, o.tracks, func(t *fragments.Track, r trackRef) bool { return t.Hash() == r.hash }) {
		return errors.New("the moov box has other tracks than the header")
	}
	return nil
}

// endDir compares blocks with objects and forgets the folder.
func (v *verifier) endDir() {
	if v.dir != "" {
		if v.settings != nil && v.settings.Deleted {
			v.report.Deleted++
		} else {
			v.report.Streams++
			v.compare()
		}
		if v.settings == nil {
			v.problem(settingsKey(v.dir), bucket.ErrAbsent)
		}
	}
	v.objects, v.blocks, v.settings = nil, nil, nil
}

func (v *verifier) compare() {
	floor := fragments.Number{}
	if v.settings != nil {
		floor = v.settings.Floor
	}
	for h, blk := range v.blocks {
		listed := map[string]bool{}
		for _, o := range blk.objects {
			listed[o.id.key] = true
			entries, there := v.objects[o.id.key]
			kept := len(o.entries) > 0 && !boundsOf(o.entries).max.Less(floor)
			switch {
			case !there && kept:
				v.problem(o.id.key, fmt.Errorf("listed in the hour block: %w", bucket.ErrAbsent))
			case there && !sameEntries(entries, o.entries, floor):
				v.problem(blockKey(v.dir, h), fmt.Errorf("says other things of %s than the object itself", o.id.key))
			}
		}
		for key := range v.objects {
			if parseKey(key).hour == h && !listed[key] {
				v.problem(key, errors.New("not listed in the hour block"))
			}
		}
	}
}

// sameEntries compares what is kept of an object with what a block lists of it,
// which leaves out what was deleted when it was written.
func sameEntries(object, listed []*Entry, floor fragments.Number) bool {
	kept := func(list []*Entry) []*Entry {
		list = slices.DeleteFunc(slices.Clone(list), func(e *Entry) bool { return e.Number.Less(floor) })
		sortEntries(list)
		return list
	}
	return slices.EqualFunc(kept(object), kept(listed), equalEntries)
}

func equalEntries(x, y *Entry) bool { return reflect.DeepEqual(x, y) }

func (v *verifier) problem(key string, err error) {
	v.report.Problems = append(v.report.Problems, Problem{key, err})
	if v.progress != nil {
		v.progress(Progress{Key: key, Objects: v.report.Objects, Bytes: v.report.Bytes, Problem: err})
	}
}
