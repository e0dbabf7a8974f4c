package viewer

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/fragments/live"
)

// serverEnv makes the test binary a server of viewers, so that its processor
// time is counted apart from that of the clients.
const serverEnv = "KINEWEIR_TEST_VIEWER_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) != "" {
		if err := serveCost(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// muxed returns settings with all connections on one socket, as the product has
// them.
func muxed(conn net.PacketConn) webrtc.SettingEngine {
	e := engine()
	e.SetICEUDPMux(webrtc.NewICEUDPMux(nil, conn))
	return e
}

func listenUDP() (*net.UDPConn, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err == nil {
		err = conn.SetReadBuffer(4 << 20)
	}
	return conn, err
}

// serveCost publishes a stream of 600 kbit/s, shows it to who asks, and tells
// its processor time.
func serveCost() error {
	hub := live.New()
	cam := newCamera(hub, "cam")
	cam.gop, cam.size = 50, 3000
	conn, err := listenUDP()
	if err != nil {
		return err
	}
	s, err := New(Options{Hub: hub, Engine: muxed(conn), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer cam.run()()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /offer", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		c, err := s.Open(context.WithoutCancel(r.Context()), "cam", string(body), "cost")
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotAcceptable)
			return
		}
		answer, err := answerTo(c.PeerConnection(), string(body))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, answer)
	})
	mux.HandleFunc("GET /cpu", func(w http.ResponseWriter, _ *http.Request) {
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		fmt.Fprint(w, u.Utime.Nano()+u.Stime.Nano())
	})
	mux.HandleFunc("GET /profile", func(w http.ResponseWriter, _ *http.Request) {
		_ = pprof.StartCPUProfile(w)
		time.Sleep(8 * time.Second)
		pprof.StopCPUProfile()
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%+v", s.Stats()) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go func() { // ends with the parent
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return http.Serve(l, mux)
}

// received is what all clients have received.
type received struct {
	media, bytes atomic.Int64

	mu    sync.Mutex
	delay []time.Duration // from capture to here
}

// counting takes RTP and RTCP out of what the clients read and only counts them,
// so that they cost little.
type counting struct {
	*net.UDPConn
	*received
}

func (c *counting) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, addr, err := c.UDPConn.ReadFrom(b)
		if err != nil || n == 0 || b[0]&0xc0 != 0x80 {
			return n, addr, err
		}
		c.media.Add(1)
		c.bytes.Add(int64(n))
		c.measure(b[:n])
	}
}

func (c *counting) measure(b []byte) {
	var h rtp.Header
	if b[1] >= 200 && b[1] <= 207 {
		return
	}
	if _, err := h.Unmarshal(b); err != nil {
		return
	}
	for _, id := range h.GetExtensionIDs() {
		if at := h.GetExtension(id); len(at) == 8 {
			v := binary.BigEndian.Uint64(at)
			sent := time.Unix(int64(v>>32)-ntpEpoch, int64(v&0xffffffff*uint64(time.Second)>>32)).Add(time.Hour)
			c.mu.Lock()
			c.delay = append(c.delay, time.Since(sent))
			c.mu.Unlock()
		}
	}
}

// BenchmarkViewers tells the processor time of the server for a second of one
// viewer of a stream of 600 kbit/s of video and 64 kbit/s of Opus, and the delay
// from a frame's publication until its first packet is at a client.
func BenchmarkViewers(b *testing.B) {
	for _, n := range []int{1, 200} {
		b.Run(strconv.Itoa(n), func(b *testing.B) { benchmarkViewers(b, n, false) })
		b.Run(strconv.Itoa(n)+"/video-only", func(b *testing.B) { benchmarkViewers(b, n, true) })
	}
}

func benchmarkViewers(b *testing.B, viewers int, videoOnly bool) {
	server := exec.Command(os.Args[0], "-test.run=^$")
	server.Env = append(os.Environ(), serverEnv+"=1")
	server.Stderr = os.Stderr
	stdin, err := server.StdinPipe()
	must(b, err)
	stdout, err := server.StdoutPipe()
	must(b, err)
	must(b, server.Start())
	defer func() { stdin.Close(); _ = server.Wait() }()
	line := make([]byte, 64)
	k, err := stdout.Read(line)
	must(b, err)
	base := "http://" + strings.TrimSpace(string(line[:k]))
	in := &received{}
	// So that the capture time can be read on the way.
	open := webrtc.Configuration{RTPHeaderEncryptionPolicy: webrtc.RTPHeaderEncryptionPolicyDisable}
	for range viewers {
		conn, err := listenUDP()
		must(b, err)
		c := newClient(b, clientOptions{engine: muxed(&counting{conn, in}), room: 1, noAudio: videoOnly, config: open, media: func(m *webrtc.MediaEngine) {
			must(b, m.RegisterDefaultCodecs())
			must(b, m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: absCaptureTime}, webrtc.RTPCodecTypeVideo))
		}})
		defer c.pc.Close()
		offer, err := c.offer()
		must(b, err)
		answer := ask(b, base+"/offer", offer)
		must(b, c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}))
		until(b, "the connection", func() bool { return c.pc.ConnectionState() == webrtc.PeerConnectionStateConnected })
	}
	if to := os.Getenv("KINEWEIR_TEST_PROFILE"); to != "" {
		must(b, os.WriteFile(to, []byte(ask(b, base+"/profile", "")), 0o600))
	}
	const span = 8 * time.Second
	for b.Loop() {
		in.mu.Lock()
		in.delay = in.delay[:0]
		in.mu.Unlock()
		before, packets, bytes := cpu(b, base), in.media.Load(), in.bytes.Load()
		start := time.Now()
		time.Sleep(span) // what is measured is the server at work
		took := time.Since(start).Seconds()
		used := cpu(b, base) - before
		seconds := float64(viewers) * took
		b.ReportMetric(float64(used.Microseconds())/1000/seconds, "ms-cpu/viewer-s")
		b.ReportMetric(float64(in.media.Load()-packets)/seconds, "packets/viewer-s")
		b.ReportMetric(float64(in.bytes.Load()-bytes)*8/1000/seconds, "kbit/viewer-s")
		in.mu.Lock()
		slices.Sort(in.delay)
		if m := len(in.delay); m > 0 {
			b.ReportMetric(float64(in.delay[m/2].Microseconds())/1000, "ms-delay-p50")
			b.ReportMetric(float64(in.delay[m*99/100].Microseconds())/1000, "ms-delay-p99")
		}
		in.mu.Unlock()
	}
	b.ReportMetric(0, "ns/op")
}

func ask(b *testing.B, url, body string) string {
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(b.Context(), method, url, strings.NewReader(body))
	must(b, err)
	res, err := http.DefaultClient.Do(req)
	must(b, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	must(b, err)
	if res.StatusCode != http.StatusOK {
		b.Fatalf("%s: %s", res.Status, answer)
	}
	return string(answer)
}

func cpu(b *testing.B, base string) time.Duration {
	n, err := strconv.ParseInt(ask(b, base+"/cpu", ""), 10, 64)
	must(b, err)
	return time.Duration(n)
}
