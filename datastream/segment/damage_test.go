package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// oneFile is a file system of one file in memory, for reading.
type oneFile struct {
	vfs.FS
	data []byte
}

type oneFileHandle struct {
	vfs.File
	*bytes.Reader
}

func (f *oneFile) Open(string) (vfs.File, error) {
	return oneFileHandle{Reader: bytes.NewReader(f.data)}, nil
}
func (h oneFileHandle) ReadAt(p []byte, off int64) (int, error) { return h.Reader.ReadAt(p, off) }
func (h oneFileHandle) Size() (int64, error)                    { return h.Reader.Size(), nil }
func (h oneFileHandle) Close() error                            { return nil }

// fileBuffer is what a writer writes to.
type fileBuffer struct {
	vfs.File
	data []byte
}

func (b *fileBuffer) WriteAt(p []byte, off int64) (int, error) {
	b.data = append(b.data[:off], p...)
	return len(p), nil
}
func (b *fileBuffer) Sync() error { return nil }

// openFile opens a file of which nothing is listed.
func openFile(fsys vfs.FS, dir string, id identity) (*file, []place, error) {
	f := &file{name: fileName(dir, id.number), id: id}
	places, err := f.read(fsys)
	return f, places, err
}

var someID = identity{store: 0x1122334455667788, number: 3}

// someFile is a sealed file of three shards: of many small records, of records
// larger than a block, of one empty record.
func someFile(t testing.TB, size int) []byte {
	t.Helper()
	var out fileBuffer
	w := newWriter(&out, someID, sortedFormat, 1)
	now := time.Now().UnixMilli()
	for i, k := range []Key{{1, 0}, {1, 9}, {7, 2}} {
		var records []Record
		for n := range []int{50, 3, 1}[i] {
			records = append(records, Record{
				Position: journal.Position{Frame: uint64(5 + n*n), Index: uint16(n)},
				Arrived:  now + int64(n/3),
				Body:     bodyOf(uint64(n), []int{size / 10, size, 0}[i]),
			})
		}
		if err := w.add(k, records); err != nil {
			t.Fatal(err)
		}
	}
	_, length, err := w.finish()
	if err != nil || length != int64(len(out.data)) {
		t.Fatal(length, len(out.data), err)
	}
	return out.data
}

func unpaced(ctx context.Context, _ int) error { return context.Cause(ctx) }

func verifyBytes(data []byte) error {
	f := &file{name: "f", id: someID}
	return f.verify(context.Background(), &oneFile{data: data}, unpaced)
}

