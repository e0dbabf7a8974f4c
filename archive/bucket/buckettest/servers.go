package buckettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The versions of the servers that tests run against. .ci/servers.sh builds them and has the same.
const (
	MinIOVersion     = "v0.0.0-20260212201848-7aac2a2c5b7c"
	VersityGWVersion = "v1.8.0"
)

// startLimit is how long a server may take until it answers, on a machine that does much else.
const startLimit = 60 * time.Second

// Server is an S3 server on loopback, run as a process of its own for one test. Its methods fail the test
// rather than return errors, and are for the test's own goroutine.
type Server struct {
	// Endpoint is "127.0.0.1:port", the same after a Restart; plain HTTP.
	Endpoint string
	// AccessKey and SecretKey are those of its root user.
	AccessKey, SecretKey string
	// Dir is where it keeps its data.
	Dir string

	t       testing.TB
	command func(s *Server) *exec.Cmd
	ready   string
	log     *tail
	process *exec.Cmd
	exited  chan struct{}
}

// StartMinIO starts a MinIO server with one drive and waits until it answers. It ends with the test.
func StartMinIO(t testing.TB) *Server {
	t.Helper()
	program := binary(t, "minio-"+MinIOVersion)
	console := freePort(t)
	return start(t, "/minio/health/ready", func(s *Server) *exec.Cmd {
		c := exec.Command(program, "server", "--quiet", "--address", s.Endpoint, "--console-address", console, s.Dir)
		c.Env = append(plainEnv(s.t), "MINIO_ROOT_USER="+s.AccessKey, "MINIO_ROOT_PASSWORD="+s.SecretKey,
			"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CI_CD=1")
		return c
	})
}

// StartVersityGW starts a Versity gateway over a folder and waits until it answers. It ends with the test.
func StartVersityGW(t testing.TB) *Server {
	t.Helper()
	program := binary(t, "versitygw-"+VersityGWVersion)
	return start(t, "/healthy", func(s *Server) *exec.Cmd {
		c := exec.Command(program, "--quiet", "--keep-alive", "--health", "/healthy", "--port", s.Endpoint, "posix", s.Dir)
		c.Env = append(plainEnv(s.t), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
		return c
	})
}

// binary is the path of a server .ci/servers.sh has built.
func binary(t testing.TB, name string) string {
	t.Helper()
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, ".cache")
	}
	path := filepath.Join(cache, "kineweir", "bin", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the test server %s is not built: run `make test` or .ci/servers.sh (%v)", name, err)
	}
	return path
}

// plainEnv keeps settings of the developer's own (proxies, MINIO_…, AWS_…) from the servers.
func plainEnv(t testing.TB) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir()}
}

func start(t testing.TB, ready string, command func(s *Server) *exec.Cmd) *Server {
	t.Helper()
	s := &Server{
		AccessKey: "kineweir-test", SecretKey: "kineweir-test-secret", Dir: t.TempDir(),
		t: t, command: command, ready: ready, log: &tail{},
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("end of the server's log:\n%s", s.log)
		}
	})
	// Between choosing a port and the server's listening someone else may take it.
	var err error
	for range 3 {
		s.Endpoint = freePort(t)
		if err = s.run(); err == nil {
			return s
		}
	}
	t.Fatalf("%v\n%s", err, s.log)
	return nil
}

// Kill ends the server at once (SIGKILL) and waits until it is gone. Once is enough, twice is allowed.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	// A paused process dies of SIGKILL too.
	if err := s.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("kill server: %v", err)
	}
	<-s.exited
	s.process = nil
}

// Restart kills the server if it runs, starts it again on the same port and data, and waits until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.run(); err != nil {
		s.t.Fatalf("restart: %v\n%s", err, s.log)
	}
}

// Pause stops the server without its noticing (SIGSTOP): connections stay open and nothing answers.
func (s *Server) Pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	if err := waitStopped(s.process.Process.Pid); err != nil {
		s.t.Fatalf("wait for the server to stand still: %v", err)
	}
}

// Resume lets a paused server go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(sig); err != nil {
		s.t.Fatalf("signal server: %v", err)
	}
}

func (s *Server) run() error {
	c := s.command(s)
	c.Stdout, c.Stderr = s.log, s.log
	dieWithParent(c)
	if err := c.Start(); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		c.Wait()
	}()
	s.process, s.exited = c, exited
	err := s.waitReady()
	if err != nil {
		s.Kill()
	}
	return err
}

func (s *Server) waitReady() error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Endpoint+s.ready, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.exited:
			return fmt.Errorf("server ended instead of listening on %s", s.Endpoint)
		case <-ctx.Done():
			return fmt.Errorf("server does not answer on %s after %v: %v", s.Endpoint, startLimit, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// freePort is a loopback address nobody listened on a moment ago.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// tail keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const tailSize = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(p)
	t.buf.Next(max(0, t.buf.Len()-tailSize))
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}
