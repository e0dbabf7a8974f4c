package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
)

// Memory is a file system in memory, for a server that is to keep nothing.
// Nothing but the machine's memory bounds it: whoever fills it trims. A sync
// does nothing, as there is no crash that it could outlive.
//
// It behaves as OS does, with two differences: directories can not be renamed,
// and a lock is one among those who share the Memory.
type Memory struct {
	mu     sync.Mutex
	dirs   map[string]map[string]*memoryData // by clean path; a nil entry is a directory
	locked map[string]bool
}

// NewMemory returns an empty file system. Only its roots, "/" and ".", are there.
func NewMemory() *Memory {
	return &Memory{
		dirs:   map[string]map[string]*memoryData{"/": {}, ".": {}},
		locked: make(map[string]bool),
	}
}

// roomInMemory is what Free answers: no reserve is larger, and what is added to
// it does not overflow.
const roomInMemory = 1 << 62

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// entries returns the directory that a name lies in, and its last element. The
// caller holds mu.
func (m *Memory) entries(op, name string) (map[string]*memoryData, string, error) {
	name = filepath.Clean(name)
	entries, ok := m.dirs[filepath.Dir(name)]
	if !ok {
		return nil, "", pathError(op, name, fs.ErrNotExist)
	}
	return entries, filepath.Base(name), nil
}

// file finds an existing file. The caller holds mu.
func (m *Memory) file(op, name string) (*memoryData, error) {
	entries, base, err := m.entries(op, name)
	if err != nil {
		return nil, err
	}
	data, ok := entries[base]
	switch {
	case !ok:
		return nil, pathError(op, name, fs.ErrNotExist)
	case data == nil:
		return nil, pathError(op, name, errors.New("is a directory"))
	}
	return data, nil
}

// MkdirAll makes a directory and its parents.
func (m *Memory) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mkdirAll(filepath.Clean(dir))
}

func (m *Memory) mkdirAll(dir string) error {
	if _, ok := m.dirs[dir]; ok {
		return nil
	}
	if err := m.mkdirAll(filepath.Dir(dir)); err != nil {
		return err
	}
	entries, base := m.dirs[filepath.Dir(dir)], filepath.Base(dir)
	if entries[base] != nil {
		return pathError("mkdir", dir, errors.New("not a directory"))
	}
	entries[base] = nil
	m.dirs[dir] = make(map[string]*memoryData)
	return nil
}

// Create makes an empty file.
func (m *Memory) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entries, base, err := m.entries("create", name)
	if err != nil {
		return nil, err
	}
	data, ok := entries[base]
	switch {
	case !ok:
		data = &memoryData{}
		entries[base] = data
	case data == nil:
		return nil, pathError("create", name, errors.New("is a directory"))
	default:
		data.truncate(0)
	}
	return &memoryFile{data: data, name: name}, nil
}

// Open opens an existing file.
func (m *Memory) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, err := m.file("open", name)
	if err != nil {
		return nil, err
	}
	return &memoryFile{data: data, name: name}, nil
}

// Rename moves a file over another. Who has either open keeps what they have.
func (m *Memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, err := m.file("rename", from)
	if err != nil {
		return err
	}
	target, newBase, err := m.entries("rename", to)
	if err != nil {
		return err
	}
	if old, ok := target[newBase]; ok && old == nil {
		return pathError("rename", to, errors.New("is a directory"))
	}
	source, base, _ := m.entries("rename", from)
	delete(source, base)
	target[newBase] = data
	return nil
}

// Remove deletes a file, or an empty directory. Who has the file open keeps it.
func (m *Memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	entries, base, err := m.entries("remove", name)
	if err != nil {
		return err
	}
	data, ok := entries[base]
	switch dir := filepath.Clean(name); {
	case !ok:
		return pathError("remove", name, fs.ErrNotExist)
	case data == nil && len(m.dirs[dir]) > 0:
		return pathError("remove", name, errors.New("directory not empty"))
	case data == nil:
		delete(m.dirs, dir)
	}
	delete(entries, base)
	return nil
}

// List returns the sorted names in dir.
func (m *Memory) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entries, ok := m.dirs[filepath.Clean(dir)]
	if !ok {
		return nil, pathError("list", dir, fs.ErrNotExist)
	}
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// SyncDir does nothing but to look for the directory.
func (m *Memory) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.dirs[filepath.Clean(dir)]; !ok {
		return pathError("sync", dir, fs.ErrNotExist)
	}
	return nil
}

// Free answers a number larger than any reserve.
func (*Memory) Free(string) (uint64, error) { return roomInMemory, nil }

// Lock takes a file for one holder among those who share the Memory.
func (m *Memory) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entries, base, err := m.entries("lock", name)
	if err != nil {
		return nil, err
	}
	name = filepath.Clean(name)
	if m.locked[name] {
		return nil, fmt.Errorf("%s: %w", name, ErrLocked)
	}
	if _, ok := entries[base]; !ok {
		entries[base] = &memoryData{}
	}
	m.locked[name] = true
	return &memoryLock{unlock: sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.locked, name)
	})}, nil
}

type memoryLock struct{ unlock func() }

func (l *memoryLock) Close() error {
	l.unlock()
	return nil
}

// memoryFile is one opening of a file.
type memoryFile struct {
	data   *memoryData
	name   string
	closed atomic.Bool
}

func (f *memoryFile) check(op string, off int64) error {
	if f.closed.Load() {
		return pathError(op, f.name, fs.ErrClosed)
	}
	if off < 0 {
		return pathError(op, f.name, fs.ErrInvalid)
	}
	return nil
}

func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.check("read", off); err != nil {
		return 0, err
	}
	return f.data.readAt(p, off)
}

func (f *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.check("write", off); err != nil {
		return 0, err
	}
	f.data.writeAt(p, off)
	return len(p), nil
}

func (f *memoryFile) Truncate(size int64) error {
	if err := f.check("truncate", size); err != nil {
		return err
	}
	f.data.truncate(size)
	return nil
}

func (f *memoryFile) Sync() error { return f.check("sync", 0) }

func (f *memoryFile) Size() (int64, error) {
	if err := f.check("size", 0); err != nil {
		return 0, err
	}
	f.data.mu.RLock()
	defer f.data.mu.RUnlock()
	return f.data.size, nil
}

func (f *memoryFile) Close() error {
	if f.closed.Swap(true) {
		return pathError("close", f.name, fs.ErrClosed)
	}
	return nil
}

// Kind is "memory".
func (*Memory) Kind(string) (string, error) { return "memory", nil }
