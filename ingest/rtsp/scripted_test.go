package rtsp

import (
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
	noPorts  bool                // tells no ports of its own
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
		if !c.script.noPorts {
			th.ServerPorts = &[2]int{port, port + 1}
		}
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
		if n%5 == 0 {
			au = [][]byte{sps320, pps320, idr(5000)}
		}
		pkts, _ := enc.Encode(au)
		for _, pkt := range pkts {
			pkt.SSRC = 1
			pkt.Timestamp = uint32(n) * 1800
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

// pull pulls one camera beside a good one, with short limits.
func pull(t *testing.T, url string, transport Transport) (*Cameras, *recorder) {
	t.Helper()
	rec := newRecorder()
	c := NewCameras(CamerasOptions{
		Publish: rec.Publish, Hub: rec.hub, Logger: logTo(t), Stall: 1500 * time.Millisecond, Connect: 3 * time.Second,
		Unheard: 500 * time.Millisecond, MinBackoff: 20 * time.Millisecond, MaxBackoff: 100 * time.Millisecond, IdleStop: 300 * time.Millisecond,
	})
	t.Cleanup(c.Close)
	fatal(t, c.Set(Camera{Name: "cam", URL: url, Transport: transport}))
	return c, rec
}

// How cameras differ, and what the library makes of that: each of these is live
// over the transport named, without a failure or after the one named.
func TestCamerasDiffer(t *testing.T) {
	good := script{}
	md5, sha := []auth.VerifyMethod{auth.VerifyMethodDigestMD5}, []auth.VerifyMethod{auth.VerifyMethodDigestSHA256}
	for _, tc := range []struct {
		name      string
		scripts   []script
		transport Transport
		password  string // "": none
		failure   string // "": none
		using     Transport
	}{
		{"TCP", []script{good}, Auto, "", "", TCP},
		{"UDP", []script{good}, UDP, "", "", UDP},
		{"UDP without server ports", []script{{noPorts: true}}, UDP, "", "", UDP},
		{"Basic over UDP", []script{{auth: []auth.VerifyMethod{auth.VerifyMethodBasic}}}, UDP, "p%40ss%2Fword", "", UDP},
		{"Digest MD5", []script{{auth: md5}}, Auto, "p%40ss%2Fword", "", TCP},
		{"Digest SHA-256", []script{{auth: sha}}, Auto, "p%40ss%2Fword", "", TCP},
		{"wrong password, then none wanted", []script{{auth: md5}, {auth: sha}, good}, Auto, "wrong", "refuses user and password", TCP},
		{"UDP unanswered", []script{{mute: true}}, UDP, "", "", TCP},
		{"UDP refused", []script{{noUDP: true}}, UDP, "", "", TCP},
		{"TCP refused", []script{{noTCP: true}}, Auto, "", "", UDP},
		{"TCP refused and nothing else wanted", []script{{noTCP: true}, good}, TCP, "", "refuses the transport", TCP},
		{"both refused at first", []script{{noTCP: true, noUDP: true}, {noTCP: true, noUDP: true}, {noUDP: true}}, Auto, "", "refuses the transport", TCP},
		{"OPTIONS not known", []script{{options: base.StatusNotImplemented}}, Auto, "", "", TCP},
		{"OPTIONS refused", []script{{options: base.StatusNotFound}}, UDP, "", "", UDP},
		{"packets before they are asked for", []script{{answer: "$\x00\x00\x04abcd"}, good}, Auto, "", "unexpected interleaved frame", TCP},
		{"silent over UDP", []script{{frames: 3, then: hang}, good}, UDP, "", "no frame", UDP},
		{"stops in the middle of a packet and stays", []script{{frames: 7, then: midPacket}, good}, Auto, "", "no frame", TCP},
		{"description that makes the library panic", []script{{body: sdpHeader + sdpVideo + sdpPanics}}, Auto, "", "", TCP},
		{"redirect", []script{{redirect: "SELF/other"}, good}, Auto, "", "", TCP},
		{"slow answers", []script{{slow: 500 * time.Millisecond}}, Auto, "", "", TCP},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
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
			var seen sync.Map // errors
			s, rec := pull(t, url, tc.transport)
			waitFor(t, "the camera to be live over "+string(tc.using), func() bool {
				st := s.status("cam")
				if st.Err != nil {
					seen.Store(st.Err.Error(), true)
				}
				return st.State == StateLive && st.Using == tc.using && cam.connections() >= len(tc.scripts)
			})
			units := rec.session(t, rec.count("cam")-1).waitUnits(t, 5)
			if !units[0].Key || len(units[0].Track.Params) != 2 {
				t.Errorf("first unit: %+v", units[0])
			}
			found := tc.failure == ""
			seen.Range(func(k, _ any) bool {
				if tc.failure == "" {
					t.Errorf("failed: %v", k)
				}
				found = found || strings.Contains(k.(string), tc.failure)
				return true
			})
			if !found {
				t.Errorf("no failure %q", tc.failure)
			}
		})
	}
}

// Sockets of attempts over UDP are given back.
func TestUDPSocketsAreClosed(t *testing.T) {
	cam := newScripted(t, "127.0.0.1:0", script{frames: 2})
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		fatal(t, err)
		return len(fds)
	}
	before := count()
	s, _ := pull(t, cam.url(), UDP)
	for deadline := time.Now().Add(10 * time.Second); cam.connections() < 12 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	s.Close()
	cam.close()
	if after := count(); cam.connections() < 12 || after > before+2 {
		t.Errorf("%d connections; %d descriptors before, %d after", cam.connections(), before, after)
	}
}
