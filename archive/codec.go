package archive

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// How an Entry is written down. One encoding serves the fragment box before a
// fragment, the index box that closes an object, the frame in the journal and
// the hour block; they differ only in what stands around it:
//
//	fragment box   version, checksum,                     entry          predicted from the object alone, end = end of the box
//	journal frame  version, object's first number,        entry          predicted from the object alone, end = 0
//	index box      head, object, count,                   entry entry …  each predicted from the one before
//	hour block     head, count of objects × object, count, entry entry …  the same
//
//	head     uvarint len, stream name │ varint creation, unix ms │ uvarint n × track configuration
//	object   uvarint epoch │ uvarint first counter │ varint hour │ varint opened, unix ns │ varint base, ns
//	         uvarint n × uvarint index of a configuration in the head
//	entry    uvarint flags: 1 dependent, 2 discontinuity
//	         varint counter │ varint producer │ varint server │ varint duration │ varint offset    each less what was predicted
//	         varint size less what the runs take │ CRC-32C, 4 bytes
//	         uvarint n × run
//	run      uvarint index in the object's configurations │ varint offset less the end before it │ uvarint size
//	         varint decode time │ varint duration │ varint samples                             each less what was predicted
//	         CRC-32C, 4 bytes
//
// A prediction is that things go on: the next number, times that follow the
// duration before, the same duration and samples, bytes that adjoin. A steady
// camera's entry with sound then takes about 40 bytes in a block and 65 alone, of
// which the three checksums are 12.
// Differences wrap around, so that every value comes back whatever the one
// before it was.
const codecVersion = 1

// Bounds of what a decoder believes.
const (
	maxTracks  = 1 << 10 // configurations in a head, tracks in an object, runs in an entry
	maxParam   = 1 << 20 // bytes of one parameter set
	maxParams  = 1 << 8
	maxEntries = 1 << 20 // in an object
)

const (
	flagDependent = 1 << iota
	flagDiscontinuity
)

// objectID is what all entries of one segment object share. It is read-only
// once it has been made.
type objectID struct {
	dir     string // of the stream
	key     string // in the bucket
	created time.Time
	first   fragments.Number // of the first fragment written; the name of the object
	hour    hour
	opened  fragments.ServerTimestamp // of that fragment
	base    time.Duration             // see Entry.Base
	tracks  []trackRef
}

// trackRef is a track configuration with its hash.
type trackRef struct {
	*fragments.Track
	hash fragments.ConfigHash
}

func refTrack(t *fragments.Track) trackRef { return trackRef{Track: t, hash: t.Hash()} }

// prediction is what the next entry of an object is expected to say.
type prediction struct {
	counter          uint64
	producer, server int64
	duration, end    int64
	tracks           []trackPrediction
}

type trackPrediction struct{ decode, duration, samples int64 }

// predict begins anew for the object, with the next bytes at end. It reuses
// the memory of p.
func (p *prediction) predict(o *objectID, end int64) {
	tracks := p.tracks[:0]
	for _, t := range o.tracks {
		tracks = append(tracks, trackPrediction{decode: Ticks(o.base, t.TimeScale)})
	}
	*p = prediction{
		counter:  o.first.Counter,
		producer: o.created.UnixNano() + int64(o.base),
		server:   int64(o.opened),
		end:      end,
		tracks:   tracks,
	}
}

// learn moves the prediction past e. Run i is of the object's track at[i].
func (p *prediction) learn(e *Entry) {
	p.counter = e.Number.Counter + 1
	p.producer = int64(e.Producer) + int64(e.Duration)
	p.server = int64(e.Server) + int64(e.Duration)
	p.duration = int64(e.Duration)
	p.end = e.Offset + e.Size
}

// appendEntry appends e, an entry of o, to b and moves p past it.
func appendEntry(b []byte, o *objectID, p *prediction, e *Entry) []byte {
	var flags uint64
	if e.Dependent {
		flags |= flagDependent
	}
	if e.Discontinuity {
		flags |= flagDiscontinuity
	}
	b = binary.AppendUvarint(b, flags)
	b = binary.AppendVarint(b, int64(e.Number.Counter-p.counter))
	b = binary.AppendVarint(b, int64(e.Producer)-p.producer)
	b = binary.AppendVarint(b, int64(e.Server)-p.server)
	b = binary.AppendVarint(b, int64(e.Duration)-p.duration)
	b = binary.AppendVarint(b, e.Offset-p.end)
	end := e.Offset
	if n := len(e.Runs); n > 0 {
		end = e.Runs[n-1].Offset + e.Runs[n-1].Size
	}
	b = binary.AppendVarint(b, e.Offset+e.Size-end)
	b = binary.BigEndian.AppendUint32(b, e.CRC)
	b = binary.AppendUvarint(b, uint64(len(e.Runs)))
	end = e.Offset
	for i := range e.Runs {
		b = appendRun(b, o, p, &e.Runs[i], end)
		end = e.Runs[i].Offset + e.Runs[i].Size
	}
	p.learn(e)
	return b
}

