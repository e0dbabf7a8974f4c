package e2e

import (
	"bytes"
	bigendian "encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// lowList is a low-latency media playlist (draft-pantos-hls-rfc8216bis), read by
// nothing that wrote it.
type lowList struct {
	at, text            string
	version, target     int
	sequence, skipped   int
	partTarget          float64
	control             map[string]string // attributes of EXT-X-SERVER-CONTROL
	segments            []lowSegment      // from sequence + skipped on; the last one may be open
	hint                string
	reports             []map[string]string
	independent, starts bool // EXT-X-INDEPENDENT-SEGMENTS, EXT-X-START
}

type lowSegment struct {
	uri         string // "": it is open
	duration    float64
	date        time.Time
	parts       []lowPart
	breaks, gap bool
	init        string
}

type lowPart struct {
	uri         string
	duration    float64
	independent bool
}

// attributes reads an attribute list (4.2).
func attributes(list string) map[string]string {
	m := map[string]string{}
	for list != "" {
		name, rest, _ := strings.Cut(list, "=")
		value, after := rest, ""
		if strings.HasPrefix(rest, `"`) {
			value, after, _ = strings.Cut(rest[1:], `"`)
			after = strings.TrimPrefix(after, ",")
		} else {
			value, after, _ = strings.Cut(rest, ",")
		}
		m[name], list = value, after
	}
	return m
}

// readLow reads a playlist; what it does not know is a mistake.
func readLow(at, text string) (l *lowList, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	l = &lowList{at: at, text: text}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if lines[0] != "#EXTM3U" {
		panic("no #EXTM3U")
	}
	var s lowSegment
	for _, line := range lines[1:] {
		if !strings.HasPrefix(line, "#") {
			s.uri = line
			l.segments = append(l.segments, s)
			s = lowSegment{init: s.init}
			continue
		}
		tag, value, _ := strings.Cut(line, ":")
		if !l.head(tag, value) && !s.tag(tag, value) {
			panic("unknown: " + line)
		}
	}
	if len(s.parts) > 0 || !s.date.IsZero() {
		l.segments = append(l.segments, s)
	}
	return l, nil
}

func decimal(s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic(err)
	}
	return f
}

// head takes in a tag that is about the playlist.
func (l *lowList) head(tag, value string) bool {
	switch tag {
	case "#EXT-X-VERSION":
		l.version = int(decimal(value))
	case "#EXT-X-TARGETDURATION":
		l.target = int(decimal(value))
	case "#EXT-X-MEDIA-SEQUENCE":
		l.sequence = int(decimal(value))
	case "#EXT-X-DISCONTINUITY-SEQUENCE":
	case "#EXT-X-INDEPENDENT-SEGMENTS":
		l.independent = true
	case "#EXT-X-START":
		l.starts = true
	case "#EXT-X-SERVER-CONTROL":
		l.control = attributes(value)
	case "#EXT-X-PART-INF":
		l.partTarget = decimal(attributes(value)["PART-TARGET"])
	case "#EXT-X-SKIP":
		if len(l.segments) > 0 {
			panic("EXT-X-SKIP behind a segment")
		}
		l.skipped = int(decimal(attributes(value)["SKIPPED-SEGMENTS"]))
	case "#EXT-X-PRELOAD-HINT":
		a := attributes(value)
		if l.hint != "" || a["TYPE"] != "PART" {
			panic("a second hint, or a strange one")
		}
		l.hint = a["URI"]
	case "#EXT-X-RENDITION-REPORT":
		l.reports = append(l.reports, attributes(value))
	default:
		return false
	}
	return true
}

// tag takes in a tag that is about the next segment.
func (s *lowSegment) tag(tag, value string) bool {
	switch tag {
	case "#EXTINF":
		s.duration = decimal(strings.TrimSuffix(value, ","))
	case "#EXT-X-PROGRAM-DATE-TIME":
		var err error
		if s.date, err = time.Parse(time.RFC3339Nano, value); err != nil {
			panic(err)
		}
	case "#EXT-X-PART":
		a := attributes(value)
		s.parts = append(s.parts, lowPart{a["URI"], decimal(a["DURATION"]), a["INDEPENDENT"] == "YES"})
	case "#EXT-X-MAP":
		s.init = attributes(value)["URI"]
	case "#EXT-X-DISCONTINUITY":
		s.breaks = true
	case "#EXT-X-GAP":
		s.gap = true
	default:
		return false
	}
	return true
}

// next returns the segment and the part that come next.
func (l *lowList) next() (msn, part int) {
	msn = l.sequence + l.skipped + len(l.segments)
	if n := len(l.segments); n > 0 && l.segments[n-1].uri == "" {
		return msn - 1, len(l.segments[n-1].parts)
	}
	return msn, 0
}

