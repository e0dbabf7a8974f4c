package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
	"github.com/kineweir/kineweir/datastream/journal/wal"
	"github.com/kineweir/kineweir/fragments"
)

// RebuildOptions say what is rebuilt from where. Bucket and Dir are those of
// Options.
type RebuildOptions struct {
	Bucket   bucket.Bucket
	Dir      string
	Readers  int              // index boxes read at once; default 8
	Now      func() time.Time // default time.Now
	Progress func(Progress)   // may be nil
	Logger   *slog.Logger
}

// Rebuild makes index and catalog anew from what the bucket says of itself: the
// names of the objects, stream.json and the index boxes. Streams marked as
// deleted and fragments below the floor stay deleted. Index and catalog that
// are there are kept beside the new ones, under another name; the spool is left
// as it is, for the next Open to recover. The archive must not be open.
//
// An object that cannot be understood is reported and left out; the error is
// for what keeps the whole from being rebuilt.
func Rebuild(ctx context.Context, o RebuildOptions) (Report, error) {
	if o.Readers <= 0 {
		o.Readers = 8
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &rebuilder{o: o, names: map[fragments.StreamName]*rebuilt{}}
	err := r.run(ctx)
	if err != nil {
		err = fmt.Errorf("rebuild: %w", err)
	}
	return r.report, err
}

type rebuilder struct {
	o       RebuildOptions
	report  Report
	journal journal.Journal
	meta    journal.Meta
	names   map[fragments.StreamName]*rebuilt
	gone    []*rebuilt
}

// rebuilt is a stream as its folder tells it.
type rebuilt struct {
	settingsFile
	dir     string
	objects []bucket.Object
	// spooled is the earliest hour of a spool file: that hour cannot be closed.
	spooled hour
}

// newFolder is where the new index and catalog are made.
const newFolder = "rebuild"

func (r *rebuilder) run(ctx context.Context) error {
	if err := r.unused(); err != nil {
		return err
	}
	if err := r.survey(ctx); err != nil {
		return err
	}
	if err := r.fromSpool(); err != nil {
		return err
	}
	fresh := filepath.Join(r.o.Dir, newFolder)
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	lane, err := wal.Open(filepath.Join(fresh, "journal"), wal.Options{MaxFileBytes: 16 << 20, Logger: r.o.Logger})
	if err != nil {
		return err
	}
	defer lane.Close()
	meta, err := wal.OpenMeta(filepath.Join(fresh, "meta"), wal.Options{Logger: r.o.Logger})
	if err != nil {
		return err
	}
	defer meta.Close()
	r.journal, r.meta = lane, meta
	for _, d := range r.names {
		if err := r.stream(ctx, d); err != nil {
			return err
		}
	}
	for _, d := range r.gone {
		value, err := json.Marshal(goneRecord{Version: recordVersion, Name: d.Name, Created: d.Created.UnixMilli()})
		if err != nil {
			return err
		}
		if _, err := meta.Put(ctx, gonePrefix+d.dir, value, 0); err != nil {
			return err
		}
	}
	if err := errors.Join(lane.Close(), meta.Close()); err != nil {
		return err
	}
	return r.replace(fresh)
}

// unused makes sure that nobody has the index open.
func (r *rebuilder) unused() error {
	path := filepath.Join(r.o.Dir, "journal")
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	l, err := wal.Open(path, wal.Options{})
	if errors.Is(err, journal.ErrLocked) {
		return fmt.Errorf("the archive is open: %w", err)
	}
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		r.o.Logger.Warn("the old index cannot be opened", "err", err)
	}
	return nil
}

