package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// castagnoli is written once by its declaration and only read; the polynomial is the one with a CPU instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// compareChunk bytes are read at a time when checksumming or comparing.
const compareChunk = 256 << 10

// FormatCRC32C writes a CRC-32C in the form of Object.Checksum: "crc32c:" and eight hexadecimal digits.
func FormatCRC32C(sum uint32) string { return fmt.Sprintf("crc32c:%08x", sum) }

// Checksum is the CRC-32C of size bytes of body in the form of Object.Checksum. A body that ends early gives
// io.ErrUnexpectedEOF.
func Checksum(body io.ReaderAt, size int64) (string, error) {
	h := crc32.New(castagnoli)
	n, err := io.CopyBuffer(h, io.NewSectionReader(body, 0, size), make([]byte, min(size+1, compareChunk)))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return "", fmt.Errorf("checksum of body at byte %d of %d: %w", n, size, err)
	}
	return FormatCRC32C(h.Sum32()), nil
}

// Ensure brings it about that key holds exactly the size bytes of body: it puts them if the key is free and
// otherwise makes sure that the object there is the same (Same). It is the upload to use after a crash or an
// unclear answer, when an earlier try may have succeeded. Another object under the key is left alone and is
// an error that is both ErrExists and ErrCorrupt.
func Ensure(ctx context.Context, b Bucket, key string, body io.ReaderAt, size int64, opts PutOptions) (Object, error) {
	opts.IfAbsent = true
	o, err := b.Put(ctx, key, body, size, opts)
	if !errors.Is(err, ErrExists) {
		return o, err
	}
	o, serr := Same(ctx, b, key, body, size)
	if errors.Is(serr, ErrCorrupt) {
		return Object{}, fmt.Errorf("%w, with other content: %w", err, serr)
	}
	return o, serr
}

// Same checks that the object key holds exactly the size bytes of body: by size, then by the checksum the
// store attests, and where it attests none by reading the object and comparing every byte. A difference is a
// *CorruptError.
func Same(ctx context.Context, b Bucket, key string, body io.ReaderAt, size int64) (Object, error) {
	o, err := b.Head(ctx, key)
	if err != nil {
		return Object{}, err
	}
	if o.Size != size {
		return Object{}, &CorruptError{Key: key, What: "size", Want: fmt.Sprint(size), Have: fmt.Sprint(o.Size)}
	}
	if o.Checksum == "" {
		return o, compare(ctx, b, key, body, size)
	}
	want, err := Checksum(body, size)
	if err != nil {
		return Object{}, err
	}
	if o.Checksum != want {
		return Object{}, &CorruptError{Key: key, What: "checksum", Want: want, Have: o.Checksum}
	}
	return o, nil
}

func compare(ctx context.Context, b Bucket, key string, body io.ReaderAt, size int64) error {
	r, err := b.Get(ctx, key, 0, size)
	if err != nil {
		return err
	}
	defer r.Close()
	var theirs, ours [32 << 10]byte
	for at := int64(0); at < size; {
		n := min(int64(len(ours)), size-at)
		if _, err := io.ReadFull(r, theirs[:n]); err != nil {
			return fmt.Errorf("read object %q back at byte %d: %w", key, at, err)
		}
		if m, err := body.ReadAt(ours[:n], at); int64(m) < n {
			return fmt.Errorf("read body at byte %d: %w", at, err)
		}
		if !bytes.Equal(theirs[:n], ours[:n]) {
			i := firstDifference(theirs[:n], ours[:n])
			return &CorruptError{
				Key: key, What: fmt.Sprintf("byte %d", at+int64(i)),
				Want: fmt.Sprintf("%#02x", ours[i]), Have: fmt.Sprintf("%#02x", theirs[i]),
			}
		}
		at += n
	}
	return nil
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}
