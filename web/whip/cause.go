package whip

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
)

// cause is why a session failed, as it is counted.
type cause int

// The causes.
const (
	causeNone cause = iota
	causeNoLocal
	causeSilent
	causeNames
	causeNoPair
	causeUnreached
	causeOneWay
	causeNotChosen
	causeHandshake
	causeLost
	causeOther

	causes
)

// CauseName returns the name under which the failures in [Stats] are told; i is
// their index.
func CauseName(i int) string {
	return [causes]string{
		"", "no_local_candidates", "no_remote_candidates", "names_unresolved", "no_pair", "nothing_arrived",
		"no_answer", "none_chosen", "handshake", "lost", "other",
	}[i]
}

// notConnectedError ends a session that is not connected for too long.
type notConnectedError struct {
	after time.Duration
	lost  bool
}

func (e *notConnectedError) Error() string {
	if e.lost {
		return fmt.Sprintf("the connection was lost and did not come back within %s", e.after)
	}
	return fmt.Sprintf("not connected within %s", e.after)
}

// conclude writes into the report how the session ended.
func (r *Report) conclude(why error, x *sample, sent []candidate, connected bool) cause {
	var late *notConnectedError
	switch {
	case why == nil, errors.Is(why, errDeleted), errors.Is(why, errStopping), (errors.Is(why, errClosed) || hungUp(why)) && connected:
		r.State = "ended"
		return causeNone
	case connected && errors.As(why, &late):
		r.State, r.Error = "failed", why.Error()
		r.Hint = "the client's network changed or went away; a client that restarts ICE comes back by itself"
		return causeLost
	case connected, !errors.As(why, &late) && slices.ContainsFunc(x.pairs, func(p Pair) bool { return p.Nominated }):
		// The network did its part.
		r.State, r.Error = "failed", why.Error()
		return causeOther
	}
	c, what, hint := diagnose(x, sent)
	r.State, r.Hint = "failed", hint
	r.Error = why.Error() + ": " + what
	return c
}

// hungUp reports whether the other side has closed the connection, as a page
// does that goes away.
func hungUp(err error) bool {
	var e interface{ HungUp() bool }
	return errors.As(err, &e) && e.HungUp()
}

// diagnose says what kept a connection from being made: what was seen, and what
// to mend.
func diagnose(x *sample, sent []candidate) (c cause, what, hint string) {
	var requests, responses, received uint64
	for _, p := range x.pairs {
		requests, responses, received = requests+p.Requests, responses+p.Responses, received+p.Received
	}
	ports := portsOf(x.local)
	switch {
	case x.ice == webrtc.ICEConnectionStateConnected || x.ice == webrtc.ICEConnectionStateCompleted:
		return causeHandshake, "the network works (" + x.chosen() + "), but the DTLS handshake did not end",
			"a firewall may drop what does not look like STUN; or the client's certificate is not that of its offer"
	case len(x.local) == 0:
		return causeNoLocal, "this server has no address to offer", "set webrtc.addr to an address that clients reach"
	case received > 0 && responses == 0:
		return causeOneWay, fmt.Sprintf("%d checks of the client arrived, but none of %d checks to it was answered", received, requests),
			"what this server sends does not reach the client: let UDP out of this machine, or offer a relay (webrtc.turn)"
	case responses > 0:
		return causeNotChosen, "some pairs of candidates work, but the client chose none", "the client gave up too early, or its ICE is broken"
	case len(sent)+len(x.remote) == 0:
		return causeSilent, "the client told no candidates, and nothing of it arrived", reach(x, ports)
	case len(sent) > 0 && !slices.ContainsFunc(sent, func(c candidate) bool { return !isName(c) || resolved(x, c) }):
		hint = reach(x, ports)
		if !x.resolves {
			hint += "; or set webrtc.mdns: resolve, where both are on one network"
		}
		return causeNames, "the client told only names (" + sent[0].address + ") that do not resolve here, and nothing of it arrived",
			hint + "; browsers tell addresses instead of names to pages that may use the camera"
	case len(x.pairs) == 0:
		return causeNoPair, "no candidate of the client fits one of this server: they differ in IPv4 and IPv6, or in UDP and TCP", reach(x, ports)
	}
	return causeUnreached, fmt.Sprintf("none of %d pairs of candidates works: none of %d checks was answered, and nothing of the client arrived", len(x.pairs), requests), reach(x, ports)
}

// reach says how to have clients reach this server.
func reach(x *sample, ports string) string {
	if !slices.ContainsFunc(x.local, func(c candidate) bool { return !isName(c) }) {
		return "this server tells names instead of addresses, which clients on other networks cannot resolve: set webrtc.mdns: resolve"
	}
	if !slices.ContainsFunc(x.local, func(c candidate) bool { return !strings.HasPrefix(c.address, "127.") && c.address != "::1" }) {
		return "this server offers addresses of this machine alone: set webrtc.addr to one that the client reaches, such as :" + portOr(x.local, "8189")
	}
	return "open " + ports + " towards this server; behind NAT set webrtc.advertise to the address that clients reach, or offer a relay (webrtc.turn)"
}

// portsOf lists the ports of host candidates: "port 8189/udp and 8189/tcp".
func portsOf(local []candidate) string {
	var all []string
	for _, c := range local {
		if p := strconv.Itoa(c.port) + "/" + c.transport; c.typ == "host" && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	slices.Sort(all)
	slices.Reverse(all) // UDP first
	if len(all) > 2 {
		return "the UDP ports" // no mux: they are taken as they come
	}
	return "port " + strings.Join(all, " and ")
}

func portOr(local []candidate, or string) string {
	if len(local) == 0 {
		return or
	}
	return strconv.Itoa(local[0].port)
}

// isName reports whether a candidate hides its address behind a name of
// multicast DNS.
func isName(c candidate) bool { return strings.HasSuffix(strings.ToLower(c.address), ".local") }

// resolved reports whether the connection has the candidate.
func resolved(x *sample, c candidate) bool {
	return slices.ContainsFunc(x.remote, func(o candidate) bool { return o.port == c.port && o.transport == c.transport && o.typ == c.typ })
}
