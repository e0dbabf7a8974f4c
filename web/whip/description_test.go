package whip

import (
	"strings"
	"testing"
)

func TestReadDescription(t *testing.T) {
	const creds = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
	for _, row := range []struct{ name, text, bad string }{
		{"as in RFC 9725", "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n" + creds + "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r\na=end-of-candidates\r\n", ""},
		{"bare newlines", "a=ice-options:trickle ice2\n" + strings.ReplaceAll(creds, "\r", ""), ""},
		{"empty", "", ""},
		{"connection line", "c=IN IP4 0.0.0.0\r\n", "line 1: a fragment holds attributes"},
		{"no letter", creds + "hello\r\n", "line 3: not of the form"},
		{"media line", "m=audio\r\n", "not a media line"},
		{"port", "m=audio 99999 UDP/TLS/RTP/SAVPF 111\r\n", "the port"},
		{"short ufrag", "a=ice-ufrag:abc\r\n", "ice-ufrag has 3 characters"},
		{"long password", "a=ice-pwd:" + strings.Repeat("x", 257) + "\r\n", "ice-pwd has 257 characters"},
		{"control character", "a=x:\x00\r\n", "control character"},
		{"CR within", "a=ice-ufrag:abcd\rx\r\n", "control character"},
		{"long line", "a=" + strings.Repeat("x", maxLine) + "\r\n", "longer than"},
		{"component", "a=candidate:1 0 udp 1 192.0.2.1 9 typ host\r\n", "component"},
		{"priority", "a=candidate:1 1 udp x 192.0.2.1 9 typ host\r\n", "priority"},
		{"candidate's port", "a=candidate:1 1 udp 1 192.0.2.1 65536 typ host\r\n", "the candidate's port"},
		{"cut candidate", "a=candidate:1 1 udp 1 192.0.2.1 9\r\n", "not a candidate"},
	} {
		_, err := readDescription(row.text, true)
		if row.bad == "" && err != nil || row.bad != "" && (err == nil || !strings.Contains(err.Error(), row.bad)) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

// TestTransport finds the section whose parameters count.
func TestTransport(t *testing.T) {
	const audio, video = "m=audio 9 UDP/TLS/RTP/SAVPF 111\na=mid:0\na=ice-ufrag:audio\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\n", "m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:1\na=ice-ufrag:video\na=candidate:1 1 udp 1 192.0.2.1 2 typ host\n"
	for _, row := range []struct {
		name, text, mid, ufrag string
		ports                  int // of the candidate
	}{
		{"first of the bundle", "a=group:BUNDLE 0 1\n" + audio + video, "0", "audio", 1},
		{"second of the media", "a=group:BUNDLE 1 0\n" + audio + video, "1", "video", 2},
		{"no bundle", audio + video, "0", "audio", 1},
		{"rejected first", strings.Replace(audio, "audio 9", "audio 0", 1) + video, "1", "video", 2},
		{"bundle-only is not rejected", strings.Replace(audio, "audio 9", "audio 0", 1) + "a=bundle-only\n" + video, "0", "audio", 1},
		{"session's", "a=ice-ufrag:session\n" + strings.Replace(audio, "a=ice-ufrag:audio\n", "", 1), "0", "session", 1},
	} {
		d, err := readDescription(row.text, false)
		if err != nil {
			t.Fatal(err)
		}
		ufrag, _ := d.credentials()
		all := d.candidates(d.transport().mid)
		if d.transport().mid != row.mid || ufrag != row.ufrag || len(all) != 1 {
			t.Errorf("%s: mid %q, ufrag %q, candidates %q", row.name, d.transport().mid, ufrag, all)
			continue
		}
		if c, _ := parseCandidate(all[0]); c.port != row.ports {
			t.Errorf("%s: candidate %+v", row.name, c)
		}
	}
}

func TestMatchTag(t *testing.T) {
	for _, row := range []struct {
		header       string
		any, matches bool
	}{
		{"*", true, false},
		{`"*"`, true, false},
		{`"a"`, false, true},
		{`"b", "a"`, false, true},
		{`"b"`, false, false},
		{`W/"a"`, false, false},
		{"a", false, false},
		{"", false, false},
	} {
		if a, m := matchTag([]string{row.header}, `"a"`); a != row.any || m != row.matches {
			t.Errorf("If-Match: %s: any %t, matches %t", row.header, a, m)
		}
	}
}

// FuzzFragment wants that what is read can be written into an offer without
// becoming more lines than it was.
func FuzzFragment(f *testing.F) {
	f.Add("a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n")
	f.Add("a=group:BUNDLE 1 0\nm=video 0 x 1\na=bundle-only\na=mid:1\n")
	f.Add("a=candidate:1 1 tcp 1518280447 x.local 9 typ host tcptype active ufrag EsAw\n")
	const offer = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:old1\r\na=ice-pwd:0123456789012345678901\r\n"
	f.Fuzz(func(t *testing.T, text string) {
		d, err := readDescription(text, true)
		if err != nil {
			return
		}
		for _, c := range d.candidates(d.transport().mid) {
			if _, bad := parseCandidate(c); bad != "" {
				t.Errorf("candidate %q was taken: %s", c, bad)
			}
		}
		ufrag, pwd := d.credentials()
		if ufrag == "" || pwd == "" {
			return
		}
		made := restartOffer(offer, ufrag, pwd, 1)
		if strings.Count(made, "\n") != strings.Count(offer, "\n") {
			t.Errorf("the offer became\n%s", made)
		}
		if back, err := readDescription(made, false); err != nil {
			t.Errorf("%v in\n%s", err, made)
		} else if u, p := back.credentials(); u != ufrag || p != pwd {
			t.Errorf("credentials became %q %q", u, p)
		}
	})
}

// What is rejected keeps its mid and names the transport, for clients that look
// at every section alike.
func TestFinishAnswer(t *testing.T) {
	const transport = "a=setup:passive\r\na=mid:0\r\na=ice-ufrag:ours\r\na=ice-pwd:0123456789012345678901\r\na=rtcp-mux\r\n"
	offer, err := readDescription("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=rtcp-mux-only\r\nm=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=bundle-only\r\na=mid:sound\r\nm=audio 0 UDP/TLS/RTP/SAVPF 111\r\n", false)
	if err != nil {
		t.Fatal(err)
	}
	got := finishAnswer("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\n"+transport+
		"m=audio 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\nm=audio 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\n", offer)
	want := "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\n" + transport + "a=rtcp-mux-only\r\n" +
		"m=audio 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=setup:passive\r\na=mid:sound\r\na=ice-ufrag:ours\r\na=ice-pwd:0123456789012345678901\r\na=inactive\r\n" +
		"m=audio 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if again := finishAnswer(got, offer); again != got {
		t.Errorf("again:\n%s", again)
	}
}

func TestLayersOfUnnamedTracks(t *testing.T) {
	const audio = "v=0\r\nm=audio 9 x 111\r\na=mid:0\r\n"
	for _, row := range []struct{ video, want string }{
		{"m=video 9 x 96\r\na=mid:1\r\na=rid:h send\r\na=rid:l send\r\n", "m=video 9 x 96\r\na=mid:1\r\na=msid:whip 1\r\na=rid:h send\r\na=rid:l send\r\n"},
		{"m=video 9 x 96\r\na=mid:1\r\na=rid:h send\r\na=msid:s v\r\n", ""},
		{"m=video 9 x 96\r\na=mid:1\r\na=ssrc:1 msid:s v\r\na=rid:h send\r\n", ""},
		{"m=video 9 x 96\r\na=mid:1\r\n", ""},
	} {
		if row.want == "" {
			row.want = row.video
		}
		if got := withTracks(audio + row.video); got != audio+row.want {
			t.Errorf("%q became %q", row.video, got)
		}
	}
}
