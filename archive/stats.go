package archive

import (
	"sync/atomic"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/fragments"
)

// Stats is what an archive has done since it was opened, and what it holds, for
// the metrics.
type Stats struct {
	Streams []StreamStats // in the order of their names
	// Kept in all streams.
	Fragments, Bytes int64
	SpoolBytes       int64 // not in the bucket yet, headers included
	SpoolLimit       int64 // Options.MaxSpoolBytes
	Waiting          int   // sealed objects that wait for the bucket
	// Syncs of spool files, and the time spent in them.
	Syncs    uint64
	SyncTime time.Duration
	// Objects brought to the bucket, their bytes, the time it took, and tries
	// that failed.
	Uploads, UploadBytes uint64
	UploadTime           time.Duration
	UploadErrors         uint64
	// BlocksRead counts hour blocks that were read from the bucket.
	BlocksRead uint64
	// Damaged counts checksums that did not match, here and at Open.
	Damaged uint64
	// Retired counts what retention and deletion have taken out of the bucket.
	RetiredObjects uint64
	Index          journal.Stats // the lane of the index
}

// StreamStats is the part of one stream.
type StreamStats struct {
	Name             fragments.StreamName
	Recording        bool
	Fragments, Bytes int64 // kept
	SpoolBytes       int64
	// Since the archive was opened.
	Commits, CommitBytes uint64
	CommitTime           time.Duration // sum
	CommitMax            time.Duration
	Latency              [CommitBuckets]uint64 // by CommitBounds, not cumulative
	Failed               uint64                // commits that failed
	Refused              uint64                // numbers refused for want of room in the spool
	Expired              uint64                // numbers given up because they were open for too long
}

// CommitBuckets is the number of latency counters of a stream.
const CommitBuckets = 9

// CommitBounds are the upper bounds of StreamStats.Latency; the last counter is
// for what was slower.
func CommitBounds() [CommitBuckets - 1]time.Duration {
	return [...]time.Duration{
		time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond,
		25 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second,
	}
}

// streamCounters are guarded by the stream's mu.
type streamCounters struct {
	commits, bytes           uint64
	time, max                time.Duration
	latency                  [CommitBuckets]uint64
	failed, refused, expired uint64
}

func (c *streamCounters) commit(e *Entry, took time.Duration) {
	c.commits++
	c.bytes += uint64(e.Size)
	c.time += took
	c.max = max(c.max, took)
	slot := 0
	for _, b := range CommitBounds() {
		if took <= b {
			break
		}
		slot++
	}
	c.latency[slot]++
}

// counters are those of the whole archive.
type counters struct {
	syncs, syncNanos                  atomic.Uint64
	uploads, uploadBytes, uploadNanos atomic.Uint64
	uploadFailed, blocksRead, damaged atomic.Uint64
	retired                           atomic.Uint64
}

func (c *counters) synced(took time.Duration) {
	c.syncs.Add(1)
	c.syncNanos.Add(uint64(took))
}

func (c *counters) uploaded(size int64, took time.Duration, err error) {
	if err == nil && size > 0 {
		c.uploads.Add(1)
		c.uploadBytes.Add(uint64(size))
		c.uploadNanos.Add(uint64(took))
	}
}

// Stats counts. Its parts are taken one after the other, not at one moment.
func (a *Archive) Stats() Stats {
	c := &a.counters
	st := Stats{
		SpoolBytes: a.spooled.Load(), SpoolLimit: a.opts.MaxSpoolBytes, Waiting: a.uploads.waiting(),
		Syncs: c.syncs.Load(), SyncTime: time.Duration(c.syncNanos.Load()),
		Uploads: c.uploads.Load(), UploadBytes: c.uploadBytes.Load(), UploadTime: time.Duration(c.uploadNanos.Load()),
		UploadErrors: c.uploadFailed.Load(), BlocksRead: c.blocksRead.Load(), Damaged: c.damaged.Load(),
		RetiredObjects: c.retired.Load(), Index: a.journal.Stats(),
	}
	for _, s := range a.all() {
		ss := s.count()
		st.Fragments += ss.Fragments
		st.Bytes += ss.Bytes
		st.Streams = append(st.Streams, ss)
	}
	return st
}

func (s *stream) count() StreamStats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := &s.stats
	st := StreamStats{
		Name: s.name, Recording: s.epoch != 0, SpoolBytes: s.spooled(),
		Commits: c.commits, CommitBytes: c.bytes, CommitTime: c.time, CommitMax: c.max, Latency: c.latency,
		Failed: c.failed, Refused: c.refused, Expired: c.expired,
	}
	st.Fragments, st.Bytes = s.totals()
	return st
}

func (u *uploader) waiting() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.queue) + u.busy
}
