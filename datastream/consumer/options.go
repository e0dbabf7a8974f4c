package consumer

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/kineweir/kineweir/datastream"
)

// Options say what to read and how. App, Source, Leases and Handle are
// required.
type Options struct {
	// App names the application: [A-Za-z0-9_.-]{1,128}. All its workers share
	// the stream, and none of another's.
	App string
	// Worker names this worker in leases and logs, in the same letters, at most
	// 100; default the name of the host. It need not be unique.
	Worker string
	Source Source
	Leases Leases
	// Handle handles a batch. It is called for one batch of a shard at a time,
	// and for several shards at once. When it returns nil the batch counts as
	// handled; after an error it gets the batch again, after a pause. Its
	// context ends when the shard is lost, or is to be given away and HandOver
	// has passed: what is done after that is done again elsewhere.
	Handle func(ctx context.Context, b Batch) error
	// Start is where the application begins when it runs for the first time:
	// TrimHorizon (the default), Latest or AtTimestamp. Later it goes on where
	// it was.
	Start datastream.Start
	// Failover is how long a worker may not be heard of before its shards are
	// read by others; default 10 s, at least 1 s. It has to be the same for all
	// workers.
	Failover time.Duration
	// HandOver is how long Handle may go on with a batch when another worker, or
	// the end of Run, waits for it; default 30 s.
	HandOver time.Duration
	// Poll is the pause after a read that came to the tip of a shard; default
	// 1 s. The service allows 5 reads per second and shard.
	Poll time.Duration
	// Limit is the most records of one read, 1 to 10000, default 1000.
	// Aggregated records count once.
	Limit int
	// Raw hands aggregated records over as they lie.
	Raw bool
	// DropForeign leaves out user records that do not belong to the shard by
	// their own hash, see Deaggregate.
	DropForeign bool
	Logger      *slog.Logger // default: discard
}

// Batch is some consecutive records of one shard.
type Batch struct {
	Shard   string
	Records []Record
	Behind  time.Duration // how far the record after these lies behind now
	// End is set on the last batch of a closed shard, which may be empty.
	End bool

	claim *claim
}

// Checkpoint notes that the records of b up to and including r were handled,
// for long batches: what follows r is what is handled again after a crash. The
// error is ErrLost when another worker has the shard.
func (b *Batch) Checkpoint(ctx context.Context, r Record) error {
	cp := Checkpoint{From: datastream.AfterSequence, Sequence: r.Sequence}
	if r.Aggregated {
		cp.Sub = &r.Sub
	}
	return b.claim.update(ctx, func(l *Lease) { l.Checkpoint = cp })
}

// ErrLost: this worker no longer has the shard.
var ErrLost = errors.New("the lease of the shard was lost")

var word = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)

const (
	minFailover = time.Second
	maxLimit    = 10000
	maxWorker   = 100
)

// withDefaults checks the options and fills them in.
func (o Options) withDefaults() (Options, error) {
	host, _ := os.Hostname()
	o.Worker = cmp.Or(o.Worker, host, "worker")
	o.Start.From = cmp.Or(o.Start.From, datastream.TrimHorizon)
	o.Failover = cmp.Or(o.Failover, 10*time.Second)
	o.HandOver = cmp.Or(o.HandOver, 30*time.Second)
	o.Poll = cmp.Or(o.Poll, time.Second)
	o.Limit = cmp.Or(o.Limit, 1000)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Source == nil || o.Leases == nil || o.Handle == nil:
		return o, errors.New("consumer: Source, Leases and Handle are required")
	case !word.MatchString(o.App) || strings.Trim(o.App, ".") == "":
		return o, fmt.Errorf("consumer: App is %q, and has to be letters, digits, _ . -", o.App)
	case !word.MatchString(o.Worker) || len(o.Worker) > maxWorker:
		return o, fmt.Errorf("consumer: Worker is %q, and has to be letters, digits, _ . -", o.Worker)
	case o.Failover < minFailover || o.HandOver < 0 || o.Poll < 0:
		return o, fmt.Errorf("consumer: Failover is at least %v, HandOver and Poll are not negative", minFailover)
	case o.Limit < 1 || o.Limit > maxLimit:
		return o, fmt.Errorf("consumer: Limit is %d, and has to be 1 to %d", o.Limit, maxLimit)
	}
	switch o.Start.From {
	case datastream.TrimHorizon, datastream.Latest, datastream.AtTimestamp:
	default:
		return o, fmt.Errorf("consumer: an application cannot start at %s: shards have their own sequence numbers", o.Start.From)
	}
	return o, nil
}

// newID makes the name under which one Run holds leases: two runs are never
// the same worker, whatever their names.
func newID(worker string) string {
	return worker + "." + strings.ToLower(rand.Text()[:12])
}
