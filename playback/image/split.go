package image

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxFile is the largest picture file that is taken from a decoder, bytes.
const maxFile = 64 << 20

var errTooLarge = fmt.Errorf("the picture has more than %d MiB", maxFile>>20)

// readFile reads one file of a row of files of a format. It returns io.EOF when
// there is none left.
func readFile(r *bufio.Reader, f Format) ([]byte, error) {
	if _, err := r.Peek(1); err != nil {
		return nil, err // io.EOF
	}
	read := readJPEG
	if f == PNG {
		read = readPNG
	}
	data, err := read(r)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return data, err
}

// Markers of JPEG (ITU-T T.81, table B.1).
const (
	jpegStart = 0xd8 // SOI
	jpegEnd   = 0xd9 // EOI
	jpegScan  = 0xda // SOS
	jpegRST0  = 0xd0
	jpegRST7  = 0xd7
)

// readJPEG reads up to the end of one JPEG file: segments of known length, and
// the coded data of scans, in which no marker but restarts stands.
func readJPEG(r *bufio.Reader) ([]byte, error) {
	data, err := take(r, nil, 2)
	if err != nil || data[0] != 0xff || data[1] != jpegStart {
		return nil, cmpError(err, "no JPEG begins here")
	}
	for {
		if data, err = take(r, data, 2); err != nil {
			return nil, err
		}
		marker := data[len(data)-1]
		if data[len(data)-2] != 0xff {
			return nil, errors.New("no JPEG marker where one should be")
		}
		for marker != jpegEnd {
			if data, err = take(r, data, 2); err != nil {
				return nil, err
			}
			length := int(binary.BigEndian.Uint16(data[len(data)-2:]))
			if data, err = take(r, data, max(0, length-2)); err != nil {
				return nil, err
			}
			if marker != jpegScan {
				break
			}
			if data, marker, err = scan(r, data); err != nil {
				return nil, err
			}
		}
		if marker == jpegEnd {
			return data, nil
		}
	}
}

// scan reads coded data up to and with the next marker.
func scan(r *bufio.Reader, data []byte) ([]byte, byte, error) {
	for {
		more, err := r.ReadSlice(0xff)
		data = append(data, more...)
		if len(data) > maxFile {
			return nil, 0, errTooLarge
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		b, err := r.ReadByte()
		for ; err == nil && b == 0xff; b, err = r.ReadByte() { // fill bytes
			data = append(data, b)
		}
		if err != nil {
			return nil, 0, err
		}
		data = append(data, b)
		if b != 0 && (b < jpegRST0 || b > jpegRST7) {
			return data, b, nil
		}
	}
}

const pngSignature = "\x89PNG\r\n\x1a\n"

// readPNG reads the chunks of one PNG file.
func readPNG(r *bufio.Reader) ([]byte, error) {
	data, err := take(r, nil, len(pngSignature))
	if err != nil || string(data) != pngSignature {
		return nil, cmpError(err, "no PNG begins here")
	}
	for {
		at := len(data)
		if data, err = take(r, data, 8); err != nil {
			return nil, err
		}
		length := binary.BigEndian.Uint32(data[at:])
		if length > maxFile {
			return nil, errTooLarge
		}
		kind := string(data[at+4 : at+8])
		if data, err = take(r, data, int(length)+4); err != nil {
			return nil, err
		}
		if kind == "IEND" {
			return data, nil
		}
	}
}

// take appends the next n bytes of r to data. It grows by what is there.
func take(r *bufio.Reader, data []byte, n int) ([]byte, error) {
	if len(data)+n > maxFile {
		return nil, errTooLarge
	}
	for n > 0 {
		k := min(n, 64<<10)
		at := len(data)
		data = append(data, make([]byte, k)...)
		if _, err := io.ReadFull(r, data[at:]); err != nil {
			return nil, err
		}
		n -= k
	}
	return data, nil
}

func cmpError(err error, otherwise string) error {
	if err != nil {
		return err
	}
	return errors.New(otherwise)
}

// numbers reads the presentation times of the frames that come out of the
// filters, as the filter "metadata" of ffmpeg prints them: for each frame a
// line like "frame:0 pts:6656 pts_time:0.52", and one of the metadata.
type numbers struct{ r *bufio.Reader }

func (n numbers) next() (pts int64, err error) {
	for {
		line, err := n.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if _, rest, ok := bytes.Cut(line, []byte("pts:")); ok && bytes.HasPrefix(line, []byte("frame:")) {
			word, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
			pts, err := strconv.ParseInt(string(word), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("presentation time of a frame: %w", err)
			}
			return pts, nil
		}
	}
}
