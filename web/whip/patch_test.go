package whip

import (
	"context"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

// fragmentOf makes the fragment a client sends of its own description.
func fragmentOf(t *testing.T, sdp string, candidates bool) string {
	t.Helper()
	d, err := readDescription(sdp, false)
	if err != nil {
		t.Fatal(err)
	}
	ufrag, pwd := d.credentials()
	lines := []string{"a=ice-ufrag:" + ufrag, "a=ice-pwd:" + pwd, d.transport().line, "a=mid:" + d.transport().mid}
	if candidates {
		for _, c := range d.candidates(d.transport().mid) {
			lines = append(lines, "a=candidate:"+c)
		}
		lines = append(lines, "a=end-of-candidates")
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

func (r *rig) patch(path, etag, fragment string) (*http.Response, string) {
	r.t.Helper()
	return r.send("PATCH", path, fragment, "Content-Type", typeFragment, "If-Match", etag)
}

// TestTrickle connects by candidates that come late: the client is not told
// where the server is, so that only what it trickles can bring them together.
func TestTrickle(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.newClient(true, r.engine)
	offer := c.makeOffer()
	res, answer := r.send("POST", "/whip/door", withoutCandidates(offer), "Content-Type", typeSDP)
	if res.StatusCode != http.StatusCreated {
		t.Fatal(res.Status, answer)
	}
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: withoutCandidates(answer)}); err != nil {
		t.Fatal(err)
	}
	patched, body := r.patch(res.Header.Get("Location"), res.Header.Get("ETag"), fragmentOf(t, offer, true))
	if patched.StatusCode != http.StatusNoContent || body != "" || patched.Header.Get("ETag") != "" {
		t.Fatalf("PATCH: %s, ETag %q, body %q", patched.Status, patched.Header.Get("ETag"), body)
	}
	eventually(t, "media at the server", func() bool { return r.conn().packets.Load() > 5 })
}

// TestRestart restarts ICE twice while media flows.
func TestRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.newClient(true, r.engine)
	first := c.makeOffer()
	c.post("/whip/door", first)
	conn := r.conn()
	eventually(t, "media at the server", func() bool { return conn.packets.Load() > 5 })
	etags := map[string]bool{c.etag: true}
	for n := range 2 {
		old := credentialSet(t, c.pc.RemoteDescription().SDP)
		offer, err := c.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.pc.SetLocalDescription(offer); err != nil {
			t.Fatal(err)
		}
		<-webrtc.GatheringCompletePromise(c.pc)
		res, body := r.patch(c.location, []string{"*", `"*"`}[n], fragmentOf(t, c.pc.LocalDescription().SDP, true))
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != typeFragment {
			t.Fatalf("PATCH: %s %s", res.Status, body)
		}
		etag := res.Header.Get("ETag")
		if etag == "" || etags[etag] {
			t.Errorf("ETag %q after %v", etag, etags)
		}
		etags[etag] = true
		f, err := readDescription(body, true)
		if err != nil {
			t.Fatalf("the answer is no fragment: %v\n%s", err, body)
		}
		ufrag, pwd := f.credentials()
		if ufrag == "" || pwd == "" || old == ufrag+" "+pwd || len(f.candidates("0")) == 0 || !strings.Contains(body, "a=ice-options:trickle") {
			t.Errorf("fragment:\n%s", body)
		}
		answer := restartOffer(c.pc.RemoteDescription().SDP, ufrag, pwd, 1)
		for _, candidate := range f.candidates("0") {
			answer += "a=candidate:" + candidate + "\r\n"
		}
		if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
			t.Fatal(err)
		}
		before := conn.packets.Load()
		eventually(t, "media after the restart", func() bool { return conn.packets.Load() > before+20 })
		if res, body := r.patch(c.location, c.etag, fragmentOf(t, first, true)); res.StatusCode != http.StatusPreconditionFailed {
			t.Errorf("a late PATCH for the ICE session before: %s %s", res.Status, body)
		}
		c.etag = etag
	}
	if s := r.h.Stats()[0]; s.Restarts != 2 {
		t.Errorf("%d restarts counted", s.Restarts)
	}
}

func credentialSet(t *testing.T, sdp string) string {
	t.Helper()
	ufrag, pwd := credentialsOf(sdp)
	return ufrag + " " + pwd
}

// TestFailedRestart wants a refused restart to leave the session as it was.
func TestFailedRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.newClient(true, r.engine)
	c.post("/whip/door", c.makeOffer())
	conn := r.conn()
	eventually(t, "media at the server", func() bool { return conn.packets.Load() > 5 })
	for _, fragment := range []string{
		"a=ice-ufrag:newone\r\n",                 // no password
		"a=ice-ufrag:abc\r\na=ice-pwd:short\r\n", // too short
		"a=ice-pwd:0123456789012345678901\r\n",   // no ufrag
		"a=ice-ufrag:n ew\r\na=ice-pwd:0123456789012345678901\r\n",
	} {
		if res, body := r.patch(c.location, "*", fragment); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %s %s", fragment, res.Status, body)
		}
	}
	before := conn.packets.Load()
	eventually(t, "media afterwards", func() bool { return conn.packets.Load() > before+10 })
	if res, body := r.patch(c.location, c.etag, fragmentOf(t, c.offer, true)); res.StatusCode != http.StatusNoContent {
		t.Errorf("the ETag changed: %s %s", res.Status, body)
	}
}

// TestNames looks a name up that the client tells instead of its address. The
// client is not told where the server is, so that nothing else can bring them
// together.
func TestNames(t *testing.T) {
	t.Parallel()
	const name = "0f2c5a9e-0000-4000-8000-000000000001.local"
	asked := make(chan string, 100)
	r := newRig(t, func(o *Options) {
		o.Resolve = func(ctx context.Context, name string) (netip.Addr, error) {
			asked <- name
			if strings.HasPrefix(name, "slow") {
				<-ctx.Done()
				return netip.Addr{}, ctx.Err()
			}
			return netip.MustParseAddr("127.0.0.1"), nil
		}
	})
	c := r.newClient(true, r.engine)
	offer := strings.ReplaceAll(c.makeOffer(), " 127.0.0.1 ", " "+name+" ")
	res, answer := r.send("POST", "/whip/door", offer, "Content-Type", typeSDP)
	if res.StatusCode != http.StatusCreated {
		t.Fatal(res.Status, answer)
	}
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: withoutCandidates(answer)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "media at the server", func() bool { return r.conn().packets.Load() > 5 })
	if got := <-asked; got != name {
		t.Errorf("asked for %q", got)
	}
	// One that is still being asked for does not hold the end up, and there is a
	// bound on how many are.
	fragment := ""
	for i := range maxNames + 10 {
		fragment += "a=candidate:1 1 udp 1 slow" + string(rune('a'+i%26)) + ".local " + strconv.Itoa(1000+i) + " typ host\r\n"
	}
	if res, body := r.patch(res.Header.Get("Location"), res.Header.Get("ETag"), fragment); res.StatusCode != http.StatusNoContent {
		t.Fatal(res.Status, body)
	}
	began := time.Now()
	r.send("DELETE", res.Header.Get("Location"), "")
	r.h.Close()
	if took := time.Since(began); took >= resolveTimeout {
		t.Errorf("the end took %s", took)
	}
	if n := len(asked); n > maxNames {
		t.Errorf("%d names were asked for", n)
	}
}
