package hls

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
)

// Names under /hls/<stream>/, as the playlists write them:
//
//	live.m3u8?window=600                       multivariant, live
//	index.m3u8?start=…&end=…&time=…            multivariant, a range
//	live-<track>.m3u8  index-<track>.m3u8      media playlists
//	<born>/init-<config>.mp4                   initialisation segment
//	<born>/<track>-<epoch>-<counter>.m4s       one fragment; "-<count>" more: several joined;
//	                                           "-<count>-<lead>": silence comes first, in ticks
//	<born>/<track>-<epoch>-<counter>-p<part>.m4s  part of one fragment, from 0
//	<born>/fill-<config>-<start>-<length>.m4s  silence; decode time and length in ticks
//
// <born> is when the stream was created, so that the segments of a stream that
// was deleted and made anew under its old name are never taken from a cache.

// Kind is what a request asks for.
type Kind uint8

// The kinds of requests.
const (
	Multivariant Kind = iota + 1
	Media
	Init
	Segment
	Fill
	Part
)

// Request is a URL under /hls/<stream>/, read. Token is not read from the URL:
// who checks rights sets it, and the playlists write it into every URL.
type Request struct {
	Kind  Kind
	Token string

	// Playlists; of segments, the range that their playlist was asked for.
	Live   bool
	Window time.Duration // live: how far back; 0: the default
	Range  playback.Range
	Join   time.Duration // fragments are joined up to this length; 0: never
	Ahead  Ahead         // live media playlists
	Video  int           // multivariant: the video track to play; 0: the first

	Track  int              // media playlists and segments
	Born   int64            // segments: Unix milliseconds
	Number fragments.Number // segments: the first fragment
	Count  int              // segments: fragments
	Config fragments.ConfigHash
	Lead   int64 // segments: ticks of silence that come before them
	Start  int64 // fill: ticks
	Length int64 // fill: ticks
	Part   int   // parts: which of its fragment, from 0
}

// Ahead are the delivery directives of a live media playlist (RFC 8216bis,
// 6.2.5). The zero value asks for the playlist as it is.
type Ahead struct {
	Wait     bool  // until the playlist has the segment Sequence, or a part of it
	Sequence int64 // media sequence number
	WaitPart bool
	Part     int
	Skip     bool // leave out the older segments, which the player has
}

// ErrNoName is returned for a name that no playlist contains.
var ErrNoName = fmt.Errorf("no such file: ask for live.m3u8, or for index.m3u8?start=…&end=…")

const (
	maxJoin  = 60 * time.Second
	maxCount = 1000 // fragments joined in one segment
)

// ParseRequest reads the path behind /hls/<stream>/ and the query of a URL. The
// error is ErrNoName or a *playback.ParamError.
func ParseRequest(path string, q url.Values) (Request, error) {
	if dir, file, ok := strings.Cut(path, "/"); ok {
		return parseSegment(dir, file, q)
	}
	base, ok := strings.CutSuffix(path, ".m3u8")
	if !ok {
		return Request{}, ErrNoName
	}
	r := Request{Kind: Multivariant}
	name, track, isMedia := strings.Cut(base, "-")
	if isMedia {
		r.Kind = Media
		if r.Track, ok = parseTrack(track); !ok {
			return Request{}, ErrNoName
		}
	}
	switch name {
	case "live":
		r.Live = true
		return r, r.parseLive(q)
	case "index":
		return r, r.parseRange(q)
	}
	return Request{}, ErrNoName
}

func (r *Request) parseLive(q url.Values) error {
	if v := q.Get("window"); v != "" {
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil || n == 0 {
			return &playback.ParamError{Name: "window", Value: v, Reason: "write how many seconds of the past to keep in reach, like 600"}
		}
		r.Window = time.Duration(n) * time.Second
	}
	if r.Kind == Media {
		if err := r.Ahead.parse(q); err != nil {
			return err
		}
	}
	return r.parseVideo(q)
}

