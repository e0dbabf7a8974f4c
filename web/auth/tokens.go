package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// Lifetimes of tokens.
const (
	defaultTokenLife = 24 * time.Hour
	sessionLife      = 30 * 24 * time.Hour
	// MaxTokenLife is the longest a token may be issued for.
	MaxTokenLife = 366 * 24 * time.Hour
)

// maxRevoked bounds the list of single revoked tokens. Who needs more revokes
// all of a user's.
const maxRevoked = 10_000

// Memory keeps what must survive a restart. Save replaces what was saved
// before, whole; Load returns nil when nothing was.
type Memory interface {
	Load() ([]byte, error)
	Save(data []byte) error
}

// Tokens issues and checks session tokens. They are signed, so that nothing is
// kept for those that are good; what is kept are those that have been revoked.
type Tokens struct {
	key        []byte
	life       time.Duration
	credential func(user string) (mark []byte, ok bool)
	memory     Memory
	now        func() time.Time

	mu    sync.Mutex // guards saved; held while it is saved
	saved revocations
}

// revocations is what the Memory holds, as JSON.
type revocations struct {
	// Tokens are the revoked ones by id, with the second of their expiry.
	Tokens map[string]int64 `json:"tokens"`
	// Generations count how often all tokens of a user were revoked.
	Generations map[string]uint64 `json:"generations"`
}

// newTokens returns an issuer whose key and memory are files in dir.
func newTokens(dir string, credential func(string) ([]byte, bool), life time.Duration) (*Tokens, error) {
	key, err := keyFile(filepath.Join(dir, "token.key"))
	if err != nil {
		return nil, fmt.Errorf("token key: %w", err)
	}
	return makeTokens(key, fileMemory(filepath.Join(dir, "tokens.json")), credential, life)
}

func makeTokens(key []byte, m Memory, credential func(string) ([]byte, bool), life time.Duration) (*Tokens, error) {
	if life <= 0 {
		life = defaultTokenLife
	}
	t := &Tokens{key: key, life: life, credential: credential, memory: m, now: time.Now}
	data, err := m.Load()
	if err != nil {
		return nil, fmt.Errorf("revoked tokens: %w", err)
	}
	if len(data) > 0 {
		if err := json.Unmarshal(data, &t.saved); err != nil {
			// Going on without the list would let revoked tokens live again.
			return nil, fmt.Errorf("revoked tokens: %w: restore the file, or remove token.key beside it, which ends all tokens", err)
		}
	}
	if t.saved.Tokens == nil {
		t.saved.Tokens = map[string]int64{}
	}
	if t.saved.Generations == nil {
		t.saved.Generations = map[string]uint64{}
	}
	return t, nil
}

// Issue signs g with a new ID. Expires zero is the default life from now.
func (t *Tokens) Issue(g Grant) (string, Grant, error) {
	_, _ = rand.Read(g.ID[:]) // never fails
	if g.Expires.IsZero() {
		g.Expires = t.now().Add(t.life)
	}
	return t.sign(g)
}

// issueSteady signs g so that asking again soon gives the same token, for URLs
// that a player compares between two loads of a playlist.
func (t *Tokens) issueSteady(g Grant) (string, error) {
	// It lasts between one and two lives, from one multiple of the life on.
	g.Expires = t.now().Truncate(t.life).Add(2 * t.life)
	b := fmt.Appendf(nil, "steady %q %q %d %d %d %d", g.User, g.Stream, g.Actions, millis(g.Start), millis(g.End), g.Expires.Unix())
	copy(g.ID[:], macOf(t.key, b))
	token, _, err := t.sign(g)
	return token, err
}

func (t *Tokens) sign(g Grant) (string, Grant, error) {
	s, err := t.stamp(g.User)
	if err != nil {
		return "", g, err
	}
	g.Expires = g.Expires.Truncate(time.Second).UTC()
	return encode(t.key, g, s), g, nil
}

// Check returns what a good token grants. That its user still has the right is
// for the caller to see.
func (t *Tokens) Check(token string) (Grant, error) {
	g, had, err := decode(t.key, token)
	if err != nil {
		return Grant{}, err
	}
	if !t.now().Before(g.Expires) {
		return Grant{}, ErrExpiredToken
	}
	now, err := t.stamp(g.User)
	if err != nil || !hmac.Equal(now[:], had[:]) {
		return Grant{}, ErrRevokedToken
	}
	t.mu.Lock()
	_, revoked := t.saved.Tokens[hex.EncodeToString(g.ID[:])]
	t.mu.Unlock()
	if revoked {
		return Grant{}, ErrRevokedToken
	}
	return g, nil
}

