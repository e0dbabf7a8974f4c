package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// exampleText is the annotated file with its examples switched on.
func exampleText() string {
	text := regexp.MustCompile(`(?m)^(streams|cameras|  ice_servers): \{\}\n`).ReplaceAllString(configText, "")
	return regexp.MustCompile(`(?m)^#(\S|  +)`).ReplaceAllString(text, "$1")
}

// TestConfigTextNamesEveryKey holds the annotated file and the struct together:
// each key of one stands in the other, and each is explained.
func TestConfigTextNamesEveryKey(t *testing.T) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(exampleText()), &doc); err != nil {
		t.Fatalf("the annotated file with its examples is not YAML: %v\n%s", err, exampleText())
	}
	documented := map[string]string{}
	collectComments(doc.Content[0], "", documented)
	keys := allKeys(reflect.TypeFor[Config](), "")
	if len(keys) < 34 {
		t.Fatalf("only %d keys found", len(keys))
	}
	for _, key := range keys {
		comment, ok := documented[key]
		switch {
		case !ok:
			t.Errorf("key %s is not in config.yaml", key)
		case len(comment) < 10:
			t.Errorf("key %s is not explained in config.yaml: %q", key, comment)
		}
		delete(documented, key)
	}
	for key, comment := range documented {
		if comment != "section" {
			t.Errorf("config.yaml has key %s, the struct does not", key)
		}
	}
}

// allKeys is leafPaths with the keys of named entries, as "cameras.*.url".
func allKeys(typ reflect.Type, path string) (keys []string) {
	for f := range typ.Fields() {
		key := f.Tag.Get("yaml")
		switch {
		case key == "":
		case f.Type.Kind() == reflect.Map:
			keys = append(keys, allKeys(f.Type.Elem(), join(path, key)+".*")...)
		case isLeaf(f.Type):
			keys = append(keys, join(path, key))
		default:
			keys = append(keys, allKeys(f.Type, join(path, key))...)
		}
	}
	return keys
}

func collectComments(n *yaml.Node, path string, into map[string]string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := key.Value
		if path == "cameras" || path == "streams" || path == "webrtc.ice_servers" {
			name = "*"
		}
		if value.Kind == yaml.MappingNode {
			into[join(path, name)] = "section"
			collectComments(value, join(path, name), into)
			continue
		}
		into[join(path, name)] = key.HeadComment
	}
}

// TestConfigDefaults pins the defaults that users rely on.
func TestConfigDefaults(t *testing.T) {
	c := defaultConfig()
	want := &Config{
		Data: "./kineweir-data",
		HTTP: HTTPConfig{Addr: "127.0.0.1:8080"},
		RTSP: RTSPConfig{Addr: "127.0.0.1:8554", TLSAddr: "127.0.0.1:8322", UDPAddr: "127.0.0.1:8000", SecondPublisher: "newest"},
		WebRTC: WebRTCConfig{
			Addr: "127.0.0.1:8189", MDNS: "resolve", MaxSessions: 2000, StartKbps: 1000,
			TURN: TURNConfig{Addr: "127.0.0.1:3478", Realm: "kineweir"},
		},
		Archive: ArchiveConfig{Bucket: BucketConfig{Type: "dir", Region: "us-east-1", Secure: true}, SegmentSize: 16 << 20, SegmentAge: duration(time.Minute), MaxSpool: 16 << 30, Retention: RetentionConfig{MinFree: 2 << 30}},
		Fragments: FragmentsConfig{
			MinDuration: duration(time.Second), MaxDuration: duration(10 * time.Second),
			MaxBytes: 8 << 20, PartDuration: duration(200 * time.Millisecond),
		},
		Images:  ImagesConfig{FFmpeg: "ffmpeg", Timeout: duration(10 * time.Second), MaxMemory: 1 << 30},
		Records: RecordsConfig{Memory: 64 << 20},
		Events:  EventsConfig{Stream: "detections"},
		AWS:     AWSConfig{Account: "000000000000", Region: "us-east-1"},
		Limits:  "none",
		Log:     LogConfig{Level: "info", Format: "text"},
		origin:  map[string]origin{},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("defaults are\n%+v, want\n%+v", c, want)
	}
	if bad := c.validate(nil); len(bad) > 0 {
		t.Errorf("the defaults do not pass their own check: %v", bad)
	}
}

