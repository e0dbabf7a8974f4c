package rtsp

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
)

// handler is what the library's server calls. Each call is made by the goroutine
// of a connection or of a session, so that waiting delays only that one.
type handler struct {
	s   *Server
	lib *gortsplib.Server
}

// refusal is an RTSP answer that says no, and why.
type refusal struct {
	code   base.StatusCode
	reason error
}

func (r *refusal) Error() string { return r.reason.Error() }

func (r *refusal) Unwrap() error { return r.reason }

func refuse(code base.StatusCode, reason error) error { return &refusal{code, reason} }

// answer turns the outcome of a request into what the library wants. The reason
// stands in the status line, where ffmpeg and GStreamer show it to their users.
func (h *handler) answer(c *gortsplib.ServerConn, what string, err error) (*base.Response, error) {
	if err == nil {
		return &base.Response{StatusCode: base.StatusOK}, nil
	}
	res := &base.Response{StatusCode: base.StatusInternalServerError}
	var no *refusal
	if errors.As(err, &no) {
		res.StatusCode, res.StatusMessage = no.code, statusText(no.reason)
	}
	var auth liberrors.ErrServerAuth
	if errors.As(err, &auth) {
		// The library asks for credentials, or ends the connection of wrong ones.
		return &base.Response{StatusCode: base.StatusUnauthorized}, auth
	}
	h.s.refusals.Add(what+" refused", 1, fmt.Errorf("to %s, with status %d: %w", c.NetConn().RemoteAddr(), res.StatusCode, err))
	if res.StatusCode == base.StatusNotFound {
		return res, nil // a player may ask again on the same connection
	}
	return res, err
}

// statusText makes a reason fit into a status line.
func statusText(err error) string {
	const longest = 200
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, err.Error())
	if len(text) > longest {
		text = text[:longest] + "..."
	}
	return text
}

// guessDelay is how late a wrong password is answered, and its connection closed.
const guessDelay = 500 * time.Millisecond

func (s *Server) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.ctx.Done():
	}
}

// guard keeps a mistake of ours in one connection.
func (s *Server) guard(what string, err *error) {
	if p := recover(); p != nil {
		s.o.Log.Error(what+" failed", "panic", p, "stack", string(debug.Stack()))
		*err = fmt.Errorf("%s failed: %v", what, p)
	}
}

// streamName reads the name of a stream from the path of a request. The library
// has taken the query off.
func streamName(path string) (fragments.StreamName, error) {
	name, err := fragments.ParseStreamName(strings.TrimPrefix(path, "/"))
	if err != nil {
		return "", refuse(base.StatusBadRequest, err)
	}
	return name, nil
}

// OnRequest mends session descriptions before the library reads them, which it
// does before it asks whether the publisher may publish at all.
func (h *handler) OnRequest(_ *gortsplib.ServerConn, req *base.Request) {
	if req.Method == base.Announce {
		req.Body = repairDescription(req.Body)
	}
}

// OnConnClose notes connections that ended badly.
func (h *handler) OnConnClose(c *gortsplib.ServerHandlerOnConnCloseCtx) {
	h.s.o.Log.Debug("connection closed", "remote", c.Conn.NetConn().RemoteAddr(), "error", c.Error)
}

// authorize returns the user that a request is of, once they may do what they want.
func (h *handler) authorize(c *gortsplib.ServerConn, req *base.Request, a ingest.Action, name fragments.StreamName) (string, error) {
	auth := h.s.o.Auth
	if auth == nil {
		return "", nil
	}
	user, check := credentials(req)
	if user == "" {
		if auth.Allowed("", a, name) {
			return "", nil
		}
		c.VerifyCredentials(req, "nobody", "") // makes the nonce that the question needs
		return "", liberrors.ErrServerAuth{}
	}
	password, known := auth.Password(user)
	if !known && auth.Allowed(user, a, name) {
		return "", nil // everybody may, and a player that sends a password unasked is somebody
	}
	if ok := check(c, password); !ok || !known {
		h.s.refusals.Add("wrong user or password", 1, fmt.Errorf("from %s, user %q, stream %s", c.NetConn().RemoteAddr(), user, name))
		h.s.pause(guessDelay)
		return "", liberrors.ErrServerAuth{}
	}
	if !auth.Allowed(user, a, name) {
		return "", refuse(base.StatusForbidden, fmt.Errorf("user %q may not %s stream %s", user, a, name))
	}
	return user, nil
}

// credentials returns the user that a request names, "" for none, and what checks
// the password. Basic is read here: the library refuses passwords with a colon.
func credentials(req *base.Request) (user string, check func(c *gortsplib.ServerConn, password string) bool) {
	v := req.Header["Authorization"]
	if len(v) == 1 && strings.HasPrefix(v[0], "Basic ") {
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(v[0][len("Basic "):]))
		user, given, ok := strings.Cut(string(b), ":")
		if err != nil || !ok {
			return "", nil
		}
		return user, func(_ *gortsplib.ServerConn, password string) bool {
			return subtle.ConstantTimeCompare([]byte(given), []byte(password)) == 1
		}
	}
	var digest headers.Authorization
	if digest.Unmarshal(v) != nil {
		return "", nil
	}
	return digest.Username, func(c *gortsplib.ServerConn, password string) bool {
		return c.VerifyCredentials(req, digest.Username, password)
	}
}

// OnSetup prepares one track of a session, whichever way it goes.
func (h *handler) OnSetup(c *gortsplib.ServerHandlerOnSetupCtx) (res *base.Response, stream *gortsplib.ServerStream, err error) {
	if c.Session.State() == gortsplib.ServerSessionStatePreRecord {
		return &base.Response{StatusCode: base.StatusOK}, nil, nil
	}
	stream, err = h.setupPlay(c)
	res, err = h.answer(c.Conn, "playing", err)
	if err != nil || res.StatusCode != base.StatusOK {
		stream = nil
	}
	return res, stream, err
}

// OnSessionClose ends what the session was for.
func (h *handler) OnSessionClose(c *gortsplib.ServerHandlerOnSessionCloseCtx) {
	var err error
	defer h.s.guard("closing a session", &err)
	switch v := c.Session.UserData().(type) {
	case *recording:
		v.closed(c.Error)
	case *playing:
		v.closed(c.Error)
	}
}

// OnPacketsLost does nothing: the receiver counts losses by itself.
func (h *handler) OnPacketsLost(*gortsplib.ServerHandlerOnPacketsLostCtx) {}

// OnDecodeError counts packets that the library could not read.
func (h *handler) OnDecodeError(c *gortsplib.ServerHandlerOnDecodeErrorCtx) {
	if rec, ok := c.Session.UserData().(*recording); ok {
		rec.rx.Unreadable(c.Error)
	}
}

// OnStreamWriteError does nothing: players write by themselves.
func (h *handler) OnStreamWriteError(*gortsplib.ServerHandlerOnStreamWriteErrorCtx) {}

// remoteLog is the log of what one connection does with one stream.
func (h *handler) remoteLog(c *gortsplib.ServerConn, name fragments.StreamName, user string) *slog.Logger {
	log := h.s.o.Log.With("stream", name, "remote", c.NetConn().RemoteAddr().String())
	if user != "" {
		log = log.With("user", user)
	}
	return log
}
