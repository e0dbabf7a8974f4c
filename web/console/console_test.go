package console

import (
	"compress/gzip"
	"io"
	"io/fs"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
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
	for _, path := range []string{"/", "/publish"} {
		if w := get(mux, path); w.Code != 200 || !strings.Contains(w.Body.String(), "<title>Kineweir</title>") {
			t.Errorf("%s: %d", path, w.Code)
		}
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

// Text stands out from what is behind it by 4.5 to 1 or more (WCAG 2.2, 1.4.3),
// in both sets of colours.
func TestContrast(t *testing.T) {
	data, err := files.ReadFile("static/style.css")
	if err != nil {
		t.Fatal(err)
	}
	css := string(data)
	light := css[strings.Index(css, `:root[data-theme="light"] {`):]
	sets := map[string]string{"dark": css[:strings.Index(css, `:root[data-theme="light"] {`)], "light": light[:strings.Index(light, "}")]}
	variable := regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`)
	for theme, text := range sets {
		colours := map[string][3]float64{}
		for _, m := range variable.FindAllStringSubmatch(text, -1) {
			v, _ := strconv.ParseUint(m[2], 16, 32)
			colours[m[1]] = [3]float64{float64(v >> 16), float64(v >> 8 & 255), float64(v & 255)}
		}
		for _, pair := range [][2]string{
			{"text", "background"},
			{"text", "surface"},
			{"text", "raised"},
			{"muted", "background"},
			{"muted", "surface"},
			{"muted", "raised"},
			{"accent", "surface"},
			{"accent-text", "accent"},
			{"bad", "surface"},
			{"bad", "raised"},
			{"warn", "surface"},
			{"live", "surface"},
			{"idle", "surface"},
			{"background", "text"},
			{"background", "bad"},
		} {
			a, ok1 := colours[pair[0]]
			b, ok2 := colours[pair[1]]
			if !ok1 || !ok2 {
				t.Fatalf("%s: colours %v are not there", theme, pair)
			}
			if c := contrast(a, b); c < 4.5 {
				t.Errorf("%s: %s on %s: contrast %.2f, want 4.5", theme, pair[0], pair[1], c)
			}
		}
	}
}

// contrast is the contrast ratio of WCAG 2.2.
func contrast(a, b [3]float64) float64 {
	luminance := func(c [3]float64) float64 {
		for i, v := range c {
			if v /= 255; v <= 0.04045 {
				c[i] = v / 12.92
			} else {
				c[i] = math.Pow((v+0.055)/1.055, 2.4)
			}
		}
		return 0.2126*c[0] + 0.7152*c[1] + 0.0722*c[2]
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}
