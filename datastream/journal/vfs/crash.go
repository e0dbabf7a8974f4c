package vfs

import (
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
)

// Crash is a file system in memory, for tests, that remembers what a loss of
// power would take: of a file everything since its last sync, of a directory
// everything since its last SyncDir. AfterCrash is a machine that such a loss
// hit at this moment, AfterKill one on which only the process ended.
//
// It is meant for small files in few directories, made by MkdirAll; a rename
// stays within its directory.
type Crash struct {
	hook atomic.Pointer[func(Call)]

	mu     sync.Mutex
	dirs   map[string]*crashDir // by clean path
	locked map[string]bool
}

// crashDir is a directory as programs see it, as it would come back, and the
// changes that make the one into the other.
type crashDir struct {
	now, kept map[string]*crashFile
	changes   []dirChange
}

// dirChange takes one name away and gives one name a file, or either.
type dirChange struct {
	gone, made string
	file       *crashFile
}

// crashFile is a file's content, likewise.
type crashFile struct {
	now, kept []byte
	changes   []fileChange
}

// fileChange is a write of data at an offset or, with nil data, a truncation.
type fileChange struct {
	off  int64
	data []byte
}

// sector is the piece of a file that a device writes whole or not at all.
const sector = 512

// NewCrash returns an empty file system.
func NewCrash() *Crash {
	return &Crash{dirs: make(map[string]*crashDir), locked: make(map[string]bool)}
}

// Set installs a hook that hears of every call that changes something, or with
// nil removes it: of a change once it is made, and of a sync both before, when
// nothing of it is certain, and after. The hook is called by whoever uses the
// file system, and may copy it.
func (c *Crash) Set(hook func(Call)) {
	if hook == nil {
		c.hook.Store(nil)
		return
	}
	c.hook.Store(&hook)
}

func (c *Crash) tell(op Op, name string, n int) {
	if hook := c.hook.Load(); hook != nil {
		(*hook)(Call{Op: op, Name: name, N: n})
	}
}

// MkdirAll makes a directory and its parents, durably.
func (c *Crash) MkdirAll(dir string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for dir = filepath.Clean(dir); c.dirs[dir] == nil; dir = filepath.Dir(dir) {
		c.dirs[dir] = &crashDir{now: map[string]*crashFile{}, kept: map[string]*crashFile{}}
	}
	return nil
}

// in returns the directory of a name, and its last element. The caller holds mu.
func (c *Crash) in(op, name string) (*crashDir, string, error) {
	d := c.dirs[filepath.Dir(filepath.Clean(name))]
	if d == nil {
		return nil, "", pathError(op, name, fs.ErrNotExist)
	}
	return d, filepath.Base(name), nil
}

// change makes a change of a directory that needs the file called base.
func (c *Crash) change(op Op, name string, make func(base string, f *crashFile) (dirChange, error)) error {
	c.mu.Lock()
	d, base, err := c.in(string(op), name)
	var next dirChange
	if err == nil {
		next, err = make(base, d.now[base])
	}
	if err == nil {
		next.apply(d.now)
		d.changes = append(d.changes, next)
	}
	c.mu.Unlock()
	if err == nil {
		c.tell(op, name, 0)
	}
	return err
}

func (d dirChange) apply(names map[string]*crashFile) {
	if d.gone != "" {
		delete(names, d.gone)
	}
	if d.made != "" {
		names[d.made] = d.file
	}
}

// Create makes an empty file. One that was there is emptied.
func (c *Crash) Create(name string) (File, error) {
	var f *crashFile
	err := c.change(OpCreate, name, func(base string, old *crashFile) (dirChange, error) {
		if f = old; f == nil {
			f = &crashFile{}
			return dirChange{made: base, file: f}, nil
		}
		f.change(fileChange{})
		return dirChange{}, nil
	})
	if err != nil {
		return nil, err
	}
	return &crashHandle{fs: c, file: f, name: name}, nil
}

// Open opens an existing file.
func (c *Crash) Open(name string) (File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, base, err := c.in("open", name)
	if err != nil {
		return nil, err
	}
	if d.now[base] == nil {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	return &crashHandle{fs: c, file: d.now[base], name: name}, nil
}

// Rename moves a file over another of the same directory.
func (c *Crash) Rename(from, to string) error {
	return c.change(OpRename, from, func(base string, f *crashFile) (dirChange, error) {
		if f == nil || filepath.Dir(from) != filepath.Dir(to) {
			return dirChange{}, pathError("rename", from, fs.ErrNotExist)
		}
		return dirChange{gone: base, made: filepath.Base(to), file: f}, nil
	})
}

// Remove deletes a file.
func (c *Crash) Remove(name string) error {
	return c.change(OpRemove, name, func(base string, f *crashFile) (dirChange, error) {
		if f == nil {
			return dirChange{}, pathError("remove", name, fs.ErrNotExist)
		}
		return dirChange{gone: base}, nil
	})
}

// List returns the sorted names of the files in dir.
func (c *Crash) List(dir string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, _, err := c.in("list", filepath.Join(dir, "x"))
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(d.now)), nil
}

// SyncDir makes the names in a directory survive a crash.
func (c *Crash) SyncDir(dir string) error {
	c.tell(OpSyncDir, dir, 0)
	c.mu.Lock()
	d, _, err := c.in("sync", filepath.Join(dir, "x"))
	if err == nil {
		d.kept, d.changes = maps.Clone(d.now), nil
	}
	c.mu.Unlock()
	c.tell(OpSyncDir, dir, 0)
	return err
}

// Free answers a number larger than any reserve.
func (*Crash) Free(string) (uint64, error) { return roomInMemory, nil }

