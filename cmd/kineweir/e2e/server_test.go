package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// server is one running kineweir.
type server struct {
	t      *testing.T
	data   string
	http   string // "http://127.0.0.1:PORT"
	rtsp   string // "127.0.0.1:PORT"
	args   []string
	cmd    *exec.Cmd
	log    *syncBuffer
	exited chan error
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// freePort returns a TCP port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// serve starts the binary on free ports, with config as its configuration file
// and more arguments, and waits until it is healthy.
func serve(t *testing.T, config string, args ...string) *server {
	t.Helper()
	s := &server{
		t: t, data: filepath.Join(t.TempDir(), "data"),
		http: fmt.Sprintf("http://127.0.0.1:%d", freePort(t)),
		rtsp: fmt.Sprintf("127.0.0.1:%d", freePort(t)),
	}
	file := filepath.Join(t.TempDir(), "kineweir.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.args = []string{"serve", "--config", file, "--data", s.data, "--http", strings.TrimPrefix(s.http, "http://"), "--rtsp", s.rtsp, "--webrtc", "127.0.0.1:0"}
	s.args = append(s.args, args...)
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.log = &syncBuffer{}
	s.cmd = exec.Command(binary, s.args...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	exited := make(chan error, 1)
	cmd := s.cmd
	go func() { exited <- cmd.Wait() }()
	s.exited = exited
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-exited:
			s.cmd = nil
			s.t.Fatalf("kineweir ended at start: %v\n%s", err, s.log)
		default:
		}
		if r, err := http.Get(s.http + "/healthz"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return
			}
		}
	}
	s.t.Fatalf("kineweir is not healthy\n%s", s.log)
}

// stop ends the server as an operator does and shows its log if the test failed.
func (s *server) stop() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.exited:
		if err != nil {
			s.t.Errorf("kineweir ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		s.t.Error("kineweir does not stop")
		s.cmd.Process.Kill()
		<-s.exited
	}
	if s.t.Failed() {
		s.t.Logf("log of kineweir:\n%s", s.log)
	}
	s.cmd = nil
}

// kill ends the server at once, as a crash does.
func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.exited
}

// get returns the body of a successful GET.
func (s *server) get(path string) []byte {
	s.t.Helper()
	code, body := s.try(path)
	if code != http.StatusOK {
		s.t.Fatalf("GET %s: %d\n%s", path, code, body)
	}
	return body
}

// try returns status and body of a GET; status 0 when the server is not there.
func (s *server) try(path string) (int, []byte) {
	r, err := http.Get(s.http + path)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return r.StatusCode, body
}

// json decodes the answer to a GET into v.
func (s *server) json(path string, v any) {
	s.t.Helper()
	body := s.get(path)
	if err := json.Unmarshal(body, v); err != nil {
		s.t.Fatalf("GET %s: %v\n%s", path, err, body)
	}
}
