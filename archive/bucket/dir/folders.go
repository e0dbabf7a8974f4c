package dir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// syncParents makes the name path durable: it syncs its folder, and the folders above as far up as the
// folder's own name is not yet known to be durable. A folder made by another writer a moment ago, or by a
// process that crashed before its sync, is so synced by everyone who relies on it.
//
// That path exists keeps its folders from being removed meanwhile. Should it be deleted nevertheless, and a
// folder with it, generation has moved on and nothing is remembered.
func (s *Store) syncParents(path string) error {
	s.mu.Lock()
	generation := s.generation
	var fresh []string
	for d := filepath.Dir(path); len(d) > len(s.root); d = filepath.Dir(d) {
		if _, known := s.durable[d]; known {
			break
		}
		fresh = append(fresh, d)
	}
	s.mu.Unlock()

	if err := s.syncFolder(filepath.Dir(path)); err != nil {
		return err
	}
	for _, d := range fresh {
		if err := s.syncFolder(filepath.Dir(d)); err != nil {
			return err
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if generation != s.generation {
		return nil
	}
	if len(s.durable)+len(fresh) > maxDurable {
		clear(s.durable)
	}
	for _, d := range fresh {
		s.durable[d] = struct{}{}
	}
	return nil
}

// makeFolders makes the folder d and those above it. One that is missing cannot be known to be durable, whoever
// removed it.
func (s *Store) makeFolders(d string) error {
	for up := d; len(up) > len(s.root); up = filepath.Dir(up) {
		if _, err := os.Lstat(up); err == nil {
			if up == d {
				return nil
			}
			break
		}
		s.mu.Lock()
		delete(s.durable, up)
		s.mu.Unlock()
	}
	for {
		// Where a folder exists when it is to be made and is gone when MkdirAll looks
		// what it is, a Delete has removed it in between. (A file in its place is
		// ENOTDIR.)
		if err := os.MkdirAll(d, folderMode); !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}

// prune removes the folder d and those above it as long as they are empty. Their removal need not be durable.
func (s *Store) prune(d string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; len(d) > len(s.root); d = filepath.Dir(d) {
		if err := syscall.Rmdir(d); err != nil && !errors.Is(err, syscall.ENOENT) {
			return
		}
		delete(s.durable, d)
		s.generation++
	}
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