// parse reads _HLS_msn, _HLS_part and _HLS_skip.
func (a *Ahead) parse(q url.Values) (err error) {
	msn, part := q.Get("_HLS_msn"), q.Get("_HLS_part")
	if a.Wait, a.WaitPart = msn != "", part != ""; a.Wait {
		if a.Sequence, err = strconv.ParseInt(msn, 10, 64); err != nil || a.Sequence < 0 {
			return &playback.ParamError{Name: "_HLS_msn", Value: msn, Reason: "write a media sequence number"}
		}
	}
	if a.WaitPart {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil {
			return &playback.ParamError{Name: "_HLS_part", Value: part, Reason: "write which part of the segment, from 0"}
		}
		if a.Part = int(n); !a.Wait {
			return &playback.ParamError{Name: "_HLS_part", Value: part, Reason: "write _HLS_msn too: the segment that the part belongs to"}
		}
	}
	a.Skip = q.Get("_HLS_skip") == "YES" || q.Get("_HLS_skip") == "v2"
	return nil
}

func (r *Request) parseRange(q url.Values) (err error) {
	if r.Range, err = playback.ParseRange(q); err != nil {
		return err
	}
	if v := q.Get("join"); v != "" {
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil || n == 0 || time.Duration(n)*time.Second > maxJoin {
			return &playback.ParamError{Name: "join", Value: v, Reason: "write a number of seconds from 1 to 60"}
		}
		r.Join = time.Duration(n) * time.Second
	}
	return r.parseVideo(q)
}

func (r *Request) parseVideo(q url.Values) error {
	v := q.Get("video")
	if v == "" {
		return nil
	}
	var ok bool
	if r.Video, ok = parseTrack(v); !ok {
		return &playback.ParamError{Name: "video", Value: v, Reason: "write the number of a video track, like 1"}
	}
	return nil
}

func parseSegment(dir, file string, q url.Values) (Request, error) {
	born, err := strconv.ParseInt(dir, 36, 64)
	if err != nil || born < 0 {
		return Request{}, ErrNoName
	}
	r := Request{Born: born}
	if q.Has("start") {
		if r.Range, err = playback.ParseRange(q); err != nil {
			return Request{}, err
		}
	}
	ok := false
	if name, isInit := strings.CutSuffix(file, ".mp4"); isInit {
		r.Kind = Init
		name, ok = strings.CutPrefix(name, "init-")
		ok = ok && r.parseConfig(name)
	} else if name, isSegment := strings.CutSuffix(file, ".m4s"); isSegment {
		ok = r.parseMedia(strings.Split(name, "-"))
	}
	if !ok {
		return Request{}, ErrNoName
	}
	return r, nil
}

// parseMedia reads track-epoch-counter[-count[-lead]], track-epoch-counter-pN
// or fill-config-start-length.
func (r *Request) parseMedia(f []string) (ok bool) {
	if len(f) == 4 && f[0] == "fill" {
		r.Kind = Fill
		var err1, err2 error
		r.Start, err1 = strconv.ParseInt(f[2], 10, 64)
		r.Length, err2 = strconv.ParseInt(f[3], 10, 64)
		return r.parseConfig(f[1]) && err1 == nil && err2 == nil && r.Start >= 0 && r.Length > 0
	}
	if len(f) < 3 || len(f) > 5 {
		return false
	}
	r.Kind, r.Count = Segment, 1
	if r.Track, ok = parseTrack(f[0]); !ok {
		return false
	}
	epoch, err1 := strconv.ParseUint(f[1], 10, 64)
	counter, err2 := strconv.ParseUint(f[2], 10, 64)
	if err1 != nil || err2 != nil || epoch > fragments.MaxEpoch {
		return false
	}
	r.Number = fragments.Number{Epoch: epoch, Counter: counter}
	if part, ok := strings.CutPrefix(f[len(f)-1], "p"); ok && len(f) == 4 {
		n, err := strconv.ParseUint(part, 10, 31)
		r.Kind, r.Part = Part, int(n)
		return err == nil && strconv.FormatUint(n, 10) == part
	}
	least := uint64(2) // one name for one content
	if len(f) == 5 {
		least = 1
		if r.Lead, err1 = strconv.ParseInt(f[4], 10, 64); err1 != nil || r.Lead <= 0 {
			return false
		}
	}
	if len(f) > 3 {
		n, err := strconv.ParseUint(f[3], 10, 31)
		if err != nil || n < least || n > maxCount {
			return false
		}
		r.Count = int(n)
	}
	return true
}

