package rtsp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/conn"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/pion/rtp"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
)

// script says how a camera behaves on one connection. The zero script is a good
// camera over TCP and UDP.
type script struct {
	auth     []auth.VerifyMethod // nil: no password
	answer   string              // raw bytes instead of the answer to DESCRIBE
	body     string              // instead of the session description
	redirect string              // where DESCRIBE is sent
	slow     time.Duration       // before each answer
	noTCP    bool                // 461 to TCP
	noUDP    bool                // 461 to UDP
	mute     bool                // never sends a packet over UDP
	options  base.StatusCode     // answer to OPTIONS
	frames   int                 // sends so many, 0: endless; then...
	then     func(c *camConn)    // ...this; nil: closes
	garbage  bool                // packets hold no picture
	change   int                 // from this frame on with other parameters
	ssrc     uint32
	base     uint32 // of the time stamps
}

const camUser, camPassword = "admin", "p@ss/word"

// scripted is a camera that follows a script for each connection in turn, the
// last for all that come after.
type scripted struct {
	t       *testing.T
	ln      net.Listener
	scripts []script
	wg      sync.WaitGroup
	once    sync.Once
	done    chan struct{} // closed when the test is over

	mu    sync.Mutex // guards the fields below
	count int
	open  map[net.Conn]struct{}
}

func newScripted(t *testing.T, addr string, scripts ...script) *scripted {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	fatal(t, err)
	s := &scripted{t: t, ln: ln, scripts: scripts, open: map[net.Conn]struct{}{}, done: make(chan struct{})}
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			sc := s.scripts[min(s.count, len(s.scripts)-1)]
			s.count++
			s.open[c] = struct{}{}
			s.mu.Unlock()
			s.wg.Go(func() {
				defer c.Close()
				(&camConn{s: s, script: sc, nconn: c, conn: conn.NewConn(c)}).serve()
			})
		}
	})
	t.Cleanup(s.close)
	return s
}

func (s *scripted) close() {
	s.once.Do(func() { close(s.done) })
	_ = s.ln.Close()
	s.mu.Lock()
	for c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *scripted) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

func (s *scripted) url() string { return "rtsp://" + s.ln.Addr().String() + "/stream1?x=1" }

func (s *scripted) loginURL(password string) string {
	u := base.URL{Scheme: "rtsp", Host: s.ln.Addr().String(), Path: "/stream1"}
	return strings.Replace(u.String(), "rtsp://", "rtsp://"+camUser+":"+password+"@", 1)
}

// camConn is one connection to a scripted camera.
type camConn struct {
	s      *scripted
	script script
	nconn  net.Conn
	conn   *conn.Conn
	nonce  string
	udp    *net.UDPConn // where packets go, over UDP
	stop   chan struct{}
	wg     sync.WaitGroup
	write  sync.Mutex
}

func (c *camConn) serve() {
	c.nonce, _ = auth.GenerateNonce()
	c.stop = make(chan struct{})
	defer func() {
		close(c.stop)
		_ = c.nconn.Close()
		c.wg.Wait()
		if c.udp != nil {
			_ = c.udp.Close()
		}
	}()
	for {
		what, err := c.conn.Read()
		if err != nil {
			return
		}
		req, ok := what.(*base.Request)
		if !ok {
			continue
		}
		select {
		case <-time.After(c.script.slow):
		case <-c.s.done:
			return
		}
		res := c.answer(req)
		if res == nil {
			return
		}
		res.Header["CSeq"] = req.Header["CSeq"]
		c.write.Lock()
		err = c.conn.WriteResponse(res)
		c.write.Unlock()
		if err != nil || req.Method == base.Teardown {
			return
		}
		if req.Method == base.Play && res.StatusCode == base.StatusOK {
			c.wg.Go(c.send)
		}
	}
}

func (c *camConn) answer(req *base.Request) *base.Response {
	res := &base.Response{StatusCode: base.StatusOK, Header: base.Header{}}
	if req.Method == base.Options {
		if c.script.options != 0 {
			res.StatusCode = c.script.options
		}
		return res
	}
	if m := c.script.auth; m != nil && auth.Verify(req, camUser, camPassword, m, "camera", c.nonce) != nil {
		res.StatusCode = base.StatusUnauthorized
		res.Header["WWW-Authenticate"] = auth.GenerateWWWAuthenticate(m, "camera", c.nonce)
		return res
	}
	switch req.Method {
	case base.Describe:
		return c.describe(res)
	case base.Setup:
		return c.setup(req, res)
	}
	res.Header["Session"] = base.HeaderValue{"12345678"}
	return res
}

