package archive

import (
	"encoding/binary"
	"fmt"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/fragments"
)

// Kinds of the journal's entries. The key of each is the folder of its stream.
//
//	opened    version │ head │ object                         an object begins; before its first fragment
//	fragment  version │ uvarint epoch, counter of the object │ entry
//	stored    version │ uvarint epoch, counter of the object  it is in the bucket, whole
//	restated  version │ head │ object │ uvarint n × entry     these are all of its fragments, whatever was said before
//
// (head, object and entry: see codec.go.) Frames are idempotent and an object's
// own frames stand in this order, so replaying some of them twice, or from
// anywhere before the first, does no harm.
const (
	frameOpened journal.Kind = 1 + iota
	frameFragment
	frameStored
	frameRestated
)

func appendOpened(b []byte, name fragments.StreamName, o *objectID) []byte {
	b = appendHead(append(b, codecVersion), name, o.created, o.tracks)
	return appendObject(b, o, o.tracks)
}

func appendRestated(b []byte, name fragments.StreamName, o *objectID, entries []*Entry) []byte {
	return appendEntries(appendOpened(b, name, o), o, entries)
}

func appendReference(b []byte, o *objectID) []byte {
	b = binary.AppendUvarint(append(b, codecVersion), o.first.Epoch)
	return binary.AppendUvarint(b, o.first.Counter)
}

func appendFragmentFrame(b []byte, o *objectID, p *prediction, e *Entry) []byte {
	p.predict(o, 0)
	return appendEntry(appendReference(b, o), o, p, e)
}

// frame is a journal entry, understood.
type frame struct {
	kind    journal.Kind
	segment                  // opened, restated
	first   fragments.Number // fragment, stored: names the object
	rest    []byte           // fragment: the entry, to be decoded against the object
}

func decodeFrame(e journal.Entry) (frame, error) {
	d := decoder{b: e.Payload}
	if d.u8() != codecVersion {
		d.fail(errVersion)
	}
	f := frame{kind: e.Kind}
	switch e.Kind {
	case frameOpened, frameRestated:
		h := d.head()
		f.name, f.id = h.name, d.object(h)
		if e.Kind == frameRestated && d.err == nil {
			f.entries = d.entries(f.id)
		}
	case frameFragment, frameStored:
		f.first = fragments.Number{Epoch: d.uvarint(), Counter: d.uvarint()}
		if e.Kind == frameFragment {
			f.rest, d.b = d.b, nil
		}
	default:
		d.fail(fmt.Errorf("kind %d is not known", e.Kind))
	}
	if err := d.done(); err != nil {
		return frame{}, fmt.Errorf("index frame %s of %s: %w", e.Position, e.Key, err)
	}
	return f, nil
}

// decodeFragmentFrame decodes the entry of a fragment frame of the object.
func decodeFragmentFrame(o *objectID, p *prediction, rest []byte) (*Entry, error) {
	p.predict(o, 0)
	d := decoder{b: rest}
	e := d.entry(o, p)
	return e, d.done()
}