func appendRun(b []byte, o *objectID, p *prediction, r *EntryRun, end int64) []byte {
	at := o.track(r.Track, r.Config) // every run of an entry has one
	t := &p.tracks[at]
	b = binary.AppendUvarint(b, uint64(at))
	b = binary.AppendVarint(b, r.Offset-end)
	b = binary.AppendUvarint(b, uint64(r.Size))
	b = binary.AppendVarint(b, r.DecodeTime-t.decode)
	b = binary.AppendVarint(b, r.Duration-t.duration)
	b = binary.AppendVarint(b, int64(r.Samples)-t.samples)
	*t = trackPrediction{decode: r.DecodeTime + r.Duration, duration: r.Duration, samples: int64(r.Samples)}
	return binary.BigEndian.AppendUint32(b, r.CRC)
}

// entry takes an entry of o and moves p past it.
func (d *decoder) entry(o *objectID, p *prediction) *Entry {
	flags := d.uvarint()
	e := d.newEntry()
	e.Dependent, e.Discontinuity = flags&flagDependent != 0, flags&flagDiscontinuity != 0
	e.Object, e.Base = o.key, o.base
	e.Number = fragments.Number{Epoch: o.first.Epoch, Counter: p.counter + uint64(d.varint())}
	e.Producer = fragments.ProducerTimestamp(p.producer + d.varint())
	e.Server = fragments.ServerTimestamp(p.server + d.varint())
	e.Duration = time.Duration(p.duration + d.varint())
	e.Offset = p.end + d.varint()
	rest := d.varint()
	e.CRC = d.u32()
	n := d.count(min(maxTracks, len(d.b)/9)) // a run takes at least so many bytes
	end := e.Offset
	e.Runs = d.newRuns(n)
	for i := range e.Runs {
		d.run(o, p, &e.Runs[i], end)
		end = e.Runs[i].Offset + e.Runs[i].Size
	}
	e.Size = end - e.Offset + rest
	if flags > flagDependent|flagDiscontinuity || !e.sound() {
		d.fail(errSense)
	}
	if d.err != nil {
		return nil
	}
	p.learn(e)
	return e
}

func (d *decoder) newEntry() *Entry {
	if len(d.entrySlab) == 0 {
		return &Entry{}
	}
	e := &d.entrySlab[0]
	d.entrySlab = d.entrySlab[1:]
	return e
}

func (d *decoder) newRuns(n int) []EntryRun {
	if n == 0 {
		return nil
	}
	if len(d.runSlab) < n {
		return make([]EntryRun, n)
	}
	r := d.runSlab[:n:n]
	d.runSlab = d.runSlab[n:]
	return r
}

func (d *decoder) run(o *objectID, p *prediction, r *EntryRun, end int64) {
	at := d.uvarint()
	if at >= uint64(len(o.tracks)) {
		d.fail(errSense)
		return
	}
	track, t := o.tracks[at], &p.tracks[at]
	r.Track, r.Config, r.Kind, r.TimeScale = track.ID, track.hash, track.Kind(), track.TimeScale
	r.Offset = end + d.varint()
	r.Size = int64(d.uvarint())
	r.DecodeTime = t.decode + d.varint()
	r.Duration = t.duration + d.varint()
	samples := t.samples + d.varint()
	if samples < 0 || samples > math.MaxInt32 {
		d.fail(errSense)
	}
	r.Samples = int(samples)
	r.CRC = d.u32()
	*t = trackPrediction{decode: r.DecodeTime + r.Duration, duration: r.Duration, samples: samples}
}

// maxObject bounds offsets, so that sums of them do not overflow.
const maxObject = 1 << 50

// sound reports whether the numbers of e can be true of an object: readers
// trust them from then on.
func (e *Entry) sound() bool {
	if e.Offset < 0 || e.Size < 0 || e.Offset > maxObject || e.Size > maxObject || e.Duration < 0 {
		return false
	}
	end := e.Offset
	for i := range e.Runs {
		r := &e.Runs[i]
		if r.Offset < end || r.Size < 0 || r.Offset > maxObject || r.Size > maxObject || r.Duration < 0 {
			return false
		}
		end = r.Offset + r.Size
	}
	return end <= e.Offset+e.Size && e.Number.Epoch <= fragments.MaxEpoch
}

