package segment

import (
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// reopenIn opens the rig's store with other options, within a bubble of its own
// time.
func (r *rig) reopenIn(t *testing.T, change func(*Options)) {
	t.Helper()
	r.open(t)
	r.reopenStore(t, change)
}

// TestPatrol: all files are read through in the time given, no faster than it
// takes or than the rate allows, damage is found without anybody asking, and
// what expires is dropped every minute.
func TestPatrol(t *testing.T) {
	r := newRig(t, 100_000)
	r.fill(t, Key{Stream: 1}, 1000, time.Now().UnixMilli(), 1)
	size := r.Stats().FileBytes
	files := r.catalog.files()
	r.close(t)
	for _, test := range []struct {
		name  string
		every time.Duration
		rate  int64
		takes time.Duration // a pass
	}{
		{"a day", 24 * time.Hour, 0, 24 * time.Hour},
		{"as fast as allowed", time.Second, size / 3600, time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r.reopenIn(t, func(o *Options) { o.ScrubEvery, o.ScrubRate = test.every, test.rate })
				r.set(1, 100*365*day) // the bubble begins in another year
				time.Sleep(test.takes / 2)
				half := r.Stats().Scrubbed
				time.Sleep(test.takes/2 + 2*time.Minute)
				whole := r.Stats()
				if half < uint64(size/3) || half > uint64(size*2/3) || whole.Scrubbed < uint64(size*9/10) || whole.Scrubbed > uint64(size*12/10) {
					t.Errorf("of %d bytes, %d were verified at half-time and %d at the end", size, half, whole.Scrubbed)
				}
				if whole.Damaged != 0 {
					t.Error("found damage where there is none")
				}
				r.close(t)
			})
		})
	}
	t.Run("damage", func(t *testing.T) {
		harm(t, files[len(files)-1].name, 5000)
		synctest.Test(t, func(t *testing.T) {
			r.reopenIn(t, func(o *Options) { o.ScrubEvery = time.Hour })
			r.set(1, 100*365*day)
			time.Sleep(time.Hour + 5*time.Minute)
			if n := r.Stats().Damaged; n == 0 {
				t.Error("damage was not found")
			}
			r.set(1, -1)
			time.Sleep(2 * time.Minute)
			if n := r.Stats().Files; n != 0 {
				t.Errorf("%d files were not dropped", n)
			}
			if _, err := os.Stat(files[0].name); err == nil {
				t.Error("a dropped file is still there")
			}
			time.Sleep(time.Hour) // nothing left to verify
			r.close(t)
		})
	})
}

// TestPatrolNever: it can be turned off.
func TestPatrolNever(t *testing.T) {
	r := newRig(t, 100_000)
	r.fill(t, Key{Stream: 1}, 200, time.Now().UnixMilli(), 1)
	r.close(t)
	synctest.Test(t, func(t *testing.T) {
		r.reopenIn(t, func(o *Options) { o.ScrubEvery = -1 })
		time.Sleep(48 * time.Hour)
		if n := r.Stats().Scrubbed; n != 0 {
			t.Errorf("%d bytes were verified", n)
		}
		r.close(t)
	})
}
