package vfs

import "unsafe"

// DirectAlign is what the memory, the offset and the length of a write have to
// be multiples of for it to go past the page cache.
const DirectAlign = 4 << 10

// DirectCreator is an FS that can write a new file past the page cache: for what
// is written once, in large pieces, and seldom read soon. It spares the
// processor a copy, and the machine memory that has to be found for it.
type DirectCreator interface {
	// CreateDirect is Create of a file of which one goroutine at a time writes.
	// Writes may be of any size at any offset, but go through the page cache
	// from the first one on that is not aligned to DirectAlign in memory, length
	// and offset. What was written is durable after Sync, as ever.
	CreateDirect(name string) (File, error)
}

// DirectOpener is an FS that can write an existing file past the page cache.
type DirectOpener interface {
	// OpenDirect is Open of a file that is written as one of CreateDirect. The
	// file may be open otherwise as well, and written there in other pages, and
	// a Sync of either opening makes durable what was written through both.
	OpenDirect(name string) (File, error)
}

// CreateDirect makes a file that is written directly if the file system can, and
// otherwise as any other.
func CreateDirect(fsys FS, name string) (File, error) {
	if d, ok := fsys.(DirectCreator); ok {
		return d.CreateDirect(name)
	}
	return fsys.Create(name)
}

// Aligned reports whether memory begins as a direct write wants it.
func Aligned(b []byte) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))%DirectAlign == 0
}

// DirectBuffer is memory for so many bytes, of no length yet, that begins
// aligned to DirectAlign.
func DirectBuffer(size int) []byte {
	b := make([]byte, size+DirectAlign-1)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % DirectAlign
	return b[skip : skip : skip+uintptr(size)]
}
