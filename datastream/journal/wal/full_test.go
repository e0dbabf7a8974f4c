package wal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/kineweir/kineweir/datastream/journal"
)

// fullChild lets a lane and a store meet the end of a small device, mounted on
// dir: tmpfs in the first round, ext4 in the second.
func fullChild(dir string, round int) error {
	device := filepath.Join(dir, "device")
	if err := os.Mkdir(device, 0o755); err != nil {
		return err
	}
	mount := []string{"mount", "-t", "tmpfs", "-o", "size=3m", "none", device}
	if round == 1 {
		disk := filepath.Join(dir, "image")
		if err := os.WriteFile(disk, make([]byte, 5<<20), 0o600); err != nil {
			return err
		}
		if out, err := exec.Command("mkfs.ext4", "-q", "-F", disk).CombinedOutput(); err != nil {
			return fmt.Errorf("mkfs.ext4: %w: %s", err, out)
		}
		mount = []string{"mount", "-o", "loop", disk, device}
	}
	if out, err := exec.Command(mount[0], mount[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", mount, err, out)
	}
	if err := fullLane(filepath.Join(device, "lane")); err != nil {
		return fmt.Errorf("lane: %w", err)
	}
	if err := os.RemoveAll(filepath.Join(device, "lane")); err != nil {
		return err
	}
	if err := fullStore(filepath.Join(device, "store")); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// maxFill is more than any of the devices holds.
const maxFill = 4000

// fill appends entries of some 10 kB, numbered from n on, until one is refused
// for want of room, and returns the number of the refused one.
func fill(l *Lane, n int) (int, error) {
	for ; n < maxFill; n++ {
		_, err := l.Append(1, strconv.Itoa(n), make([]byte, 10_000)).Wait(context.Background())
		if errors.Is(err, journal.ErrFull) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	return n, errors.New("the device is never full")
}

// follow wants the lane's entries to be numbered one after the other up to end.
func follow(l *Lane, end int) (count int, err error) {
	next := -1
	for e, err := range l.Read(journal.Position{}) {
		if err != nil {
			return count, err
		}
		if next >= 0 && e.Key != strconv.Itoa(next) {
			return count, fmt.Errorf("entry %s where %d belongs", e.Key, next)
		}
		next, _ = strconv.Atoi(e.Key)
		next, count = next+1, count+1
	}
	if next != end {
		return count, fmt.Errorf("the last entry is %d, not %d", next-1, end-1)
	}
	return count, nil
}

// fullLane: entries are refused and nothing else; what is there can be read and
// trimmed, and then appends go on. With a device that others have filled they
// go on in what the lane has.
func fullLane(dir string) error {
	opts := Options{MaxFileBytes: 256 << 10, ReserveBytes: -1}
	l, err := Open(dir, opts)
	if err != nil {
		return err
	}
	n := 0
	for range 2 {
		end, err := fill(l, n)
		if err != nil {
			return err
		}
		count, err := follow(l, end)
		if err != nil || end == n || l.Stats().Err != nil {
			return fmt.Errorf("after %d more entries: %v, %v", end-n, err, l.Stats().Err)
		}
		ledger("full with %d entries, %+v", count, l.Stats())
		if err := l.Trim(l.Stats().End); err != nil {
			return err
		}
		n = end
	}
	if l.Stats().Spare == 0 {
		return errors.New("the trim kept no spares")
	}
	ballast(filepath.Join(filepath.Dir(dir), "ballast"))
	end, err := fill(l, n)
	if err != nil || (end-n)*10_000 < 256<<10 {
		return fmt.Errorf("%d entries beside the ballast: %w", end-n, err)
	}
	ledger("%d entries beside the ballast", end-n)
	if err := l.Close(); err != nil {
		return err
	}
	if l, err = Open(dir, opts); err != nil { // still without room
		return err
	}
	if _, err := follow(l, end); err != nil || l.Stats().TornTail != 0 {
		return fmt.Errorf("reopened with %d bytes torn: %v", l.Stats().TornTail, err)
	}
	if err := l.Trim(l.Stats().End); err != nil {
		return err
	}
	if _, err := l.Append(1, strconv.Itoa(end), nil).Wait(context.Background()); err != nil {
		return fmt.Errorf("after the trim: %w", err)
	}
	return errors.Join(l.Close(), os.Remove(filepath.Join(filepath.Dir(dir), "ballast")))
}

// ballast fills the device with something else.
func ballast(name string) {
	f, err := os.Create(name)
	for chunk := make([]byte, 64<<10); err == nil; {
		if _, err = f.Write(chunk); err != nil && len(chunk) > 1 {
			chunk, err = chunk[:len(chunk)/2], nil
		}
	}
	f.Sync()
	f.Close()
}

// fullStore: changes are refused and nothing else, and once others have made
// room they go on.
func fullStore(dir string) error {
	other := filepath.Join(filepath.Dir(dir), "ballast")
	s, err := OpenMeta(dir, Options{SnapshotBytes: 256 << 10, ReserveBytes: -1})
	if err != nil {
		return err
	}
	n := 0
	put := func() error {
		_, err := s.Put(context.Background(), strconv.Itoa(n), make([]byte, 5000), 0)
		return err
	}
	for ; n < 40; n++ {
		if err := put(); err != nil {
			return err
		}
	}
	ballast(other)
	for ; err == nil && n < maxFill; n++ {
		err = put()
	}
	if n--; !errors.Is(err, journal.ErrFull) {
		return fmt.Errorf("change %d: %w", n, err)
	}
	if _, _, err := s.Get(strconv.Itoa(n - 1)); err != nil {
		return err
	}
	if err := os.Remove(other); err != nil {
		return err
	}
	if err := put(); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	if err := s.Close(); err != nil {
		return err
	}
	if s, err = OpenMeta(dir, Options{}); err != nil {
		return err
	}
	for i := range n + 1 {
		if _, _, err := s.Get(strconv.Itoa(i)); err != nil {
			return err
		}
	}
	ledger("store of %d keys", n+1)
	return s.Close()
}
