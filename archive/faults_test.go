package archive

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
	"github.com/kineweir/kineweir/fragments"
)

var errDisk = errors.New("disk says no")

// TestDiskFaults has a row for each call on a spool file that can fail. What was
// acknowledged stays; what failed can be tried again, unless it was a sync:
// then nothing is known any more and recording ends.
func TestDiskFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		fails []vfs.Op // on spool files
		wrote int      // bytes of the failing write that reach the file
		fatal bool
	}{
		{"create", []vfs.Op{vfs.OpCreate}, 0, false},
		{"write nothing", []vfs.Op{vfs.OpWrite}, 0, false},
		{"write a part", []vfs.Op{vfs.OpWrite}, 700, false},
		{"write and remove", []vfs.Op{vfs.OpWrite, vfs.OpRemove}, 700, false},
		{"write and truncate", []vfs.Op{vfs.OpWrite, vfs.OpTruncate}, 700, false},
		{"sync", []vfs.Op{vfs.OpSync}, 0, true},
		{"sync of the folder", []vfs.Op{vfs.OpSyncDir}, 0, true},
	} {
		for _, second := range []bool{false, true} { // fragment of the segment
			name := c.name
			if second {
				name += " of a second fragment"
			}
			t.Run(name, func(t *testing.T) {
				p := newPlace(t)
				faults := vfs.NewFaults(lazyDisk{})
				p.opts.FS = faults
				a := p.open()
				other := p.record(a, "other")
				other.add(1)
				r := p.record(a, "cam")
				if second {
					r.add(1)
				}
				before := listed(t, a, "cam")
				struck := false
				faults.Set(func(call vfs.Call) vfs.Fault {
					if strings.Contains(call.Name, "/spool/cam@") && slices.Contains(c.fails, call.Op) {
						struck = true
						return vfs.Fault{Err: errDisk, Wrote: c.wrote}
					}
					return vfs.Fault{}
				})
				n := r.begin()
				f := r.g.next(n)
				err := r.w.Commit(context.Background(), r.l, f)
				faults.Set(nil)
				if !struck {
					if err != nil {
						t.Fatalf("failed for no reason: %v", err)
					}
					return // this call is made for the first fragment only
				}
				if !errors.Is(err, errDisk) {
					t.Fatalf("commit: %v", err)
				}
				if c.fatal {
					<-a.Fatal()
					if err := other.w.Commit(context.Background(), other.l, other.g.next(fragmentsAfter(other))); !errors.Is(err, errDisk) {
						t.Fatalf("another commit: %v", err)
					}
				} else {
					if got := listed(t, a, "cam"); !slices.EqualFunc(got, before, equalEntries) {
						t.Fatalf("after a failed commit: %v", numbers(got))
					}
					if err := r.w.Commit(context.Background(), r.l, f); err != nil {
						t.Fatalf("tried again: %v", err)
					}
					r.add(1)
					before = listed(t, a, "cam")
				}
				p.crash(a)
				a = p.open()
				if got := listed(t, a, "cam"); len(got) < len(before) || !slices.EqualFunc(got[:len(before)], before, equalEntries) {
					t.Fatalf("after reopening: %v, want %v", numbers(got), numbers(before))
				}
				checkReadable(t, a, "cam", listed(t, a, "cam"))
				settled(t, a)
				p.close(a)
				report, err := Verify(context.Background(), p.opts.Bucket, nil)
				if err != nil || len(report.Problems) > 0 {
					t.Fatalf("verify: %v, %+v", err, report)
				}
			})
		}
	}
}

// fragmentsAfter is a number that a failed archive would not give out any more.
func fragmentsAfter(r *recorder) (n fragments.Number) {
	n.Epoch, n.Counter = r.l.Epoch, 99
	return n
}

// fullLane refuses some frames for want of room.
type fullLane struct {
	journal.Journal
	refuse func(kind journal.Kind) bool
}

func (l *fullLane) Append(kind journal.Kind, key string, payload []byte) journal.Future {
	if l.refuse != nil && l.refuse(kind) {
		return journal.Failed(journal.ErrFull)
	}
	return l.Journal.Append(kind, key, payload)
}

// TestIndexFull: a commit whose frames find no room fails, leaves nothing
// behind, and can be tried again.
func TestIndexFull(t *testing.T) {
	for _, kind := range []journal.Kind{frameOpened, frameFragment} {
		for _, second := range []bool{false, true} {
			p := newPlace(t)
			lane := &fullLane{Journal: openLane(t)}
			p.opts.Journal = lane
			a := p.open()
			r := p.record(a, "cam")
			if second {
				r.add(1)
			}
			lane.refuse = func(k journal.Kind) bool { return k == kind }
			n := r.begin()
			f := r.g.next(n)
			err := r.w.Commit(context.Background(), r.l, f)
			lane.refuse = nil
			if kind == frameOpened && second {
				if err != nil {
					t.Fatal(err)
				}
				continue
			}
			if !errors.Is(err, journal.ErrFull) {
				t.Fatalf("commit: %v", err)
			}
			files, _ := filepath.Glob(filepath.Join(p.opts.Dir, "spool", "*", "*"))
			if !second && len(files) > 0 {
				t.Fatalf("left behind: %v", files)
			}
			if second {
				whole := listed(t, a, "cam")[0]
				if info, err := os.Stat(files[0]); err != nil || info.Size() != whole.Offset+whole.Size {
					t.Fatalf("left behind: %v, %v", info, err)
				}
			}
			if err := r.w.Commit(context.Background(), r.l, f); err != nil {
				t.Fatalf("tried again: %v", err)
			}
			r.add(1)
			want := listed(t, a, "cam")
			checkReadable(t, a, "cam", want)
			p.crash(a)
			a = p.open()
			if got := listed(t, a, "cam"); !slices.EqualFunc(got, want, equalEntries) {
				t.Fatalf("after reopening: %v, want %v", numbers(got), numbers(want))
			}
			checkReadable(t, a, "cam", want)
		}
	}
}
