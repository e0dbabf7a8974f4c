package whip

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

// TestDiagnose has a row for each cause: what was seen, and what is said of it.
func TestDiagnose(t *testing.T) {
	here := []candidate{{1, "udp", "192.0.2.1", 8189, "host", ""}, {1, "tcp", "192.0.2.1", 8189, "host", ""}}
	mine := []candidate{{1, "udp", "127.0.0.1", 8189, "host", ""}}
	there := []candidate{{1, "udp", "198.51.100.7", 50000, "host", ""}}
	name := []candidate{{1, "udp", "0f2c.local", 50000, "host", ""}}
	for _, row := range []struct {
		name       string
		x          sample
		sent       []candidate
		cause      cause
		what, hint string
	}{
		{"no address", sample{}, there, causeNoLocal, "no address to offer", "webrtc.addr"},
		{"silence", sample{local: here}, nil, causeSilent, "told no candidates", "open port 8189/udp and 8189/tcp towards this server"},
		{"names", sample{local: here}, name, causeNames, "only names (0f2c.local)", "webrtc.mdns: resolve"},
		{"names told", sample{local: name, pairs: []Pair{{Requests: 3}}}, there, causeUnreached, "none of 1 pairs", "this server tells names instead of addresses"},
		{"names that are looked up", sample{local: here, resolves: true}, name, causeNames, "that do not resolve here", "towards this server; behind NAT set webrtc.advertise to the address that clients reach, or offer a relay (webrtc.turn); browsers"},
		{"names resolved", sample{local: here, remote: there, pairs: []Pair{{Requests: 3}}}, []candidate{{1, "udp", "0f2c.local", 50000, "host", ""}}, causeUnreached, "none of 1 pairs", "open port"},
		{"no pair", sample{local: here}, there, causeNoPair, "no candidate of the client fits", "open port"},
		{"unreached", sample{local: here, pairs: []Pair{{Requests: 3}, {Requests: 4}}}, there, causeUnreached, "none of 2 pairs of candidates works: none of 7 checks was answered", "webrtc.advertise"},
		{"loopback alone", sample{local: mine, pairs: []Pair{{Requests: 3}}}, there, causeUnreached, "none of 1 pairs", "set webrtc.addr to one that the client reaches, such as :8189"},
		{"one way", sample{local: here, pairs: []Pair{{Requests: 3, Received: 5}}}, there, causeOneWay, "5 checks of the client arrived, but none of 3 checks to it", "webrtc.turn"},
		{"not chosen", sample{local: here, pairs: []Pair{{Requests: 3, Received: 5, Responses: 1}}}, there, causeNotChosen, "chose none", "gave up"},
		{
			"handshake",
			sample{local: here, ice: webrtc.ICEConnectionStateConnected, pairs: []Pair{{Local: "a", Remote: "b", Nominated: true}}},
			there,
			causeHandshake, "the network works (a - b), but the DTLS handshake", "firewall",
		},
	} {
		c, what, hint := diagnose(&row.x, row.sent)
		if c != row.cause || !strings.Contains(what, row.what) || !strings.Contains(hint, row.hint) {
			t.Errorf("%s: %s: %q, %q", row.name, CauseName(int(c)), what, hint)
		}
	}
}

func TestConclude(t *testing.T) {
	late, lost := &notConnectedError{after: 20 * time.Second}, &notConnectedError{after: 20 * time.Second, lost: true}
	worked := sample{pairs: []Pair{{Nominated: true}}}
	for _, row := range []struct {
		name      string
		why       error
		x         sample
		connected bool
		cause     cause
		state     string
		error     string
	}{
		{"its own end", nil, sample{}, true, causeNone, "ended", ""},
		{"DELETE", errDeleted, sample{}, false, causeNone, "ended", ""},
		{"stop", errStopping, sample{}, true, causeNone, "ended", ""},
		{"closed", errClosed, sample{}, true, causeNone, "ended", ""},
		{"closed too early", errClosed, sample{}, false, causeNoLocal, "failed", "the client closed the connection: this server has no address"},
		{"late", late, sample{}, false, causeNoLocal, "failed", "not connected within 20s: this server"},
		{"lost", lost, sample{}, true, causeLost, "failed", "did not come back within 20s"},
		{"kicked", errors.New("kicked"), sample{}, true, causeOther, "failed", "kicked"},
		{"kicked at once", errors.New("kicked"), worked, false, causeOther, "failed", "kicked"},
	} {
		var r Report
		if c := r.conclude(row.why, &row.x, nil, row.connected); c != row.cause || r.State != row.state || !strings.Contains(r.Error, row.error) || row.error == "" && r.Error != "" {
			t.Errorf("%s: %s: %+v", row.name, CauseName(int(c)), r)
		}
	}
	for i := 1; i < int(causes); i++ {
		if CauseName(i) == "" {
			t.Errorf("cause %d has no name", i)
		}
	}
}
