package image

import (
	"bufio"
	"bytes"
	"errors"
	stdimage "image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func sample(tb testing.TB, f Format, size int) []byte {
	tb.Helper()
	img := stdimage.NewGray(stdimage.Rect(0, 0, size, size))
	for i := range img.Pix {
		img.Pix[i] = uint8(i * i * 31)
	}
	img.SetGray(0, 0, color.Gray{1})
	var b bytes.Buffer
	encode := func() error { return jpeg.Encode(&b, img, &jpeg.Options{Quality: 100}) }
	if f == PNG {
		encode = func() error { return png.Encode(&b, img) }
	}
	if err := encode(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestReadFile(t *testing.T) {
	for _, f := range []Format{JPEG, PNG} {
		files := [][]byte{sample(t, f, 1), sample(t, f, 300), sample(t, f, 17)}
		row := bytes.Join(files, nil)
		r := bufio.NewReaderSize(iotest.HalfReader(bytes.NewReader(row)), 16)
		for i, want := range files {
			got, err := readFile(r, f)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s %d: %d bytes, %v, want %d", f.Type(), i, len(got), err, len(want))
			}
		}
		if _, err := readFile(r, f); !errors.Is(err, io.EOF) {
			t.Errorf("%s at the end: %v", f.Type(), err)
		}
		for n := 1; n < len(files[0]); n++ {
			if _, err := readFile(bufio.NewReader(bytes.NewReader(files[0][:n])), f); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s cut at %d: %v", f.Type(), n, err)
			}
		}
	}
}

func TestNumbers(t *testing.T) {
	n := numbers{bufio.NewReader(strings.NewReader("frame:0    pts:6656    pts_time:0.52\nk=1\nframe:1 pts:-3 pts_time:1\nk=1\nframe:2 pts:NOPTS pts_time:NOPTS\n"))}
	for _, want := range []int64{6656, -3} {
		if got, err := n.next(); got != want || err != nil {
			t.Errorf("%d, %v, want %d", got, err, want)
		}
	}
	if _, err := n.next(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("no time: %v", err)
	}
	if _, err := n.next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func FuzzReadFile(f *testing.F) {
	f.Add(sample(f, JPEG, 9), false)
	f.Add(sample(f, PNG, 9), true)
	f.Add([]byte("\xff\xd8\xff\xda\x00\x02\xff\x00\xff\xd0\xff\xff\xd9"), false)
	f.Add([]byte(pngSignature+"\x00\x00\x00\x00IEND1234"), true)
	f.Fuzz(func(t *testing.T, data []byte, isPNG bool) {
		format := JPEG
		if isPNG {
			format = PNG
		}
		r := bufio.NewReaderSize(bytes.NewReader(data), 16)
		var all []byte
		for {
			file, err := readFile(r, format)
			if err != nil {
				break
			}
			if len(file) < 4 {
				t.Fatalf("a file of %d bytes", len(file))
			}
			all = append(all, file...)
		}
		if !bytes.HasPrefix(data, all) {
			t.Fatal("what was read is not what was written")
		}
	})
}

func TestWords(t *testing.T) {
	var said tail
	said.Write([]byte(strings.Repeat("x", 5000) + "\n[h264 @ 0x55aa] no frame!\n"))
	if got := said.words(); got != "no frame!" || len(said.buf) > tailBytes {
		t.Errorf("%q of %d bytes", got, len(said.buf))
	}
}

func TestEnvironmentHasNoSecrets(t *testing.T) {
	got := strings.Join(environment([]string{"PATH=/bin", "KINEWEIR_ARCHIVE_BUCKET_SECRET_KEY=s", "FFREPORT=file=x", "HOME=/h"}), " ")
	if got != "LC_ALL=C AV_LOG_FORCE_NOCOLOR=1 PATH=/bin HOME=/h" {
		t.Error(got)
	}
}