func (c *camConn) describe(res *base.Response) *base.Response {
	switch {
	case c.script.answer != "":
		_, _ = c.nconn.Write([]byte(c.script.answer))
		<-time.After(50 * time.Millisecond)
		return nil
	case c.script.redirect != "":
		res.StatusCode = base.StatusMovedPermanently
		res.Header["Location"] = base.HeaderValue{c.script.redirect}
		return res
	}
	res.Header["Content-Type"] = base.HeaderValue{"application/sdp"}
	res.Header["Content-Base"] = base.HeaderValue{"rtsp://" + c.s.ln.Addr().String() + "/stream1/"}
	res.Body = []byte(sdpHeader + sdpVideo)
	if c.script.body != "" {
		res.Body = []byte(c.script.body)
	}
	return res
}

func (c *camConn) setup(req *base.Request, res *base.Response) *base.Response {
	var th headers.Transport
	if err := th.Unmarshal(req.Header["Transport"]); err != nil {
		c.s.t.Errorf("camera: transport header: %v", err)
		return nil
	}
	tcp := th.Protocol == headers.TransportProtocolTCP
	if tcp && c.script.noTCP || !tcp && c.script.noUDP {
		res.StatusCode = base.StatusUnsupportedTransport
		return res
	}
	th.Mode = nil
	if !tcp {
		host := c.nconn.RemoteAddr().(*net.TCPAddr).IP
		u, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: host, Port: th.ClientPorts[0]})
		if err != nil {
			c.s.t.Errorf("camera: %v", err)
			return nil
		}
		c.udp = u
		port := u.LocalAddr().(*net.UDPAddr).Port
		th.ServerPorts = &[2]int{port, port + 1}
	}
	res.Header["Transport"] = th.Marshal()
	res.Header["Session"] = base.HeaderValue{"12345678"}
	return res
}

