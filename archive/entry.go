package archive

import (
	"errors"
	"math/bits"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// Errors that readers meet. They are wrapped with the stream and the number.
var (
	ErrNoStream   = errors.New("no such stream")
	ErrNoFragment = errors.New("no such fragment")
)

// Entry is what the index knows of one fragment. Entries are read-only.
type Entry struct {
	Number        fragments.Number
	Producer      fragments.ProducerTimestamp
	Server        fragments.ServerTimestamp
	Duration      time.Duration // of the leading track
	Dependent     bool          // does not begin with a key frame
	Discontinuity bool          // does not continue the time line of the entry before
	Object        string        // key of the segment object, in the bucket or to be
	Offset, Size  int64         // of the whole fragment in the object, bytes
	CRC           uint32        // CRC-32C of those bytes
	// Base is the origin of the tfdt in the object, counted from the creation of
	// the stream. See BaseTicks.
	Base time.Duration
	Runs []EntryRun // video before audio
}

// EntryRun is what the index knows of one track of a fragment: one contiguous
// run of moof and mdat boxes.
type EntryRun struct {
	Track        int                  // track ID
	Config       fragments.ConfigHash // of the track's configuration: see Archive.Track
	Kind         fragments.Kind
	TimeScale    uint32
	DecodeTime   int64 // of the first sample, ticks since the creation of the stream
	Duration     int64 // ticks
	Samples      int
	Offset, Size int64  // in the object, bytes
	CRC          uint32 // CRC-32C of those bytes
}

// BaseTicks returns the object's base in ticks of timeScale, rounded down: what
// is to be added to a tfdt in the object to count from the creation of the
// stream. (128-bit arithmetic: nanoseconds times ticks outgrow 64 bits within
// days.)
func (e *Entry) BaseTicks(timeScale uint32) int64 {
	return Ticks(e.Base, timeScale)
}

// MaxTimeScale is the finest division of a second that a track may have: the
// nanosecond, in which everything else counts.
const MaxTimeScale = uint32(time.Second)

// Ticks converts a duration to ticks of timeScale, rounded down. A negative one
// counts back from the creation of the stream: a publisher's clock may be
// behind ours. timeScale is at most MaxTimeScale.
func Ticks(d time.Duration, timeScale uint32) int64 {
	if d < 0 {
		hi, lo := bits.Mul64(-uint64(d), uint64(timeScale))
		q, r := bits.Div64(hi, lo, uint64(time.Second))
		if r > 0 {
			q++
		}
		return -int64(q)
	}
	hi, lo := bits.Mul64(uint64(d), uint64(timeScale))
	q, _ := bits.Div64(hi, lo, uint64(time.Second))
	return int64(q)
}

// End returns the producer time at which the fragment ends.
func (e *Entry) End() fragments.ProducerTimestamp {
	return e.Producer + fragments.ProducerTimestamp(e.Duration)
}

// StreamInfo describes one stream of the catalog.
type StreamInfo struct {
	Name      fragments.StreamName
	Created   time.Time // the origin of its decode times
	Recording bool      // somebody holds its lease
	Fragments int64
	Bytes     int64  // of kept media
	Spooled   int64  // bytes not yet in the bucket
	First     *Entry // oldest kept fragment, nil when there is none
	Last      *Entry // newest visible fragment
	// Floor only rises: everything below it has been deleted.
	Floor fragments.Number
}
