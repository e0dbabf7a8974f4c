package auth

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

var testKey = []byte("0123456789abcdef0123456789abcdef")

// memory is a Memory that may fail.
type memory struct {
	data []byte
	err  error
}

func (m *memory) Load() ([]byte, error) { return m.data, nil }
func (m *memory) Save(data []byte) error {
	if m.err == nil {
		m.data = data
	}
	return m.err
}

func testTokens(t *testing.T, m Memory, users map[string]string) *Tokens {
	t.Helper()
	tok, err := makeTokens(testKey, m, func(u string) ([]byte, bool) {
		mark, ok := users[u]
		return []byte(mark), ok
	}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestTokenCarriesItsGrant(t *testing.T) {
	tok := testTokens(t, &memory{}, map[string]string{"": "", "bob": "x", strings.Repeat("u", 64): "y"})
	at := time.UnixMilli(1_790_000_000_123).UTC()
	for _, g := range []Grant{
		{User: "bob", Stream: "front-door", Actions: ActView},
		{User: "", Stream: "s", Actions: ActView | ActPublish},
		{User: "bob", Actions: actWhole},
		{User: "bob", Stream: "a", Actions: ActView, Start: at},
		{User: "bob", Stream: "a", Actions: ActView, End: at},
		{User: strings.Repeat("u", 64), Actions: ActView, Start: at, End: at.Add(time.Hour)},
	} {
		token, issued, err := tok.Issue(g)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tok.Check(token)
		if err != nil || got != issued {
			t.Errorf("%+v: got %+v %v", issued, got, err)
		}
		issued.ID, issued.Expires = g.ID, g.Expires
		if issued != g {
			t.Errorf("issued %+v for %+v", issued, g)
		}
		if strings.ContainsAny(token, "+/=&?#%") || len(token) > 220 {
			t.Errorf("token %s does not belong into a URL", token)
		}
	}
}

func TestTokenIsForgeryProof(t *testing.T) {
	users := map[string]string{"bob": "x"}
	tok := testTokens(t, &memory{}, users)
	token, _, err := tok.Issue(Grant{User: "bob", Stream: "front-door", Actions: ActView})
	if err != nil {
		t.Fatal(err)
	}
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range token {
		for _, c := range letters {
			forged := token[:i] + string(c) + token[i+1:]
			if forged == token {
				continue
			}
			if _, err := tok.Check(forged); !errors.Is(err, ErrBadToken) {
				t.Fatalf("character %d changed to %c: %v", i, c, err)
			}
		}
	}
	for _, bad := range []string{"", "x", token[1:], token[:len(token)-1], token + "A", token + "=", strings.Repeat("A", maxToken+4)} {
		if _, err := tok.Check(bad); !errors.Is(err, ErrBadToken) {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
	other, err := makeTokens([]byte("another key, 32 bytes, not equal"), &memory{}, tok.credential, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Check(token); !errors.Is(err, ErrBadToken) {
		t.Errorf("another server's key: %v", err)
	}
}

func TestTokenEnds(t *testing.T) {
	users := map[string]string{"bob": "old", "eve": "e"}
	m := &memory{}
	tok := testTokens(t, m, users)
	now := time.Unix(1_790_000_000, 0)
	tok.now = func() time.Time { return now }
	issue := func(user string) string {
		token, _, err := tok.Issue(Grant{User: user, Stream: "s", Actions: ActView})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	check := func(what, token string, want error) {
		t.Helper()
		for name, x := range map[string]*Tokens{"": tok, ", after a restart": testTokens(t, m, users)} {
			x.now = tok.now
			if _, err := x.Check(token); !errors.Is(err, want) {
				t.Errorf("%s%s: %v, want %v", what, name, err, want)
			}
		}
	}
	a, b, c := issue("bob"), issue("bob"), issue("eve")
	check("fresh", a, nil)
	if err := tok.Revoke(a); err != nil {
		t.Fatal(err)
	}
	check("revoked", a, ErrRevokedToken)
	check("the other of the same user", b, nil)
	if err := tok.RevokeUser("bob"); err != nil {
		t.Fatal(err)
	}
	check("all of the user revoked", b, ErrRevokedToken)
	check("of another user", c, nil)
	d := issue("bob")
	check("issued after that", d, nil)
	users["bob"] = "new"
	check("password changed", d, ErrRevokedToken)
	delete(users, "eve")
	check("user gone", c, ErrRevokedToken)
	e := issue("bob")
	now = now.Add(time.Hour - time.Second)
	check("a second before its end", e, nil)
	now = now.Add(time.Second)
	check("at its end", e, ErrExpiredToken)
	if _, _, err := tok.Issue(Grant{User: "eve"}); err == nil {
		t.Error("a token for a user who does not exist")
	}

	// What has expired is no longer kept.
	if err := tok.Revoke(issue("bob")); err != nil {
		t.Fatal(err)
	}
	if n := len(tok.saved.Tokens); n != 1 {
		t.Errorf("%d revoked tokens kept, want 1", n)
	}
	m.err = errors.New("disk full")
	f := issue("bob")
	if err := tok.Revoke(f); !errors.Is(err, m.err) {
		t.Errorf("revoke without memory: %v", err)
	}
	check("not durably revoked", f, nil)
}

func TestSteadyTokens(t *testing.T) {
	tok := testTokens(t, &memory{}, map[string]string{"bob": "x"})
	now := time.Unix(1_790_000_000, 0).Truncate(time.Hour)
	tok.now = func() time.Time { return now }
	steady := func(g Grant) string {
		token, err := tok.issueSteady(g)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	g := Grant{User: "bob", Stream: "s", Actions: ActView}
	first := steady(g)
	now = now.Add(59 * time.Minute)
	if steady(g) != first {
		t.Error("asked again within the life: another token")
	}
	g.Stream = "t"
	if steady(g) == first {
		t.Error("another stream: the same token")
	}
	now = now.Add(time.Minute)
	if _, err := tok.Check(first); err != nil {
		t.Errorf("it lasts a life at least: %v", err)
	}
	g.Stream = "s"
	if steady(g) == first {
		t.Error("after a life: still the same token")
	}
}

func TestTokenSpan(t *testing.T) {
	day := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	never := time.Time{}
	for _, c := range []struct {
		name       string
		from, to   time.Time // of the token
		start, end time.Time // asked for
		allowed    bool
		stream     string
		action     Actions
	}{
		{"no bounds, live", never, never, never, never, true, "s", ActView},
		{"no bounds, range", never, never, day, day, true, "s", ActView},
		{"within", day, day.Add(time.Hour), day, day.Add(time.Hour), true, "s", ActView},
		{"straddles", day, day.Add(time.Hour), day.Add(-10 * time.Second), day.Add(time.Hour + 10*time.Second), true, "s", ActView},
		{"before", day, day.Add(time.Hour), day.Add(-time.Minute), day, false, "s", ActView},
		{"after", day, day.Add(time.Hour), day, day.Add(time.Hour + time.Minute), false, "s", ActView},
		{"open start asked", day, never, never, day, false, "s", ActView},
		{"open end asked", never, day, day, never, false, "s", ActView},
		{"live asked of a past token", day, day.Add(time.Hour), never, never, false, "s", ActView},
		{"from a time on", day, never, day.Add(time.Hour), never, true, "s", ActView},
		{"other stream", never, never, never, never, false, "t", ActView},
		{"other action", never, never, never, never, false, "s", ActPublish},
	} {
		g := Grant{Stream: "s", Actions: ActView, Start: c.from, End: c.to}
		if err := g.covers(c.action, fragments.StreamName(c.stream), c.start, c.end); (err == nil) != c.allowed {
			t.Errorf("%s: %v, want allowed = %v", c.name, err, c.allowed)
		}
	}
}

func TestTokenFiles(t *testing.T) {
	dir := t.TempDir()
	known := func(string) ([]byte, bool) { return nil, true }
	a, err := newTokens(dir, known, 0)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := a.Issue(Grant{User: "bob", Actions: ActView})
	if err != nil {
		t.Fatal(err)
	}
	b, err := newTokens(dir, known, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Check(token); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if err := b.RevokeUser("bob"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"token.key", "tokens.json"} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v, want mode 0600", name, st, err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("left in the folder: %v %v", left, err)
	}
	if c, err := newTokens(dir, known, 0); err != nil {
		t.Error(err)
	} else if _, err := c.Check(token); !errors.Is(err, ErrRevokedToken) {
		t.Errorf("revoked before the restart: %v", err)
	}
	for name, content := range map[string]string{"tokens.json": "{", "token.key": "zz"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := newTokens(dir, known, 0); err == nil || !strings.Contains(err.Error(), "remove") {
			t.Errorf("broken %s: %v, want a hint", name, err)
		}
	}
}

func FuzzToken(f *testing.F) {
	g := Grant{User: "bob", Stream: "front-door", Actions: ActView, Expires: time.Unix(1_790_000_000, 0)}
	f.Add([]byte(encode(testKey, g, stamp{1})))
	f.Add([]byte(""))
	f.Add([]byte(strings.Repeat("A", 48)))
	f.Fuzz(func(t *testing.T, in []byte) {
		if got, _, err := decode(testKey, string(in)); err == nil && got.User == "" && got.Stream == "" && got.Actions == 0 {
			t.Errorf("a token without content was accepted: %q", in)
		}
		// The body as if its author had the key: the reader behind the
		// authenticator must stand anything too.
		signed := tokenEncoding.EncodeToString(append(in[:len(in):len(in)], macOf(testKey, in)...))
		got, s, err := decode(testKey, signed)
		if err != nil {
			return
		}
		again, s2, err := decode(testKey, encode(testKey, got, s))
		if err != nil || again != got || s2 != s {
			t.Errorf("%x: %+v became %+v (%v)", in, got, again, err)
		}
	})
}
