package auth

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/web"
)

// ConsoleHeader is sent by the console with its own requests. They are answered
// without a Basic challenge, so that the browser shows the console's sign-in
// form and not its own.
const ConsoleHeader = "Kineweir-Console"

// caller is who sent a request.
type caller struct {
	user  *user
	grant *Grant // when it was proved by a token in the URL, which narrows what the user may do
}

// everybody is the caller of an open Store.
var everybody = &user{Admin: true}

// caller finds out who sent r: by the Authorization header, the token in the
// URL, the console's cookie, in this order. A wrong header is an error; a token
// that is no good is one only when there is no cookie either: a console left
// open outlives the tokens in its playlists.
func (s *Store) caller(r *http.Request) (caller, error) {
	if s.open {
		return caller{user: everybody}, nil
	}
	if h := r.Header.Get("Authorization"); h != "" {
		return s.byHeader(r, h)
	}
	var refused error
	if token := r.URL.Query().Get("token"); token != "" {
		c, err := s.byToken(token)
		if err == nil {
			return c, nil
		}
		refused = s.unauthorized(r, "bad_token", err.Error(), "ask for a new one")
	}
	if u := s.bySession(r); u != nil {
		return caller{user: u}, nil
	}
	if refused != nil {
		return caller{}, refused
	}
	return caller{user: &s.book().anonymous}, nil
}

func (s *Store) byHeader(r *http.Request, header string) (caller, error) {
	scheme, value, _ := strings.Cut(header, " ")
	var secret string
	var check func() *user
	switch strings.ToLower(scheme) {
	case "basic":
		name, password, ok := r.BasicAuth()
		if !ok {
			return caller{}, s.unauthorized(r, "bad_credentials", "the Authorization header cannot be read", "")
		}
		secret, check = name+"\x00"+password, func() *user { return s.verify(name, password) }
	case "bearer":
		value = strings.TrimSpace(value)
		if c, err := s.byToken(value); err == nil {
			return c, nil
		}
		secret, check = value, func() *user { return s.verifyKey(value) }
	default:
		return caller{}, s.unauthorized(r, "bad_credentials", "the Authorization scheme is not known here", "use Basic with user and password, or Bearer with a secret key")
	}
	u, wait := s.guard.try(r, secret, check)
	if wait > 0 {
		return caller{}, tooMany(wait)
	}
	if u == nil {
		return caller{}, s.unauthorized(r, "bad_credentials", "user or key is wrong", "the users stand in the server's credentials file")
	}
	return caller{user: u}, nil
}

func tooMany(wait time.Duration) error {
	return &web.Error{
		Status: http.StatusTooManyRequests, Code: "too_many_guesses", RetryAfter: int((wait + time.Second - 1) / time.Second),
		Message: "too many wrong keys from this address", Hint: "wait a little",
	}
}

// byToken returns the caller that a token in the URL proves.
func (s *Store) byToken(token string) (caller, error) {
	g, err := s.tokens.Check(token)
	if err != nil {
		return caller{}, err
	}
	u := s.lookup(g.User)
	if u == nil || g.Actions&actWhole != 0 {
		return caller{}, ErrBadToken // a session is good in its cookie alone: URLs are copied
	}
	return caller{u, &g}, nil
}

// unauthorized is a 401 that makes browsers and players ask for a name.
func (s *Store) unauthorized(r *http.Request, code, message, hint string) error {
	challenge := `Basic realm="kineweir", charset="UTF-8"`
	if r.Header.Get(ConsoleHeader) != "" {
		challenge = `Bearer realm="kineweir"`
	}
	return &web.Error{Status: http.StatusUnauthorized, Code: code, Message: message, Hint: hint, Challenge: challenge}
}

// refuse is what a caller without the right gets: 401 when a name might help,
// 403 when it has one.
func (s *Store) refuse(r *http.Request, c caller, message, hint string) error {
	if c.user.name == "" && c.grant == nil {
		return s.unauthorized(r, "sign_in", message, "sign in, or send a key")
	}
	return &web.Error{Status: http.StatusForbidden, Code: "forbidden", Message: message, Hint: hint}
}

// User returns the name of who sent r; "" is anonymous, or everybody where no
// credentials are needed. The error is an [*web.Error].
func (s *Store) User(r *http.Request) (string, error) {
	c, err := s.caller(r)
	if err != nil {
		return "", err
	}
	return c.user.name, nil
}

// Admin returns nil when who sent r may use the whole API, else an
// [*web.Error].
func (s *Store) Admin(r *http.Request) error {
	c, err := s.caller(r)
	if err != nil {
		return err
	}
	if !c.user.Admin || c.grant != nil {
		return s.refuse(r, c, "this needs the right admin", "the right stands with the user in the credentials file")
	}
	return nil
}