// replace puts the new index and catalog in the place of the old ones.
func (r *rebuilder) replace(fresh string) error {
	stamp := r.o.Now().UTC().Format("20060102T150405.000")
	for _, name := range []string{"journal", "meta"} {
		path := filepath.Join(r.o.Dir, name)
		if err := os.Rename(path, path+".before-"+stamp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Rename(filepath.Join(fresh, name), path); err != nil {
			return err
		}
	}
	if err := os.Remove(fresh); err != nil {
		return err
	}
	return vfs.OS{}.SyncDir(r.o.Dir)
}

// survey lists the bucket and finds the streams that live; of several of one
// name the latest does. Those that are deleted are still to be swept.
func (r *rebuilder) survey(ctx context.Context) error {
	var cur *rebuilt
	for o, err := range r.o.Bucket.List(ctx, keyRoot, "") {
		if err != nil {
			return err
		}
		k := parseKey(o.Key)
		if k.kind == keyOther {
			r.problem(o.Key, errors.New("not an object of the archive"))
			continue
		}
		if cur == nil || cur.dir != k.dir {
			if cur, err = r.folder(ctx, k.dir); err != nil {
				return err
			}
		}
		if k.kind == keyObject {
			cur.objects = append(cur.objects, o)
		}
	}
	return nil
}

// folder reads what stream.json says of a folder.
func (r *rebuilder) folder(ctx context.Context, dir string) (*rebuilt, error) {
	d := &rebuilt{dir: dir, spooled: maxHour}
	name, created, err := parseStreamDir(dir)
	if err != nil {
		return nil, err
	}
	body, err := r.o.Bucket.Get(ctx, settingsKey(dir), 0, bucket.ToEnd)
	if err == nil {
		var data []byte
		data, err = io.ReadAll(io.LimitReader(body, 1<<20))
		body.Close()
		if err != nil {
			return nil, err
		}
		d.settingsFile, err = decodeSettings(data)
		if err == nil && streamDir(d.Name, d.Created) != dir {
			err = errSense
		}
	} else if !errors.Is(err, bucket.ErrAbsent) {
		return nil, err
	}
	if err != nil {
		r.problem(settingsKey(dir), err)
		d.settingsFile = settingsFile{Version: settingsVersion, Name: name, Created: created}
	}
	switch other := r.names[d.Name]; {
	case d.Deleted:
		r.report.Deleted++
		r.gone = append(r.gone, d)
	case d.Name == "":
		r.problem(settingsKey(dir), errors.New("the stream's name is not known, it is left out"))
	case other == nil:
		r.names[d.Name] = d
	case other.Created.Before(d.Created):
		r.problem(settingsKey(other.dir), fmt.Errorf("a later stream of the name %s is in %s, this one is left out", d.Name, dir))
		r.names[d.Name] = d
	default:
		r.problem(settingsKey(dir), fmt.Errorf("a later stream of the name %s is in %s, this one is left out", d.Name, other.dir))
	}
	return d, nil
}

// fromSpool adds the streams of which only spool files tell, and learns which
// hours are not yet in the bucket whole.
func (r *rebuilder) fromSpool() error {
	files, err := filepath.Glob(filepath.Join(r.o.Dir, "spool", "*", "*"+objectExt))
	if err != nil {
		return err
	}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		info, err := f.Stat()
		var s *scan
		if err == nil {
			s, err = scanHeader(f, info.Size())
		}
		f.Close()
		if err != nil {
			r.problem(path, err)
			continue
		}
		d := r.names[s.name]
		if d == nil {
			d = &rebuilt{
				settingsFile: settingsFile{Version: settingsVersion, Name: s.name, Created: s.id.created},
				dir:          s.id.dir, spooled: maxHour,
			}
			r.names[s.name] = d
		}
		if d.dir == s.id.dir {
			d.spooled = min(d.spooled, s.id.hour)
		}
	}
	return nil
}

// stream enters one stream into the new catalog and index.
func (r *rebuilder) stream(ctx context.Context, d *rebuilt) error {
	segments, err := r.segments(ctx, d)
	if err != nil {
		return err
	}
	r.report.Streams++
	hours := map[hour][]blockObject{}
	tracks := map[fragments.ConfigHash]trackRef{}
	var all []*Entry
	rec := streamRecord{Version: recordVersion, Created: d.Created.UnixMilli(), Epoch: d.Epoch, Floor: d.Floor}
	for _, s := range segments {
		if s == nil {
			continue
		}
		hours[s.id.hour] = append(hours[s.id.hour], blockObject{id: s.id, entries: s.entries})
		for _, t := range s.id.tracks {
			tracks[t.hash] = t
		}
		rec.Epoch = max(rec.Epoch, s.id.first.Epoch)
		all = append(all, s.entries...)
	}
	if err := r.catalog(ctx, d, rec, all, tracks); err != nil {
		return err
	}
	for _, h := range slices.Sorted(maps.Keys(hours)) {
		if err := r.hour(ctx, d, h, hours[h]); err != nil {
			return err
		}
	}
	return nil
}

