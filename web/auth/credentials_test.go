package auth

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
)

const sample = `
users:
  admin:
    keys:
      - {id: KWADMIN1, secret: admin-secret-0001}
      - {id: KWADMIN2, secret: admin-secret-0002}
    admin: true
  cam:
    password: cam-password
    publish: [front-door, "yard-?"]
  family:
    password: family-password
    keys: [{id: KWFAMILY, secret: family-secret-01}]
    view: ["*-door", yard-1]
  prom:
    keys: [{id: KWPROM, secret: prom-secret-00001}]
    metrics: true
anonymous:
  view: [lobby]
`

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func sampleStore(t *testing.T, text string) *Store {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, DefaultFile)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, key, err := Prepare(Options{DataDir: dir, Addrs: []string{"127.0.0.1:8080"}, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		t.Fatalf("a first key %q although there was a file", key)
	}
	t.Cleanup(s.Close)
	return s
}

func TestRights(t *testing.T) {
	s := sampleStore(t, sample)
	for _, c := range []struct {
		user   string
		action ingest.Action
		stream fragments.StreamName
		want   bool
	}{
		{"admin", ingest.Publish, "anything", true},
		{"admin", ingest.View, "anything", true},
		{"KWADMIN2", ingest.View, "anything", true},
		{"cam", ingest.Publish, "front-door", true},
		{"cam", ingest.Publish, "yard-7", true},
		{"cam", ingest.Publish, "yard-77", false},
		{"cam", ingest.Publish, "back-door", false},
		{"cam", ingest.View, "front-door", false},
		{"family", ingest.View, "back-door", true},
		{"KWFAMILY", ingest.View, "back-door", true},
		{"family", ingest.View, "yard-2", false},
		{"family", ingest.Publish, "back-door", false},
		{"", ingest.View, "lobby", true},
		{"", ingest.View, "front-door", false},
		{"", ingest.Publish, "lobby", false},
		{"nobody", ingest.View, "lobby", false},
		{"prom", ingest.View, "lobby", false},
		{"admin", "erase", "lobby", true},
		{"cam", "erase", "front-door", false},
	} {
		if got := s.Allowed(c.user, c.action, c.stream); got != c.want {
			t.Errorf("%q %s %s = %v, want %v", c.user, c.action, c.stream, got, c.want)
		}
	}
}

func TestPasswords(t *testing.T) {
	s := sampleStore(t, sample)
	for _, c := range []struct {
		user, want string
		ok         bool
	}{
		{"cam", "cam-password", true},
		{"family", "family-password", true},
		{"admin", "admin-secret-0001", true}, // no password: its first key
		{"KWADMIN2", "admin-secret-0002", true},
		{"", "", false},
		{"nobody", "", false},
	} {
		if got, ok := s.Password(c.user); got != c.want || ok != c.ok {
			t.Errorf("password of %q = %q %v, want %q %v", c.user, got, ok, c.want, c.ok)
		}
	}
	for _, c := range []struct{ name, secret, want string }{
		{"cam", "cam-password", "cam"},
		{"cam", "family-password", ""},
		{"family", "family-password", "family"},
		{"family", "family-secret-01", "family"},
		{"KWFAMILY", "family-secret-01", "family"},
		{"KWFAMILY", "family-password", ""},
		{"admin", "admin-secret-0002", "admin"},
		{"admin", "", ""},
		{"", "", ""},
		{"nobody", "nobody's password", ""},
	} {
		got := ""
		if u := s.verify(c.name, c.secret); u != nil {
			got = u.name
		}
		if got != c.want {
			t.Errorf("verify %q %q = %q, want %q", c.name, c.secret, got, c.want)
		}
	}
	for secret, want := range map[string]string{"admin-secret-0001": "admin", "prom-secret-00001": "prom", "cam-password": "", "": ""} {
		got := ""
		if u := s.verifyKey(secret); u != nil {
			got = u.name
		}
		if got != want {
			t.Errorf("key %q is of %q, want %q", secret, got, want)
		}
	}
}

