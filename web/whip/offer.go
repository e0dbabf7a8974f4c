package whip

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/kineweir/kineweir/web"
)

// readOffer reads and judges an offer as far as WHIP and WHEP alone have rules
// for it; what can be sent in it is for the maker of the connection to judge.
func readOffer(text string, p *protocol) (*description, error) {
	d, err := readDescription(text, false)
	if err != nil {
		return nil, &web.Error{Status: http.StatusBadRequest, Code: "bad_offer", Message: "the body is no SDP offer: " + err.Error(), Err: err}
	}
	refuse := func(message, hint string) error {
		return &web.Error{Status: http.StatusUnprocessableEntity, Code: "bad_offer", Message: message, Hint: hint}
	}
	if !strings.HasPrefix(text, "v=") || len(d.media) == 0 {
		return nil, &web.Error{Status: http.StatusBadRequest, Code: "bad_offer", Message: "the body is no SDP offer: it has no media section"}
	}
	if ufrag, pwd := d.credentials(); ufrag == "" || pwd == "" {
		return nil, refuse("the offer has no ice-ufrag and ice-pwd", "")
	}
	usable := 0
	for _, s := range d.media {
		if s.rejected || s.kind != "audio" && s.kind != "video" {
			continue
		}
		usable++
		switch direction := s.direction; {
		case direction == "":
			direction = d.session.direction
			fallthrough
		default:
			if direction != "" && direction != "sendrecv" && direction != p.direction {
				return nil, refuse("the offer's "+s.kind+" is "+direction, p.wants) // RFC 9725 section 4.2
			}
		}
	}
	if usable == 0 {
		return nil, refuse("the offer has neither audio nor video", p.wants)
	}
	return d, nil
}

// withoutCandidates takes the candidates out of an offer: they are added one by
// one, so that one that cannot be used costs no more than itself.
func withoutCandidates(offer string) string {
	return mapLines(offer, func(line string) (string, bool) {
		return line, !strings.HasPrefix(line, "a=candidate:") && line != "a=end-of-candidates"
	})
}

// withTracks names the track of a section that has layers (a=rid) and no a=msid,
// which RFC 9725 section 4.4.2 asks for: the library takes layers of named tracks
// alone, and drops all packets of others. Lines end in CR LF.
func withTracks(offer string) string {
	sections := strings.Split(offer, "\r\nm=")
	for i, s := range sections {
		if i == 0 || !strings.Contains(s, "\r\na=rid:") || strings.Contains(s, "msid:") {
			continue
		}
		_, mid, _ := strings.Cut(s, "\r\na=mid:")
		mid, _, _ = strings.Cut(mid, "\r\n")
		sections[i] = strings.Replace(s, "\r\na=rid:", "\r\na=msid:whip "+mid+"\r\na=rid:", 1)
	}
	return strings.Join(sections, "\r\nm=")
}

// restartOffer is the offer that the client would have made to restart ICE: the
// same with other credentials (RFC 9725 section 4.3.3). generation is that of
// the ICE session, from 1.
func restartOffer(offer, ufrag, pwd string, generation int) string {
	return mapLines(withoutCandidates(offer), func(line string) (string, bool) {
		switch {
		case strings.HasPrefix(line, "a=ice-ufrag:"):
			return "a=ice-ufrag:" + ufrag, true
		case strings.HasPrefix(line, "a=ice-pwd:"):
			return "a=ice-pwd:" + pwd, true
		case strings.HasPrefix(line, "o="): // o=- <id> <version> IN IP4 <address>
			if f := strings.Fields(line); len(f) == 6 {
				if version, err := strconv.ParseUint(f[2], 10, 62); err == nil {
					f[2] = strconv.FormatUint(version+uint64(generation), 10)
					return strings.Join(f, " "), true
				}
			}
		}
		return line, true
	})
}

// finishAnswer adds what the answer must have in this protocol and the library
// leaves out: rtcp-mux-only wherever rtcp-mux stands, if it was offered (RFC
// 8858 section 4, RFC 9725 section 4.4.1); to media that are rejected their mid
// and the parameters of the transport. They need none, but GStreamer's webrtcbin
// (1.22) refuses an answer in which one section lacks them. And to a client that
// waits for the DTLS handshake, as FFmpeg (8.1) does, it says that this side
// begins it: the library does so, but writes what its settings say.
func finishAnswer(answer string, offer *description) string {
	d, err := readDescription(answer, false)
	if err != nil {
		return answer
	}
	only := offer.rtcpMux && !strings.Contains(answer, "a=rtcp-mux-only")
	setup := d.transport().setup
	if offer.setup() == "passive" {
		setup = "active"
	}
	at := -1 // section
	return mapLines(answer, func(line string) (string, bool) {
		switch {
		case strings.HasPrefix(line, "m="):
			at++
		case only && line == "a=rtcp-mux":
			line += "\r\na=rtcp-mux-only"
		case strings.HasPrefix(line, "a=setup:"):
			line = "a=setup:" + setup
		case strings.HasPrefix(line, "c=") && at >= 0 && at < len(offer.media) && d.media[at].rejected && d.media[at].mid == "" && offer.media[at].mid != "":
			ufrag, pwd := d.credentials()
			line += "\r\na=setup:" + setup + "\r\na=mid:" + offer.media[at].mid +
				"\r\na=ice-ufrag:" + ufrag + "\r\na=ice-pwd:" + pwd + "\r\na=inactive"
		}
		return line, true
	})
}

// mapLines rewrites a description line by line; lines end in CR LF then.
func mapLines(text string, f func(line string) (string, bool)) string {
	var b strings.Builder
	b.Grow(len(text) + 256)
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			continue
		}
		if line, keep := f(line); keep {
			b.WriteString(line)
			b.WriteString("\r\n")
		}
	}
	return b.String()
}

// answerFragment makes the fragment that answers an ICE restart, of the new
// answer: the parameters of the one transport (RFC 9725 section 4.3.3).
func answerFragment(answer string) (string, error) {
	d, err := readDescription(answer, false)
	if err != nil {
		return "", err
	}
	t := d.transport()
	ufrag, pwd := d.credentials()
	var b strings.Builder
	add := func(line string) { b.WriteString(line + "\r\n") }
	for line := range strings.SplitSeq(answer, "\r\n") {
		if line == "a=ice-lite" || strings.HasPrefix(line, "a=ice-options:") || strings.HasPrefix(line, "a=ice-pacing:") {
			add(line)
		}
		if strings.HasPrefix(line, "m=") {
			break
		}
	}
	if len(d.bundle) > 0 {
		add("a=group:BUNDLE " + strings.Join(d.bundle, " "))
	}
	add(t.line)
	add("a=mid:" + t.mid)
	add("a=ice-ufrag:" + ufrag)
	add("a=ice-pwd:" + pwd)
	for _, c := range d.candidates(t.mid) {
		add("a=candidate:" + c)
	}
	add("a=end-of-candidates")
	return b.String(), nil
}