func (r *Request) parseConfig(s string) bool {
	if len(s) != hex.EncodedLen(len(r.Config)) {
		return false
	}
	_, err := hex.Decode(r.Config[:], []byte(s))
	return err == nil
}

func parseTrack(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err == nil && n > 0
}

// mediaURI appends the URL of the media playlist of a track.
func (r *Request) mediaURI(b []byte, track int) []byte {
	name := "index-"
	if r.Live {
		name = "live-"
	}
	b = append(b, name...)
	b = strconv.AppendInt(b, int64(track), 10)
	b = append(b, ".m3u8"...)
	sep := byte('?')
	param := func(name string, v int64) {
		b = append(append(append(b, sep), name...), '=')
		b = strconv.AppendInt(b, v, 10)
		sep = '&'
	}
	switch {
	case !r.Live:
		b = r.Range.AppendQuery(append(b, '?'))
		sep = '&'
		if r.Join > 0 {
			param("join", int64(r.Join/time.Second))
		}
	case r.Window > 0:
		param("window", int64(r.Window/time.Second))
	}
	return r.appendToken(b, sep)
}

// segmentQuery returns what follows the name of every segment. The range is in
// it only when there is a token, which may be good for a range alone; without
// one, the same fragment has the same URL in every playlist.
func (r *Request) segmentQuery() []byte {
	if r.Token == "" {
		return nil
	}
	if r.Live {
		return r.appendToken(nil, '?')
	}
	return r.appendToken(r.Range.AppendQuery([]byte{'?'}), '&')
}

func (r *Request) appendToken(b []byte, sep byte) []byte {
	if r.Token == "" {
		return b
	}
	b = append(append(b, sep), "token="...)
	return append(b, url.QueryEscape(r.Token)...)
}

func appendBorn(b []byte, born int64) []byte {
	return append(strconv.AppendInt(b, born, 36), '/')
}

func appendSegment(b []byte, track int, n fragments.Number, count int, lead int64) []byte {
	b = strconv.AppendInt(b, int64(track), 10)
	b = append(b, '-')
	b = strconv.AppendUint(b, n.Epoch, 10)
	b = append(b, '-')
	b = strconv.AppendUint(b, n.Counter, 10)
	if count > 1 || lead > 0 {
		b = append(b, '-')
		b = strconv.AppendInt(b, int64(count), 10)
	}
	if lead > 0 {
		b = append(b, '-')
		b = strconv.AppendInt(b, lead, 10)
	}
	return append(b, ".m4s"...)
}

func appendPart(b []byte, track int, n fragments.Number, part int) []byte {
	b = appendSegment(b, track, n, 1, 0)
	b = append(b[:len(b)-len(".m4s")], "-p"...)
	return append(strconv.AppendInt(b, int64(part), 10), ".m4s"...)
}

func appendFill(b []byte, c fragments.ConfigHash, start, length int64) []byte {
	b = append(b, "fill-"...)
	b = hex.AppendEncode(b, c[:])
	b = append(b, '-')
	b = strconv.AppendInt(b, start, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, length, 10)
	return append(b, ".m4s"...)
}

func appendInit(b []byte, c fragments.ConfigHash) []byte {
	b = append(b, "init-"...)
	b = hex.AppendEncode(b, c[:])
	return append(b, ".mp4"...)
}