// send plays the camera's movie: 50 frames a second, every fifth a key frame.
func (c *camConn) send() {
	if c.udp != nil && c.script.mute {
		return
	}
	enc, _ := formatH264().CreateEncoder()
	for n := 0; c.script.frames == 0 || n < c.script.frames; n++ {
		au := [][]byte{slice(100)}
		switch {
		case c.script.garbage:
			au = [][]byte{{0x5c, 0xff, 1, 2, 3}, {0x1f, 0, 0}}
		case n%5 == 0 && c.script.change > 0 && n >= c.script.change:
			au = [][]byte{sps640, pps640, idr(5000)}
		case n%5 == 0:
			au = [][]byte{sps320, pps320, idr(5000)}
		}
		pkts, _ := enc.Encode(au)
		for _, pkt := range pkts {
			pkt.SSRC = c.script.ssrc + 1
			pkt.Timestamp = c.script.base + uint32(n)*1800
			if c.packet(pkt) != nil {
				return
			}
		}
		select {
		case <-c.stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
	if c.script.then != nil {
		c.script.then(c)
		return
	}
	_ = c.nconn.Close()
}

func (c *camConn) packet(pkt *rtp.Packet) error {
	b, err := pkt.Marshal()
	if err != nil {
		return err
	}
	if c.udp != nil {
		_, _ = c.udp.Write(b)
		return nil
	}
	fr := &base.InterleavedFrame{Channel: 0, Payload: b}
	c.write.Lock()
	defer c.write.Unlock()
	return c.conn.WriteInterleavedFrame(fr, make([]byte, fr.MarshalSize()))
}

// hang keeps the connection open and says nothing.
func hang(c *camConn) { <-c.stop }

// midPacket stops in the middle of a packet.
func midPacket(c *camConn) {
	c.write.Lock()
	_, _ = c.nconn.Write([]byte{0x24, 0, 0x05, 0x00, 0x80, 0x60, 1, 2})
	c.write.Unlock()
	hang(c)
}

// newTestCameras pulls with short timeouts.
func newTestCameras(t *testing.T, change func(o *CamerasOptions)) (*Cameras, *recorder) {
	t.Helper()
	rec := newRecorder()
	o := CamerasOptions{
		Publish: rec.Publish, Hub: rec.hub, Log: logTo(t), Timeout: 1500 * time.Millisecond, StallTimeout: 1500 * time.Millisecond,
		UDPTimeout: 500 * time.Millisecond, MinBackoff: 20 * time.Millisecond, MaxBackoff: 100 * time.Millisecond,
		Stable: 100 * time.Millisecond, IdleStop: 300 * time.Millisecond,
	}
	if change != nil {
		change(&o)
	}
	s, err := NewCameras(o)
	fatal(t, err)
	t.Cleanup(s.Close)
	return s, rec
}

// of returns the sessions of one stream.
func (r *recorder) of(name fragments.StreamName) (list []*recorded) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sessions {
		if s.name == name {
			list = append(list, s)
		}
	}
	return list
}

// waitStatus waits until ok.
func waitStatus(t *testing.T, s *Cameras, name fragments.StreamName, what string, ok func(Status) bool) Status {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(time.Millisecond) {
		st, found := s.Status(name)
		if found && ok(st) {
			return st
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s: %+v", what, st)
		}
	}
}

// Every way in which cameras misbehave, one row each. A row's camera fails as its
// first scripts say and must be live in the end; a good camera beside it must
// notice nothing.
func TestCamerasMisbehave(t *testing.T) {
	good := script{}
	endless := func(sc script) script { sc.frames = 0; return sc }
	huge := sdpHeader + sdpVideo + strings.Repeat("a=x:"+strings.Repeat("y", 1000)+"\r\n", 200)
	for _, tc := range []struct {
		name      string
		scripts   []script
		transport Transport
		password  string // "": none
		failure   string // that the status must tell before the camera is live; "": none
		using     Transport
		check     func(t *testing.T, rec *recorder)
	}{
		{"good, TCP", []script{good}, Auto, "", "", TCP, nil},
		{"good, UDP", []script{good}, UDP, "", "", UDP, nil},
		{"Basic", []script{{auth: []auth.VerifyMethod{auth.VerifyMethodBasic}}}, Auto, "p%40ss%2Fword", "", TCP, nil},
		{"Digest MD5", []script{{auth: []auth.VerifyMethod{auth.VerifyMethodDigestMD5}}}, Auto, "p%40ss%2Fword", "", TCP, nil},
		{"Digest SHA-256", []script{{auth: []auth.VerifyMethod{auth.VerifyMethodDigestSHA256}}}, Auto, "p%40ss%2Fword", "", TCP, nil},
		{"Basic and Digest offered", []script{{auth: []auth.VerifyMethod{auth.VerifyMethodBasic, auth.VerifyMethodDigestMD5}}}, UDP, "p%40ss%2Fword", "", UDP, nil},
		{"wrong password", []script{{auth: []auth.VerifyMethod{auth.VerifyMethodDigestMD5}}, {auth: []auth.VerifyMethod{auth.VerifyMethodBasic}}, good}, Auto, "wrong", "refuses user or password", TCP, nil},
		{"UDP unanswered", []script{{mute: true}}, UDP, "", "", TCP, nil},
		{"UDP refused", []script{{noUDP: true}}, UDP, "", "", TCP, nil},
		{"TCP refused", []script{{noTCP: true}}, Auto, "", "", UDP, nil},
		{"neither transport", []script{{noTCP: true, noUDP: true}, {noTCP: true, noUDP: true}, {noTCP: true, noUDP: true}, good}, Auto, "", "nothing comes over UDP", TCP, nil},
		{"OPTIONS not known", []script{{options: base.StatusNotImplemented}}, Auto, "", "", TCP, nil},
		{"garbage answer", []script{{answer: "\x00\x01\x02 this is not RTSP\r\n\r\n\xff"}, good}, Auto, "", "EOF", TCP, nil},
		{"answer of another protocol", []script{{answer: "HTTP/1.1 400 Bad Request\r\n\r\n"}, good}, Auto, "", "EOF", TCP, nil},
		{"packets before they are asked for", []script{{answer: "$\x00\x00\x04abcd"}, good}, Auto, "", "unexpected interleaved frame", TCP, nil},
		{"answers 404", []script{{answer: "RTSP/1.0 404 Not Found\r\nCSeq: 2\r\n\r\n"}, good}, Auto, "", "answers 404", TCP, nil},
		{"garbage RTP", []script{{garbage: true}, good}, Auto, "", "no frame", TCP, nil},
		{"garbage RTP over UDP", []script{{garbage: true}, good}, UDP, "", "no frame", UDP, nil},
		{"silent socket", []script{{frames: 3, then: hang}, good}, Auto, "", "no frame", TCP, nil},
		{"silent from the start", []script{{slow: time.Hour}, good}, Auto, "", "does not answer", TCP, nil},
		{"silent over UDP", []script{{frames: 3, then: hang}, good}, UDP, "", "no frame", UDP, nil},
		{"stops in the middle of a packet", []script{{frames: 7, then: midPacket}, good}, Auto, "", "no frame", TCP, nil},
		{"closes in the middle of a frame", []script{{frames: 1}, good}, Auto, "", "EOF", TCP, nil},
		{"reboots", []script{{frames: 10, ssrc: 7, base: 4_000_000_000}, {ssrc: 900, base: 5}}, Auto, "", "EOF", TCP, func(t *testing.T, rec *recorder) {
			s := rec.of("cam")
			if len(s) < 2 || len(s[0].all()) != 10 {
				t.Errorf("%d sessions; the first had %d units", len(s), len(s[0].all()))
			}
		}},
		{"changes parameters", []script{{change: 5}}, Auto, "", "", TCP, func(t *testing.T, rec *recorder) {
			units := rec.of("cam")[0].waitUnits(t, 12)
			if a, b := units[0].Track, units[11].Track; a.Width != 320 || b.Width != 640 || a.ID != b.ID {
				t.Errorf("tracks %+v, then %+v", a, b)
			}
		}},
		{"description without tracks", []script{{body: sdpHeader}, good}, Auto, "", "SDP", TCP, nil},
		{"description without known tracks", []script{{body: sdpHeader + "m=video 0 RTP/AVP 26\r\n"}, good}, Auto, "", "M-JPEG", TCP, nil},
		{"description that makes the library panic", []script{{body: sdpHeader + sdpVideo + sdpPanics}}, Auto, "", "", TCP, nil},
		{"huge description", []script{{body: huge}, good}, Auto, "", "Content-Length exceeds", TCP, nil},
		{"redirect", []script{{redirect: "SELF/other"}, good}, Auto, "", "", TCP, nil},
		{"redirect for ever", []script{{redirect: "SELF"}, {redirect: "SELF"}, {redirect: "SELF"}, {redirect: "SELF"}, {redirect: "SELF"}, {redirect: "SELF"}, {redirect: "SELF"}, good}, Auto, "", "redirected too often", TCP, nil},
		{"slow answer", []script{{slow: 700 * time.Millisecond}}, Auto, "", "", TCP, nil},
		{"too slow answer", []script{{slow: 2500 * time.Millisecond}, good}, Auto, "", "does not answer", TCP, nil},
		{"many frames, then closes, again and again", []script{{frames: 12}, {frames: 12}, {frames: 12}, endless(good)}, Auto, "", "EOF", TCP, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, rec := newTestCameras(t, nil)
			fine := newScripted(t, "127.0.0.1:0", good)
			fatal(t, s.Set("fine", Camera{URL: fine.url()}))
			ln, err := net.Listen("tcp", "127.0.0.1:0") // to know the address of redirects
			fatal(t, err)
			addr := ln.Addr().String()
			_ = ln.Close()
			for i := range tc.scripts {
				tc.scripts[i].redirect = strings.Replace(tc.scripts[i].redirect, "SELF", "rtsp://"+addr, 1)
			}
			cam := newScripted(t, addr, tc.scripts...)
			url := cam.url()
			if tc.password != "" {
				url = cam.loginURL(tc.password)
			}
			fatal(t, s.Set("cam", Camera{URL: url, Transport: tc.transport}))
			if tc.failure != "" {
				st := waitStatus(t, s, "cam", "the failure "+tc.failure, func(st Status) bool { return strings.Contains(st.Error, tc.failure) })
				if st.State == Waiting && (st.Retries < 1 || !st.NextTry.After(st.Since)) || st.ErrorAt.IsZero() || strings.Contains(st.URL+st.Error, "wrong") {
					t.Errorf("status %+v", st)
				}
			}
			st := waitStatus(t, s, "cam", "the camera to be live", func(st Status) bool {
				return st.State == Live && cam.connections() >= len(tc.scripts)
			})
			if tc.failure == "" && (st.Retries != 0 || st.Error != "") || st.Using != tc.using {
				t.Errorf("status %+v, want it over %s after %q", st, tc.using, tc.failure)
			}
			list := rec.of("cam")
			units := list[len(list)-1].waitUnits(t, 5)
			if !units[0].Key || len(units[0].Track.Params) != 2 || units[0].PTS > units[4].PTS {
				t.Errorf("first unit: %+v", units[0])
			}
			if tc.check != nil {
				tc.check(t, rec)
			}
			ok := rec.of("fine")
			if n := len(ok[0].all()); len(ok) != 1 || n < 3 || fine.connections() != 1 {
				t.Errorf("the camera beside it: %d sessions, %d connections, %d units", len(ok), fine.connections(), n)
			}
		})
	}
}

