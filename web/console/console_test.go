package console

import (
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func handler(t *testing.T) *http.ServeMux {
	t.Helper()
	routes, err := Routes()
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle(r.Pattern, r.Handler)
	}
	return mux
}

func get(mux http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

func TestFilesAreServed(t *testing.T) {
	mux := handler(t)
	err := fs.WalkDir(files, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		path := "/console/" + strings.TrimPrefix(name, "static/")
		data, _ := files.ReadFile(name)
		plain := get(mux, path)
		if plain.Code != 200 || plain.Body.String() != string(data) || plain.Header().Get("Content-Encoding") != "" {
			t.Errorf("%s: %d, %d bytes", path, plain.Code, plain.Body.Len())
		}
		if kind := plain.Header().Get("Content-Type"); strings.HasSuffix(name, ".js") != strings.HasPrefix(kind, "text/javascript") {
			t.Errorf("%s: type %s", path, kind)
		}
		zipped := get(mux, path, "Accept-Encoding", "gzip, br")
		if zipped.Header().Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(zipped.Body)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(z); err != nil || string(b) != string(data) {
				t.Errorf("%s: unzips to %d bytes, %v", path, len(b), err)
			}
		}
		for _, w := range []*httptest.ResponseRecorder{plain, zipped} {
			again := get(mux, path, "If-None-Match", w.Header().Get("ETag"), "Accept-Encoding", map[bool]string{true: "gzip"}[w == zipped])
			if again.Code != 304 || again.Body.Len() != 0 {
				t.Errorf("%s asked again: %d", path, again.Code)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if w := get(mux, "/"); w.Code != 200 || !strings.Contains(w.Body.String(), "<title>Kineweir</title>") {
		t.Errorf("/: %d", w.Code)
	}
	for _, path := range []string{"/console/none.js", "/console/", "/console/vendor"} {
		if w := get(mux, path); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if w := get(mux, "/console/vendor/hls.min.js", "Accept-Encoding", "gzip"); w.Body.Len() > 300_000 {
		t.Errorf("hls.js goes out as %d bytes", w.Body.Len())
	}
}

// The page must work where there is no way out, under a policy that forbids
// scripts and styles in the markup.
func TestNothingComesFromElsewhere(t *testing.T) {
	outside := regexp.MustCompile(`(?i)(https?:)?//[a-z0-9-]+\.[a-z]`)
	inline := regexp.MustCompile(`(?i)<script(>|[^>]*>[^<])|\sstyle=|\son[a-z]+=|javascript:`)
	err := fs.WalkDir(files, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(name, "static/vendor/") {
			return err
		}
		data, _ := files.ReadFile(name)
		text := strings.ReplaceAll(string(data), "http://www.w3.org/2000/svg", "")
		if m := outside.FindString(text); m != "" {
			t.Errorf("%s names %s", name, m)
		}
		if strings.HasSuffix(name, ".html") || strings.HasSuffix(name, ".svg") {
			if m := inline.FindString(text); m != "" {
				t.Errorf("%s has %q in its markup", name, m)
			}
		}
		for _, forbidden := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("} {
			if strings.Contains(text, forbidden) {
				t.Errorf("%s uses %s: what others wrote would be taken for markup", name, forbidden)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
