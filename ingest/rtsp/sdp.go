package rtsp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/sdp"
)

// Session descriptions (RFC 4566) come from outside, and the library reads them
// before anybody has asked for a password: it refuses the whole description for
// one track it cannot read, and a crafted one makes it panic. So every
// description passes repairDescription before the library sees it.

// sdpHeader begins a repaired description; nothing in it matters to RTSP.
const sdpHeader = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns= \r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"

// sdpSection is an m= line and the a= lines after it; of the part before the
// first m= line it has only the latter.
type sdpSection struct {
	media string
	attrs []string // without "a="
}

// repairDescription returns body in a form that the library reads, or nil when
// there is none. A track that cannot be read becomes one of an unknown codec: it
// is refused by name, and the others go on.
func repairDescription(body []byte) []byte {
	session, media := splitDescription(body)
	if len(media) == 0 {
		return nil
	}
	// "sendonly" marks a back channel only where other tracks are none: some
	// encoders announce it because they only send.
	onlyBack := !slices.ContainsFunc(media, func(m sdpSection) bool { return !slices.Contains(m.attrs, "sendonly") })
	if !onlyBack && readable(body) {
		return body
	}
	doc := sdpHeader + linesOf(session, "group", "key-mgmt")
	for i := range media {
		if onlyBack {
			media[i].attrs = without(media[i].attrs, "sendonly")
		}
		doc += repairTrack(media[i])
	}
	if !readable([]byte(doc)) {
		return nil
	}
	return []byte(doc)
}

// repairTrack leaves out of a section what keeps it from being read.
func repairTrack(m sdpSection) string {
	m.media = repairMediaLine(m.media)
	m.attrs = without(m.attrs, "mid")
	for _, drop := range [][]string{nil, {"key-mgmt"}, {"key-mgmt", "sprop"}, {"key-mgmt", "fmtp"}} {
		s := m
		s.attrs = slices.Clone(m.attrs)
		if len(drop) == 2 && drop[1] == "sprop" {
			dropParameterSets(s.attrs)
		}
		s.attrs = without(s.attrs, drop...)
		if text := sectionText(s); readable([]byte(sdpHeader + text)) {
			return text
		}
	}
	return sectionText(unknownTrack(m))
}

// unknownTrack keeps the payload type of a section where it has one, and its control URL.
func unknownTrack(m sdpSection) sdpSection {
	f := strings.Fields(m.media)
	payload := "127"
	if len(f) > 3 {
		if n, err := strconv.ParseUint(f[3], 10, 7); err == nil && n >= 34 {
			payload = f[3]
		}
	}
	name := "unreadable"
	for _, a := range m.attrs {
		if v, ok := strings.CutPrefix(a, "rtpmap:"); ok {
			if _, v, ok := strings.Cut(v, " "); ok {
				codec, _, _ := strings.Cut(v, "/")
				name = "unreadable-" + codec
			}
		}
	}
	keep := without(m.attrs, "fmtp", "rtpmap", "key-mgmt")
	return sdpSection{
		media: fmt.Sprintf("%s 0 RTP/AVP %s", f[0], payload),
		attrs: append(slices.Clone(keep), fmt.Sprintf("rtpmap:%s %s/90000", payload, name)),
	}
}

// readable reports whether the library reads the description, without panic.
func readable(body []byte) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	var ssd sdp.SessionDescription
	if ssd.Unmarshal(body) != nil {
		return false
	}
	var desc description.Session
	return desc.Unmarshal(&ssd) == nil
}

func splitDescription(body []byte) (session sdpSection, media []sdpSection) {
	at := &session
	for line := range strings.Lines(string(body)) {
		line = strings.TrimRight(line, "\r\n\x00")
		switch {
		case strings.HasPrefix(line, "m="):
			media = append(media, sdpSection{media: line[2:]})
			at = &media[len(media)-1]
		case strings.HasPrefix(line, "a="):
			at.attrs = append(at.attrs, line[2:])
		}
	}
	return session, media
}

// repairMediaLine makes the type, port and profile of an m= line ones that are known.
func repairMediaLine(line string) string {
	f := strings.Fields(line)
	for len(f) < 4 {
		f = append(f, "127")
	}
	switch f[0] {
	case "video", "audio", "application", "text", "metadata":
	default:
		f[0] = "application"
	}
	f[1] = "0"
	if strings.Contains(f[2], "SAVP") {
		f[2] = "RTP/SAVP"
	} else {
		f[2] = "RTP/AVP"
	}
	return strings.Join(f, " ")
}

// dropParameterSets takes the parameter sets out of the fmtp lines; they come
// again in the stream.
func dropParameterSets(attrs []string) {
	for i, a := range attrs {
		if !strings.HasPrefix(a, "fmtp:") {
			continue
		}
		head, list, _ := strings.Cut(a, " ")
		params := slices.DeleteFunc(strings.Split(list, ";"), func(p string) bool {
			return strings.HasPrefix(strings.ToLower(strings.TrimSpace(p)), "sprop-")
		})
		attrs[i] = head + " " + strings.Join(params, ";")
	}
}

// without returns the attributes whose names are not among names.
func without(attrs []string, names ...string) []string {
	return slices.DeleteFunc(slices.Clone(attrs), func(a string) bool {
		name, _, _ := strings.Cut(a, ":")
		return slices.Contains(names, name)
	})
}

func linesOf(s sdpSection, drop ...string) string {
	var b strings.Builder
	for _, a := range without(s.attrs, drop...) {
		b.WriteString("a=" + a + "\r\n")
	}
	return b.String()
}

func sectionText(s sdpSection) string {
	return "m=" + s.media + "\r\n" + linesOf(s)
}

// rtpClock returns the clock rate that the rtpmap line of a payload type gives in
// the n-th track of a description, or 0. The library does not keep it, and takes
// that of AAC with spectral band replication for half of what it is.
func rtpClock(body []byte, n int, payload uint8) int {
	_, media := splitDescription(body)
	if n >= len(media) {
		return 0
	}
	prefix := fmt.Sprintf("rtpmap:%d ", payload)
	for _, a := range media[n].attrs {
		if v, ok := strings.CutPrefix(a, prefix); ok {
			parts := strings.Split(strings.TrimSpace(v), "/")
			if len(parts) < 2 {
				return 0
			}
			rate, err := strconv.ParseUint(parts[1], 10, 30)
			if err != nil {
				return 0
			}
			return int(rate)
		}
	}
	return 0
}
