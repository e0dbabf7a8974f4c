package rtsp

import (
	"bufio"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// fakeCamera is an RTSP server that behaves as its script says.
type fakeCamera struct {
	t    *testing.T
	addr string

	mu     sync.Mutex
	script cameraScript
	conns  map[net.Conn]bool
	dials  int
	wg     sync.WaitGroup
	l      net.Listener
}

// cameraScript is how a fakeCamera (mis)behaves; the zero value is a good one.
type cameraScript struct {
	auth         string // "basic" or "digest": user "u", password "p"
	sdp          string // instead of a good one
	raw          string // sent instead of any answer
	redirect     string // location of the answer to DESCRIBE
	describeWait time.Duration
	noTCP        bool // SETUP over TCP is refused
	noUDPPackets bool
	silentAfter  int // packets after which nothing is sent, and the connection stays open
	cutAfter     int // packets after which it stops in the middle of one and closes
	rebootAfter  int // packets after which it closes; the next connection has another SSRC and time base
	changeAfter  int // frames after which other parameter sets are sent
	garbage      bool
	refuse       bool // connections are closed at once
}

const (
	goodSPS  = "67 42 c0 1f da 02 80 f6 c0 44 00 00 03 00 04 00 00 03 01 92 3c 60 ca 80"
	otherSPS = "67 42 c0 2a da 01 e0 08 9f 97 01 10 00 00 03 00 10 00 00 06 48 f1 83 2a"
	goodPPS  = "68 ce 0f c8"
)

const goodSDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=cam\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n" +
	"a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAH9oCgPbARAAAAwAEAAADAZI8YMqA,aM4PyA==\r\na=control:trackID=0\r\n"

func newFakeCamera(t *testing.T, script cameraScript) *fakeCamera {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &fakeCamera{t: t, addr: l.Addr().String(), script: script, conns: map[net.Conn]bool{}, l: l}
	c.wg.Go(c.accept)
	t.Cleanup(func() {
		l.Close()
		c.mu.Lock()
		for conn := range c.conns {
			conn.Close()
		}
		c.mu.Unlock()
		c.wg.Wait()
	})
	return c
}

func (c *fakeCamera) accept() {
	for {
		conn, err := c.l.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.dials++
		c.conns[conn] = true
		script, dial := c.script, c.dials
		c.mu.Unlock()
		c.wg.Go(func() {
			defer func() {
				conn.Close()
				c.mu.Lock()
				delete(c.conns, conn)
				c.mu.Unlock()
			}()
			if !script.refuse {
				c.serve(conn, script, dial)
			}
		})
	}
}

func (c *fakeCamera) set(s cameraScript) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.script = s
}

func (c *fakeCamera) serve(conn net.Conn, s cameraScript, dial int) {
	br := bufio.NewReader(conn)
	var udp net.Conn
	stop := make(chan struct{})
	var sending sync.WaitGroup
	defer func() { close(stop); sending.Wait() }()
	for {
		method, url, header, err := readRequest(br)
		if err != nil {
			return
		}
		if s.raw != "" {
			io.WriteString(conn, s.raw)
			continue
		}
		answer := func(code int, extra, body string) {
			if body != "" {
				extra += "Content-Type: application/sdp\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
			}
			fmt.Fprintf(conn, "RTSP/1.0 %d X\r\nCSeq: %s\r\n%s\r\n%s", code, header["cseq"], extra, body)
		}
		if s.auth != "" && method != "OPTIONS" && !authorized(s.auth, method, url, header["authorization"]) {
			challenge := `Basic realm="cam"`
			if s.auth == "digest" {
				challenge = `Digest realm="cam", nonce="0011223344556677"`
			}
			answer(401, "WWW-Authenticate: "+challenge+"\r\n", "")
			continue
		}
		switch method {
		case "OPTIONS":
			answer(200, "Public: DESCRIBE, SETUP, PLAY, GET_PARAMETER\r\n", "")
		case "DESCRIBE":
			time.Sleep(s.describeWait)
			switch {
			case s.redirect != "":
				answer(302, "Location: "+s.redirect+"\r\n", "")
			case s.sdp != "":
				answer(200, "Content-Base: "+url+"/\r\n", s.sdp)
			default:
				answer(200, "Content-Base: "+url+"/\r\n", goodSDP)
			}
		case "SETUP":
			transport := header["transport"]
			switch {
			case strings.Contains(transport, "TCP") && s.noTCP:
				answer(461, "", "")
			case strings.Contains(transport, "TCP"):
				answer(200, "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n", "")
			default:
				_, ports, _ := strings.Cut(transport, "client_port=")
				port, _, _ := strings.Cut(ports, "-")
				local := freeEvenPort(c.t)
				p, _ := strconv.Atoi(port)
				if udp, err = net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: local}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: p}); err != nil {
					return
				}
				defer udp.Close()
				answer(200, fmt.Sprintf("Session: 1\r\nTransport: RTP/AVP;unicast;client_port=%s;server_port=%d-%d\r\n", strings.SplitN(ports, ";", 2)[0], local, local+1), "")
			}
		case "PLAY":
			answer(200, "Session: 1\r\n", "")
			sending.Go(func() { c.send(conn, udp, s, dial, stop) })
		default:
			answer(200, "Session: 1\r\n", "")
		}
	}
}

