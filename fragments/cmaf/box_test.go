package cmaf_test

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments/cmaf"
)

var unixTime = time.Date(2026, 11, 3, 4, 5, 6, 500_000_000, time.UTC)

func TestAppendPrft(t *testing.T) {
	got := cmaf.AppendPrft([]byte("x"), 0x0a0b0c0d, unixTime, 0x0102030405060708)
	// 2026-11-03T04:05:06Z is 4002667506 s after 1900-01-01.
	want := "x\x00\x00\x00\x20prft\x01\x00\x00\x18\x0a\x0b\x0c\x0d\xee\x93\xdb\xf2\x80\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08"
	if string(got) != want {
		t.Errorf("got %x\nwant %x", got, want)
	}
	if len(got) != 1+cmaf.PrftSize {
		t.Errorf("%d bytes, want %d", len(got)-1, cmaf.PrftSize)
	}
}

func TestBoxes(t *testing.T) {
	id := [16]byte{0: 1, 15: 16}
	data := []byte("skip\x00\x00\x00\x08free")
	data = cmaf.AppendUUIDBox(data, id, []byte("payload"))
	large := len(data)
	data = append(data, "\x00\x00\x00\x01mdat\x00\x00\x00\x00\x00\x00\x00\x12xx"...)
	var got []cmaf.BoxHeader
	for h, err := range cmaf.Boxes(bytes.NewReader(data), 4, int64(len(data))) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h)
	}
	want := []cmaf.BoxHeader{
		{Type: "free", Offset: 4, Header: 8, Size: 8},
		{Type: "uuid", UUID: id, Offset: 12, Header: 24, Size: 31},
		{Type: "mdat", Offset: int64(large), Header: 16, Size: 18},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if p := data[got[1].Payload():got[1].End()]; string(p) != "payload" {
		t.Errorf("payload %q", p)
	}
}

func TestReadBoxHeaderErrors(t *testing.T) {
	for name, c := range map[string]struct {
		data       string
		off, limit int64
		torn       bool
		want       string
	}{
		"at the end":      {"\x00\x00\x00\x08free", 8, 8, false, "EOF"},
		"beyond the end":  {"\x00\x00\x00\x08free", 9, 8, false, "EOF"},
		"three bytes":     {"\x00\x00\x00\x08free\x00\x00\x00", 8, 11, true, "3 bytes left"},
		"file is shorter": {"\x00\x00\x00\x08fr", 0, 8, true, "6 bytes left"},
		"limit is nearer": {"\x00\x00\x00\x0cfreexxxx", 0, 11, true, "size 12, 11 bytes left"},
		"size zero":       {"\x00\x00\x00\x00mdatxxxx", 0, 12, false, "less than its header"},
		"size 7":          {"\x00\x00\x00\x07mdatxxxx", 0, 12, false, "less than its header"},
		"uuid too small":  {"\x00\x00\x00\x17uuid0123456789abcdefxx", 0, 26, false, "less than its header"},
		"uuid cut":        {"\x00\x00\x00\x18uuid012345", 0, 14, true, "cut within its uuid"},
		"large cut":       {"\x00\x00\x00\x01mdat\x00\x00", 0, 10, true, "cut within its size"},
		"large too large": {"\x00\x00\x00\x01mdat\xff\x00\x00\x00\x00\x00\x00\x00", 0, 16, false, "not possible"},
		"large too small": {"\x00\x00\x00\x01mdat\x00\x00\x00\x00\x00\x00\x00\x0f", 0, 16, false, "less than its header"},
	} {
		_, err := cmaf.ReadBoxHeader(strings.NewReader(c.data), c.off, c.limit)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) != c.torn {
			t.Errorf("%s: torn is %v, want %v", name, !c.torn, c.torn)
		}
	}
	if _, err := cmaf.ReadBoxHeader(failingReader{}, 0, 100); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("failing reader: got %v", err)
	}
}

type failingReader struct{}

func (failingReader) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

func FuzzBoxes(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x08free\x00\x00\x00\x01mdat\x00\x00\x00\x00\x00\x00\x00\x12xx"))
	f.Add(cmaf.AppendUUIDBox(nil, [16]byte{1}, []byte("x")))
	f.Fuzz(func(t *testing.T, data []byte) {
		at := int64(0)
		for h, err := range cmaf.Boxes(bytes.NewReader(data), 0, int64(len(data))) {
			if err != nil {
				return
			}
			if h.Offset != at || h.Header < 8 || h.Payload() > h.End() || h.End() > int64(len(data)) {
				t.Fatalf("header %+v after %d", h, at)
			}
			at = h.End()
		}
		if at != int64(len(data)) {
			t.Fatalf("walk ended at %d of %d without an error", at, len(data))
		}
	})
}
