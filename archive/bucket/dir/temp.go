package dir

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/kineweir/kineweir/archive/bucket"
)

// tempName is the folder for objects being written. It is below the root and so on the file system of the objects.
const tempName = bucket.Reserved + "tmp"

// createTemp makes a file to write an object in, locked as long as it is open. The lock is how a sweep, in
// this process or another, tells a writer at work from one that is no more.
func (s *Store) createTemp() (*os.File, error) {
	for {
		f, err := os.OpenFile(filepath.Join(s.temp, "put-"+rand.Text()), os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
		if errors.Is(err, fs.ErrNotExist) {
			err = os.MkdirAll(s.temp, folderMode) // someone tidied up by hand
			if err == nil {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		if locked, err := lock(f); locked || err != nil {
			return f, err
		}
		f.Close() // a sweep was between our creating and our locking: it takes this one, we take another
	}
}

// lock locks f unless a sweep holds it or has removed it.
func lock(f *os.File) (bool, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstat(int(f.Fd()), &st)
	}
	return err == nil && st.Nlink > 0, err
}

// sweep removes the files of writers that are no more.
func (s *Store) sweep() error {
	entries, err := os.ReadDir(s.temp)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if err := sweepOne(filepath.Join(s.temp, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func sweepOne(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if orphan, err := lock(f); !orphan {
		return err
	}
	return os.Remove(path)
}
