package whip

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// description is what ICE needs to know of an SDP offer or of an SDP fragment
// (RFC 8840 section 9), which is the same with fewer lines.
type description struct {
	session section
	media   []section
	bundle  []string // mids of the first BUNDLE group
	rtcpMux bool     // rtcp-mux-only stands somewhere (RFC 8858)
}

// section is the session's part of a description or a media section.
type section struct {
	line       string // "m=..." as it came; empty for the session's
	kind       string // "audio", "video", "application"
	mid        string
	rejected   bool // port 0 and not bundle-only
	direction  string
	setup      string
	ufrag, pwd string
	candidates []string // without "a=candidate:"
}

// maxLine is the longest line of a description in bytes; a=fmtp of H.265 with
// its parameter sets in it is the longest that is seen.
const maxLine = 8 << 10

// MalformedError is an offer or a fragment that is no SDP.
type MalformedError struct {
	Line int // from 1; 0 for the whole
	What string
}

// Error names the line.
func (e *MalformedError) Error() string {
	if e.Line == 0 {
		return e.What
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.What)
}

// readDescription reads an offer; fragment allows only the lines that a fragment
// can have. Values that it does not need it does not judge.
func readDescription(text string, fragment bool) (*description, error) {
	d := &description{}
	at := &d.session
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			continue // the end, or a client's love of empty lines
		}
		typ, value, ok := strings.Cut(line, "=")
		switch {
		case !ok || len(typ) != 1 || typ[0] < 'a' || typ[0] > 'z':
			return nil, &MalformedError{i + 1, "not of the form <letter>=<value>"}
		case len(line) > maxLine:
			return nil, &MalformedError{i + 1, fmt.Sprintf("longer than %d bytes", maxLine)}
		case strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			return nil, &MalformedError{i + 1, "holds a control character"}
		case fragment && typ != "a" && typ != "m":
			return nil, &MalformedError{i + 1, "a fragment holds attributes and media lines only"}
		}
		switch typ {
		case "m":
			d.media = append(d.media, section{line: line})
			at = &d.media[len(d.media)-1]
			if err := at.media(value); err != "" {
				return nil, &MalformedError{i + 1, err}
			}
		case "a":
			if err := d.attribute(at, value); err != "" {
				return nil, &MalformedError{i + 1, err}
			}
		}
	}
	return d, nil
}

// media reads "audio 9 UDP/TLS/RTP/SAVPF 111".
func (s *section) media(value string) (bad string) {
	f := strings.Fields(value)
	if len(f) < 3 {
		return "not a media line"
	}
	port, _, _ := strings.Cut(f[1], "/")
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "the port is no number from 0 to 65535"
	}
	s.kind, s.rejected = f[0], n == 0
	return ""
}

func (d *description) attribute(at *section, value string) (bad string) {
	key, value, _ := strings.Cut(value, ":")
	switch key {
	case "group":
		if f := strings.Fields(value); len(f) > 1 && f[0] == "BUNDLE" && d.bundle == nil {
			d.bundle = f[1:]
		}
	case "mid":
		at.mid = value
	case "ice-ufrag":
		at.ufrag = value
		return credential("ice-ufrag", value, 4)
	case "ice-pwd":
		at.pwd = value
		return credential("ice-pwd", value, 22)
	case "candidate":
		at.candidates = append(at.candidates, value)
		_, bad = parseCandidate(value)
	case "sendrecv", "sendonly", "recvonly", "inactive":
		at.direction = key
	case "setup":
		at.setup = value
	case "bundle-only":
		at.rejected = false // RFC 9143 section 6: port 0 there says "in the bundle or not at all"
	case "rtcp-mux-only":
		d.rtcpMux = true
	}
	return bad
}

// credential checks the length of an ICE credential (RFC 8839 section 5.4). Its
// characters are checked only as far as they cannot break a line apart: clients
// are known to use more than the letters, digits, + and / of that section.
func credential(name, value string, least int) (bad string) {
	if len(value) < least || len(value) > 256 {
		return fmt.Sprintf("%s has %d characters, not %d to 256", name, len(value), least)
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return name + " holds a character that it cannot have"
	}
	return ""
}

// transport returns the section whose ICE parameters count for all: that of the
// bundle's tag (RFC 9143 section 7.2), else the first that is not rejected.
func (d *description) transport() *section {
	if len(d.bundle) > 0 {
		if i := slices.IndexFunc(d.media, func(s section) bool { return s.mid == d.bundle[0] }); i >= 0 {
			return &d.media[i]
		}
	}
	for i := range d.media {
		if !d.media[i].rejected {
			return &d.media[i]
		}
	}
	return &d.session
}

// credentials returns those of the transport; each may stand at the session.
func (d *description) credentials() (ufrag, pwd string) {
	t := d.transport()
	ufrag, pwd = t.ufrag, t.pwd
	if ufrag == "" {
		ufrag = d.session.ufrag
	}
	if pwd == "" {
		pwd = d.session.pwd
	}
	return ufrag, pwd
}

// setup returns which side begins the DTLS handshake (RFC 8842 section 5); it
// may stand at the session.
func (d *description) setup() string {
	if s := d.transport().setup; s != "" {
		return s
	}
	return d.session.setup
}

// candidates returns those of the section mid, or of the transport when mid is
// not named, and of the session. Those of other sections are of transports that
// bundling does away with.
func (d *description) candidates(mid string) []string {
	all := d.session.candidates
	for i := range d.media {
		if s := &d.media[i]; mid != "" && s.mid == mid || (mid == "" || s.mid == "") && s == d.transport() {
			all = append(all[:len(all):len(all)], s.candidates...)
		}
	}
	return all
}

// candidate is what people are told of a candidate line (RFC 8839 section 5.1).
type candidate struct {
	component int
	transport string // "udp", "tcp", or something that is not known
	address   string
	port      int
	typ       string // "host", "srflx", "prflx", "relay"
	ufrag     string
}

// String writes a candidate for people.
func (c candidate) String() string {
	host := c.address
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s %s %s:%d", c.transport, c.typ, host, c.port)
}

// parseCandidate reads a candidate without its "candidate:".
func parseCandidate(s string) (c candidate, bad string) {
	f := strings.Fields(s)
	if len(f) < 8 || f[6] != "typ" {
		return c, "not a candidate: foundation, component, transport, priority, address, port, typ and type"
	}
	component, err := strconv.ParseUint(f[1], 10, 16)
	if err != nil || component == 0 || component > 256 {
		return c, "the candidate's component is no number from 1 to 256"
	}
	if _, err := strconv.ParseUint(f[3], 10, 32); err != nil {
		return c, "the candidate's priority is no number"
	}
	port, err := strconv.ParseUint(f[5], 10, 16)
	if err != nil {
		return c, "the candidate's port is no number from 0 to 65535"
	}
	c = candidate{component: int(component), transport: strings.ToLower(f[2]), address: f[4], port: int(port), typ: f[7]}
	for i := 8; i+1 < len(f); i += 2 {
		if f[i] == "ufrag" {
			c.ufrag = f[i+1]
		}
	}
	return c, ""
}
