package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

func open(t *testing.T, dir string) *Ring {
	t.Helper()
	r, err := Open(dir, vfs.OS{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestWrap: what is wrapped under any name of a key opens under it, now and
// after the ring was opened anew.
func TestWrap(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	r := open(t, dir)
	id, err := r.Add("alias/films")
	if err != nil || !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) {
		t.Fatalf("added %q, %v", id, err)
	}
	if got, err := r.Add("arn:aws:kms:eu-west-1:123456789012:key/mrk-1"); got != "mrk-1" || err != nil {
		t.Fatalf("added %q, %v", got, err)
	}
	type kept struct {
		name          string
		data, wrapped []byte
	}
	var all []kept
	for _, name := range []string{
		"alias/films", id, "arn:aws:kms:eu-west-1:123456789012:alias/films", "arn:aws-cn:kms:cn-north-1:123456789012:key/" + id,
		"mrk-1", "alias/aws/kinesis", "arn:aws:kms:us-east-1:000000000000:alias/aws/kinesis",
	} {
		data, wrapped, err := r.Wrap(name)
		if err != nil || len(data) != 32 {
			t.Fatalf("%s: %d bytes, %v", name, len(data), err)
		}
		if bytes.Contains(wrapped, data) {
			t.Errorf("%s: the data key is in the clear", name)
		}
		for _, k := range all {
			if bytes.Equal(k.data, data) {
				t.Errorf("%s: the data key of %s again", name, k.name)
			}
		}
		all = append(all, kept{name, data, wrapped})
	}
	for _, ring := range []*Ring{r, open(t, dir)} {
		for _, k := range all {
			if got, err := ring.Unwrap(k.name, k.wrapped); err != nil || !bytes.Equal(got, k.data) {
				t.Errorf("%s: %x, %v, want %x", k.name, got, err, k.data)
			}
		}
		keys := ring.Keys()
		if len(keys) != 3 || !slices.ContainsFunc(keys, func(k Key) bool {
			return k.ID == id && slices.Equal(k.Aliases, []string{"alias/films"}) && !k.Created.IsZero()
		}) {
			t.Errorf("keys: %+v", keys)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "keys"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestRefused(t *testing.T) {
	r := open(t, t.TempDir())
	for _, name := range []string{"a", "b", "alias/x"} {
		if _, err := r.Add(name); err != nil {
			t.Fatal(err)
		}
	}
	_, wrapped, err := r.Wrap("a")
	if err != nil {
		t.Fatal(err)
	}
	changed := func(i int, b byte) []byte {
		w := bytes.Clone(wrapped)
		w[i] ^= b
		return w
	}
	type call struct {
		what string
		err  error
		want error
	}
	var calls []call
	wrap := func(name string, want error) {
		_, _, err := r.Wrap(name)
		calls = append(calls, call{"wrap " + name, err, want})
	}
	add := func(name string, want error) {
		_, err := r.Add(name)
		calls = append(calls, call{"add " + name, err, want})
	}
	unwrap := func(what, name string, w []byte, want error) {
		_, err := r.Unwrap(name, w)
		calls = append(calls, call{"unwrap " + what, err, want})
	}
	wrap("c", ErrUnknown)
	wrap("alias/y", ErrUnknown)
	wrap("arn:aws:kms:eu-west-1:123456789012:key/c", ErrUnknown)
	wrap("alias/aws/ebs", ErrName)
	wrap("", ErrName)
	wrap("alias/", ErrName)
	wrap("a/b", ErrName)
	wrap("../a", ErrName)
	wrap("arn:aws:s3:::x", ErrName)
	wrap("arn:aws:kms:eu-west-1:123456789012:grant/a", ErrName)
	wrap("arn:aws:kms", ErrName)
	wrap(strings.Repeat("a", 129), ErrName)
	wrap("alias/"+strings.Repeat("a", 251), ErrName)
	add("a", ErrExists)
	add("alias/x", ErrExists)
	add("arn:aws:kms:eu-west-1:123456789012:key/b", ErrExists)
	add("alias/aws/s3", ErrName)
	calls = append(calls, call{"alias of none", r.Alias("alias/z", "c"), ErrUnknown})
	calls = append(calls, call{"alias that is none", r.Alias("z", "a"), ErrName})
	calls = append(calls, call{"disable none", r.Disable("c"), ErrUnknown})
	unwrap("another's", "b", wrapped, ErrWrapped)
	unwrap("nothing", "a", nil, ErrWrapped)
	unwrap("a version", "a", changed(0, 2), ErrWrapped)
	unwrap("a length", "a", changed(1, 1), ErrWrapped)
	unwrap("an id renamed to b", "alias/x", changed(2, 'a'^'b'), ErrWrapped)
	unwrap("an id that is none", "alias/x", changed(2, 'a'^'/'), ErrWrapped)
	unwrap("an unknown id", "alias/x", changed(2, 'a'^'c'), ErrUnknown)
	unwrap("cut", "a", wrapped[:len(wrapped)-1], ErrWrapped)
	for i := 3; i < len(wrapped); i++ {
		unwrap(fmt.Sprint("byte ", i), "a", changed(i, 1), ErrWrapped)
	}
	for _, c := range calls {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, c.err, c.want)
		}
	}
	if n := len(r.Keys()); n != 3 {
		t.Errorf("%d keys", n)
	}
}

func TestDisableAndMove(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	first, _ := r.Add("alias/x")
	data, wrapped, err := r.Wrap("alias/x")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Disable("alias/x"); err != nil {
		t.Fatal(err)
	}
	for _, ring := range []*Ring{r, open(t, dir)} {
		if _, _, err := ring.Wrap(first); !errors.Is(err, ErrDisabled) {
			t.Errorf("wrap: %v", err)
		}
		if _, err := ring.Unwrap("alias/x", wrapped); !errors.Is(err, ErrDisabled) {
			t.Errorf("unwrap: %v", err)
		}
	}
	if err := r.Enable(first); err != nil {
		t.Fatal(err)
	}
	second, _ := r.Add("other")
	if err := r.Alias("alias/x", second); err != nil {
		t.Fatal(err)
	}
	if got, err := open(t, dir).Unwrap("alias/x", wrapped); err != nil || !bytes.Equal(got, data) {
		t.Errorf("after the alias moved: %v", err)
	}
	_, now, err := r.Wrap("alias/x")
	if err != nil || !bytes.Contains(now, []byte(second)) {
		t.Errorf("wrapped by %q, %v", now[2:7], err)
	}
}

// TestFirstUse: many who use the default key at once get the same one.
func TestFirstUse(t *testing.T) {
	r := open(t, t.TempDir())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			data, wrapped, err := r.Wrap(DefaultAlias)
			if err != nil {
				t.Error(err)
			}
			if got, err := r.Unwrap(DefaultAlias, wrapped); err != nil || !bytes.Equal(got, data) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(r.Keys()); n != 1 {
		t.Errorf("%d keys", n)
	}
}

// TestFailedWrites: when any call to the disk fails, the change has not
// happened, what was there opens, and the next change succeeds.
func TestFailedWrites(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpCreate, vfs.OpWrite, vfs.OpSync, vfs.OpRename, vfs.OpSyncDir} {
		dir := t.TempDir()
		fs := vfs.NewFaults(vfs.OS{})
		r, err := Open(dir, fs)
		if err != nil {
			t.Fatal(err)
		}
		data, wrapped, err := r.Wrap(DefaultAlias)
		if err != nil {
			t.Fatal(err)
		}
		fs.Set(func(c vfs.Call) vfs.Fault {
			if c.Op == op {
				return vfs.Fault{Err: syscall.EIO, Wrote: c.N / 2}
			}
			return vfs.Fault{}
		})
		if _, err := r.Add("new"); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", op, err)
		}
		if _, _, err := r.Wrap("new"); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: used nevertheless: %v", op, err)
		}
		fs.Set(nil)
		if _, err := os.Stat(filepath.Join(dir, tmpName)); err == nil {
			t.Errorf("%s: the new file lies about", op)
		}
		if got, err := open(t, dir).Unwrap(DefaultAlias, wrapped); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: then %v", op, err)
		}
		if _, err := r.Add("new"); err != nil {
			t.Errorf("%s: again: %v", op, err)
		}
		if n := len(open(t, dir).Keys()); n != 2 {
			t.Errorf("%s: %d keys", op, n)
		}
	}
}

// TestSyncedBeforeUsed: the order in which the file gets to the disk.
func TestSyncedBeforeUsed(t *testing.T) {
	fs := vfs.NewFaults(vfs.OS{})
	r, err := Open(t.TempDir(), fs)
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	fs.Set(func(c vfs.Call) vfs.Fault {
		calls = append(calls, string(c.Op)+" "+filepath.Base(c.Name))
		return vfs.Fault{}
	})
	if _, err := r.Add("a"); err != nil {
		t.Fatal(err)
	}
	want := "create keys.tmp, write keys.tmp, sync keys.tmp, rename keys, syncdir 001"
	if got := strings.Join(calls, ", "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