// Metrics returns nil when who sent r may read the metrics, else an
// [*web.Error].
func (s *Store) Metrics(r *http.Request) error {
	c, err := s.caller(r)
	if err != nil {
		return err
	}
	if !c.user.Admin && !c.user.Metrics || c.grant != nil {
		return s.refuse(r, c, "this needs the right metrics", "the right stands with the user in the credentials file")
	}
	return nil
}

// Stream returns nil when who sent r may do a with the stream, else an
// [*web.Error].
func (s *Store) Stream(r *http.Request, a ingest.Action, name fragments.StreamName) error {
	c, err := s.caller(r)
	if err != nil {
		return err
	}
	if c.grant != nil && (c.grant.Actions&actionsOf(a) == 0 || c.grant.Stream != "" && c.grant.Stream != name) {
		return s.refuse(r, c, "the token is for something else", "")
	}
	if !c.user.may(a, name) {
		return s.refuse(r, c, "this needs the right to "+string(a)+" stream "+string(name), "the right stands with the user in the credentials file")
	}
	return nil
}

func actionsOf(a ingest.Action) Actions {
	switch a {
	case ingest.View:
		return ActView
	case ingest.Publish:
		return ActPublish
	}
	return 0
}

// Viewer returns nil when who sent r may view the stream's video from start to
// end (zero start: from the oldest, zero end: up to the newest and on), and the
// token that the URLs in a playlist must carry so that a player, which repeats
// neither headers nor cookies, gets on. The token is "" where none is needed,
// and the same for equal questions within hours. Errors are [*web.Error] with
// status 401 (with the challenge) or 403.
func (s *Store) Viewer(r *http.Request, stream fragments.StreamName, start, end time.Time) (token string, err error) {
	if s.open {
		return "", nil
	}
	c, err := s.caller(r)
	if err != nil {
		return "", err
	}
	if !c.user.may(ingest.View, stream) {
		return "", s.refuse(r, c, "this needs the right to view stream "+string(stream), "the right stands with the user in the credentials file")
	}
	switch {
	case c.grant != nil:
		if err := c.grant.covers(ActView, stream, start, end); err != nil {
			return "", &web.Error{Status: http.StatusForbidden, Code: "forbidden", Message: err.Error()}
		}
		if token = r.URL.Query().Get("token"); token == "" {
			token = strings.TrimSpace(r.Header.Get("Authorization")[len("Bearer "):])
		}
		return token, nil
	case c.user.name == "":
		return "", nil
	}
	return s.tokens.issueSteady(Grant{User: c.user.name, Stream: stream, Actions: ActView, Start: start, End: end})
}

// Grant issues a token for whoever sent r, who must have the rights it carries
// and must not hold them by a token itself. life zero is the default.
func (s *Store) Grant(r *http.Request, g Grant, life time.Duration) (string, Grant, error) {
	c, err := s.caller(r)
	if err != nil {
		return "", g, err
	}
	if c.grant != nil {
		return "", g, s.refuse(r, c, "a token issues no tokens", "use a key")
	}
	for _, a := range [...]ingest.Action{ingest.View, ingest.Publish} {
		if g.Actions&actionsOf(a) != 0 && !c.user.may(a, g.Stream) {
			return "", g, s.refuse(r, c, "this needs the right to "+string(a)+" stream "+string(g.Stream), "the right stands with the user in the credentials file")
		}
	}
	if life < 0 || life > MaxTokenLife {
		return "", g, &web.Error{Status: http.StatusBadRequest, Code: "bad_life", Message: "a token lasts up to 366 days"}
	}
	g.User, g.Expires = c.user.name, time.Time{}
	if life > 0 {
		g.Expires = s.now().Add(life)
	}
	return s.tokens.Issue(g)
}

// Revoke ends a token for whoever sent r: its issuer or an admin.
func (s *Store) Revoke(r *http.Request, token string) error {
	c, err := s.caller(r)
	if err != nil {
		return err
	}
	g, err := s.tokens.Check(token)
	if errors.Is(err, ErrExpiredToken) || errors.Is(err, ErrRevokedToken) {
		return nil // it is ended
	}
	if err != nil {
		return &web.Error{Status: http.StatusBadRequest, Code: "bad_token", Message: err.Error()}
	}
	if c.grant != nil || !c.user.Admin && g.User != c.user.name || c.user.name == "" && !s.open {
		return s.refuse(r, c, "a token is ended by who issued it, or with the right admin", "")
	}
	return s.tokens.Revoke(token)
}

// RevokeUser ends all tokens and sessions of a user, for that user or an admin.
func (s *Store) RevokeUser(r *http.Request, name string) error {
	c, err := s.caller(r)
	if err != nil {
		return err
	}
	if c.grant != nil || !c.user.Admin && (name != c.user.name || name == "") {
		return s.refuse(r, c, "the tokens of a user are ended by that user, or with the right admin", "")
	}
	return s.tokens.RevokeUser(name)
}