// segments reads the index boxes of a stream's objects, in their order; nil in
// the place of one that is damaged.
func (r *rebuilder) segments(ctx context.Context, d *rebuilt) ([]*segment, error) {
	list := make([]*segment, len(d.objects))
	errs := make([]error, len(d.objects))
	var group sync.WaitGroup
	slots := make(chan struct{}, r.o.Readers)
	for i, o := range d.objects {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			list[i], errs[i] = r.segment(ctx, o)
		})
		if ctx.Err() != nil {
			break
		}
	}
	group.Wait()
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	for i, o := range d.objects {
		r.report.Objects++
		r.report.Bytes += o.Size
		if list[i] != nil {
			r.report.Fragments += int64(len(list[i].entries))
		}
		var damage *DamagedError
		switch {
		case errors.As(errs[i], &damage):
			r.problem(o.Key, errs[i])
		case errs[i] != nil:
			return nil, errs[i]
		case r.o.Progress != nil:
			r.o.Progress(Progress{Key: o.Key, Objects: r.report.Objects, Bytes: r.report.Bytes})
		}
	}
	return list, nil
}

// segment reads what an object says of itself: in its index box, or where that
// is damaged, in the boxes of its fragments.
func (r *rebuilder) segment(ctx context.Context, o bucket.Object) (*segment, error) {
	at := &objectReader{ctx: ctx, bucket: r.o.Bucket, key: o.Key}
	s, err := readIndex(at, o.Size)
	var damage *DamagedError
	if errors.As(err, &damage) {
		var sc *scan
		if sc, err = scanSegment(at, o.Size); err == nil {
			s = &sc.segment
		}
	}
	if err == nil && s.id.key != o.Key {
		s, err = nil, &DamagedError{Err: fmt.Errorf("it says that it is %s", s.id.key)}
	}
	if errors.As(err, &damage) {
		damage.Object = o.Key
	}
	return s, err
}

// objectReader reads ranges of an object.
type objectReader struct {
	ctx    context.Context
	bucket bucket.Bucket
	key    string
}

func (r *objectReader) ReadAt(b []byte, off int64) (int, error) {
	body, err := r.bucket.Get(r.ctx, r.key, off, int64(len(b)))
	if err != nil {
		return 0, err
	}
	defer body.Close()
	return io.ReadFull(body, b)
}

// catalog writes the record and the tracks of a stream.
func (r *rebuilder) catalog(ctx context.Context, d *rebuilt, rec streamRecord, all []*Entry, tracks map[fragments.ConfigHash]trackRef) error {
	s := newStream(nil, d.Name, d.Created)
	for hash, t := range tracks {
		s.tracks[hash] = t.Track
		if _, err := r.meta.Put(ctx, trackKey(d.dir, hash), appendTrack(nil, t.Track), 0); err != nil {
			return err
		}
	}
	sortEntries(all)
	if kept := all[firstFrom(all, rec.Floor):]; len(kept) > 0 {
		rec.Ends = s.ends(kept[0], kept[len(kept)-1])
	}
	value, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	_, err = r.meta.Put(ctx, recordKey(d.Name), value, 0)
	return err
}

// hour enters an hour: as a block when it has ended and is in the bucket whole,
// into the journal otherwise. Objects below the floor are entered too, to be swept.
func (r *rebuilder) hour(ctx context.Context, d *rebuilt, h hour, objects []blockObject) error {
	if h >= d.spooled || r.o.Now().Before((h + 1).start()) {
		var last journal.Future
		for _, o := range objects {
			r.journal.Append(frameRestated, d.dir, appendRestated(nil, d.Name, o.id, o.entries))
			last = r.journal.Append(frameStored, d.dir, appendReference(nil, o.id))
		}
		_, err := last.Wait(ctx)
		return err
	}
	sum := hourSummary{hour: h}
	for _, o := range objects {
		for _, e := range o.entries {
			sum.add(e)
		}
	}
	data := encodeBlock(d.Name, d.Created, h, objects)
	if _, err := r.o.Bucket.Put(ctx, blockKey(d.dir, h), bytes.NewReader(data), int64(len(data)), bucket.PutOptions{}); err != nil {
		return err
	}
	_, err := r.meta.Put(ctx, hourKey(d.dir, h), sum.encode(), 0)
	return err
}

func (r *rebuilder) problem(key string, err error) {
	r.report.Problems = append(r.report.Problems, Problem{key, err})
	if r.o.Progress != nil {
		r.o.Progress(Progress{Key: key, Objects: r.report.Objects, Bytes: r.report.Bytes, Problem: err})
	}
}