func TestCameraRefusesConnection(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	addr := ln.Addr().String()
	fatal(t, ln.Close())
	s, _ := newTestCameras(t, nil)
	fatal(t, s.Set("cam", Camera{URL: "rtsp://" + addr + "/x"}))
	st := waitStatus(t, s, "cam", "three refused connections", func(st Status) bool { return st.Retries >= 3 })
	if !strings.Contains(st.Error, "connection refused") {
		t.Errorf("status %+v", st)
	}
	newScripted(t, addr, script{})
	waitStatus(t, s, "cam", "the camera to be live", func(st Status) bool { return st.State == Live })
}

func TestBackoff(t *testing.T) {
	for _, tc := range []struct {
		failures int
		random   float64
		want     time.Duration
	}{
		{0, 0, time.Second},
		{0, 1, 1250 * time.Millisecond},
		{1, 0, 1500 * time.Millisecond},
		{1, 0.5, 2 * time.Second},
		{1, 1, 2500 * time.Millisecond},
		{4, 0.5, 16 * time.Second},
		{6, 0, 45 * time.Second},
		{6, 1, time.Minute},
		{1000, 0.5, time.Minute},
		{1 << 40, 0, 45 * time.Second},
	} {
		if got := backoff(tc.failures, time.Second, time.Minute, tc.random); got != tc.want {
			t.Errorf("after %d failures, %v: %v, want %v", tc.failures, tc.random, got, tc.want)
		}
	}
}

