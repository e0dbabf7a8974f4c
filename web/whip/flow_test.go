package whip

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"
)

// TestPublish goes the whole way: offer, answer, media, end.
func TestPublish(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.newClient(true, r.engine)
	res := c.post("/whip/door", c.makeOffer())
	if got := res.Header.Get("Content-Type"); got != "application/sdp" {
		t.Errorf("Content-Type %q", got)
	}
	if got := res.Header.Get("Accept-Patch"); got != "application/trickle-ice-sdpfrag" {
		t.Errorf("Accept-Patch %q", got)
	}
	if !strings.HasPrefix(c.location, "/whip/door/") || !strings.HasPrefix(c.etag, `"`) {
		t.Errorf("Location %q, ETag %q", c.location, c.etag)
	}
	eventually(t, "media at the server", func() bool { return r.conn().packets.Load() > 5 })
	eventually(t, "the session to be counted as connected", func() bool { return r.h.Stats()[0].Connected == 1 })
	for range 2 { // a second DELETE finds what the first did
		if res, body := r.send("DELETE", c.location, ""); res.StatusCode != http.StatusOK {
			t.Fatalf("DELETE: %s %s", res.Status, body)
		}
	}
	if reason := r.conn().reason.Load(); reason == nil || *reason != nil {
		t.Errorf("the connection was closed with reason %v", reason)
	}
	if s := r.h.Stats()[0]; s.Open != 0 || s.Opened != 1 || s.Failed != [causes]uint64{} {
		t.Errorf("stats %+v", s)
	}
}

// An encoder as OBS is one: one POST with a Bearer token and without candidates,
// nothing later; at the end it closes the connection first and then says DELETE,
// with the same token.
func TestEncoder(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.Access = fakeAccess{} })
	c := r.newClient(true, r.engine)
	offer := withoutCandidates(c.makeOffer())
	if res, _ := r.send("POST", "/whip/door", offer, "Content-Type", typeSDP); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without its token: %s", res.Status)
	}
	res, answer := r.send("POST", "/whip/door", offer, "Content-Type", typeSDP, "Authorization", "Bearer good")
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s", res.Status, answer)
	}
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "media at the server", func() bool { return r.conn().packets.Load() > 5 && r.h.Stats()[0].Connected == 1 })
	if err := c.pc.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the session", func() bool { return r.h.Stats()[0].Open == 0 })
	if res, body := r.send("DELETE", res.Header.Get("Location"), "", "Authorization", "Bearer good"); res.StatusCode != http.StatusOK {
		t.Errorf("DELETE after the end: %s %s", res.Status, body)
	}
	if s := r.h.Stats()[0]; s.Failed != [causes]uint64{} {
		t.Errorf("stats %+v", s)
	}
}

// A client that waits for the DTLS handshake is called, and one that wants to
// begin it may.
func TestHandshakeRoles(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for _, row := range []struct{ offered, answered string }{{"actpass", "passive"}, {"active", "passive"}, {"passive", "active"}} {
		c := r.newClient(true, r.engine)
		c.post("/whip/"+row.offered, strings.ReplaceAll(c.makeOffer(), "a=setup:actpass", "a=setup:"+row.offered))
		if got := c.pc.RemoteDescription().SDP; !strings.Contains(got, "a=setup:"+row.answered+"\r\n") {
			t.Errorf("to %s: want %s:\n%s", row.offered, row.answered, got)
		}
		eventually(t, "media of a client that is "+row.offered, func() bool { return r.conn().packets.Load() > 5 })
	}
}

func TestView(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.left = []string{"audio AAC: WebRTC does not carry it; use LL-HLS", "frames of type B"}
	c := r.newClient(false, r.engine)
	res := c.post("/whep/door", c.makeOffer())
	if got := strings.Join(res.Header.Values("Kineweir-Left-Out"), "|"); got != strings.Join(r.left, "|") {
		t.Errorf("left out %q", got)
	}
	eventually(t, "media at the viewer", func() bool { return c.packets.Load() > 5 })
}