// Lock takes a file for one holder, until that closes it or its process ends.
func (c *Crash) Lock(name string) (io.Closer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, base, err := c.in("lock", name)
	if err != nil {
		return nil, err
	}
	if c.locked[name] {
		return nil, pathError("lock", name, ErrLocked)
	}
	if d.now[base] == nil {
		f := &crashFile{}
		d.now[base], d.kept[base] = f, f
	}
	c.locked[name] = true
	return &memoryLock{unlock: sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.locked, name)
	})}, nil
}

// AfterKill is a copy of this file system as the next process finds it after
// this one was killed: all is there, nothing more of it is certain.
func (c *Crash) AfterKill() *Crash {
	return c.copied(func(d, copied *crashDir) {
		copied.now, copied.kept = maps.Clone(d.now), maps.Clone(d.kept)
		copied.changes = slices.Clone(d.changes)
	}, func(f *crashFile) *crashFile {
		return &crashFile{now: slices.Clone(f.now), kept: slices.Clone(f.kept), changes: slices.Clone(f.changes)}
	})
}

// AfterCrash is a copy of this file system as it comes back after a loss of
// power now: what was synced, and of all else what chance lets through, sector
// by sector and name by name, in any order.
func (c *Crash) AfterCrash(rng *rand.Rand) *Crash {
	return c.copied(func(d, copied *crashDir) {
		luck := newLuck(rng)
		copied.now = maps.Clone(d.kept)
		for _, change := range d.changes {
			if luck() {
				change.apply(copied.now)
			}
		}
		copied.kept = maps.Clone(copied.now)
	}, func(f *crashFile) *crashFile {
		b := f.survivor(rng)
		return &crashFile{now: b, kept: slices.Clone(b)}
	})
}

// copied copies everything by the two functions given; a file with several
// names stays one.
func (c *Crash) copied(dir func(d, copied *crashDir), file func(*crashFile) *crashFile) *Crash {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := NewCrash()
	files := map[*crashFile]*crashFile{}
	one := func(f *crashFile) *crashFile {
		if f != nil && files[f] == nil {
			files[f] = file(f)
		}
		return files[f]
	}
	for _, path := range slices.Sorted(maps.Keys(c.dirs)) { // in order, so that a seed means something
		d := &crashDir{}
		dir(c.dirs[path], d)
		for _, names := range []map[string]*crashFile{d.now, d.kept} {
			for _, name := range slices.Sorted(maps.Keys(names)) {
				names[name] = one(names[name])
			}
		}
		for i := range d.changes {
			d.changes[i].file = one(d.changes[i].file)
		}
		next.dirs[path] = d
	}
	return next
}

// newLuck returns what decides, change by change, which reach the device:
// none, all, those up to some moment, or any.
func newLuck(rng *rand.Rand) func() bool {
	switch rng.IntN(4) {
	case 0:
		return func() bool { return false }
	case 1:
		return func() bool { return true }
	case 2:
		left := rng.IntN(8)
		return func() bool { left--; return left >= 0 }
	}
	odds := 1 + rng.IntN(7)
	return func() bool { return rng.IntN(8) < odds }
}

// survivor is what a crash leaves of a file: of what was written since the last
// sync any sectors, with zeros where a hole is left, and perhaps the length
// alone.
func (f *crashFile) survivor(rng *rand.Rand) []byte {
	b := slices.Clone(f.kept)
	luck := newLuck(rng)
	for _, change := range f.changes {
		if change.data == nil {
			if luck() {
				b = change.apply(b)
			}
			continue
		}
		for from := int64(0); from < int64(len(change.data)); {
			to := min((change.off+from)/sector*sector+sector-change.off, int64(len(change.data)))
			if luck() {
				b = fileChange{change.off + from, change.data[from:to]}.apply(b)
			}
			from = to
		}
	}
	if len(b) < len(f.now) && rng.IntN(4) == 0 {
		b = fileChange{off: int64(len(f.now))}.apply(b)
	}
	return b
}

func (c fileChange) apply(b []byte) []byte {
	end := c.off + int64(len(c.data))
	if int64(len(b)) < end {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	if c.data == nil {
		return b[:end]
	}
	copy(b[c.off:], c.data)
	return b
}

func (f *crashFile) change(change fileChange) {
	f.now = change.apply(f.now)
	f.changes = append(f.changes, change)
}

// crashHandle is one opening of a file.
type crashHandle struct {
	fs   *Crash
	file *crashFile
	name string
}

func (h *crashHandle) ReadAt(p []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if off >= int64(len(h.file.now)) {
		return 0, io.EOF
	}
	n := copy(p, h.file.now[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *crashHandle) WriteAt(p []byte, off int64) (int, error) {
	if len(p) > 0 {
		h.change(OpWrite, fileChange{off, slices.Clone(p)})
	}
	return len(p), nil
}

func (h *crashHandle) Truncate(size int64) error {
	h.change(OpTruncate, fileChange{off: size})
	return nil
}

func (h *crashHandle) change(op Op, change fileChange) {
	h.fs.mu.Lock()
	h.file.change(change)
	h.fs.mu.Unlock()
	h.fs.tell(op, h.name, len(change.data))
}

func (h *crashHandle) Sync() error {
	h.fs.tell(OpSync, h.name, 0)
	h.fs.mu.Lock()
	for _, change := range h.file.changes {
		h.file.kept = change.apply(h.file.kept)
	}
	h.file.changes = nil
	h.fs.mu.Unlock()
	h.fs.tell(OpSync, h.name, 0)
	return nil
}

func (h *crashHandle) Size() (int64, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return int64(len(h.file.now)), nil
}

func (h *crashHandle) Close() error { return nil }