// memory is a Store that keeps everything, or fails.
type memory struct {
	mu    sync.Mutex
	saved map[fragments.StreamName]Camera
	err   error
}

func (m *memory) Load() (map[fragments.StreamName]Camera, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.saved), m.err
}

func (m *memory) Save(c map[fragments.StreamName]Camera) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.saved = maps.Clone(c)
	}
	return m.err
}

func TestCamerasAreKept(t *testing.T) {
	cam := newScripted(t, "127.0.0.1:0", script{})
	store := &memory{saved: map[fragments.StreamName]Camera{"old": {URL: cam.url()}}}
	fixed := map[fragments.StreamName]Camera{"door": {URL: cam.url()}}
	s, rec := newTestCameras(t, func(o *CamerasOptions) { o.Store, o.Fixed = store, fixed })
	secret := "rtsp://admin:secret@" + cam.ln.Addr().String() + "/x"
	fatal(t, s.Set("new", Camera{URL: secret}))
	for _, name := range []fragments.StreamName{"old", "door", "new"} {
		waitStatus(t, s, name, "the camera to be live", func(st Status) bool { return st.State == Live })
	}
	if len(store.saved) != 2 || store.saved["new"].URL != secret || store.saved["old"].URL != cam.url() {
		t.Errorf("saved %v", store.saved)
	}
	list := s.List()
	if len(list) != 3 || list[0].Name != "door" || list[1].Name != "new" || strings.Contains(fmt.Sprint(list), "secret") {
		t.Errorf("list %+v", list)
	}
	before := cam.connections()
	fatal(t, s.Set("new", Camera{URL: secret})) // as it is
	if n := cam.connections(); n != before {
		t.Error("setting a camera as it is reconnects it")
	}
	for what, err := range map[string]error{
		"set a fixed one":    s.Set("door", Camera{URL: cam.url(), OnDemand: true}),
		"delete a fixed one": s.Delete("door"),
	} {
		if !errors.Is(err, ErrFixedCamera) {
			t.Errorf("%s: %v", what, err)
		}
	}
	store.err = os.ErrPermission
	if err := s.Delete("new"); !errors.Is(err, os.ErrPermission) {
		t.Errorf("delete that cannot be saved: %v", err)
	}
	if _, ok := s.Get("new"); !ok {
		t.Error("a camera is gone although that was not saved")
	}
	store.err = nil
	fatal(t, s.Delete("new"))
	if err := s.Delete("new"); !errors.Is(err, ErrNoCamera) {
		t.Errorf("deleted twice: %v", err)
	}
	if reason := rec.of("new")[0].waitClosed(t); !errors.Is(reason, context.Canceled) {
		t.Errorf("the deleted one ended by %v", reason)
	}
	if _, ok := store.saved["new"]; ok || len(store.saved) != 1 {
		t.Errorf("saved %v", store.saved)
	}
}

