package awswire

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// repeated is a text that writes itself, so many times a letter.
type repeated int

func (n repeated) AppendTo(b []byte) []byte { return append(b, strings.Repeat("x", int(n))...) }

func (n repeated) IsZero() bool { return n == 0 }

type written struct {
	Kept repeated   `aws:"Kept"`
	Left repeated   `aws:"Left,omitempty"`
	List []repeated `aws:"List,omitempty"`
}

type plainWritten struct {
	Kept string   `aws:"Kept"`
	Left string   `aws:"Left,omitempty"`
	List []string `aws:"List,omitempty"`
}

// TestText has a row for each length whose head differs: what a text writes is
// what the string would be.
func TestText(t *testing.T) {
	texts, strs := mustCompile(t, written{}), mustCompile(t, plainWritten{})
	for _, n := range []int{0, 1, 23, 24, 56, 255, 256, 70000} {
		x := strings.Repeat("x", n)
		a, b := &written{repeated(n), repeated(n), []repeated{repeated(n), 0}}, &plainWritten{x, x, []string{x, ""}}
		if got, want := appendJSON(nil, texts, a), appendJSON(nil, strs, b); !bytes.Equal(got, want) {
			t.Errorf("%d: %.100s, want %.100s", n, got, want)
		}
		if got, want := appendCBOR(nil, texts, a), appendCBOR(nil, strs, b); !bytes.Equal(got, want) {
			t.Errorf("%d: %.100x, want %.100x", n, got, want)
		}
	}
	for name, op := range map[string]Operation{
		"a member": Op("X", func(context.Context, *Call, *written) (*written, error) { return nil, nil }),
		"further in": Op("X", func(context.Context, *Call, *struct {
			L []written `aws:"L"`
		},
		) (*written, error) {
			return nil, nil
		}),
	} {
		if _, err := New(Service{Target: "T", Operations: []Operation{op}}); err == nil || !strings.Contains(err.Error(), "can not be a Text") {
			t.Errorf("an input with a text, %s: %v", name, err)
		}
	}
}

// TestAppendBase64 has every length around the groups that are taken at once.
func TestAppendBase64(t *testing.T) {
	for n := range 70 {
		src := randomBytes(n)
		want := "x" + base64.StdEncoding.EncodeToString(src)
		if got := string(appendBase64([]byte("x"), src)); got != want || len(want) != 1+base64Length(n) {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
}

// TestFill puts blobs of lengths around the room of a piece into an answer.
func TestFill(t *testing.T) {
	for room := 4; room < 40; room++ {
		for n := range 90 {
			for _, cbor := range []bool{false, true} {
				blob, text := randomBytes(n), []byte("before|between|after")
				d := draft{cbor: cbor, holes: []hole{{7, blob}, {7, nil}, {15, blob}}}
				var got []byte
				err := d.fill(make([]byte, 0, room), text, func(piece []byte) error {
					if len(piece) > room || len(piece) == 0 {
						t.Fatalf("a piece of %d bytes", len(piece))
					}
					got = append(got, piece...)
					return nil
				})
				part := string(blob)
				if !cbor {
					part = base64.StdEncoding.EncodeToString(blob)
				}
				if want := "before|" + part + "between|" + part + "after"; err != nil || string(got) != want {
					t.Fatalf("room %d, blob %d, %v: %q, want %q", room, n, err, got, want)
				}
			}
		}
	}
	calls := 0
	d := draft{holes: []hole{{1, randomBytes(100)}}}
	err := d.fill(make([]byte, 0, 8), []byte("ab"), func([]byte) error { calls++; return io.ErrClosedPipe })
	if !errors.Is(err, io.ErrClosedPipe) || calls != 1 {
		t.Errorf("a client that is gone: %v after %d pieces", err, calls)
	}
}

// TestMemory has a row for each size: what is asked for fits, and what is given
// back is had again by those whom it fits.
func TestMemory(t *testing.T) {
	for _, c := range []struct{ ask, room int }{
		{0, 4 << 10},
		{1, 4 << 10},
		{4 << 10, 4 << 10},
		{4<<10 + 1, 16 << 10},
		{16 << 10, 16 << 10},
		{100 << 10, 256 << 10},
		{1 << 20, 1 << 20},
		{1<<20 + 1, 4 << 20},
		{16 << 20, 16 << 20},
		{16<<20 + 1, 16<<20 + 1},
	} {
		var m memory
		b := m.get(c.ask)
		if len(*b) != 0 || cap(*b) != c.room {
			t.Errorf("%d bytes: %d and room for %d", c.ask, len(*b), cap(*b))
		}
	}
	for _, size := range []int{1, 4 << 10, 5000, 70 << 10, 1 << 20, 20 << 20, 70 << 20} {
		var m memory
		b := make([]byte, size/2, size)
		m.put(&b)
		for ask := 1; ask < 100<<20; ask *= 2 {
			if got := m.spare(ask); got != nil && (cap(*got) < ask || len(*got) != 0 || size < memoryLeast || size >= 64<<20) {
				t.Errorf("a buffer of %d bytes was given for %d", size, ask)
			}
		}
	}
	var m memory
	m.put(nil)
}

// TestBlobsAreOnesOwn has many callers at once whose blobs come back in their
// answers: memory that went back too early has another caller's.
func TestBlobsAreOnesOwn(t *testing.T) {
	h := mustNew(t, Service{Operations: []Operation{echo()}})
	s := mustCompile(t, putInput{})
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for round := range 30 {
				in := &putInput{StreamName: fmt.Sprintf("s-%d-%d", worker, round)}
				for i := range 1 + round%4 {
					data := bytes.Repeat([]byte{byte(worker), byte(round), byte(i)}, 100+1000*i*(worker%3))
					in.Records = append(in.Records, entry{Data: data, PartitionKey: in.StreamName})
				}
				body, content := appendJSON(nil, s, in), jsonType
				if (worker+round)%2 == 0 {
					body, content = appendCBOR(nil, s, in), cborType
				}
				r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
				r.Header.Set("X-Amz-Target", putTarget)
				r.Header.Set("Content-Type", content)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), body) || w.Header().Get("Content-Length") != fmt.Sprint(len(body)) {
					t.Errorf("worker %d, round %d: %d, %d bytes of %d", worker, round, w.Code, w.Body.Len(), len(body))
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestMemoryOfRecords takes one record and many: what a request allocates grows
// with its bytes, by pieces of strings and the list, and not with its records.
func TestMemoryOfRecords(t *testing.T) {
	h := mustNew(t, Service{Operations: []Operation{echo()}})
	s := mustCompile(t, putInput{})
	for _, cbor := range []bool{false, true} {
		allocations := func(records int) float64 {
			in := &putInput{StreamName: "s", Records: make([]entry, records)}
			for i := range in.Records {
				in.Records[i] = entry{Data: randomBytes(600), PartitionKey: "k"}
			}
			body, content := appendJSON(nil, s, in), jsonType
			if cbor {
				body, content = appendCBOR(nil, s, in), cborType
			}
			return testing.AllocsPerRun(20, func() {
				r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
				r.Header.Set("X-Amz-Target", putTarget)
				r.Header.Set("Content-Type", content)
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, r); w.Code != http.StatusOK {
					t.Fatal(w.Body)
				}
			})
		}
		if one, many := allocations(1), allocations(450); many > one+60 {
			t.Errorf("cbor %v: %v allocations for one record, %v for 450", cbor, one, many)
		}
	}
}