func TestCredentialsRefused(t *testing.T) {
	const good = "users: {a: {password: 12345678}}\n"
	if _, err := parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text, says string }{
		{"empty", "", "empty"},
		{"nobody", "users: {}\n", "names nobody"},
		{"not a mapping", "- users\n", "line 1: the file must hold keys"},
		{"broken", "users: {\n", "line 1"},
		{"unknown section", good + "user: {}\n", `line 2: unknown key "user" in the file: did you mean users?`},
		{"unknown section, far", good + "streams: {}\n", `unknown key "streams" in the file: known are users, anonymous`},
		{"unknown key", "users:\n  bob:\n    passwort: 12345678\n", `line 3: unknown key "passwort" in user "bob": did you mean password?`},
		{"unknown key of a key", "users:\n  bob:\n    keys:\n      - {id: KWKW, secrt: 1234567890123456}\n", `line 4: unknown key "secrt" in a key of user "bob": did you mean secret?`},
		{"unknown right", good + "anonymous: {admin: true}\n", `unknown key "admin" in anonymous`},
		{"user twice", "users:\n  a: {password: 12345678}\n  a: {password: 12345678}\n", "already defined"},
		{"bad name", "users: {'a:b': {password: 12345678}}\n", "a name has"},
		{"empty name", "users: {'': {password: 12345678}}\n", "a name has"},
		{"no proof", "users: {a: {admin: true}}\n", "neither password nor keys"},
		{"no body", "users: {a: }\n", "must hold keys"},
		{"short password", "users: {a: {password: '1234567'}}\n", "7 characters: give it 8"},
		{"short secret", "users: {a: {keys: [{id: KWKW, secret: short}]}}\n", "5 characters: give it 16"},
		{"no secret", "users: {a: {keys: [{id: KWKW}]}}\n", "0 characters"},
		{"bad id", "users: {a: {keys: [{id: 'K W', secret: 1234567890123456}]}}\n", `key id "K W"`},
		{"id twice", "users: {a: {keys: [{id: KWKW, secret: 1234567890123456}]}, b: {keys: [{id: KWKW, secret: 1234567890123457}]}}\n", "used twice"},
		{"id is a name", "users: {KWKW: {keys: [{id: KWKW, secret: 1234567890123456}]}}\n", "the name of a user"},
		{"secret twice", "users: {a: {keys: [{id: KWK1, secret: 1234567890123456}]}, b: {keys: [{id: KWK2, secret: 1234567890123456}]}}\n", `also one of user "a"`},
		{"bad pattern", "users: {a: {password: 12345678, view: ['[']}}\n", "no pattern"},
		{"pattern with slash", "users: {a: {password: 12345678, publish: ['live/*']}}\n", "no pattern"},
		{"bad pattern of anonymous", good + "anonymous: {view: ['']}\n", "no pattern"},
		{"wrong type", "users: {a: {password: 12345678, admin: perhaps}}\n", `user "a"`},
	} {
		_, err := parse([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
		if err != nil && strings.Contains(err.Error(), "1234567890123456") {
			t.Errorf("%s: the error shows a secret: %v", c.name, err)
		}
	}
	// All mistakes are named at once.
	_, err := parse([]byte("users:\n  a: {passwrd: x}\n  b: {password: short}\n"))
	for _, want := range []string{"passwrd", `user "b"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("two mistakes: %v, lacks %s", err, want)
		}
	}
}

func TestFileIsFollowed(t *testing.T) {
	s := sampleStore(t, sample)
	mod := time.Now()
	put := func(text string) {
		if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		mod = mod.Add(time.Minute)
		if err := os.Chtimes(s.file, mod, mod); err != nil {
			t.Fatal(err)
		}
		s.follow()
	}
	has := func(user string) bool { _, ok := s.Password(user); return ok }
	put("users: {second: {password: 12345678}}\n")
	if has("cam") || !has("second") {
		t.Error("a change does not count")
	}
	put("users: {third: {pasword: 12345678}}\n")
	if !has("second") {
		t.Error("a file with a mistake must leave what was")
	}
	if err := os.Remove(s.file); err != nil {
		t.Fatal(err)
	}
	s.follow()
	if !has("second") || s.Open() {
		t.Error("a file that is gone must leave what was, and open nothing")
	}
	put("users: {fourth: {password: 12345678}}\n")
	if has("second") || !has("fourth") {
		t.Error("a mended file does not count")
	}
	if err := os.WriteFile(s.file, []byte("users: {fifth: {password: 12345678}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err != nil || !has("fifth") {
		t.Errorf("reload: %v", err)
	}
}