// TestEveryByte: no byte of a file can change, go missing or be added without
// being noticed.
func TestEveryByte(t *testing.T) {
	data := someFile(t, 300)
	if err := verifyBytes(data); err != nil {
		t.Fatal(err)
	}
	wants := func(what string, data []byte) {
		var damage *journal.CorruptError
		if err := verifyBytes(data); !errors.As(err, &damage) || damage.File != "f" || damage.Offset > int64(len(data)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range data {
		harmed := bytes.Clone(data)
		harmed[i] ^= 1 << (i % 8)
		wants(fmt.Sprint("bit flipped in byte ", i), harmed)
		wants(fmt.Sprint("cut at ", i), data[:i])
	}
	wants("one byte more", append(bytes.Clone(data), 0))
	wants("one byte before", append([]byte{0}, data...))
	wants("zeros", make([]byte, len(data)))
	f := &file{name: "f", id: identity{someID.store, 4}}
	if err := f.verify(t.Context(), &oneFile{data: data}, unpaced); err == nil {
		t.Error("a file passes for another")
	}
}

// damagedRig is a store with one sealed file of two shards, each of 1 KiB
// records that fill several blocks.
func damagedRig(t *testing.T) (r *rig, all []Record, f *file, places []place) {
	r = newRig(t, 400_000)
	now := time.Now().Add(-time.Minute).UnixMilli()
	all = r.fill(t, Key{Stream: 1}, 200, now, 2)
	r.fill(t, Key{Stream: 2}, 200, now, 2)
	f = r.catalog.files()[0]
	var err error
	if f, places, err = openFile(r.fs, r.opts.Dir, f.id); err != nil || len(places) != 2 || places[0].blocks < 4 {
		t.Fatal(err, places)
	}
	r.close(t)
	return r, all, f, places
}

func harm(t *testing.T, name string, at uint64) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[at] ^= 0x10
	if err := os.WriteFile(name, data, 0o640); err != nil {
		t.Fatal(err)
	}
}

// TestDamageAtReading: what only one shard, or one block of it, depends on.
func TestDamageAtReading(t *testing.T) {
	for _, test := range []struct {
		name  string
		at    func(f *file, places []place, e block) uint64
		whole bool // nothing is lost
	}{
		{"index", func(f *file, _ []place, _ block) uint64 { return f.footer.index + indexSize + 25 }, true},
		{"block checksum", func(_ *file, _ []place, e block) uint64 { return e.offset }, false},
		{"block length", func(_ *file, _ []place, e block) uint64 { return e.offset + 5 }, false},
		{"block count", func(_ *file, _ []place, e block) uint64 { return e.offset + 12 }, false},
		{"block shard", func(_ *file, _ []place, e block) uint64 { return e.offset + 24 }, false},
		{"record head", func(_ *file, _ []place, e block) uint64 { return e.offset + blockHead }, false},
		{"body", func(_ *file, _ []place, e block) uint64 { return e.offset + blockHead + 100 }, false},
		{"last byte", func(_ *file, _ []place, e block) uint64 { return e.offset + uint64(e.length) - 1 }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, all, f, places := damagedRig(t)
			raw, err := r.fs.Open(f.name)
			if err != nil {
				t.Fatal(err)
			}
			x := f.extent(&places[0])
			index, err := f.index(raw, &x)
			raw.Close()
			if err != nil {
				t.Fatal(err)
			}
			e := index.at(1)
			at := test.at(f, places, e)
			harm(t, f.name, at)
			r.open(t)
			bad := e.span
			if test.whole {
				bad.first = bad.last + 1
			}
			var good []Record // what is not in the damaged part
			for _, rec := range all {
				if p := pack(rec.Position); p < bad.first || p > bad.last {
					good = append(good, rec)
				}
			}
			checkDamaged(t, r, good, bad, test.whole)
			if rs := r.readAll(t, Key{Stream: 2}, 100, 1<<20); len(rs) != 200 {
				t.Errorf("the other shard has %d records", len(rs))
			}
			var damage *journal.CorruptError
			if err := r.Scrub(t.Context()); !errors.As(err, &damage) || damage.File != f.name {
				t.Errorf("scrub: %v", err)
			}
		})
	}
}

func checkDamaged(t *testing.T, r *rig, good []Record, bad span, whole bool) {
	t.Helper()
	k := Key{Stream: 1}
	sameRecords(t, "around the damage", r.readAll(t, k, 1000, 1<<20), good)
	st := r.Stats()
	if whole != (st.Gaps == 0) || whole != (st.Mended == 1) || st.Lost != 0 {
		t.Errorf("nothing lost: %v; %d gaps were told, %d files mended, %d records lost", whole, st.Gaps, st.Mended, st.Lost)
	}
	p, err := r.SeekTime(k, bad.firstArrived+1)
	if err != nil || !whole && pack(p) != bad.first {
		t.Errorf("seek: %v, %v, damaged from %v", p, err, unpack(bad.first))
	}
	since := time.Since(time.UnixMilli(bad.firstArrived + 1))
	r.set(1, since)
	if first, end, _ := r.Bounds(k); end.Less(first) || !whole && pack(first) > bad.first {
		t.Errorf("bounds %v %v", first, end)
	}
	r.set(1, day)
	if n := r.Stats().Damaged; n < 1 {
		t.Errorf("%d times met", n)
	}
}

