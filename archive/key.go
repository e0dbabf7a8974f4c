package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// Where things lie in the bucket:
//
//	video/<stream>@<creation, unix ms>/stream.json                            settings, retention floor, deletion mark
//	video/<stream>@<ms>/2026/11/23/16/<epoch, 17 digits>-<counter, 20>.mp4    segment object, by hour of server time
//	video/<stream>@<ms>/index/2026/11/23/16.idx                               hour block
//
// The creation time makes two streams that bore one name, one after the other,
// two folders. A number in an object's name is that of the first fragment
// written to it, so that the names of a stream sort as its fragments do.
const (
	keyRoot      = "video/"
	settingsName = "stream.json"
	blockFolder  = "index/"
	hourLayout   = "2006/01/02/15"
	objectExt    = ".mp4"
	blockExt     = ".idx"
)

// maxPlainName is the longest stream name that is its own folder: a part of a
// key has at most 255 bytes (bucket.MaxSegment), a stream name 256. A longer
// name is cut and told apart by its hash; stream.json and the objects hold it
// whole. The tilde occurs in no stream name.
const maxPlainName = 200

// streamDir is the folder of a stream, in the bucket below keyRoot and in the spool.
func streamDir(name fragments.StreamName, created time.Time) string {
	n := string(name)
	if len(n) > maxPlainName {
		sum := sha256.Sum256([]byte(n))
		n = n[:maxPlainName] + "~" + hex.EncodeToString(sum[:8])
	}
	return n + "@" + strconv.FormatInt(created.UnixMilli(), 10)
}

func timeOfMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// parseStreamDir reads a folder's name; name is empty when it does not tell
// the whole name.
func parseStreamDir(dir string) (name fragments.StreamName, created time.Time, err error) {
	n, ms, ok := strings.Cut(dir, "@")
	t, terr := strconv.ParseInt(ms, 10, 64)
	if !ok || terr != nil || strconv.FormatInt(t, 10) != ms {
		return "", time.Time{}, fmt.Errorf("folder %q is not <stream>@<unix ms>", dir)
	}
	created = timeOfMillis(t)
	if strings.Contains(n, "~") {
		return "", created, nil
	}
	name, err = fragments.ParseStreamName(n)
	return name, created, err
}

// hour counts the hours since 1970-01-01 UTC: the unit in which the index is
// divided, by server time.
type hour int64

func hourOf(t fragments.ServerTimestamp) hour {
	h := int64(t) / int64(time.Hour)
	if int64(t) < h*int64(time.Hour) {
		h--
	}
	return hour(h)
}

func (h hour) start() time.Time { return time.Unix(int64(h)*3600, 0).UTC() }

func (h hour) path() string { return h.start().Format(hourLayout) }

func parseHour(path string) (hour, error) {
	t, err := time.Parse(hourLayout, path)
	if err != nil || t.Format(hourLayout) != path {
		return 0, fmt.Errorf("%q is not an hour as yyyy/mm/dd/hh", path)
	}
	return hour(t.Unix() / 3600), nil
}

// objectName is the base name of a segment object, in the bucket and in the spool.
func objectName(first fragments.Number) string {
	return fmt.Sprintf("%017d-%020d%s", first.Epoch, first.Counter, objectExt)
}

func parseObjectName(name string) (fragments.Number, error) {
	stem, ok := strings.CutSuffix(name, objectExt)
	e, c, cut := strings.Cut(stem, "-")
	epoch, err1 := strconv.ParseUint(e, 10, 64)
	counter, err2 := strconv.ParseUint(c, 10, 64)
	n := fragments.Number{Epoch: epoch, Counter: counter}
	if !ok || !cut || errors.Join(err1, err2) != nil || objectName(n) != name {
		return fragments.Number{}, fmt.Errorf("%q is not the name of a segment object", name)
	}
	return n, nil
}

func objectKey(dir string, h hour, first fragments.Number) string {
	return keyRoot + dir + "/" + h.path() + "/" + objectName(first)
}

func blockKey(dir string, h hour) string {
	return keyRoot + dir + "/" + blockFolder + h.path() + blockExt
}

func settingsKey(dir string) string { return keyRoot + dir + "/" + settingsName }

// keyKind says what a key of the bucket names.
type keyKind uint8

const (
	keyOther keyKind = iota // nothing of the archive's
	keySettings
	keyObject
	keyBlock
)

// parsedKey is a key of the bucket, understood.
type parsedKey struct {
	kind  keyKind
	dir   string
	hour  hour             // of keyObject and keyBlock
	first fragments.Number // of keyObject
}

// parseKey understands a key that this package made; anything else is keyOther.
func parseKey(key string) parsedKey {
	rest, ok := strings.CutPrefix(key, keyRoot)
	dir, path, cut := strings.Cut(rest, "/")
	if _, _, err := parseStreamDir(dir); !ok || !cut || err != nil {
		return parsedKey{}
	}
	if path == settingsName {
		return parsedKey{kind: keySettings, dir: dir}
	}
	if p, ok := strings.CutPrefix(path, blockFolder); ok {
		p, ok := strings.CutSuffix(p, blockExt)
		h, err := parseHour(p)
		if !ok || err != nil {
			return parsedKey{}
		}
		return parsedKey{kind: keyBlock, dir: dir, hour: h}
	}
	slash := strings.LastIndexByte(path, '/')
	if slash < 0 {
		return parsedKey{}
	}
	h, err1 := parseHour(path[:slash])
	n, err2 := parseObjectName(path[slash+1:])
	if errors.Join(err1, err2) != nil {
		return parsedKey{}
	}
	return parsedKey{kind: keyObject, dir: dir, hour: h, first: n}
}
