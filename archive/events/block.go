package events

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// hour counts hours since 1970.
type hour int64

func hourOf(t time.Time) hour {
	h := t.Unix() / 3600
	if t.Unix() < 0 && t.Unix()%3600 != 0 {
		h--
	}
	return hour(h)
}

func (h hour) start() time.Time { return time.Unix(int64(h)*3600, 0).UTC() }

const (
	// maxBlock bounds the detections of a block, so that one can be read at once.
	maxBlock = 8192
	// maxBlockBytes bounds one unpacked.
	maxBlockBytes = 16 << 20
	// maxLabels bounds the labels that a summary names.
	maxLabels = 32
)

// block is the summary of a block in the bucket, as meta keeps it, JSON.
type block struct {
	Version int                  `json:"v"`
	Camera  fragments.StreamName `json:"camera"`
	Count   int                  `json:"count"`
	First   int64                `json:"first"` // unix ns of the earliest
	Last    int64                `json:"last"`
	Bytes   int64                `json:"bytes"`            // of the object
	Labels  []string             `json:"labels,omitempty"` // those in it; none when there are more than maxLabels

	hour     hour
	sequence int
	revision uint64 // in meta
}

const blockVersion = 1

// may reports whether the block may hold detections of the label.
func (b *block) may(label string) bool {
	return label == "" || len(b.Labels) == 0 || slices.Contains(b.Labels, label)
}

// Keys in meta:
//
//	events/block/<folder>/<hour, 10 digits>/<sequence, 6 digits>   block, JSON
//	events/gone/<object key>                                       an object that is not needed any more
//	events/replay                                                  where in the lane to begin at opening: "frame.index"
//	events/shard/<data stream>/<shard>                             how far the pump has come (pump.go)
const (
	blockPrefix = "events/block/"
	gonePrefix  = "events/gone/"
	replayKey   = "events/replay"
	bucketRoot  = "events/"
)

// folder is that of a camera: a part of a key has at most 255 bytes, a stream's
// name up to 256. The tilde occurs in no name.
func folder(name fragments.StreamName) string {
	n := string(name)
	if len(n) > 200 {
		sum := sha256.Sum256([]byte(n))
		n = n[:200] + "~" + hex.EncodeToString(sum[:8])
	}
	return n
}

func (b *block) metaKey() string {
	return fmt.Sprintf("%s%s/%010d/%06d", blockPrefix, folder(b.Camera), b.hour, b.sequence)
}

func (b *block) objectKey() string {
	return fmt.Sprintf("%s%s/%s-%06d.jsonl.gz", bucketRoot, folder(b.Camera), b.hour.start().Format("2006/01/02/15"), b.sequence)
}

func parseBlock(key string, value []byte) (*block, error) {
	b := &block{}
	if err := json.Unmarshal(value, b); err != nil || b.Version != blockVersion {
		return nil, fmt.Errorf("summary %s of version %d cannot be read: %w", key, b.Version, err)
	}
	parts := strings.Split(strings.TrimPrefix(key, blockPrefix), "/")
	if len(parts) != 3 {
		return nil, fmt.Errorf("summary %s: not the key of one", key)
	}
	h, err1 := strconv.ParseInt(parts[1], 10, 64)
	n, err2 := strconv.Atoi(parts[2])
	if err1 != nil || err2 != nil {
		return nil, fmt.Errorf("summary %s: not the key of one", key)
	}
	b.hour, b.sequence = hour(h), n
	return b, nil
}

// encodeBlock writes sorted detections of one camera and hour.
func encodeBlock(list []*Detection, h hour, sequence int) (*block, []byte, error) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	b := &block{Version: blockVersion, Camera: list[0].Camera, Count: len(list), hour: h, sequence: sequence}
	b.First, b.Last = list[0].Time.UnixNano(), list[len(list)-1].Time.UnixNano()
	var line []byte
	for _, d := range list {
		var err error
		if line, err = d.appendLine(line[:0]); err != nil {
			return nil, nil, fmt.Errorf("block: %w", err)
		}
		if _, err := z.Write(line); err != nil {
			return nil, nil, fmt.Errorf("block: %w", err)
		}
		if !slices.Contains(b.Labels, d.Label) && len(b.Labels) <= maxLabels {
			b.Labels = append(b.Labels, d.Label)
		}
	}
	if len(b.Labels) > maxLabels {
		b.Labels = nil
	}
	if err := z.Close(); err != nil {
		return nil, nil, fmt.Errorf("block: %w", err)
	}
	b.Bytes = int64(packed.Len())
	return b, packed.Bytes(), nil
}

// decodeBlock reads what encodeBlock wrote.
func decodeBlock(r io.Reader) ([]*Detection, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	return decodeLines(io.LimitReader(z, maxBlockBytes+1))
}

// decodeLines reads detections, one in a line.
func decodeLines(r io.Reader) ([]*Detection, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 16<<10), MaxBytes+1)
	var list []*Detection
	for lines.Scan() {
		d, err := Parse(lines.Bytes())
		if err != nil {
			return nil, err
		}
		list = append(list, &d)
	}
	return list, lines.Err()
}