// ruled collects what is wrong, once each.
type ruled struct {
	sync.Mutex
	broken map[string]string // rule: where first
}

func (r *ruled) must(ok bool, l *lowList, rule string, args ...any) {
	if ok {
		return
	}
	r.Lock()
	defer r.Unlock()
	if r.broken == nil {
		r.broken = map[string]string{}
	}
	if _, known := r.broken[rule]; !known {
		r.broken[rule] = fmt.Sprintf("%s: "+rule+"\n%s", append(append([]any{l.at}, args...), l.text)...)
	}
}

// alone checks the rules for one playlist.
func (l *lowList) alone(r *ruled) {
	target := float64(l.target)
	of := func(name string) float64 { f, _ := strconv.ParseFloat(l.control[name], 64); return f }
	r.must(l.version >= 9 && l.target > 0, l, "version and target duration (8, 4.4.3.1)")
	r.must(l.control["CAN-BLOCK-RELOAD"] == "YES" && l.partTarget > 0, l, "parts need CAN-BLOCK-RELOAD and PART-INF (4.4.3.7, 4.4.3.8)")
	r.must(of("CAN-SKIP-UNTIL") >= 6*target, l, "CAN-SKIP-UNTIL of at least six target durations (4.4.3.8)")
	r.must(of("HOLD-BACK") >= 3*target, l, "HOLD-BACK of at least three target durations (4.4.3.8)")
	r.must(of("PART-HOLD-BACK") >= 2*l.partTarget, l, "PART-HOLD-BACK of at least two part targets (4.4.3.8)")
	behind := 0.0
	for i, s := range slices.Backward(l.segments) {
		whole := 0.0
		for k, p := range s.parts {
			whole += p.duration
			last := s.uri != "" && k == len(s.parts)-1
			r.must(p.duration <= l.partTarget, l, "part %s is longer than the part target (4.4.4.9)", p.uri)
			r.must(last || p.duration >= .85*l.partTarget, l, "part %s is shorter than 85 %% of the part target (4.4.4.9)", p.uri)
			r.must(k > 0 || p.independent || !l.independent, l, "the first part of segment %d is not independent", i)
		}
		if s.uri == "" {
			r.must(i == len(l.segments)-1, l, "an open segment that is not the last")
			behind += whole
			continue
		}
		r.must(math.Round(s.duration) <= target, l, "segment %s is longer than the target (4.4.3.1)", s.uri)
		r.must(len(s.parts) == 0 || math.Abs(whole-s.duration) < .001, l, "segment %s lasts %g, its parts %g", s.uri, s.duration, whole)
		r.must(behind < 3*target == (len(s.parts) > 0), l, "parts within three target durations of the end, and no others (4.4.4.9)")
		behind += s.duration
		if i > 0 && !s.breaks {
			before := &l.segments[i-1]
			off := s.date.Sub(before.date).Seconds() - before.duration
			r.must(math.Abs(off) < .005, l, "%s begins %g s after the end of the segment before", s.uri, off)
		}
	}
	r.must(l.skipped == 0 || behind >= of("CAN-SKIP-UNTIL"), l, "segments are skipped within CAN-SKIP-UNTIL of the end (6.2.5.1)")
}

// reloader reloads a playlist as low-latency players do.
type reloader struct {
	ruled  *ruled
	base   string
	known  map[int]lowSegment // by media sequence number, as first told
	latest *lowList
	hints  map[string]int // kept, broken
	deltas int
}

// get fetches the playlist and checks what one alone can tell.
func (f *reloader) get(t *testing.T, query string) *lowList {
	at := f.base + query
	code, text := fetch(t, at)
	l, err := readLow(at, text)
	if code != 200 || err != nil {
		t.Errorf("%s: %d %v\n%s", at, code, err, text)
		return nil
	}
	l.alone(f.ruled)
	return l
}

// goesOn checks a playlist against those before it.
func (f *reloader) goesOn(l *lowList) {
	if b := f.latest; b != nil {
		f.ruled.must(l.target == b.target && l.partTarget == b.partTarget && l.version == b.version, l, "targets and version stay (6.2.1), were %d, %g and %d", b.target, b.partTarget, b.version)
		f.ruled.must(l.sequence >= b.sequence, l, "the media sequence number goes back from %d (6.2.2)", b.sequence)
		f.hinted(b, l)
	}
	for i, s := range l.segments {
		msn := l.sequence + l.skipped + i
		was, told := f.known[msn]
		if told {
			same := (was.uri == "" || was.uri == s.uri && was.duration == s.duration) && was.date.Equal(s.date) && was.breaks == s.breaks
			n := min(len(was.parts), len(s.parts))
			same = same && (len(s.parts) == 0 || len(s.parts) >= len(was.parts)) && slices.Equal(was.parts[:n], s.parts[:n])
			f.ruled.must(same || i == 0 && was.breaks != s.breaks, l, "segment %d changes from %+v to %+v (6.2.1)", msn, was, s)
		}
		if len(s.parts) < len(was.parts) {
			s.parts = was.parts
		}
		f.known[msn] = s
	}
	f.latest = l
}

