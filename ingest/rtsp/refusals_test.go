package rtsp

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
)

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// ask sends one request on a connection of its own and returns the status line.
func ask(t *testing.T, s *Server, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	fatal(t, err)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(c, request, s.Addr())
	answer := make([]byte, 4096)
	n, _ := c.Read(answer)
	line, _, _ := strings.Cut(string(answer[:n]), "\r\n")
	return line
}

// Whoever can reach the port can be refused, as often as they like: the log
// counts that, every time, in few lines.
func TestRefusalsAreCounted(t *testing.T) {
	const times = 300
	for _, tc := range []struct{ name, request, status, line string }{
		{"no such stream", "DESCRIBE rtsp://%s/nobody RTSP/1.0\r\nCSeq: 1\r\n\r\n", "404", "playing refused"},
		{"a name that is none", "DESCRIBE rtsp://%s/a/b RTSP/1.0\r\nCSeq: 1\r\n\r\n", "400", "playing refused"},
		{"a wrong password", "DESCRIBE rtsp://%s/cam RTSP/1.0\r\nCSeq: 1\r\nAuthorization: Basic dXNlcjp3cm9uZw==\r\n\r\n", "401", "wrong user or password"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var log lockedBuffer
			s, _ := newTestServer(t, func(o *ServerOptions) {
				o.Log = slog.New(slog.NewTextHandler(&log, nil))
				if tc.status == "401" {
					o.Auth = onlyUser{}
				}
			})
			var all sync.WaitGroup
			for range times {
				all.Go(func() {
					if got := ask(t, s, tc.request); !strings.Contains(got, " "+tc.status+" ") {
						t.Errorf("answered %q, want %s", got, tc.status)
					}
				})
			}
			all.Wait()
			s.Close()
			count, lines := 0, 0
			for line := range strings.Lines(log.b.String()) {
				if !strings.Contains(line, tc.line) {
					continue
				}
				lines++
				_, after, _ := strings.Cut(line, "count=")
				n := 0
				fmt.Sscan(after, &n)
				count += n
			}
			if count != times || lines > times/10 {
				t.Errorf("%d refusals counted in %d lines, want %d in few\n%s", count, lines, times, log.b.String())
			}
		})
	}
}

// onlyUser knows one user, who may do everything.
type onlyUser struct{}

func (onlyUser) Password(name string) (string, bool) { return "right", name == "user" }

func (onlyUser) Allowed(name string, _ ingest.Action, _ fragments.StreamName) bool {
	return name == "user"
}

// open lets everybody in under any name and knows none.
type open struct{}

func (open) Password(string) (string, bool) { return "", false }

func (open) Allowed(string, ingest.Action, fragments.StreamName) bool { return true }

// A player that sends a password unasked is let in where nobody needs one.
func TestPasswordThatNobodyAskedFor(t *testing.T) {
	s, _ := newTestServer(t, func(o *ServerOptions) { o.Auth = open{} })
	got := ask(t, s, "DESCRIBE rtsp://%s/nobody RTSP/1.0\r\nCSeq: 1\r\nAuthorization: Basic dXNlcjp3cm9uZw==\r\n\r\n")
	if !strings.Contains(got, " 404 ") {
		t.Errorf("answered %q, want 404: it is let in, and nobody publishes", got)
	}
}