func TestCameraIsValidated(t *testing.T) {
	s, _ := newTestCameras(t, nil)
	for _, tc := range []struct {
		c    Camera
		want string
	}{
		{Camera{URL: ""}, "URL"},
		{Camera{URL: "http://u:secret@host/x"}, "must begin with rtsp://"},
		{Camera{URL: "rtsp://"}, "no host"},
		{Camera{URL: "rtsp://u:secret@host:port/x"}, "URL is not valid"},
		{Camera{URL: "rtsp://host/x", Transport: "multicast"}, "auto, tcp or udp"},
	} {
		err := s.Set("cam", tc.c)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", tc.c, err)
		}
	}
}

func TestCameraOnDemand(t *testing.T) {
	cam := newScripted(t, "127.0.0.1:0", script{})
	s, rec := newTestCameras(t, func(o *CamerasOptions) { o.Stable = time.Minute })
	var w ingest.Waker = s
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	fatal(t, w.Wake(ctx, "unknown"))
	fatal(t, s.Set("cam", Camera{URL: cam.url(), OnDemand: true}))
	time.Sleep(100 * time.Millisecond)
	if st, _ := s.Status("cam"); st.State != Idle || cam.connections() != 0 {
		t.Errorf("nobody watches: %+v, %d connections", st, cam.connections())
	}
	fatal(t, w.Wake(ctx, "cam"))
	if _, err := rec.hub.Live("cam"); err != nil {
		t.Errorf("after Wake: %v", err)
	}
	// A viewer keeps it.
	sub, err := rec.hub.Subscribe("cam", live.SubscribeOptions{})
	fatal(t, err)
	time.Sleep(600 * time.Millisecond)
	if st, _ := s.Status("cam"); st.State != Live {
		t.Errorf("while somebody watches: %+v", st)
	}
	sub.Close()
	waitStatus(t, s, "cam", "the camera to be left", func(st Status) bool { return st.State == Idle })
	if reason := rec.of("cam")[0].waitClosed(t); !errors.Is(reason, errUnwatched) {
		t.Errorf("ended by %v", reason)
	}
	fatal(t, w.Wake(ctx, "cam"))
	if n := cam.connections(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

func TestWakeTellsWhyNot(t *testing.T) {
	s, _ := newTestCameras(t, nil)
	cam := newScripted(t, "127.0.0.1:0", script{answer: "RTSP/1.0 404 Not Found\r\nCSeq: 2\r\n\r\n"})
	fatal(t, s.Set("cam", Camera{URL: cam.url(), OnDemand: true}))
	if err := s.Wake(t.Context(), "cam"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("camera that answers 404: %v", err)
	}
	silent := newScripted(t, "127.0.0.1:0", script{slow: time.Hour})
	fatal(t, s.Set("silent", Camera{URL: silent.url(), OnDemand: true}))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Wake(ctx, "silent"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("camera that does not answer: %v", err)
	}
}

// A camera whose stream somebody else pushes stands back until they leave.
func TestCameraStandsBack(t *testing.T) {
	cam := newScripted(t, "127.0.0.1:0", script{})
	s, rec := newTestCameras(t, nil)
	fatal(t, s.Set("cam", Camera{URL: cam.url()}))
	waitStatus(t, s, "cam", "the camera to be live", func(st Status) bool { return st.State == Live })
	other, err := rec.Publish("cam", nil, ingest.Source{}, func(error) { t.Error("the camera took its stream back") })
	fatal(t, err)
	waitStatus(t, s, "cam", "the camera to stand back", func(st Status) bool { return strings.Contains(st.Error, "another publisher") })
	time.Sleep(300 * time.Millisecond)
	if n := cam.connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
	other.Close(nil)
	waitStatus(t, s, "cam", "the camera to come back", func(st Status) bool { return st.State == Live })
}

// Sockets of attempts over UDP are given back.
func TestUDPSocketsAreClosed(t *testing.T) {
	cam := newScripted(t, "127.0.0.1:0", script{frames: 2})
	s, _ := newTestCameras(t, nil)
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		fatal(t, err)
		return len(fds)
	}
	before := count()
	fatal(t, s.Set("cam", Camera{URL: cam.url(), Transport: UDP}))
	for deadline := time.Now().Add(10 * time.Second); cam.connections() < 12 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	s.Close()
	cam.close()
	if after := count(); cam.connections() < 12 || after > before+2 {
		t.Errorf("%d connections; %d descriptors before, %d after", cam.connections(), before, after)
	}
}
