package wal

import (
	"unsafe"

	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// Large frames are written past the page cache, where that can be done: from
// the memory that their entries share to the device, in whole pages. Others go
// through the page cache, into other pages of the same file.
//
//	page          page          page          page          page
//	| small | small | sm. & pad.| large                & pad. | large
//	  cache   cache   cache       direct                        direct
//
// A direct write takes its pages out of the cache, from which a later write of
// a part of one would have to read it back first. So what goes through the cache
// goes on to the end of its last page, with zeros, which a file made new may not
// have behind its last frame but also does not need there.
const pageSize = vfs.DirectAlign

// padding is how much is to follow a frame, written at an offset, so that the
// next one begins with a page. Small frames go without, as they would take many
// times the room.
func (l *Lane) padding(offset int64, frame []byte) int {
	if l.direct == nil || len(frame) < min(pageSize, l.opts.DirectBytes) {
		return 0
	}
	return int(-(offset + int64(len(frame))) & (pageSize - 1))
}

// write writes a frame and its padding to where the active file's frames end.
func (l *Lane) write(frame []byte, padding int) error {
	f := l.active
	large := len(frame) >= l.opts.DirectBytes
	switch {
	case l.direct == nil:
		_, err := l.out.WriteAt(frame, f.size)
		return err
	case large && f.size%pageSize == 0 && vfs.Aligned(frame) && cap(frame)-len(frame) >= padding:
		whole := frame[:len(frame)+padding]
		clear(whole[len(frame):])
		_, err := l.direct.WriteAt(whole, f.size)
		return err
	case large: // the first after small ones, or in its file
		if _, err := l.out.WriteAt(frame, f.size); err != nil {
			return err
		}
		_, err := l.out.WriteAt(make([]byte, padding), f.size+int64(len(frame)))
		return err
	}
	b := append(l.small[:0], frame...)
	if end := (f.size + int64(len(b)) + pageSize - 1) &^ (pageSize - 1); padding > 0 || f.reused && end <= f.extent {
		b = append(b, l.zeros[:end-f.size-int64(len(b))]...)
	}
	l.small = b
	_, err := l.out.WriteAt(b, f.size)
	return err
}

// openDirect opens the file that is written to once more, to be written past
// the page cache. The lane can do without.
func (l *Lane) openDirect() {
	l.direct = nil
	if l.opener == nil {
		return
	}
	if f, err := l.opener.OpenDirect(l.active.name); err == nil {
		l.direct = f
	}
}

// toPage is how much of the room for b lies before its first page.
func toPage(b []byte) int {
	return int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % pageSize)
}
