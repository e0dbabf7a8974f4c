package auth

import (
	"encoding/hex"
	"net/http"

	"github.com/kineweir/kineweir/web"
)

// Routes returns the sign-in of the console: POST /api/session with
// {"user","key"} signs in and sets a cookie, GET says who one is, DELETE signs
// out and ends the session.
func (s *Store) Routes() []web.Route {
	route := func(pattern string, h func(w http.ResponseWriter, r *http.Request) error) web.Route {
		return web.Route{Pattern: pattern, Kind: web.API, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r); err != nil {
				web.WriteError(w, err)
			}
		})}
	}
	return []web.Route{
		route("GET /api/session", s.showSession),
		route("POST /api/session", s.signIn),
		route("DELETE /api/session", s.signOut),
	}
}

// sessionBody is what the console needs to know to show itself.
type sessionBody struct {
	Open     bool   `json:"open"`      // nobody needs to sign in
	SignedIn bool   `json:"signed_in"` //
	User     string `json:"user"`      // "" when not signed in
	Admin    bool   `json:"admin"`
	// Anonymous says that something can be viewed without signing in.
	Anonymous bool `json:"anonymous"`
}

func (s *Store) showSession(w http.ResponseWriter, r *http.Request) error {
	c, err := s.caller(r)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, s.sessionOf(c.user))
	return nil
}

func (s *Store) sessionOf(u *user) sessionBody {
	return sessionBody{Open: s.open, SignedIn: u.name != "", User: u.name, Admin: u.Admin, Anonymous: s.open || len(s.book().anonymous.View) > 0}
}

func (s *Store) signIn(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		User string `json:"user"`
		Key  string `json:"key"`
	}
	if err := web.ReadJSON(w, r, &body); err != nil {
		return err
	}
	if s.open {
		web.WriteJSON(w, http.StatusOK, s.sessionOf(everybody))
		return nil
	}
	u, wait := s.guard.try(r, body.User+"\x00"+body.Key, func() *user { return s.verify(body.User, body.Key) })
	if wait > 0 {
		return tooMany(wait)
	}
	if u == nil {
		return s.unauthorized(r, "bad_credentials", "user or key is wrong", "the users stand in the server's credentials file")
	}
	token, g, err := s.tokens.Issue(Grant{User: u.name, Actions: actWhole, Expires: s.now().Add(sessionLife)})
	if err != nil {
		return err
	}
	c := s.cookie(r)
	c.Value, c.Expires, c.MaxAge = token, g.Expires, int(sessionLife.Seconds())
	http.SetCookie(w, c)
	s.log.Info("signed in", "user", u.name, "remote", r.RemoteAddr)
	web.WriteJSON(w, http.StatusOK, s.sessionOf(u))
	return nil
}

func (s *Store) signOut(w http.ResponseWriter, r *http.Request) error {
	gone := s.cookie(r)
	if c, err := r.Cookie(gone.Name); err == nil && s.bySession(r) != nil {
		if err := s.tokens.Revoke(c.Value); err != nil {
			return err
		}
	}
	gone.MaxAge = -1
	http.SetCookie(w, gone)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// cookie returns the cookie of a session without its value. Browsers do not
// keep the cookies of two ports apart, so the name tells servers apart.
func (s *Store) cookie(r *http.Request) *http.Cookie {
	return &http.Cookie{
		Name: "kineweir_" + hex.EncodeToString(macOf(s.tokens.key, []byte("cookie"))[:4]),
		Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	}
}

// bySession returns the user whom the cookie proves, or nil.
func (s *Store) bySession(r *http.Request) *user {
	c, err := r.Cookie(s.cookie(r).Name)
	if err != nil {
		return nil
	}
	g, err := s.tokens.Check(c.Value)
	if err != nil || g.Actions&actWhole == 0 {
		return nil
	}
	return s.book().users[g.User]
}
