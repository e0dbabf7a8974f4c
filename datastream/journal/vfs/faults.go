package vfs

import "sync/atomic"

// Op names a call that Faults can intercept.
type Op string

// The calls a hook is asked about.
const (
	OpCreate   Op = "create"
	OpOpen     Op = "open"
	OpWrite    Op = "write"
	OpSync     Op = "sync"
	OpTruncate Op = "truncate"
	OpRename   Op = "rename"
	OpRemove   Op = "remove"
	OpSyncDir  Op = "syncdir"
)

// Call is one intercepted call. N is the number of bytes of a write.
type Call struct {
	Op   Op
	Name string
	N    int
}

// Fault is what a hook decides: fail with Err, after Wrote bytes of a write
// have reached the file. A nil Err lets the call through.
type Fault struct {
	Err   error
	Wrote int
}

// Faults is a file system, over another, that asks a hook before each call
// that changes something.
type Faults struct {
	FS
	hook atomic.Pointer[func(Call) Fault]
}

// NewFaults wraps base; until Set is called nothing fails.
func NewFaults(base FS) *Faults { return &Faults{FS: base} }

// Set installs the hook, or with nil removes it. The hook is called by whoever
// uses the file system, concurrently if they do, and may block.
func (f *Faults) Set(hook func(Call) Fault) {
	if hook == nil {
		f.hook.Store(nil)
		return
	}
	f.hook.Store(&hook)
}

func (f *Faults) ask(op Op, name string, n int) Fault {
	hook := f.hook.Load()
	if hook == nil {
		return Fault{}
	}
	return (*hook)(Call{Op: op, Name: name, N: n})
}

// Create asks the hook, then the base.
func (f *Faults) Create(name string) (File, error) {
	if fault := f.ask(OpCreate, name, 0); fault.Err != nil {
		return nil, fault.Err
	}
	file, err := f.FS.Create(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, fs: f, name: name}, nil
}

// Open asks the hook, then the base.
func (f *Faults) Open(name string) (File, error) {
	if fault := f.ask(OpOpen, name, 0); fault.Err != nil {
		return nil, fault.Err
	}
	file, err := f.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, fs: f, name: name}, nil
}

// Rename asks the hook, then the base.
func (f *Faults) Rename(from, to string) error {
	if fault := f.ask(OpRename, to, 0); fault.Err != nil {
		return fault.Err
	}
	return f.FS.Rename(from, to)
}

// Remove asks the hook, then the base.
func (f *Faults) Remove(name string) error {
	if fault := f.ask(OpRemove, name, 0); fault.Err != nil {
		return fault.Err
	}
	return f.FS.Remove(name)
}

// SyncDir asks the hook, then the base.
func (f *Faults) SyncDir(dir string) error {
	if fault := f.ask(OpSyncDir, dir, 0); fault.Err != nil {
		return fault.Err
	}
	return f.FS.SyncDir(dir)
}

type faultyFile struct {
	File
	fs   *Faults
	name string
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	fault := f.fs.ask(OpWrite, f.name, len(p))
	if fault.Err == nil {
		return f.File.WriteAt(p, off)
	}
	n, err := f.File.WriteAt(p[:min(fault.Wrote, len(p))], off)
	if err != nil {
		return n, err
	}
	return n, fault.Err
}

func (f *faultyFile) Sync() error {
	if fault := f.fs.ask(OpSync, f.name, 0); fault.Err != nil {
		return fault.Err
	}
	return f.File.Sync()
}

func (f *faultyFile) Truncate(size int64) error {
	if fault := f.fs.ask(OpTruncate, f.name, 0); fault.Err != nil {
		return fault.Err
	}
	return f.File.Truncate(size)
}
