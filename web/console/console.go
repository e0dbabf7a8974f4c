package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/kineweir/kineweir/web"
)

//go:embed static
var files embed.FS

// Routes returns the routes of the console.
func Routes() ([]web.Route, error) {
	root, err := fs.Sub(files, "static")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	s, err := newSite(root)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return []web.Route{
		{Pattern: "GET /{$}", Kind: web.Page, Handler: s.file("index.html")},
		{Pattern: "GET /console/{path...}", Kind: web.Page, Handler: s},
		{Pattern: "GET /publish", Kind: web.Page, Handler: s.file("index.html")},
	}, nil
}

// site hands out files that never change while the program runs.
type site struct{ files map[string]*file }

// types are the content types of the files, by extension: not asked of the
// system, which may know others.
func types() map[string]string {
	return map[string]string{
		".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
		".svg": "image/svg+xml", ".LICENSE": "text/plain; charset=utf-8",
	}
}

func newSite(root fs.FS) (*site, error) {
	s := &site{files: map[string]*file{}}
	kinds := types()
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		kind, ok := kinds[path.Ext(name)]
		if !ok {
			return fmt.Errorf("file %s has a type that is not known", name)
		}
		f := &file{kind: kind, data: data}
		f.zipped = sync.OnceValue(f.zip)
		f.tag = sync.OnceValue(f.hash)
		s.files[name] = f
		return nil
	})
	return s, err
}

// file returns the handler of one file.
func (s *site) file(name string) http.Handler { return s.files[name] }

// ServeHTTP answers with the file that the path names.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := s.files[r.PathValue("path")]
	if f == nil {
		web.WriteError(w, &web.Error{Status: http.StatusNotFound, Code: "not_found", Message: "the console has no such file"})
		return
	}
	f.ServeHTTP(w, r)
}

// file is one file; it is compressed and hashed when it is first asked for, so
// that a start costs nothing.
type file struct {
	kind   string
	data   []byte
	zipped func() []byte // nil when that is not worth it
	tag    func() string
}

func (f *file) hash() string {
	sum := sha256.Sum256(f.data)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

func (f *file) zip() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err1 := z.Write(f.data)
	err2 := z.Close()
	if err1 != nil || err2 != nil || b.Len() > len(f.data)*9/10 {
		return nil
	}
	return b.Bytes()
}

// ServeHTTP answers with the file, or that it is still the one the browser has.
func (f *file) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache") // kept, but asked about: a new version counts at once
	h.Set("Vary", "Accept-Encoding")
	data, tag := f.data, `"`+f.tag()+`"`
	if zipped := f.zipped(); zipped != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		data, tag = zipped, `"`+f.tag()+`-gzip"`
	}
	h.Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.kind)
	h.Set("Content-Length", strconv.Itoa(len(data)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(data)
	}
}
