package dir

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kineweir/kineweir/archive/bucket"
)

// List implements bucket.Bucket. It holds the names of one folder per level at a time, and opens only folders
// that can hold keys it looks for.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Object, error] {
	return func(yield func(bucket.Object, error) bool) {
		w := walk{ctx: ctx, root: s.root, prefix: prefix, after: after, yield: yield}
		if !bucket.ValidPrefix(prefix) {
			return
		}
		// Nothing above the last slash of the prefix needs a look.
		start := prefix[:strings.LastIndexByte(prefix, '/')+1]
		err := ctx.Err()
		if err == nil {
			_, err = w.folder(start)
		}
		if err != nil {
			yield(bucket.Object{}, failure("list", prefix, err))
		}
	}
}

type walk struct {
	ctx           context.Context
	root          string
	prefix, after string
	yield         func(bucket.Object, error) bool
}

// folder walks the folder of the keys that begin with base ("" or ending in a slash). It says whether the
// caller wants to go on.
func (w *walk) folder(base string) (bool, error) {
	names, err := w.names(base)
	if absent(err) {
		return true, nil // deleted since, or never there
	}
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if err := w.ctx.Err(); err != nil {
			return false, err
		}
		var on bool
		if strings.HasSuffix(name, "/") {
			on, err = w.folder(base + name)
		} else {
			on, err = w.file(base + name)
		}
		if !on || err != nil {
			return false, err
		}
	}
	return true, nil
}

// names gives what of a folder is to be walked, in the order of keys: a folder sorts as its name and a slash,
// for "a-b" comes before "a/b".
func (w *walk) names(base string) ([]string, error) {
	d, err := os.Open(filepath.Join(w.root, filepath.FromSlash(base)))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		name := e.Name()
		switch {
		case base == "" && strings.HasPrefix(name, bucket.Reserved):
		case e.IsDir() && w.mayHold(base+name+"/"):
			names = append(names, name+"/")
		case e.Type().IsRegular() && strings.HasPrefix(base+name, w.prefix) && base+name > w.after:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// mayHold says whether a key that begins with base can be one we look for.
func (w *walk) mayHold(base string) bool {
	if !strings.HasPrefix(base, w.prefix) && !strings.HasPrefix(w.prefix, base) {
		return false
	}
	return base > w.after || strings.HasPrefix(w.after, base)
}

func (w *walk) file(key string) (bool, error) {
	if bucket.ValidKey(key) != nil {
		return true, nil // not one of ours
	}
	fi, err := os.Lstat(filepath.Join(w.root, filepath.FromSlash(key)))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // deleted since
	}
	if err != nil {
		return false, err
	}
	return w.yield(object(key, fi), nil), nil
}
