package keyring

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// withChecksum makes a file around a body.
func withChecksum(body string) string { return magic + checksum([]byte(body)) + "\n" + body }

const secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

const good = `{"keys":{"a":{"secret":"` + secret + `","created":1795000000,"disabled":true}},"aliases":{"alias/x":"a"}}`

func TestDamage(t *testing.T) {
	for name, c := range map[string]struct{ file, says string }{
		"empty":         {"", "does not begin"},
		"cut":           {withChecksum(good)[:60], "checksum"},
		"another file":  {strings.Repeat("x", 100), "does not begin"},
		"newer":         {strings.Replace(withChecksum(good), " 1 ", " 2 ", 1), "does not begin"},
		"changed":       {strings.Replace(withChecksum(good), "AAEC", "AAED", 1), "checksum"},
		"no JSON":       {withChecksum("{"), "not the JSON"},
		"more":          {withChecksum(good + "{}"), "follows"},
		"unknown field": {withChecksum(`{"locks":{}}`), "not the JSON"},
		"short key":     {withChecksum(`{"keys":{"a":{"secret":"AAEC"}}}`), "3 bytes"},
		"bad id":        {withChecksum(`{"keys":{"a b":{"secret":"` + secret + `"}}}`), "no id"},
		"alias as id":   {withChecksum(`{"keys":{"alias/x":{"secret":"` + secret + `"}}}`), "no id"},
		"loose alias":   {withChecksum(`{"keys":{},"aliases":{"alias/x":"a"}}`), "stands for"},
		"bad alias":     {withChecksum(strings.Replace(good, "alias/x", "x", 1)), "stands for"},
		"far too long":  {strings.Repeat("x", maxFile+1), "bytes long"},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, fileName)
		if err := os.WriteFile(file, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir, vfs.OS{})
		var damage *DamageError
		if !errors.As(err, &damage) || damage.File != file || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if err != nil && strings.Contains(err.Error(), "AAEC") {
			t.Errorf("%s: the error shows a secret: %v", name, err)
		}
		if now, _ := os.ReadFile(file); string(now) != c.file {
			t.Errorf("%s: the file was changed", name)
		}
	}
	b, err := parseBook([]byte(withChecksum(good)))
	if err != nil || b.keys["a"].secret[31] != 31 || !b.keys["a"].disabled || b.aliases["alias/x"] != "a" {
		t.Errorf("good: %+v, %v", b, err)
	}
}

// FuzzFile: no file makes the reader panic, and one that it takes is written
// and read again as the same. Half of the inputs get the checksum they need.
func FuzzFile(f *testing.F) {
	f.Add([]byte(withChecksum(good)), false)
	f.Add([]byte(good), true)
	f.Add([]byte(`{"keys":null}`), true)
	f.Fuzz(func(t *testing.T, data []byte, mend bool) {
		if mend {
			data = []byte(withChecksum(string(data)))
		}
		b, err := parseBook(data)
		if err != nil {
			return
		}
		first, err := formatBook(b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseBook(first)
		if err != nil {
			t.Fatalf("%q: %v", first, err)
		}
		second, err := formatBook(again)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%q then %q, %v", first, second, err)
		}
	})
}

// FuzzUnwrap: nothing but what was wrapped opens, and nothing panics.
func FuzzUnwrap(f *testing.F) {
	b, err := parseBook([]byte(withChecksum(strings.Replace(good, `,"disabled":true`, "", 1))))
	if err != nil {
		f.Fatal(err)
	}
	r := &Ring{book: b}
	// What Wrap made once: each process of the fuzzer has to know the same.
	wrapped, err := hex.DecodeString("010161d2d753cad9535b1d22e4744316b9413054378a17cbeae3fe8be6a13731518c803e17b7bc235b060d0a8634a99a636ca8ba7e4987d11ed839f807a8d8")
	if err != nil {
		f.Fatal(err)
	}
	if _, err := r.Unwrap("a", wrapped); err != nil {
		_, w, _ := r.Wrap("a")
		f.Fatalf("%v; now it is %x", err, w)
	}
	f.Add("a", wrapped)
	f.Add("alias/x", wrapped[:20])
	f.Fuzz(func(t *testing.T, name string, w []byte) {
		if _, err := r.Unwrap(name, w); err == nil && !bytes.Equal(w, wrapped) {
			t.Fatalf("opened %x", w)
		}
	})
}