// hinted looks what has become of the hint of playlist b.
func (f *reloader) hinted(b, l *lowList) {
	msn, part := b.next()
	var came string
	for _, at := range [][2]int{{msn, part}, {msn + 1, 0}} {
		if i := at[0] - l.sequence - l.skipped; i >= 0 && i < len(l.segments) && at[1] < len(l.segments[i].parts) && came == "" {
			came = l.segments[i].parts[at[1]].uri
		}
	}
	if came == "" || b.hint == "" {
		return
	}
	if came == b.hint {
		f.hints["kept"]++
	} else {
		f.hints["broken"]++
	}
}

// follow goes on until end.
func (f *reloader) follow(t *testing.T, end time.Time) {
	l := f.get(t, "")
	for ; l != nil && time.Now().Before(end); l = f.again(t) {
		f.goesOn(l)
	}
}

// again waits for the next part; every third time with a delta update beside it.
func (f *reloader) again(t *testing.T) *lowList {
	msn, part := f.latest.next()
	query := fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", msn, part)
	l := f.get(t, query)
	if l == nil {
		return nil
	}
	gotMSN, gotPart := l.next()
	f.ruled.must(gotMSN > msn || gotMSN == msn && gotPart > part, l, "part %d of segment %d was asked for (6.2.5.2)", part, msn)
	if part%3 != 1 {
		return l
	}
	for _, version := range []string{"YES", "v2"} {
		d := f.get(t, query+"&_HLS_skip="+version)
		if d == nil {
			return nil
		}
		for i, s := range d.segments {
			k := d.sequence + d.skipped + i - l.sequence
			if k < len(l.segments)-1 && k >= 0 && len(s.parts) == len(l.segments[k].parts) {
				full := l.segments[k]
				s.init, s.breaks = full.init, full.breaks // of what is skipped
				f.ruled.must(fmt.Sprint(s) == fmt.Sprint(full), d, "a delta update has %+v, the playlist %+v", s, full)
			}
		}
		if d.skipped > 0 {
			f.deltas++
		}
	}
	return l
}

// refuses checks what is asked for in vain.
func (f *reloader) refuses(t *testing.T) {
	l := f.get(t, "")
	if l == nil {
		return
	}
	msn, _ := l.next()
	for _, query := range []string{"?_HLS_msn=" + strconv.Itoa(msn+6), "?_HLS_part=1", "?_HLS_msn=" + strconv.Itoa(msn+1) + "&_HLS_part=60", "?_HLS_msn=-1"} {
		if code, text := fetch(t, f.base+query); code != 400 {
			t.Errorf("%s: %d, want 400\n%s", f.base+query, code, text)
		}
	}
}

// whole checks that the parts of closed segments are the segments, byte by byte, and
// that their decode times go on as the playlist says.
func (f *reloader) whole(t *testing.T) {
	checked := 0
	for _, msn := range slices.Sorted(maps.Keys(f.known)) {
		s := f.known[msn]
		if s.uri == "" || len(s.parts) == 0 || checked == 4 {
			continue
		}
		checked++
		_, segment := fetch(t, resolve(t, f.base, s.uri))
		var joined strings.Builder
		for _, p := range s.parts {
			code, data := fetch(t, resolve(t, f.base, p.uri))
			if code != 200 || bytes.Count([]byte(data), []byte("moof")) != 1 || strings.Index(data, "moof") != 4 {
				t.Errorf("%s: %d, %d bytes, not one moof", p.uri, code, len(data))
			}
			joined.WriteString(data)
		}
		if joined.String() != segment {
			t.Errorf("%s: its %d parts are not its bytes: %d and %d", s.uri, len(s.parts), joined.Len(), len(segment))
		}
		if after, ok := f.known[msn+1]; ok && after.uri != "" && !after.breaks {
			_, next := fetch(t, resolve(t, f.base, after.uri))
			scale := f.timeScale(t, s.init)
			if d := float64(decodeTime(next)-decodeTime(segment)) / scale; math.Abs(d-s.duration) > 1e-5 {
				t.Errorf("%s lasts %g by decode times, %g by EXTINF", s.uri, d, s.duration)
			}
		}
	}
	if checked == 0 {
		t.Errorf("%s: no segment with parts", f.base)
	}
}