// TestConfigExamples sees that the examples in the annotated file work.
func TestConfigExamples(t *testing.T) {
	file := writeConfig(t, exampleText())
	c, err := loadConfig(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Cameras["front-door"]; got != (Camera{URL: "rtsp://user:password@192.0.2.10:554/stream1", Transport: "auto"}) {
		t.Errorf("camera is %+v", got)
	}
	if age, bytes := c.retention("front-door"); age != 90*24*time.Hour || bytes != 200<<30 {
		t.Errorf("retention is %s and %d bytes", age, bytes)
	}
	if age, bytes := c.retention("other"); age != 0 || bytes != 0 {
		t.Errorf("retention of another stream is %s and %d bytes", age, bytes)
	}
}

// TestConfigOverrides sees flags win over the environment, and that over the
// file, and each over the defaults.
func TestConfigOverrides(t *testing.T) {
	file := writeConfig(t, "data: file\nhttp: {addr: \":1\"}\nrtsp: {addr: \":2\"}\narchive: {retention: {max_age: 30d, max_bytes: 1GiB}}\n"+
		"cameras: {Front.Door: {url: \"rtsp://a/\", on_demand: true}}\nstreams: {x: {retention: {max_age: none}}}\n")
	env := []string{
		"KINEWEIR_HTTP_ADDR=:11", "KINEWEIR_RTSP_ADDR=:12", "KINEWEIR_ARCHIVE_BUCKET_SECRET_KEY=se=cret", "KINEWEIR_ARCHIVE_RETENTION_MAX_BYTES=none",
		"KINEWEIR_CAMERAS_FRONT_DOOR_URL=rtsp://b/", "KINEWEIR_CAMERAS_YARD_ON_DEMAND=true", "KINEWEIR_CAMERAS_YARD_URL=rtsp://c/", "PATH=/bin", "KINEWEIR_SERVICE_HOST=10.0.0.1",
		"KINEWEIR_STREAMS_Y_RETENTION_MAX_BYTES=5MiB",
		"KINEWEIR_HTTP_HOSTS=a.example, b.example c.example",
		"KINEWEIR_WEBRTC_ICE_SERVERS_OFFICE_URL=stun:a.example", "KINEWEIR_WEBRTC_ADVERTISE=2001:db8::1 cams.example",
	}
	c, err := loadConfig(file, env, []setting{{"rtsp.addr", ":22", "flag --rtsp"}, {"auth.insecure", "true", "flag --insecure"}})
	if err != nil {
		t.Fatal(err)
	}
	ageX, _ := c.retention("x")
	ageY, bytesY := c.retention("y")
	for _, check := range []struct {
		key       string
		got, want any
	}{
		{"log.level (default)", c.Log.Level, "info"},
		{"data (file)", c.Data, "file"},
		{"http.addr (environment)", c.HTTP.Addr, address(":11")},
		{"rtsp.addr (flag)", c.RTSP.Addr, address(":22")},
		{"auth.insecure (flag)", c.Auth.Insecure, true},
		{"secret_key (environment)", c.Archive.Bucket.SecretKey, "se=cret"},
		{"max_age (file)", c.Archive.Retention.MaxAge, duration(30 * 24 * time.Hour)},
		{"max_bytes (environment)", c.Archive.Retention.MaxBytes, size(0)},
		{"camera of the file", c.Cameras["Front.Door"], Camera{"rtsp://b/", "auto", true}},
		{"camera of the environment", c.Cameras["yard"], Camera{"rtsp://c/", "auto", true}},
		{"stream without limit", ageX, time.Duration(0)},
		{"stream of the environment: age", ageY, 30 * 24 * time.Hour},
		{"stream of the environment: bytes", bytesY, int64(5 << 20)},
		{"words (environment)", strings.Join(c.HTTP.Hosts, "|"), "a.example|b.example|c.example"},
		{"ICE server of the environment", c.WebRTC.ICEServers["office"], ICEServer{URL: "stun:a.example"}},
		{"advertised (environment)", strings.Join(c.WebRTC.Advertise, "|"), "2001:db8::1|cams.example"},
		{"origin", c.origin["rtsp.addr"], origin{text: "flag --rtsp"}},
	} {
		if check.got != check.want {
			t.Errorf("%s is %v, want %v", check.key, check.got, check.want)
		}
	}
}

// TestConfigWithoutRTSP sees that an empty address of RTSP is enough to have none:
// RTP over UDP, which is on by default, is of no use alone.
func TestConfigWithoutRTSP(t *testing.T) {
	c, err := loadConfig("", nil, []setting{{"rtsp.addr", "", "flag --rtsp"}})
	if err != nil {
		t.Fatal(err)
	}
	if c.RTSP.Addr != "" || c.RTSP.UDPAddr != "" {
		t.Errorf("RTSP is on %q and RTP on %q, want neither", c.RTSP.Addr, c.RTSP.UDPAddr)
	}
}

// TestConfigEnvironmentIsUnambiguous sees that no two keys have one variable.
func TestConfigEnvironmentIsUnambiguous(t *testing.T) {
	seen := map[string]string{}
	for _, key := range leafPaths(reflect.TypeFor[Config](), "") {
		name := envName(key)
		if other, ok := seen[name]; ok {
			t.Errorf("%s is both %s and %s", name, key, other)
		}
		if fromOrchestrator(name) {
			t.Errorf("%s is ignored as one that Kubernetes sets", name)
		}
		seen[name] = key
	}
}

// TestConfigRefuses has a row for each rule between keys.
func TestConfigRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`data: ""`, "data: is empty"},
		{`rtsp: {addr: "127.0.0.1:8080"}`, "127.0.0.1:8080 is taken by http.addr"},
		{`rtsp: {tls_addr: "127.0.0.1:8554"}`, "is taken by rtsp.addr"},
		{`rtsp: {udp_addr: ":8001"}`, "port 8001 is odd"},
		{`rtsp: {addr: "", udp_addr: ":8002"}`, "rtsp.udp_addr is not"},
		{`http: {hosts: "a.example https://b.example"}`, `"https://b.example" is not a name`},
		{`http: {origins: "https://a.example b.example"}`, `"b.example" is not an origin`},
		{`rtsp: {second_publisher: both}`, "none of newest, refuse"},
		{`http: {addr: ""}`, `"" is not an address`},
		{`http: {addr: "a b:1"}`, "is not a host"},
		{`http: {addr: ":70000"}`, "is not a number from 0 to 65535"},
		{`http: {addr: ":http"}`, "is not a number from 0 to 65535"},
		{`tls: {cert: a.pem}`, "tls.key: is empty, but tls.cert is not"},
		{`tls: {key: a.pem}`, "tls.cert: is empty, but tls.key is not"},
		{`auth: {file: a, insecure: true}`, "give one of the two"},
		{`archive: {bucket: {endpoint: "a:1"}}`, `archive.bucket.type is dir: set it to "minio"`},
		{`archive: {bucket: {type: minio, bucket: abc}}`, "archive.bucket.endpoint: is empty"},
		{`archive: {bucket: {type: minio, endpoint: "a:1"}}`, "archive.bucket.bucket: is empty"},
		{`archive: {bucket: {type: minio, endpoint: "a:1", bucket: ab}}`, "3 to 63"},
		{`archive: {bucket: {type: minio, endpoint: "https://a:1", bucket: abc}}`, `write "a:1", and archive.bucket.secure: true`},
		{`archive: {bucket: {type: minio, endpoint: "a:1", bucket: abc, path: x}}`, "is for type dir"},
		{`archive: {bucket: {type: minio, endpoint: "a:1", bucket: abc, access_key: x}}`, "go together"},
		{`archive: {segment_size: 1KiB}`, "1.0 KiB is not between"},
		{`archive: {segment_age: 1ms}`, "1ms is not between"},
		{`archive: {max_spool: 20MiB}`, "fewer than four segments"},
		{`archive: {retention: {max_age: never}}`, `or "none"`},
		{`fragments: {min_duration: 11s}`, "shorter than fragments.min_duration"},
		{`fragments: {max_duration: 2m}`, "longer than a minute"},
		{`fragments: {part_duration: 1ms}`, "1ms is not between"},
		{`fragments: {max_bytes: 1KiB}`, "not between 64 KiB"},
		{`webrtc: {addr: "127.0.0.1:8080"}`, "127.0.0.1:8080 is taken by http.addr"},
		{`webrtc: {addr: "127.0.0.1:8001"}`, "taken by rtsp.udp_addr"},
		{`webrtc: {advertise: "a.example https://b.example"}`, `"https://b.example" is neither an address nor a name`},
		{`webrtc: {advertise: "203.0.113.7:8189"}`, `"203.0.113.7:8189" is neither an address nor a name`},
		{`webrtc: {mdns: yes}`, "none of resolve, off, full"},
		{`webrtc: {mdns: full, advertise: 203.0.113.7}`, "webrtc.mdns: full hides"},
		{`webrtc: {max_sessions: 100001}`, "more than 100000"},
		{`webrtc: {start_kbps: 100001}`, "webrtc.start_kbps: 100001 is more than 100000"},
		{`webrtc: {start_kbps: fast}`, `or "none"`},
		{`webrtc: {ice_servers: {x: {}}}`, `webrtc.ice_servers.x.url: "" is no STUN or TURN server`},
		{`webrtc: {ice_servers: {x: {url: "https://x"}}}`, "is no STUN or TURN server"},
		{`webrtc: {ice_servers: {x: {url: "turn:x"}}}`, "webrtc.ice_servers.x.user: TURN needs user and credential"},
		{`webrtc: {addr: "", turn: {enabled: true}}`, "there is nothing to relay to"},
		{`webrtc: {turn: {enabled: true, addr: "127.0.0.1:8189"}}`, "is taken by webrtc.addr"},
		{`webrtc: {turn: {enabled: true, public: "turn:x"}}`, `"turn:x" is neither an address nor a name`},
		{`webrtc: {turn: {enabled: true, realm: ""}}`, "webrtc.turn.realm: is empty"},
		{`webrtc: {turn: {enabled: true, relay_to: "192.0.2.1"}}`, `"192.0.2.1" is no network`},
		{`streams: {a/b: {}}`, "a name has no slash"},
		{`streams: {a: {late: 6m}}`, "waits in memory"},
		{`cameras: {a: {url: "rtsp://u:p#w@h/"}}`, "escape special characters"},
		{`cameras: {a: {url: "rtsp://u:p%w@h/"}}`, "escape special characters"},
		{`cameras: {a: {url: "rtsp:///x"}}`, "no host"},
		{`cameras: {a: {url: "http://x"}}`, "scheme"},
		{`ingest: {max_publishers: 0}`, `from 1, or "none"`},
		{`limits: azure`, "none of none, aws"},
		{`images: {ffmpeg: ""}`, "is empty: name the program"},
		{`images: {workers: 2000}`, "more than 1024"},
		{`images: {workers: 0}`, `from 1, or "none"`},
		{`images: {timeout: 10ms}`, "not between 100ms and 10m"},
		{`images: {max_memory: 64MiB}`, "not between 512 MiB"},
		{`records: {memory: 1MiB}`, "not between 8 MiB"},
		{`records: {max_shards: 0}`, `from 1, or "none"`},
		{`feed: {stream: a/b}`, "letters, digits"},
		{`events: {stream: "x y"}`, "letters, digits"},
		{`aws: {account: "12"}`, "twelve digits"},
		{`aws: {region: ""}`, "is empty"},
		{`log: {format: xml}`, "none of text, json"},
	} {
		t.Run(c.text, func(t *testing.T) {
			_, err := loadConfig(writeConfig(t, c.text), nil, nil)
			var bad *configError
			if !errors.As(err, &bad) || len(bad.problems) != 1 {
				t.Fatalf("got %v, want one problem", err)
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "kineweir.yaml:1: ") {
				t.Errorf("got %v, want line 1 and %q", err, c.want)
			}
		})
	}
}

