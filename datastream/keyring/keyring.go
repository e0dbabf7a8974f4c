// Package keyring is the local stand-in for a key management service: a file of
// master keys that wrap the data keys of encrypted streams.
//
// It owns the master keys, their ids and aliases, and the file they lie in. A
// master key never leaves the ring: callers get data keys, in the clear to use
// and wrapped to keep. It encrypts no records, knows no streams, and protects
// nothing from one who can read its file: whoever backs up the data folder
// without the file of keys has backed up nothing that can be read.
//
// The folder belongs to one process at a time; the lock of the data folder
// around it sees to that.
package keyring

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// DefaultAlias is the alias of the key that is made when it is first used, as
// the service does with the key it manages for an account.
const DefaultAlias = "alias/aws/kinesis"

// Bounds.
const (
	maxKeys  = 10_000
	keyBytes = 32 // of master and data keys: AES-256
)

// What can be wrong.
var (
	// ErrUnknown: no key has this id or alias.
	ErrUnknown = errors.New("no such key")
	// ErrDisabled: the key is there and may not be used.
	ErrDisabled = errors.New("the key is disabled")
	// ErrName: this can be no id, alias or ARN of a key.
	ErrName = errors.New("not the id, alias or ARN of a key")
	// ErrExists: the id or alias is taken.
	ErrExists = errors.New("there is such a key already")
	// ErrWrapped: the wrapped data key is damaged, or another key wrapped it.
	ErrWrapped = errors.New("the wrapped data key does not open with this key")
	// ErrFull: the ring holds as many keys, or aliases, as it may.
	ErrFull = errors.New("the key ring is full")
)

// Key is a picture of a master key, without what is secret.
type Key struct {
	ID       string
	Aliases  []string // sorted
	Disabled bool
	Created  time.Time // UTC, to the second
}

// master is a key of the ring. It is never modified: a change replaces it.
type master struct {
	secret   [keyBytes]byte
	seal     cipher.AEAD
	disabled bool
	created  int64 // unix seconds
}

func newMaster(secret [keyBytes]byte, created int64, disabled bool) (*master, error) {
	block, err := aes.NewCipher(secret[:])
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &master{secret: secret, seal: seal, disabled: disabled, created: created}, nil
}

// Ring is an open key ring. Its methods may be called concurrently; those that
// change it return once the change is durable.
type Ring struct {
	fs  vfs.FS
	dir string

	mu sync.RWMutex // held over writes to the disk: they are rare
	book
}

// book is what the file holds.
type book struct {
	keys    map[string]*master // by id
	aliases map[string]string  // "alias/x" to id
}

func (b book) clone() book { return book{maps.Clone(b.keys), maps.Clone(b.aliases)} }

// Open reads the ring in dir, which is made if need be; an empty folder is an
// empty ring. A file that does not read as it was written is a *DamageError.
func Open(dir string, fs vfs.FS) (*Ring, error) {
	if err := fs.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("open key ring: %w", err)
	}
	b, err := readBook(fs, filepath.Join(dir, fileName))
	if err != nil {
		return nil, fmt.Errorf("open key ring: %w", err)
	}
	return &Ring{fs: fs, dir: dir, book: b}, nil
}

// Add makes a key. Given an id, the key has that id; given an alias, it gets an
// id of its own and the alias. ARNs of either will do. It returns the id.
func (r *Ring) Add(name string) (id string, err error) {
	n, err := parseName(name)
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.add(n)
}

func (r *Ring) add(n keyName) (string, error) {
	next := r.clone()
	id := n.id
	if n.alias != "" {
		if _, taken := next.aliases[n.alias]; taken {
			return "", fmt.Errorf("%s: %w", n.alias, ErrExists)
		}
		id = newID()
		next.aliases[n.alias] = id
	}
	if next.keys[id] != nil {
		return "", fmt.Errorf("key %s: %w", id, ErrExists)
	}
	var secret [keyBytes]byte
	rand.Read(secret[:]) // never fails: it ends the process instead
	key, err := newMaster(secret, time.Now().Unix(), false)
	if err != nil {
		return "", err
	}
	next.keys[id] = key
	return id, r.commit(next)
}

// Alias gives a key an alias, or moves the alias from another key to it. What
// was wrapped under the alias before still opens.
func (r *Ring) Alias(alias, key string) error {
	a, err := parseName(alias)
	if err == nil && a.alias == "" {
		err = fmt.Errorf("%q is no alias: %w", alias, ErrName)
	}
	if err != nil {
		return err
	}
	return r.change(key, func(b book, id string) { b.aliases[a.alias] = id })
}

// Disable forbids the use of a key until Enable.
func (r *Ring) Disable(key string) error { return r.setDisabled(key, true) }

// Enable allows the use of a key again.
func (r *Ring) Enable(key string) error { return r.setDisabled(key, false) }

func (r *Ring) setDisabled(key string, disabled bool) error {
	return r.change(key, func(b book, id string) {
		changed := *b.keys[id]
		changed.disabled = disabled
		b.keys[id] = &changed
	})
}

// change makes a change that concerns one key, which must exist.
func (r *Ring) change(key string, f func(b book, id string)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, err := r.find(key)
	if err != nil {
		return err
	}
	next := r.clone()
	f(next, id)
	return r.commit(next)
}

// commit makes next what the ring holds, first on disk. It is called with mu
// held.
func (r *Ring) commit(next book) error {
	if len(next.keys) > maxKeys || len(next.aliases) > maxKeys {
		return ErrFull
	}
	if err := writeBook(r.fs, r.dir, next); err != nil {
		return fmt.Errorf("write key ring: %w", err)
	}
	r.book = next
	return nil
}

// find returns the id of the key of a name. It is called with mu held.
func (r *Ring) find(name string) (id string, err error) {
	n, err := parseName(name)
	if err != nil {
		return "", err
	}
	id = n.id
	if n.alias != "" {
		id = r.aliases[n.alias]
	}
	if r.keys[id] == nil {
		return "", fmt.Errorf("key %s: %w", name, ErrUnknown)
	}
	return id, nil
}

// Keys lists the keys by id.
func (r *Ring) Keys() []Key {
	r.mu.RLock()
	defer r.mu.RUnlock()
	byID := map[string][]string{}
	for alias, id := range r.aliases {
		byID[id] = append(byID[id], alias)
	}
	list := make([]Key, 0, len(r.keys))
	for id, k := range r.keys {
		slices.Sort(byID[id])
		list = append(list, Key{ID: id, Aliases: byID[id], Disabled: k.disabled, Created: time.Unix(k.created, 0).UTC()})
	}
	slices.SortFunc(list, func(a, b Key) int { return cmp.Compare(a.ID, b.ID) })
	return list
}
