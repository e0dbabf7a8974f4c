package archive

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
	"github.com/kineweir/kineweir/fragments"
)

// Options say where an Archive lies and how it behaves. Dir and Bucket are
// needed; the zero value of everything else stands for its default.
type Options struct {
	// Dir is the folder on a local disk for the index, the catalog and the spool.
	Dir string
	// Bucket is where sealed segment objects go.
	Bucket bucket.Bucket
	// Journal and Meta are the lane of the index and the catalog. Default: files
	// in Dir/journal and Dir/meta. Those that are given are not closed.
	Journal journal.Journal
	Meta    journal.Meta

	// SealBytes and SealAge are when a segment is sealed: its size, and the time
	// since its first fragment. Defaults 16 MiB and 60 s.
	SealBytes int64
	SealAge   time.Duration
	// HoldTimeout is how long a fragment that is still open holds back later
	// ones that are durable. Default 30 s.
	HoldTimeout time.Duration
	// MaxSpoolBytes bounds what waits on the local disk for the bucket; beyond
	// it Begin answers ErrSpoolFull. Default 16 GiB.
	MaxSpoolBytes int64
	// Syncs is how many files are synced at once at most. Default 16.
	Syncs int
	// Uploads is how many objects are brought to the bucket at once. Default 4.
	Uploads int
	// RetryMin and RetryMax bound the pause before an upload is tried again.
	// Defaults 1 s and 60 s.
	RetryMin, RetryMax time.Duration
	// CacheBytes bounds the memory for hour blocks that were read. Default 32 MiB.
	CacheBytes int64

	// Retention is that of every stream for which RetentionOf does not answer.
	Retention   Retention
	RetentionOf func(fragments.StreamName) (r Retention, ok bool)
	// MinFree is the floor of free space on the bucket's disk, in bytes, below
	// which the oldest objects of all streams go; Free says how much is free.
	// Default: no floor.
	MinFree int64
	Free    func() (int64, error)

	// Tick is how often the chores are looked at: sealing by age, expired
	// numbers, closing of hours; retention every ten of them. Default 1 s;
	// negative: never.
	Tick time.Duration
	// FS is the file system of the spool, Journal and Meta. Default the real one.
	FS vfs.FS
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Logger hears what somebody should know. Default: nowhere.
	Logger *slog.Logger
}

// Retention is how long a stream's fragments are kept. Zero values mean for
// ever.
type Retention struct {
	// MaxAge is by server time, as of the newest fragment of an object. (Keeping
	// a stream in memory only is not provided for.)
	MaxAge time.Duration
	// MaxBytes bounds the kept media of the stream.
	MaxBytes int64
}

func (o Options) withDefaults() (Options, error) {
	o.SealBytes = cmp.Or(o.SealBytes, 16<<20)
	o.SealAge = cmp.Or(o.SealAge, time.Minute)
	o.HoldTimeout = cmp.Or(o.HoldTimeout, 30*time.Second)
	o.MaxSpoolBytes = cmp.Or(o.MaxSpoolBytes, 16<<30)
	o.Syncs = cmp.Or(o.Syncs, 16)
	o.Uploads = cmp.Or(o.Uploads, 4)
	o.RetryMin = cmp.Or(o.RetryMin, time.Second)
	o.RetryMax = cmp.Or(o.RetryMax, time.Minute)
	o.CacheBytes = cmp.Or(o.CacheBytes, 32<<20)
	o.Tick = cmp.Or(o.Tick, time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var errs []error
	if o.Dir == "" {
		errs = append(errs, errors.New("the option Dir is empty"))
	}
	if o.Bucket == nil {
		errs = append(errs, errors.New("the option Bucket is nil"))
	}
	if o.MinFree > 0 && o.Free == nil {
		errs = append(errs, errors.New("the option MinFree needs Free"))
	}
	for _, v := range []struct {
		name  string
		value int64
	}{
		{"SealBytes", o.SealBytes},
		{"SealAge", int64(o.SealAge)},
		{"HoldTimeout", int64(o.HoldTimeout)},
		{"MaxSpoolBytes", o.MaxSpoolBytes},
		{"Syncs", int64(o.Syncs)},
		{"Uploads", int64(o.Uploads)},
		{"RetryMin", int64(o.RetryMin)},
		{"RetryMax", int64(o.RetryMax - o.RetryMin + 1)},
		{"CacheBytes", o.CacheBytes},
		{"Retention.MaxAge", int64(o.Retention.MaxAge) + 1},
		{"Retention.MaxBytes", o.Retention.MaxBytes + 1},
		{"MinFree", o.MinFree + 1},
	} {
		if v.value <= 0 {
			errs = append(errs, fmt.Errorf("the option %s is too small", v.name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return o, fmt.Errorf("archive options: %w", err)
	}
	return o, nil
}
