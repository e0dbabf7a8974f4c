package dir

import (
	"context"
	"io"
	"os"

	"github.com/kineweir/kineweir/archive/bucket"
)

// sendChunk bytes are handed to the kernel between two looks at the context.
const sendChunk = 4 << 20

// fileRange reads the next left bytes of a file.
type fileRange struct {
	ctx  context.Context
	f    *os.File
	left int64
}

func openRange(ctx context.Context, f *os.File, key string, offset, length int64) (*fileRange, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, bucket.ErrAbsent
	}
	n, err := bucket.CheckRange(key, fi.Size(), offset, length)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	return &fileRange{ctx: ctx, f: f, left: n}, nil
}

func (r *fileRange) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.f.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // the file became shorter under us
	}
	return n, err
}

// WriteTo lets a receiver that can (a TCP connection) take the bytes from the file without a copy through
// this process: it sees the *io.LimitedReader over an *os.File it knows.
func (r *fileRange) WriteTo(w io.Writer) (int64, error) {
	var sum int64
	for r.left > 0 {
		if err := r.ctx.Err(); err != nil {
			return sum, err
		}
		want := min(r.left, sendChunk)
		n, err := io.Copy(w, &io.LimitedReader{R: r.f, N: want})
		r.left -= n
		sum += n
		if err == nil && n < want {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

func (r *fileRange) Close() error { return r.f.Close() }