// send sends a key frame every five frames, 50 a second.
func (c *fakeCamera) send(conn, udp net.Conn, s cameraScript, dial int, stop chan struct{}) {
	write := func(channel byte, b []byte) {
		switch {
		case udp == nil:
			conn.Write(append([]byte{'$', channel, byte(len(b) >> 8), byte(len(b))}, b...))
		case channel == 0 && !s.noUDPPackets:
			udp.Write(b)
		}
	}
	base, ssrc := uint32(dial)*1_000_000_000, uint32(dial)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n, seq := 0, uint16(0); ; n++ {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		switch {
		case s.silentAfter > 0 && n >= s.silentAfter:
			<-stop
			return
		case s.cutAfter > 0 && n >= s.cutAfter:
			conn.Write([]byte{'$', 0, 4, 0, 0x80, 96, 1})
			conn.Close()
			return
		case s.rebootAfter > 0 && n >= s.rebootAfter && dial == 1:
			conn.Close()
			return
		case s.garbage && n%3 == 1:
			write(0, []byte("\xff\xff\xffthis is not RTP"))
			write(1, []byte("\xff\xffnor RTCP"))
			write(0, append([]byte{0x80, 96, byte(seq >> 8), byte(seq), 0, 0, 0, 1, 0, 0, 0, 1}, 28, 0x85, 0xff))
			seq++
		}
		stamp := base + uint32(n)*1800
		if n%25 == 0 {
			sr := &rtcp.SenderReport{SSRC: ssrc, NTPTime: ntpOf(time.Now()), RTPTime: stamp}
			b, _ := sr.Marshal()
			write(1, b)
		}
		nalus := [][]byte{append([]byte{0x41}, make([]byte, 200)...)}
		if n%5 == 0 {
			nalus = [][]byte{append([]byte{0x65}, make([]byte, 500)...)}
			if s.changeAfter > 0 && n >= s.changeAfter {
				nalus = [][]byte{unhex(otherSPS), unhex(goodPPS), nalus[0]}
			}
		}
		for i, nalu := range nalus {
			pkt := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, SSRC: ssrc, SequenceNumber: seq, Timestamp: stamp, Marker: i == len(nalus)-1}, Payload: nalu}
			b, _ := pkt.Marshal()
			write(0, b)
			seq++
		}
	}
}

func ntpOf(t time.Time) uint64 {
	ns := uint64(t.UnixNano())
	return (ns/1e9+2_208_988_800)<<32 | (ns%1e9)<<32/1e9
}

func readRequest(br *bufio.Reader) (method, url string, header map[string]string, err error) {
	header = map[string]string{}
	for {
		if b, err := br.Peek(1); err != nil {
			return "", "", nil, err
		} else if b[0] == '$' { // RTCP of the client
			head := make([]byte, 4)
			if _, err := io.ReadFull(br, head); err != nil {
				return "", "", nil, err
			}
			if _, err := br.Discard(int(head[2])<<8 | int(head[3])); err != nil {
				return "", "", nil, err
			}
			continue
		}
		line, err := br.ReadString('\n')
		if err != nil {
			return "", "", nil, err
		}
		line = strings.TrimSpace(line)
		switch {
		case method == "":
			if f := strings.Fields(line); len(f) == 3 {
				method, url = f[0], f[1]
			}
		case line == "":
			return method, url, header, nil
		default:
			k, v, _ := strings.Cut(line, ":")
			header[strings.ToLower(k)] = strings.TrimSpace(v)
		}
	}
}

func authorized(kind, method, url, got string) bool {
	if kind == "basic" {
		return got == "Basic dTpw" // u:p
	}
	sum := func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }
	_, rest, ok := strings.Cut(got, `uri="`)
	uri, _, _ := strings.Cut(rest, `"`)
	want := sum(sum("u:cam:p") + ":0011223344556677:" + sum(method+":"+uri))
	return ok && strings.Contains(got, `response="`+want+`"`)
}

func freeEvenPort(t *testing.T) int {
	for range 100 {
		a, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Error(err)
			return 0
		}
		port := a.LocalAddr().(*net.UDPAddr).Port
		a.Close()
		if port%2 == 0 {
			return port
		}
	}
	return 0
}
