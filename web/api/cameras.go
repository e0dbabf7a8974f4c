package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/web"
)

// Errors that Cameras may wrap.
var (
	ErrNoCamera    = errors.New("no such camera")
	ErrFixedCamera = errors.New("the camera stands in the config file")
)

// Camera is a source that this server pulls.
type Camera struct {
	Name      fragments.StreamName
	URL       string // with its user and password
	Transport string // "auto", "tcp" or "udp"
	OnDemand  bool   // only while somebody watches
	Fixed     bool   // it stands in the config file
	// State is one of "connecting", "live", "error" (waiting to try again) and
	// "idle" (on demand, and nobody watches).
	State string
	Error string    // why it last ended, "" when it never did
	Since time.Time // of the state
}

// Cameras pulls cameras. Set adds or replaces one and, as Delete, is durable
// when it returns nil.
type Cameras interface {
	List() []Camera
	Set(ctx context.Context, c Camera) error
	Delete(ctx context.Context, name fragments.StreamName) error
}

type cameraBody struct {
	Name      string `json:"name"`
	URL       string `json:"url"` // passwords shown as ***
	Transport string `json:"transport"`
	OnDemand  bool   `json:"on_demand"`
	Fixed     bool   `json:"fixed"`
	State     string `json:"state"`
	Since     stamp  `json:"since"`
	Error     string `json:"error,omitempty"`
}

func bodyOf(c Camera) cameraBody {
	return cameraBody{
		Name: string(c.Name), URL: maskURL(c.URL), Transport: cmp.Or(c.Transport, "auto"), OnDemand: c.OnDemand, Fixed: c.Fixed,
		State: stateOf(c), Since: stampOf(c.Since), Error: maskText(c.Error),
	}
}

func stateOf(c Camera) string { return cmp.Or(c.State, stateConnecting) }

// cameras returns what pulls cameras, if who sent r may know.
func (a *API) cameras(r *http.Request) (Cameras, error) {
	if err := a.o.Access.Admin(r); err != nil {
		return nil, err
	}
	if a.o.Cameras == nil {
		return nil, missing("cameras to pull")
	}
	return a.o.Cameras, nil
}

func (a *API) camerasByName() map[fragments.StreamName]Camera {
	if a.o.Cameras == nil {
		return nil
	}
	m := map[fragments.StreamName]Camera{}
	for _, c := range a.o.Cameras.List() {
		m[c.Name] = c
	}
	return m
}

func (a *API) listCameras(w http.ResponseWriter, r *http.Request) error {
	cameras, err := a.cameras(r)
	if err != nil {
		return err
	}
	list := []cameraBody{}
	for _, c := range cameras.List() {
		list = append(list, bodyOf(c))
	}
	slices.SortFunc(list, func(a, b cameraBody) int { return strings.Compare(a.Name, b.Name) })
	web.WriteJSON(w, http.StatusOK, map[string]any{"cameras": list})
	return nil
}

func (a *API) showCamera(w http.ResponseWriter, r *http.Request) error {
	name, err := pathName(r)
	if err != nil {
		return err
	}
	if _, err := a.cameras(r); err != nil {
		return err
	}
	c, ok := a.camerasByName()[name]
	if !ok {
		return ErrNoCamera
	}
	web.WriteJSON(w, http.StatusOK, bodyOf(c))
	return nil
}

