package minio_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/kineweir/kineweir/archive/bucket/minio"
)

func TestOptions(t *testing.T) {
	good := minio.Options{Endpoint: "127.0.0.1:9000", Bucket: "videos", AccessKey: "a", SecretKey: "s"}
	for _, c := range []struct {
		name   string
		change func(o *minio.Options)
		fault  string // in the error; "": none
		shown  string // by String
	}{
		{"plain", func(o *minio.Options) {}, "", "http://127.0.0.1:9000/videos/"},
		{"prefix", func(o *minio.Options) { o.Prefix = "site 1/cams" }, "", "http://127.0.0.1:9000/videos/site 1/cams/"},
		{"prefix with slash", func(o *minio.Options) { o.Prefix = "site/" }, "", "http://127.0.0.1:9000/videos/site/"},
		{"http", func(o *minio.Options) { o.Endpoint = "http://h:1/" }, "", "http://h:1/videos/"},
		{"https", func(o *minio.Options) { o.Endpoint = "https://h" }, "", "https://h/videos/"},
		{"no endpoint", func(o *minio.Options) { o.Endpoint = "" }, "endpoint is missing", ""},
		{"path in endpoint", func(o *minio.Options) { o.Endpoint = "h:1/videos" }, "has a path", ""},
		{"no bucket", func(o *minio.Options) { o.Bucket = "" }, "cannot be empty", ""},
		{"short bucket", func(o *minio.Options) { o.Bucket = "ab" }, "3 characters", ""},
		{"upper-case bucket", func(o *minio.Options) { o.Bucket = "Videos" }, "invalid characters", ""},
		{"no access key", func(o *minio.Options) { o.AccessKey = "" }, "access key", ""},
		{"no secret key", func(o *minio.Options) { o.SecretKey = "" }, "secret key", ""},
		{"prefix up", func(o *minio.Options) { o.Prefix = "../x" }, "a part is ..", ""},
		{"leading slash", func(o *minio.Options) { o.Prefix = "/x" }, "is empty", ""},
		{"long prefix", func(o *minio.Options) { o.Prefix = strings.Repeat("p", 100) }, "under 100 bytes", ""},
		{"small parts", func(o *minio.Options) { o.PartSize = 1 << 20 }, "part size", ""},
		{"huge parts", func(o *minio.Options) { o.PartSize = 6 << 30 }, "part size", ""},
		{"negative attempts", func(o *minio.Options) { o.Attempts = -1 }, "negative", ""},
		{"negative stall", func(o *minio.Options) { o.Stall = -1 }, "negative", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := good
			c.change(&o)
			s, err := minio.New(o, slog.New(slog.DiscardHandler))
			if verr := o.Validate(); (verr == nil) != (err == nil) {
				t.Errorf("Validate says %v, New %v", verr, err)
			}
			if c.fault == "" {
				if err != nil {
					t.Fatal(err)
				}
				if s.String() != c.shown {
					t.Errorf("shown as %q, want %q", s, c.shown)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("error %v, want one with %q", err, c.fault)
			}
		})
	}
}
