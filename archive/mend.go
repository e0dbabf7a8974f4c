package archive

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/kineweir/kineweir/fragments/cmaf"
)

// mend goes over what the scan of a spool file stopped at. A torn tail is left
// to be cut when the segment is finished. Damage before fragments that are good
// or indexed is set aside as a copy and turned into a free box, so that what is
// good keeps its place and the file stays an MP4. It returns how many indexed
// fragments are lost.
func (s *stream) mend(f *os.File, path string, sc *scan, o *object, size int64) (lost int, err error) {
	aside := false
	for sc.fault != nil {
		next, err := nextFragment(f, sc, size)
		if err != nil {
			return 0, err
		}
		if next < 0 {
			break
		}
		if !aside {
			if err := copyAside(path); err != nil {
				return 0, err
			}
			aside = true
		}
		s.a.counters.damaged.Add(1)
		s.a.log.Error("spool file is damaged; a copy is kept aside and the rest goes on",
			"stream", s.name, "path", path, "from", sc.end, "to", next, "err", sc.fault)
		if err := carve(f, sc.end, next); err != nil {
			return 0, err
		}
		sc.end = next
		if _, err := sc.walk(knownReader{f}, size); err != nil {
			return 0, err
		}
	}
	if o == nil {
		return 0, nil
	}
	for _, e := range o.entries {
		if (&object{entries: sc.entries}).entry(e.Number) == nil {
			lost++
			s.a.log.Error("a fragment that was acknowledged is lost to damage of the spool file",
				"stream", s.name, "number", e.Number, "path", path, "at", e.Offset)
		}
	}
	if lost > 0 && !aside {
		s.a.counters.damaged.Add(1)
		err = copyAside(path)
	}
	return lost, err
}

// lose gives up an object of which nothing is good.
func (s *stream) lose(o *object, path string, why error) error {
	s.a.counters.damaged.Add(1)
	s.a.log.Error("spool file is damaged, nothing in it is good, and it is set aside; its fragments are lost",
		"stream", s.name, "path", path, "fragments", len(o.entries), "err", why)
	if err := s.a.fs.Rename(path, path+damagedExt); err != nil {
		return err
	}
	delete(s.objects, o.id.first)
	// Without entries the object is passed over from now on.
	_, err := s.a.journal.Append(frameRestated, s.dir, appendRestated(nil, s.name, o.id, nil)).Wait(context.Background())
	return err
}

// nextFragment finds the first good fragment after the fault, or -1.
func nextFragment(f *os.File, sc *scan, size int64) (int64, error) {
	rest, err := io.ReadAll(io.NewSectionReader(f, sc.end, size-sc.end))
	if err != nil {
		return 0, fmt.Errorf("spool: %w", err)
	}
	mark := append([]byte("uuid"), fragmentUUID[:]...)
	for at := 8; ; {
		i := bytes.Index(rest[at:], mark)
		if i < 0 {
			return -1, nil
		}
		at += i
		start := sc.end + int64(at) - 4
		box, err := cmaf.ReadBoxHeader(f, start, size)
		if err == nil {
			var p prediction
			if _, err := scanFragment(f, sc.id, &p, box, size); err == nil {
				return start, nil
			}
		}
		at++
	}
}

// carve makes a free box of the bytes from one offset to another.
func carve(f *os.File, from, to int64) error {
	head := binary.BigEndian.AppendUint32(nil, uint32(to-from))
	if _, err := f.WriteAt(append(head, "free"...), from); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return f.Sync()
}

// copyAside keeps a copy of a damaged file beside it.
func copyAside(path string) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(path + damagedExt)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	if err == nil {
		err = to.Sync()
	}
	if cerr := to.Close(); err == nil {
		err = cerr
	}
	return err
}