// appendHead appends what is the same in all objects of a stream, and the
// configurations that the objects after it refer to.
func appendHead(b []byte, name fragments.StreamName, created time.Time, tracks []trackRef) []byte {
	b = appendBytes(b, []byte(name))
	b = binary.AppendVarint(b, created.UnixMilli())
	b = binary.AppendUvarint(b, uint64(len(tracks)))
	for _, t := range tracks {
		b = appendTrack(b, t.Track)
	}
	return b
}

// head is what a head says.
type head struct {
	name    fragments.StreamName
	created time.Time
	dir     string
	tracks  []trackRef
}

func (d *decoder) head() head {
	name, err := fragments.ParseStreamName(string(d.bytes(fragments.MaxStreamName)))
	if err != nil {
		d.fail(errSense)
	}
	created := timeOfMillis(d.varint())
	h := head{name: name, created: created, dir: streamDir(name, created)}
	for range d.count(maxTracks) {
		t := d.track()
		if d.err != nil {
			break
		}
		h.tracks = append(h.tracks, refTrack(t))
	}
	return h
}

// appendObject appends o after a head that holds its tracks.
func appendObject(b []byte, o *objectID, tracks []trackRef) []byte {
	b = binary.AppendUvarint(b, o.first.Epoch)
	b = binary.AppendUvarint(b, o.first.Counter)
	b = binary.AppendVarint(b, int64(o.hour))
	b = binary.AppendVarint(b, int64(o.opened))
	b = binary.AppendVarint(b, int64(o.base))
	b = binary.AppendUvarint(b, uint64(len(o.tracks)))
	for _, t := range o.tracks {
		b = binary.AppendUvarint(b, uint64(indexOfTrack(tracks, t.hash)))
	}
	return b
}

func indexOfTrack(tracks []trackRef, hash fragments.ConfigHash) int {
	for i := range tracks {
		if tracks[i].hash == hash {
			return i
		}
	}
	return -1
}

func (d *decoder) object(h head) *objectID {
	o := &objectID{dir: h.dir, created: h.created}
	o.first = fragments.Number{Epoch: d.uvarint(), Counter: d.uvarint()}
	o.hour = hour(d.varint())
	o.opened = fragments.ServerTimestamp(d.varint())
	o.base = time.Duration(d.varint())
	for range d.count(maxTracks) {
		i := d.uvarint()
		if d.err != nil || i >= uint64(len(h.tracks)) {
			d.fail(errSense)
			break
		}
		o.tracks = append(o.tracks, h.tracks[i])
	}
	if o.first.Epoch > fragments.MaxEpoch || o.hour < minHour || o.hour > maxHour || o.base > maxBase || o.base < -maxBase {
		d.fail(errSense)
		return nil
	}
	o.key = objectKey(o.dir, o.hour, o.first)
	return o
}

// The hours that a key can name: years of four digits.
const (
	minHour hour = -62135596800 / 3600
	maxHour hour = 253402300799 / 3600
)

// maxBase keeps sums of a base and a time within 64 bits.
const maxBase = time.Duration(1) << 62

// appendTrack appends a track configuration: everything that its hash covers,
// and Reorder.
func appendTrack(b []byte, t *fragments.Track) []byte {
	b = appendBytes(b, []byte(t.Codec))
	b = appendBytes(b, []byte(t.CodecID))
	for _, v := range [...]int{t.ID, int(t.TimeScale), t.Width, t.Height, t.SampleRate, t.Channels, t.BitDepth} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	b = binary.AppendVarint(b, int64(t.Reorder))
	b = binary.AppendUvarint(b, uint64(len(t.Params)))
	for _, p := range t.Params {
		b = appendBytes(b, p)
	}
	return b
}

func (d *decoder) track() *fragments.Track {
	t := &fragments.Track{Codec: fragments.Codec(d.bytes(64)), CodecID: string(d.bytes(256))}
	t.ID = d.number()
	scale := d.uvarint()
	for _, v := range [...]*int{&t.Width, &t.Height, &t.SampleRate, &t.Channels, &t.BitDepth} {
		*v = d.number()
	}
	reorder := d.varint()
	for range d.count(maxParams) {
		t.Params = append(t.Params, append([]byte(nil), d.bytes(maxParam)...))
	}
	if scale == 0 || scale > uint64(MaxTimeScale) || t.ID == 0 || reorder < -1 || reorder > 1<<10 {
		d.fail(errSense)
	}
	t.TimeScale, t.Reorder = uint32(scale), int(reorder)
	return t
}

// decodeTrack reads what appendTrack wrote, as the catalog keeps it.
func decodeTrack(b []byte) (*fragments.Track, error) {
	d := decoder{b: b}
	t := d.track()
	if err := d.done(); err != nil {
		return nil, err
	}
	return t, nil
}