func (a *API) putCamera(w http.ResponseWriter, r *http.Request) error {
	name, err := pathName(r)
	if err != nil {
		return err
	}
	cameras, err := a.cameras(r)
	if err != nil {
		return err
	}
	var body struct {
		URL       string `json:"url"`
		Transport string `json:"transport"`
		OnDemand  bool   `json:"on_demand"`
	}
	if err := web.ReadJSON(w, r, &body); err != nil {
		return err
	}
	old, existed := a.camerasByName()[name]
	u, err := cameraURL(body.URL, old.URL)
	if err != nil {
		return err
	}
	c := Camera{Name: name, URL: u, Transport: cmp.Or(body.Transport, "auto"), OnDemand: body.OnDemand}
	if !slices.Contains([]string{"auto", "tcp", "udp"}, c.Transport) {
		return &web.Error{Status: http.StatusBadRequest, Code: "bad_transport", Message: "transport: " + c.Transport + " is none", Hint: "use auto, tcp or udp"}
	}
	if err := cameras.Set(r.Context(), c); err != nil {
		return err
	}
	status := http.StatusCreated
	if existed {
		status = http.StatusOK
	}
	if now, ok := a.camerasByName()[name]; ok {
		c = now // with its state
	}
	web.WriteJSON(w, status, bodyOf(c))
	return nil
}

func (a *API) deleteCamera(w http.ResponseWriter, r *http.Request) error {
	name, err := pathName(r)
	if err != nil {
		return err
	}
	cameras, err := a.cameras(r)
	if err != nil {
		return err
	}
	if err := cameras.Delete(r.Context(), name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// masked stands for a password that is not shown.
const masked = "***"

// cameraURL checks the URL of a camera. A password given as *** is the one that
// the camera has, so that what was read can be changed and put back; it is kept
// for the same user at the same host only, lest it be sent elsewhere.
func cameraURL(given, old string) (string, error) {
	bad := func(message, hint string) error {
		return &web.Error{Status: http.StatusBadRequest, Code: "bad_url", Message: "url: " + message, Hint: hint}
	}
	const example = "write rtsp://user:password@192.0.2.10:554/stream1"
	if given == "" {
		return "", bad("it is missing", example)
	}
	u, err := url.Parse(given)
	switch {
	case err != nil:
		return "", bad("it cannot be read", "write characters such as @ : / # in a password as %40 %3A %2F %23") // the error would show it
	case u.Scheme != "rtsp" && u.Scheme != "rtsps":
		return "", bad("it must begin with rtsp:// or rtsps://", example)
	case u.Hostname() == "":
		return "", bad("it names no host", example)
	}
	if password, _ := u.User.Password(); password == masked {
		o, err := url.Parse(old)
		if err != nil || o.Host != u.Host || o.User.Username() != u.User.Username() {
			return "", bad("the password is missing", "give the password again when user or host change")
		}
		u.User = o.User
	}
	if strings.Contains(u.RawQuery, masked) || strings.Contains(u.RawQuery, url.QueryEscape(masked)) {
		o, err := url.Parse(old)
		if err != nil || o.Host != u.Host || maskQuery(o.RawQuery) != u.RawQuery {
			return "", bad("a password in the query is missing", "give it again when the URL changes")
		}
		u.RawQuery = o.RawQuery
	}
	return u.String(), nil
}

// maskURL returns a camera's URL without what is secret in it.
func maskURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return masked
	}
	userinfo := ""
	if u.User != nil {
		userinfo = url.User(u.User.Username()).String()
		if _, has := u.User.Password(); has {
			userinfo += ":" + masked
		}
		userinfo += "@"
	}
	u.User = nil
	u.RawQuery = maskQuery(u.RawQuery)
	return strings.Replace(u.String(), "://", "://"+userinfo, 1)
}

var secretParameter = regexp.MustCompile(`(?i)(pass|pwd|secret|token|auth|key)`)

// maskQuery masks the values of parameters that some cameras take passwords in.
func maskQuery(q string) string {
	if q == "" {
		return q
	}
	pairs := strings.Split(q, "&")
	for i, p := range pairs {
		if k, _, has := strings.Cut(p, "="); has && secretParameter.MatchString(k) {
			pairs[i] = k + "=" + masked
		}
	}
	return strings.Join(pairs, "&")
}

var urlPassword = regexp.MustCompile(`(://[^/\s:@"']*):[^\s"']*@`)

// maskText masks the passwords of URLs in an error text.
func maskText(s string) string {
	return urlPassword.ReplaceAllString(s, "$1:"+masked+"@")
}