// stamp ties a token to what its user proves itself with, and to how often all
// its tokens were revoked: when either changes, all are void.
func (t *Tokens) stamp(user string) (stamp, error) {
	mark, ok := t.credential(user)
	if !ok {
		return stamp{}, fmt.Errorf("there is no user %q", user)
	}
	t.mu.Lock()
	generation := t.saved.Generations[user]
	t.mu.Unlock()
	h := hmac.New(sha256.New, t.key)
	h.Write([]byte("stamp"))
	h.Write(binary.AppendUvarint(nil, generation))
	h.Write(appendString(nil, user))
	h.Write(mark)
	return stamp(h.Sum(nil)[:len(stamp{})]), nil
}

// Revoke ends one token. It is durable when Revoke returns nil.
func (t *Tokens) Revoke(token string) error {
	g, err := t.Check(token)
	if errors.Is(err, ErrExpiredToken) || errors.Is(err, ErrRevokedToken) {
		return nil
	}
	if err != nil {
		return err
	}
	return t.change(func(r *revocations) error {
		now := t.now().Unix()
		maps.DeleteFunc(r.Tokens, func(_ string, expires int64) bool { return expires <= now })
		if len(r.Tokens) >= maxRevoked {
			return fmt.Errorf("%d tokens are revoked one by one, which is the most: revoke all of a user", maxRevoked)
		}
		r.Tokens[hex.EncodeToString(g.ID[:])] = g.Expires.Unix()
		return nil
	})
}

// RevokeUser ends all tokens and sessions of a user. It is durable when
// RevokeUser returns nil.
func (t *Tokens) RevokeUser(user string) error {
	if _, ok := t.credential(user); !ok {
		return nil
	}
	return t.change(func(r *revocations) error {
		r.Generations[user]++
		return nil
	})
}

// change edits a copy, saves it, and then lets it count.
func (t *Tokens) change(edit func(*revocations) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := revocations{maps.Clone(t.saved.Tokens), maps.Clone(t.saved.Generations)}
	if err := edit(&next); err != nil {
		return err
	}
	data, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := t.memory.Save(data); err != nil {
		return fmt.Errorf("revoked tokens: %w", err)
	}
	t.saved = next
	return nil
}

// slack is how far video may reach beyond the bounds of a token: fragments are
// served whole, and one may straddle a bound.
const slack = 30 * time.Second

// covers returns nil when the grant is for a, the stream and the span of video.
// A zero start is the oldest, a zero end the newest and all to come.
func (g *Grant) covers(a Actions, stream fragments.StreamName, start, end time.Time) error {
	switch {
	case g.Actions&a != a:
		return errors.New("the token is for something else")
	case g.Stream != "" && g.Stream != stream:
		return errors.New("the token is for another stream")
	case !g.Start.IsZero() && (start.IsZero() || start.Before(g.Start.Add(-slack))):
		return fmt.Errorf("the token is for video from %s on", g.Start.Format(time.RFC3339))
	case !g.End.IsZero() && (end.IsZero() || end.After(g.End.Add(slack))):
		return fmt.Errorf("the token is for video until %s", g.End.Format(time.RFC3339))
	}
	return nil
}

// keyFile reads the key of tokens, or makes it.
func keyFile(name string) ([]byte, error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		return key, replaceFile(name, []byte(hex.EncodeToString(key)+"\n"))
	}
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	if n, err := hex.Decode(key, text[:min(64, len(text))]); err != nil || n != len(key) {
		return nil, fmt.Errorf("%s does not hold 64 hexadecimal digits: remove it to have a new key made, which ends all tokens", name)
	}
	return key, nil
}

// fileMemory is a [Memory] in the file of that name.
type fileMemory string

func (m fileMemory) Load() ([]byte, error) {
	data, err := os.ReadFile(string(m))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

func (m fileMemory) Save(data []byte) error { return replaceFile(string(m), data) }

// replaceFile writes a file that is there whole, with its old content or with
// the new, whenever the machine stops. Only its owner may read it.
func replaceFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