// TestVanished: a file that goes away while the store is open is damage, not the
// end of the shard.
func TestVanished(t *testing.T) {
	r, _, f, _ := damagedRig(t)
	r.open(t)
	if err := os.Remove(f.name); err != nil {
		t.Fatal(err)
	}
	if rs, _, err := r.Read(Key{Stream: 1}, journal.Position{}, 1, 1, nil); !errors.As(err, new(*journal.CorruptError)) {
		t.Errorf("%d records, %v", len(rs), err)
	}
}

// reseal makes all checksums and identities right again, so that what is behind
// them gets tested too.
func reseal(data []byte, as *file) {
	if len(data) < headerSize+footerSize {
		return
	}
	copy(data, appendHeader(nil, as.id, as.format(), 1))
	foot := data[len(data)-footerSize:]
	copy(foot, footerMagic[:])
	le.PutUint64(foot[8:], as.id.store)
	le.PutUint64(foot[16:], as.id.number)
	le.PutUint64(foot[48:], uint64(len(data)))
	end := uint64(len(data) - footerSize)
	index, directory := le.Uint64(foot[24:]), le.Uint64(foot[32:])
	if index <= directory && directory <= end {
		if as.inPlace() {
			resealPlaced(data, index, directory, as)
		} else {
			resealBlocks(data, index, directory)
		}
		resealDirectory(data, index, directory, end)
		le.PutUint32(foot[56:], checksum(data[directory:end]))
	}
	le.PutUint32(foot[60:], checksum(foot[:60]))
}

func resealBlocks(data []byte, index, directory uint64) {
	for ; index+indexSize <= directory; index += indexSize {
		e := blocks(data[index:]).at(0)
		if e.offset > uint64(len(data)) || uint64(e.length) > uint64(len(data))-e.offset || e.length < blockHead {
			continue
		}
		b := data[e.offset:][:e.length]
		crc := checksum(b[4:])
		le.PutUint32(b, crc)
		le.PutUint32(data[index+44:], crc)
	}
}

// resealPlaced makes right the list of pieces, and what the index says of blocks
// that lie in them.
func resealPlaced(data []byte, index, directory uint64, as *file) {
	end := uint64(headerSize + len(as.uses)*pieceSize)
	if end+piecesEnd > index {
		return
	}
	for i, first := range as.uses {
		le.PutUint64(data[headerSize+i*pieceSize:], first)
	}
	le.PutUint32(data[end:], checksum(data[headerSize:end]))
	raw := &source{file: as}
	defer raw.Close()
	for ; index+indexSize <= directory; index += indexSize {
		e := blocks(data[index:]).at(0)
		if n := e.offset >> pieceShift; n == 0 || n > uint64(len(as.uses)) || e.length > maxBlock {
			continue
		}
		b := make([]byte, e.length)
		if _, err := raw.ReadAt(b, int64(e.offset)); err == nil {
			le.PutUint32(data[index+44:], checksum(b))
		}
	}
}

func resealDirectory(data []byte, index, directory, end uint64) {
	for at := directory; at+dirSize <= end; at += dirSize {
		p := parsePlace(data[at:])
		size := uint64(p.blocks) * indexSize
		if size > directory-index {
			return
		}
		le.PutUint32(data[at+52:], checksum(data[index:index+size]))
		index += size
	}
}

// tryFile opens, verifies and reads what may be a file.
func tryFile(t *testing.T, data []byte, as *file) {
	fsys := &oneFile{data: data}
	good := as.again(0).verify(context.Background(), fsys, unpaced) == nil
	if !as.inPlace() {
		scanned(t, data, good)
	}
	f := as.again(0)
	places, err := f.read(fsys)
	if err != nil {
		if good {
			t.Errorf("verified, and does not open: %v", err)
		}
		return
	}
	s := &Store{fs: fsys, log: slog.New(slog.DiscardHandler)}
	for i := range places {
		x := f.extent(&places[i])
		q := query{key: places[i].key, left: 1 << 30, bytes: 1 << 40}
		err := s.readExtent(&q, &x)
		if good && (err != nil || q.taken != int(places[i].records)) {
			t.Errorf("verified, and reads %d records of %d: %v", q.taken, places[i].records, err)
		}
		for _, since := range []int64{0, x.firstArrived, x.firstArrived + 1, x.lastArrived} {
			if since > x.lastArrived {
				continue
			}
			if _, found, err := s.seekExtent(places[i].key, &x, since); good && (!found || err != nil) {
				t.Errorf("verified, and %d is not found: %v", since, err)
			}
		}
	}
}

