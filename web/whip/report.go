package whip

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
)

// Report is what is known of a session's way through the network.
type Report struct {
	// State is "connecting", "connected", "disconnected" (it may come back),
	// "ended" (as somebody wanted), or "failed".
	State      string     `json:"state"`
	Started    time.Time  `json:"started"`
	Ended      *time.Time `json:"ended,omitempty"`
	Candidates Candidates `json:"candidates"`
	// Pairs are at most 64, those that came furthest first.
	Pairs   []Pair   `json:"pairs"`
	Error   string   `json:"error,omitempty"` // why it failed
	Hint    string   `json:"hint,omitempty"`  // what to mend
	LeftOut []string `json:"left_out"`
}

// Candidates are the addresses of both sides, as "udp host 192.0.2.1:8189".
type Candidates struct {
	Local  []string `json:"local"`
	Remote []string `json:"remote"`
}

// Pair is a local and a remote candidate that were tried together.
type Pair struct {
	Local     string  `json:"local"`
	Remote    string  `json:"remote"`
	State     string  `json:"state"`     // "waiting", "in-progress", "succeeded" or "failed"
	Requests  uint64  `json:"requests"`  // checks sent
	Responses uint64  `json:"responses"` // answers to them that came
	Received  uint64  `json:"received"`  // checks of the client that came
	Nominated bool    `json:"nominated"` // what media takes
	RTT       float64 `json:"rtt"`       // seconds; 0 before the first answer
}

// String writes a pair for people.
func (p Pair) String() string {
	return fmt.Sprintf("%s - %s: %s, %d checks sent, %d answered, %d received", p.Local, p.Remote, p.State, p.Requests, p.Responses, p.Received)
}

const maxPairs = 64

// sample is what the peer connection knew at a moment.
type sample struct {
	local, remote []candidate
	pairs         []Pair
	state         webrtc.PeerConnectionState
	ice           webrtc.ICEConnectionState
	resolves      bool // names of clients are looked up here
}

// tells reports whether there is anything in it: a closed connection has
// forgotten all.
func (x *sample) tells() bool { return len(x.local)+len(x.remote)+len(x.pairs) > 0 }

func takeSample(pc *webrtc.PeerConnection) *sample {
	x := &sample{state: pc.ConnectionState(), ice: pc.ICEConnectionState()}
	stats := pc.GetStats()
	text := map[string]string{}
	for _, s := range stats {
		if c, ok := s.(webrtc.ICECandidateStats); ok {
			one := candidate{component: 1, transport: c.Protocol, address: c.IP, port: int(c.Port), typ: c.CandidateType.String()}
			text[c.ID] = one.String()
			if c.Type == webrtc.StatsTypeLocalCandidate {
				x.local = append(x.local, one)
			} else {
				x.remote = append(x.remote, one)
			}
		}
	}
	for _, s := range stats {
		if c, ok := s.(webrtc.ICECandidatePairStats); ok {
			x.pairs = append(x.pairs, Pair{
				Local: text[c.LocalCandidateID], Remote: text[c.RemoteCandidateID], State: string(c.State), Nominated: c.Nominated,
				Requests: c.RequestsSent, Responses: c.ResponsesReceived, Received: c.RequestsReceived, RTT: c.CurrentRoundTripTime,
			})
		}
	}
	slices.SortFunc(x.pairs, func(a, b Pair) int {
		further := func(p Pair) int {
			n := 0
			for i, yes := range []bool{p.Requests > 0, p.Received > 0, p.Responses > 0, p.Nominated} {
				if yes {
					n |= 1 << i
				}
			}
			return n
		}
		return cmp.Or(further(b)-further(a), strings.Compare(a.Local, b.Local), strings.Compare(a.Remote, b.Remote))
	})
	return x
}

// chosen returns the pair that media takes, for the log.
func (x *sample) chosen() string {
	for _, p := range x.pairs {
		if p.Nominated {
			return p.Local + " - " + p.Remote
		}
	}
	return ""
}

// describe makes a report of a sample; the caller holds s.mu.
func (s *session) describe(x *sample) Report {
	r := Report{
		State: "connecting", Started: s.started, LeftOut: append([]string{}, s.leftOut...),
		Candidates: Candidates{Local: texts(x.local), Remote: texts(s.remote)},
		Pairs:      append([]Pair{}, x.pairs[:min(len(x.pairs), maxPairs)]...),
	}
	for _, c := range x.remote { // those that showed only by their checks
		if t := c.String(); !slices.Contains(r.Candidates.Remote, t) {
			r.Candidates.Remote = append(r.Candidates.Remote, t)
		}
	}
	switch x.state {
	case webrtc.PeerConnectionStateConnected:
		r.State = "connected"
	case webrtc.PeerConnectionStateDisconnected, webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
		r.State = "disconnected"
	}
	return r
}

func texts(list []candidate) []string {
	all := []string{}
	for _, c := range list {
		if t := c.String(); !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	slices.Sort(all)
	return all
}

// pairTexts are the pairs for the log, the ten that came furthest.
func (r *Report) pairTexts() []string {
	var all []string
	for _, p := range r.Pairs[:min(len(r.Pairs), 10)] {
		all = append(all, p.String())
	}
	return all
}

// PairsOf returns the pairs of candidates that a connection has tried, those that
// came furthest first. It must not be called while the connection is closed.
func PairsOf(pc *webrtc.PeerConnection) []Pair { return takeSample(pc).pairs }
