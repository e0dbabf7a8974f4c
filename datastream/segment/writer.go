package segment

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// flushBytes is how much is gathered before it is written. The files are
// written past the page cache where that can be done: a table takes as much
// memory there as it had here, to be found at the speed of all that comes in,
// and most of it is never read while it is there.
const flushBytes = 1 << 20

// ahead is how much may be on its way to the device.
const ahead = 32 << 20

// writer writes a sealed file from front to back. Shards are added in order.
type writer struct {
	out    vfs.File
	id     identity
	buf    []byte // not yet written
	base   int64  // where buf belongs in the file
	pushed int64  // up to where the device has it
	index  []byte
	places []place
	total  uint64 // records
	held   int64  // bytes of blocks that lie elsewhere
}

func newWriter(out vfs.File, id identity, format byte, class int) *writer {
	w := &writer{out: out, id: id}
	if format == sortedFormat {
		w.buf = vfs.DirectBuffer(flushBytes + 2*blockBytes)
	}
	w.buf = appendHeader(w.buf, id, format, class)
	return w
}

// add writes the records of a shard, of which there is at least one.
func (w *writer) add(k Key, records []Record) error {
	if len(records) > math.MaxUint32 {
		return fmt.Errorf("%d records of one shard exceed what a file can hold", len(records))
	}
	index := len(w.index)
	for rest := records; len(rest) > 0; {
		n := w.block(k, rest)
		rest = rest[n:]
		if len(w.buf) >= flushBytes {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	w.close(k, records, index)
	return nil
}

// close adds a shard to the directory, whose part of the index begins at an
// offset and is complete.
func (w *writer) close(k Key, records []Record, index int) {
	w.places = append(w.places, place{
		key: k, span: spanOf(records), records: uint32(len(records)),
		firstBlock: uint32(index / indexSize), blocks: uint32(len(w.index)-index) / indexSize, indexCRC: checksum(w.index[index:]),
	})
	w.total += uint64(len(records))
}

func spanOf(records []Record) span {
	first, last := &records[0], &records[len(records)-1]
	return span{pack(first.Position), pack(last.Position), first.Arrived, last.Arrived}
}

// block encodes a block of as many records as fit, at least one, and returns
// how many they were.
func (w *writer) block(k Key, records []Record) int {
	w.room(max(blockBytes, blockHead+maxRecordHead+len(records[0].Body)))
	start := len(w.buf)
	b := w.buf[:start+blockHead]
	clear(b[start:])
	position, arrived := pack(records[0].Position), records[0].Arrived
	n := 0
	for n < len(records) {
		r := &records[n]
		if n > 0 && len(b)-start+len(r.Body)+maxRecordHead > blockBytes {
			break
		}
		at := pack(r.Position)
		b = binary.AppendUvarint(b, at-position)
		b = binary.AppendUvarint(b, uint64(r.Arrived-arrived))
		b = binary.AppendUvarint(b, uint64(len(r.Body)))
		b = append(b, r.Body...)
		position, arrived = at, r.Arrived
		n++
	}
	w.buf = b
	e := block{span: spanOf(records[:n]), offset: uint64(w.base) + uint64(start), length: uint32(len(b) - start)}
	head := b[start:]
	le.PutUint32(head[4:], e.length)
	le.PutUint32(head[8:], kindRecords)
	le.PutUint32(head[12:], uint32(n))
	le.PutUint64(head[16:], k.Stream)
	le.PutUint32(head[24:], k.Shard)
	le.PutUint64(head[32:], e.first)
	le.PutUint64(head[40:], uint64(e.firstArrived))
	e.crc = checksum(head[4:])
	le.PutUint32(head, e.crc)
	w.index = e.appendTo(w.index)
	return n
}

// room makes room for so many bytes behind what was gathered.
func (w *writer) room(size int) {
	if cap(w.buf)-len(w.buf) < size {
		w.buf = append(vfs.DirectBuffer(max(2*cap(w.buf), len(w.buf)+size)), w.buf...)
	}
}

// flush writes what was gathered, but for what does not fill the last page, and
// sends it on its way to the device.
func (w *writer) flush() error {
	whole := len(w.buf) &^ (vfs.DirectAlign - 1)
	rest := w.buf[whole:]
	if err := w.write(w.buf[:whole]); err != nil {
		return err
	}
	w.buf = append(w.buf[:0], rest...)
	return nil
}

// write writes what comes next. Where the page cache has it, it waits when more
// than ahead is on its way to the device: a table never stands in the way of the
// lane with more than that.
func (w *writer) write(b []byte) error {
	if _, err := w.out.WriteAt(b, w.base); err != nil {
		return err
	}
	begun := w.base
	w.base += int64(len(b))
	p, ok := w.out.(vfs.Pusher)
	if !ok {
		return nil
	}
	if err := p.Push(begun, w.base-begun, false); err != nil {
		return err
	}
	if w.base-w.pushed <= ahead {
		return nil
	}
	half := (w.base - w.pushed) / 2
	w.pushed += half
	return p.Push(w.pushed-half, half, true)
}

// finish writes the index, the directory and the footer, and syncs. It returns
// the footer and the length of the file.
func (w *writer) finish() (footer, int64, error) {
	f := footer{shards: uint32(len(w.places)), index: uint64(w.base) + uint64(len(w.buf)), records: w.total}
	w.room(len(w.index) + len(w.places)*dirSize + footerSize)
	w.buf = append(w.buf, w.index...)
	f.directory = f.index + uint64(len(w.index))
	start := len(w.buf)
	for i := range w.places {
		w.buf = w.places[i].appendTo(w.buf)
	}
	directory := w.buf[start:]
	f.dirCRC = checksum(directory)
	f.length = f.directory + uint64(len(directory)) + footerSize
	w.buf = f.appendTo(w.buf, w.id)
	if err := w.flush(); err != nil {
		return footer{}, 0, err
	}
	if err := w.write(w.buf); err != nil {
		return footer{}, 0, err
	}
	return f, int64(f.length), w.out.Sync()
}