func TestDuration(t *testing.T) {
	for _, c := range []struct {
		text string
		want time.Duration // 0 for refused
	}{
		{"500ms", 500 * time.Millisecond},
		{"2s", 2 * time.Second},
		{"30d", 720 * time.Hour},
		{"1d12h", 36 * time.Hour},
		{"1h30m", 90 * time.Minute},
		{"", 0},
		{"5", 0},
		{"0s", 0},
		{"0d", 0},
		{"-1s", 0},
		{"1d-1h", 0},
		{"d", 0},
		{"1.5d", 0},
		{"200000d", 0},
		{"106751d24h", 0},
		{"1 s", 0},
	} {
		var d duration
		err := d.UnmarshalText([]byte(c.text))
		if time.Duration(d) != c.want || (err == nil) != (c.want != 0) {
			t.Errorf("%q is %s (%v), want %s", c.text, time.Duration(d), err, c.want)
		}
	}
}

func TestSize(t *testing.T) {
	for _, c := range []struct {
		text string
		want size // 0 for refused
	}{
		{"1", 1},
		{"512KiB", 512 << 10},
		{"16MiB", 16 << 20},
		{"16 MiB", 16 << 20},
		{"1.5GiB", 3 << 29},
		{"2TiB", 2 << 40},
		{"10MB", 1e7},
		{"1k", 1024},
		{"7EiB", 0},
		{"9223372036854775807", 1<<63 - 1},
		{"9223372036854775808", 0},
		{"8388608TiB", 0},
		{"8388608.0TiB", 0},
		{"", 0},
		{"MiB", 0},
		{"0", 0},
		{"0.1", 0},
		{"-1", 0},
		{"1e3", 0},
		{"1..5k", 0},
		{"16MiBs", 0},
		{"NaN", 0},
	} {
		var v size
		err := v.UnmarshalText([]byte(c.text))
		if v != c.want || (err == nil) != (c.want != 0) {
			t.Errorf("%q is %d (%v), want %d", c.text, v, err, c.want)
		}
	}
}

// FuzzConfig sees that no file makes the reader fail other than by saying what
// is wrong with it.
func FuzzConfig(f *testing.F) {
	for _, text := range []string{configText, exampleText(), "a: b: c", "http: [", "x: &a {y: *a}", "cameras: {? {a: b} : c}", "data: !!binary aGk=", "<<: {data: x}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := defaultConfig()
		bad := decodeYAML([]byte(text), c)
		bad = append(bad, c.validate(bad)...)
		if text := (&configError{"f", bad}).Error(); len(bad) > 0 && !strings.Contains(text, "\n  ") {
			t.Errorf("problems are not shown: %s", text)
		}
	})
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kineweir.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
