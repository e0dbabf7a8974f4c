package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
)

// Store is the users and their rights. It follows its file: a change counts
// within seconds, and a file that cannot be used leaves what was.
//
// A Store may be open: then everybody may do everything, and no file is read.
type Store struct {
	open   bool
	file   string
	log    *slog.Logger
	salt   [32]byte // of what stands in memory for a secret
	now    func() time.Time
	tokens *Tokens
	guard  *guard

	held   atomic.Pointer[contents]
	mu     sync.Mutex // guards seen, and is held while the file is read
	seen   fileMark
	stop   chan struct{}
	closed sync.Once
	wg     sync.WaitGroup // the watcher
}

// contents is a book with what is looked up by a secret.
type contents struct {
	*book
	secrets map[digest]*user // of keys, by salted digest
}

type digest [sha256.Size]byte

var _ ingest.Authenticator = (*Store)(nil)

// watchEvery is how often the file is looked at.
const watchEvery = 2 * time.Second

func newStore(log *slog.Logger) *Store {
	s := &Store{log: log, now: time.Now, stop: make(chan struct{})}
	_, _ = rand.Read(s.salt[:]) // never fails
	s.guard = newGuard(s)
	return s
}

// openStore returns a Store that lets everybody in.
func openStore(log *slog.Logger) *Store {
	s := newStore(log)
	s.open = true
	s.held.Store(&contents{book: &book{}})
	return s
}

// loadStore reads file and begins to follow it.
func loadStore(file string, log *slog.Logger) (*Store, error) {
	s := newStore(log)
	s.file = file
	if err := s.Reload(); err != nil {
		return nil, err
	}
	s.wg.Go(s.watch)
	return s, nil
}

// Close stops following the file.
func (s *Store) Close() {
	s.closed.Do(func() { close(s.stop) })
	s.wg.Wait()
}

// Open reports whether everybody may do everything.
func (s *Store) Open() bool { return s.open }

// File returns the path of the credentials file, "" when the Store is open.
func (s *Store) File() string { return s.file }

// Tokens returns the issuer of session tokens.
func (s *Store) Tokens() *Tokens { return s.tokens }

// Reload reads the file again, now. An error leaves what was.
func (s *Store) Reload() error {
	if s.open {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := os.Stat(s.file)
	if err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	s.seen = markOf(st)
	data, err := os.ReadFile(s.file)
	if err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	b, err := parse(data)
	if err != nil {
		return fmt.Errorf("credentials file %s: %w", s.file, err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		s.log.Warn("credentials file can be read by other users of this machine: chmod 600 it", "file", s.file, "mode", fmt.Sprintf("%#o", st.Mode().Perm()))
	}
	c := &contents{book: b, secrets: map[digest]*user{}}
	for _, k := range b.ids {
		c.secrets[s.digest(k.secret)] = k.user
	}
	s.held.Store(c)
	return nil
}

// fileMark tells one state of a file from another.
type fileMark struct {
	mod  time.Time
	size int64
}

func markOf(st os.FileInfo) fileMark { return fileMark{st.ModTime(), st.Size()} }

func (s *Store) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			s.follow()
		}
	}
}

// follow reads the file again if it has changed.
func (s *Store) follow() {
	st, err := os.Stat(s.file)
	s.mu.Lock()
	var mark fileMark // of a file that is not there
	if err == nil {
		mark = markOf(st)
	}
	changed := mark != s.seen
	s.seen = mark
	s.mu.Unlock()
	if !changed {
		return
	}
	if err == nil {
		err = s.Reload()
	}
	if err != nil {
		s.log.Error("credentials stay as they were: the changed file cannot be used", "error", err)
		return
	}
	s.log.Info("credentials loaded again", "file", s.file)
}

func (s *Store) book() *contents { return s.held.Load() }

// Password implements [ingest.Authenticator]. A user may be named by its name
// or by an access key id.
func (s *Store) Password(name string) (string, bool) {
	_, secret, ok := s.book().find(name)
	return secret, ok
}

// Allowed implements [ingest.Authenticator].
func (s *Store) Allowed(name string, a ingest.Action, stream fragments.StreamName) bool {
	if s.open {
		return true
	}
	u := s.lookup(name)
	return u != nil && u.may(a, stream)
}

// lookup returns the user of a name or key id; "" is anonymous; nil is nobody.
func (s *Store) lookup(name string) *user {
	b := s.book()
	if name == "" {
		return &b.anonymous
	}
	u, _, _ := b.find(name)
	return u
}

// digest is what stands in memory for a secret: comparing two takes the same
// time wherever they differ, and finding one by it tells nothing about others.
func (s *Store) digest(secret string) digest {
	h := hmac.New(sha256.New, s.salt[:])
	h.Write([]byte(secret))
	return digest(h.Sum(nil))
}

// verify returns the user whom name and secret prove, or nil. The secret is the
// user's password or any of its keys; for a key id, that key.
func (s *Store) verify(name, secret string) *user {
	b := s.book()
	given := s.digest(secret)
	u := b.users[name]
	var match int
	candidates := []string{"nobody's password"} // takes as long for names that do not exist
	if u != nil {
		candidates = candidates[:0]
		if u.Password != "" {
			candidates = append(candidates, u.Password)
		}
		for _, k := range u.Keys {
			candidates = append(candidates, k.Secret)
		}
	} else if k, ok := b.ids[name]; ok {
		u, candidates = k.user, []string{k.secret}
	}
	for _, c := range candidates {
		want := s.digest(c)
		if hmac.Equal(want[:], given[:]) {
			match++
		}
	}
	if match == 0 {
		return nil
	}
	return u
}

// verifyKey returns the user whose secret key it is, or nil.
func (s *Store) verifyKey(secret string) *user {
	return s.book().secrets[s.digest(secret)]
}

// credential returns bytes that change whenever what the user proves itself
// with does; ok is false for a user who does not exist. Tokens are bound to it.
func (s *Store) credential(name string) (mark []byte, ok bool) {
	if s.open || name == "" {
		return nil, true
	}
	u := s.book().users[name]
	if u == nil {
		return nil, false
	}
	field := func(v string) {
		mark = binary.AppendUvarint(mark, uint64(len(v)))
		mark = append(mark, v...)
	}
	field(u.Password)
	for _, k := range u.Keys {
		field(k.ID)
		field(k.Secret)
	}
	return mark, true
}
