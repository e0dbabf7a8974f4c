package bucket_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/archive/bucket/buckettest"
)

func TestValidKey(t *testing.T) {
	for _, c := range []struct {
		key  string
		good bool
	}{
		{"a", true},
		{"video/cam@1700000000000/2026/11/23/16/1-2.mp4", true},
		{"with space/+&%", true},
		{"日本/カメラ", true},
		{"...", true},
		{".hidden", true},
		{"a/.b", true},
		{strings.Repeat("k", bucket.MaxSegment), true},
		{strings.Repeat("k", bucket.MaxSegment+1), false},
		{"a/" + strings.Repeat("k", bucket.MaxSegment+1), false},
		{strings.Repeat("kkk/", bucket.MaxKey/4-1) + "kkkk", true},
		{strings.Repeat("kkk/", bucket.MaxKey/4) + "k", false},
		{"", false},
		{"/", false},
		{"/a", false},
		{"a/", false},
		{"a//b", false},
		{".", false},
		{"..", false},
		{"a/..", false},
		{"../a", false},
		{"a/./b", false},
		{`a\b`, false},
		{"a\x00", false},
		{"a\n", false},
		{"a\x7f", false},
		{"a\u0085", false},
		{"a\xff", false},
		{"a\ufffe", false},
		{"a\uffff", false},
		{bucket.Reserved, false},
		{bucket.Reserved + "tmp/x", false},
		{"a/" + bucket.Reserved + "tmp", true},
	} {
		err := bucket.ValidKey(c.key)
		if (err == nil) != c.good || err != nil && !errors.Is(err, bucket.ErrInvalidKey) {
			t.Errorf("ValidKey(%q): %v, want valid: %v", c.key, err, c.good)
		}
	}
	for _, key := range buckettest.OddKeys() {
		if err := bucket.ValidKey(key); err != nil {
			t.Error(err)
		}
	}
}

func FuzzValidKey(f *testing.F) {
	for _, key := range []string{"a/b", "..", "a//b", "\xff", "/", "x/../y", bucket.Reserved + "x", "é/日", "."} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if bucket.ValidKey(key) != nil {
			return
		}
		for _, bad := range []string{"//", "/./", "/../", "\x00", "\n", `\`, "/" + strings.Repeat("x", bucket.MaxSegment+1)} {
			if strings.Contains("/"+key+"/", bad) {
				t.Errorf("%q holds %q", key, bad)
			}
		}
		if !utf8.ValidString(key) || len(key) > bucket.MaxKey || key == "" || strings.HasPrefix(key, "/") || strings.HasSuffix(key, "/") {
			t.Errorf("%q is called valid", key)
		}
		for i := range len(key) + 1 {
			if (i == 0 || utf8.ValidString(key[:i])) && !bucket.ValidPrefix(key[:i]) {
				t.Errorf("%q is a prefix of a valid key and called impossible", key[:i])
			}
		}
	})
}

func FuzzCheckRange(f *testing.F) {
	f.Add(int64(10), int64(3), int64(4))
	f.Add(int64(10), int64(10), bucket.ToEnd)
	f.Add(int64(0), int64(0), int64(0))
	f.Add(int64(10), int64(1), int64(1<<63-1))
	f.Add(int64(10), int64(-1<<63), int64(-1<<63))
	f.Fuzz(func(t *testing.T, size, offset, length int64) {
		if size < 0 {
			return
		}
		n, err := bucket.CheckRange("k", size, offset, length)
		fits := offset >= 0 && offset <= size && (length == bucket.ToEnd || length >= 0 && length <= size-offset)
		if fits != (err == nil) {
			t.Fatalf("%d+%d of %d: %v", offset, length, size, err)
		}
		var re *bucket.RangeError
		if err != nil && !errors.As(err, &re) {
			t.Errorf("not a RangeError: %v", err)
		}
		if err == nil && (n < 0 || offset+n > size || length != bucket.ToEnd && n != length || length == bucket.ToEnd && offset+n != size) {
			t.Errorf("%d+%d of %d: %d bytes", offset, length, size, n)
		}
	})
}

// TestChecksum has the check value of CRC-32C for "123456789" (RFC 3720, appendix B.4 has others).
func TestChecksum(t *testing.T) {
	for body, want := range map[string]string{
		"":                         "crc32c:00000000",
		"123456789":                "crc32c:e3069283",
		strings.Repeat("\x00", 32): "crc32c:8a9136aa",
		strings.Repeat("\xff", 32): "crc32c:62a8ab43",
	} {
		if have, err := bucket.Checksum(strings.NewReader(body), int64(len(body))); err != nil || have != want {
			t.Errorf("%q: %s, %v, want %s", body, have, err, want)
		}
	}
	if _, err := bucket.Checksum(strings.NewReader("short"), 6); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short body: %v", err)
	}
	large := buckettest.Body(1, 3<<20)
	whole, err := bucket.Checksum(bytes.NewReader(large), int64(len(large)))
	if err != nil {
		t.Fatal(err)
	}
	large[2<<20] ^= 1
	if other, err := bucket.Checksum(bytes.NewReader(large), int64(len(large))); err != nil || other == whole {
		t.Errorf("a flipped bit leaves the checksum at %s (%v)", other, err)
	}
}