// decodeTime is that of the first tfdt.
func decodeTime(data string) uint64 {
	i := strings.Index(data, "tfdt")
	if i < 0 || len(data) < i+16 {
		return 0
	}
	if data[i+4] == 1 {
		return bigendian.BigEndian.Uint64([]byte(data[i+8 : i+16]))
	}
	return uint64(bigendian.BigEndian.Uint32([]byte(data[i+8 : i+12])))
}

// timeScale reads mdhd of an initialisation segment.
func (f *reloader) timeScale(t *testing.T, uri string) float64 {
	_, data := fetch(t, resolve(t, f.base, uri))
	i := strings.Index(data, "mdhd")
	if i < 0 {
		t.Errorf("%s has no mdhd", uri)
		return 1
	}
	at := i + 4 + 4 + 8 + 8*int(data[i+4])
	return float64(bigendian.BigEndian.Uint32([]byte(data[at : at+4])))
}

// reports checks what a playlist says of another one: no more than that had after, no
// less than it had before.
func (f *reloader) reports(t *testing.T, other *reloader) {
	before := other.get(t, "")
	l := f.get(t, "")
	after := other.get(t, "")
	if before == nil || l == nil || after == nil {
		return
	}
	name := other.base[strings.LastIndex(other.base, "/")+1:]
	i := slices.IndexFunc(l.reports, func(r map[string]string) bool { return r["URI"] == name })
	if i < 0 {
		t.Errorf("%s does not report %s\n%s", f.base, name, l.text)
		return
	}
	msn, err1 := strconv.Atoi(l.reports[i]["LAST-MSN"])
	part, err2 := strconv.Atoi(l.reports[i]["LAST-PART"])
	edge := func(msn, part int) int { return msn*1000 + part }
	last := func(l *lowList) int { // of the newest part, one less than the next
		msn, part := l.next()
		if part == 0 {
			if i := msn - 1 - l.sequence - l.skipped; i >= 0 {
				return edge(msn-1, len(l.segments[i].parts)-1)
			}
		}
		return edge(msn, part-1)
	}
	if got := edge(msn, part); err1 != nil || err2 != nil || got < last(before) || got > last(after) {
		t.Errorf("%s reports %v; it had %d before and %d after", f.base, l.reports[i], last(before), last(after))
	}
}

// The live playlists of several kinds of cameras keep the rules for low latency,
// for as long as it takes until delta updates leave something out.
func TestLowLatencyRules(t *testing.T) {
	s := serve(t, "")
	url := "rtsp://" + s.rtsp + "/"
	testCamera(t, url+"second", "")
	testCamera(t, url+"four", "-g 100 -keyint_min 100")
	testCamera(t, url+"reordered", "-tune film -bf 2 -x264-params scenecut=0")
	startFFmpeg(t, nil, "-re -f lavfi -i sine=frequency=440:sample_rate=48000 -c:a aac -f rtsp -rtsp_transport tcp "+url+"sound")
	var all sync.WaitGroup
	defer all.Wait()
	for name, tracks := range map[string][]int{"second": {1, 2}, "four": {1, 2}, "reordered": {1, 2}, "sound": {1}} { // all at the same time
		waitLive(t, s, name, 1)
		r := &ruled{}
		var list []*reloader
		end := time.Now().Add(14 * time.Second)
		var of sync.WaitGroup
		for _, track := range tracks {
			f := &reloader{ruled: r, base: fmt.Sprintf("%s/hls/%s/live-%d.m3u8", s.http, name, track), known: map[int]lowSegment{}, hints: map[string]int{}}
			list = append(list, f)
			of.Go(func() { f.follow(t, end) })
		}
		all.Go(func() {
			of.Wait()
			for i, f := range list {
				if f.latest == nil {
					t.Errorf("%s: nothing", f.base)
					continue
				}
				f.refuses(t)
				f.whole(t)
				if len(list) > 1 {
					f.reports(t, list[1-i])
				}
				t.Logf("%s: %d segments, part target %g, hold back %s, hints %v, %d delta updates", f.base, len(f.known), f.latest.partTarget, f.latest.control["PART-HOLD-BACK"], f.hints, f.deltas)
				if f.hints["broken"] > 0 || f.hints["kept"] == 0 {
					t.Errorf("%s: of the hints %v", f.base, f.hints)
				}
				if name == "second" && f.deltas == 0 {
					t.Errorf("%s: no delta update", f.base)
				}
			}
			for _, where := range r.broken {
				t.Error(where)
			}
		})
	}
}