// scanned looks for blocks in what may be a file: all are found in a good one, and
// each that is found can be read.
func scanned(t *testing.T, data []byte, good bool) {
	fsys := &oneFile{data: data}
	f := &file{name: "f", id: someID, size: int64(len(data))}
	raw, _ := fsys.Open("")
	found, err := f.scan(raw, bounds{last: math.MaxUint64, arrived: math.MaxInt64, records: 54})
	if err != nil && !isDamage(err) {
		t.Fatal(err)
	}
	total := 0
	places, m := mend(nil, found)
	for i := range places {
		total += int(places[i].records)
		index := m.index[places[i].key]
		for j := range index.count() {
			e := index.at(j)
			if e.missing() {
				continue
			}
			if c, err := f.block(raw, places[i].key, &e); err != nil || c.verify(&e) != nil {
				t.Fatalf("a block that was found does not read: %v", err)
			}
		}
	}
	if good && (total != 54 || len(m.gaps) > 0) {
		t.Errorf("in a good file %d records were found, and %v is missing", total, m.gaps)
	}
}

// FuzzFile: no bytes, with right checksums or without, make opening, verifying
// or reading panic or take memory beyond the file's own size; and what passes
// verification can be read.
func FuzzFile(f *testing.F) {
	data := someFile(f, 40)
	f.Add(data, false)
	f.Add(data, true)
	f.Add(data[:len(data)-1], true)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, data []byte, right bool) {
		if right {
			data = bytes.Clone(data)
			reseal(data, &file{id: someID})
		}
		tryFile(t, data, &file{name: "f", id: someID})
	})
}

// placedFile is a sealed file in place, and what is in it.
func placedFile(t testing.TB) (*file, []byte) {
	r := newRig(t, 20_000)
	r.kind = inPlace
	r.reopen(t)
	r.grouped(t, 2, 3, 1)
	f := r.catalog.files()[0]
	data, err := os.ReadFile(f.name)
	if err != nil || !f.inPlace() {
		t.Fatal(f.inPlace(), err)
	}
	return f, data
}

// FuzzPlaced is FuzzFile for the index of records in place.
func FuzzPlaced(f *testing.F) {
	as, data := placedFile(f)
	f.Add(data, false)
	f.Add(data, true)
	f.Add(data[:len(data)-1], true)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, data []byte, right bool) {
		if right {
			data = bytes.Clone(data)
			reseal(data, as)
		}
		tryFile(t, data, as)
	})
}

// TestBehindChecksums is FuzzFile and FuzzPlaced for files that are nearly right.
func TestBehindChecksums(t *testing.T) {
	placed, index := placedFile(t)
	for _, c := range []struct {
		name   string
		as     *file
		whole  []byte
		rounds int
	}{
		{"sorted", &file{name: "f", id: someID}, someFile(t, 40), 30_000},
		{"in place", placed, index, 3_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			nearlyRight(t, c.as, c.whole, c.rounds, rand.New(rand.NewPCG(seed, 0)))
			t.Logf("%d files, seed %d", c.rounds, seed)
		})
	}
}

func nearlyRight(t *testing.T, as *file, whole []byte, rounds int, rng *rand.Rand) {
	for n := 0; n < rounds && !t.Failed(); n++ {
		data := bytes.Clone(whole)
		for range 1 + rng.IntN(4) {
			data[rng.IntN(len(data))] = byte(rng.Uint32())
		}
		if rng.IntN(10) == 0 {
			i := rng.IntN(len(data))
			data = append(data[:i], data[min(len(data), i+rng.IntN(100)):]...)
		}
		reseal(data, as)
		tryFile(t, data, as)
	}
}
