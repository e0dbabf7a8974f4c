package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// validator collects what is wrong between keys that are each well formed.
type validator struct {
	c   *Config
	bad []problem
}

// validate checks what one key alone does not show. Keys that are known to be
// bad are left alone.
func (c *Config) validate(known []problem) []problem {
	v := validator{c: c}
	v.listeners()
	v.web()
	v.webrtc()
	v.files()
	v.bucket()
	v.archive()
	v.fragments()
	v.entries()
	v.images()
	v.records()
	return slices.DeleteFunc(v.bad, func(p problem) bool {
		return slices.ContainsFunc(known, func(k problem) bool { return k.key == p.key })
	})
}

// refuse reports a key, at its own line or, when it is not given, at that of
// its section.
func (v *validator) refuse(key, format string, args ...any) {
	from, given := v.c.origin[key]
	for path := key; !given && path != ""; from, given = v.c.origin[path] {
		path = path[:max(0, strings.LastIndexByte(path, '.'))]
	}
	v.bad = append(v.bad, problem{from, key, fmt.Sprintf(format, args...)})
}

// given reports whether a key is set anywhere, and not at its default.
func (v *validator) given(key string) bool {
	_, ok := v.c.origin[key]
	return ok
}

// require refuses a key that is empty.
func (v *validator) require(key, value, why string) {
	if value == "" {
		v.refuse(key, "is empty: %s", why)
	}
}

func (v *validator) listeners() {
	c := v.c
	taken := map[address]string{}
	for _, l := range c.listeners() {
		if l.addr.port() == 0 || l.key == "rtsp.udp_addr" { // the one that is not TCP
			continue
		}
		if other, ok := taken[l.addr]; ok {
			v.refuse(l.key, "%s is taken by %s: give each its own port", l.addr, other)
		}
		taken[l.addr] = l.key
	}
	if p := c.RTSP.UDPAddr; p != "" && p.port() != 0 && (p.port()%2 != 0 || p.port() > 65534) {
		v.refuse("rtsp.udp_addr", "port %d is odd: RTP takes an even port, and RTCP the next one", p.port())
	}
	if c.RTSP.UDPAddr != "" && c.RTSP.Addr == "" && v.given("rtsp.udp_addr") {
		v.refuse("rtsp.addr", `is empty, but rtsp.udp_addr is not: RTP over UDP is set up through it; set rtsp.udp_addr: "" too`)
	}
}

func (v *validator) web() {
	for _, h := range v.c.HTTP.Hosts {
		if strings.ContainsAny(h, "/:@*") {
			v.refuse("http.hosts", `%q is not a name: write it without scheme and port, such as "cams.example.com"`, h)
		}
	}
	for _, o := range v.c.HTTP.Origins {
		if err := http.NewCrossOriginProtection().AddTrustedOrigin(o); err != nil {
			v.refuse("http.origins", `%q is not an origin: write scheme and name, such as "https://wall.example.com"`, o)
		}
	}
}

func (v *validator) files() {
	v.require("data", v.c.Data, "name the folder in which everything is kept")
	if c := v.c.TLS; (c.Cert == "") != (c.Key == "") {
		key, other := "tls.cert", "tls.key"
		if c.Cert != "" {
			key, other = other, key
		}
		v.refuse(key, "is empty, but %s is not: give both files, or neither for a certificate made here", other)
	}
	if v.c.Auth.Insecure && v.c.Auth.File != "" {
		v.refuse("auth.insecure", "lets everybody in, but auth.file names credentials: give one of the two")
	}
}

func (v *validator) bucket() {
	b := v.c.Archive.Bucket
	if b.Type != "minio" {
		for _, k := range []struct{ key, value string }{{"endpoint", b.Endpoint}, {"bucket", b.Bucket}, {"prefix", b.Prefix}} {
			if k.value != "" {
				v.refuse("archive.bucket."+k.key, `is for type minio, but archive.bucket.type is %s: set it to "minio"`, b.Type)
			}
		}
		return
	}
	v.require("archive.bucket.endpoint", b.Endpoint, `type minio needs host:port of the store, such as "127.0.0.1:9000"`)
	v.require("archive.bucket.bucket", b.Bucket, "type minio needs the name of a bucket")
	if b.Bucket != "" && (len(b.Bucket) < 3 || len(b.Bucket) > 63) {
		v.refuse("archive.bucket.bucket", "%q: names of buckets have 3 to 63 characters", b.Bucket)
	}
	if u, err := url.Parse(b.Endpoint); err == nil && u.Host != "" {
		v.refuse("archive.bucket.endpoint", "%q has a scheme: write %q, and archive.bucket.secure: %t", b.Endpoint, u.Host, u.Scheme == "https")
	}
	if b.Path != "" {
		v.refuse("archive.bucket.path", "is for type dir; for type minio use prefix")
	}
	if (b.AccessKey == "") != (b.SecretKey == "") {
		v.refuse("archive.bucket.access_key", "access_key and secret_key go together: give both, or neither for a public bucket")
	}
}

func (v *validator) archive() {
	a := v.c.Archive
	if a.SegmentSize < 1<<20 || a.SegmentSize > 1<<30 {
		v.refuse("archive.segment_size", "%s is not between 1 MiB and 1 GiB", a.SegmentSize)
	}
	if age := time.Duration(a.SegmentAge); age < time.Second || age > time.Hour {
		v.refuse("archive.segment_age", "%s is not between 1s and 1h", age)
	}
	if a.MaxSpool < 4*a.SegmentSize {
		v.refuse("archive.max_spool", "%s holds fewer than four segments (archive.segment_size is %s)", a.MaxSpool, a.SegmentSize)
	}
}

func (v *validator) fragments() {
	f := v.c.Fragments
	low, high, part := time.Duration(f.MinDuration), time.Duration(f.MaxDuration), time.Duration(f.PartDuration)
	if high < low {
		v.refuse("fragments.max_duration", "%s is shorter than fragments.min_duration (%s)", high, low)
	}
	if high > time.Minute {
		v.refuse("fragments.max_duration", "%s is longer than a minute", high)
	}
	if part > high || part < 20*time.Millisecond {
		v.refuse("fragments.part_duration", "%s is not between 20ms and fragments.max_duration (%s)", part, high)
	}
	if f.MaxBytes < 64<<10 || f.MaxBytes > 256<<20 {
		v.refuse("fragments.max_bytes", "%s is not between 64 KiB and 256 MiB", f.MaxBytes)
	}
}

// maxAround bounds what is recorded before and after an event.
const maxAround = 5 * time.Minute

func (v *validator) entries() {
	for _, name := range slices.Sorted(maps.Keys(v.c.Streams)) {
		if _, err := fragments.ParseStreamName(name); err != nil {
			v.refuse("streams."+name, "%v", err)
		}
		if err := v.c.Streams[name].detectors().Validate(); err != nil {
			v.refuse("streams."+name, "%v", err)
		}
		for key, d := range map[string]*duration{"before": v.c.Streams[name].Before, "after": v.c.Streams[name].After, "late": v.c.Streams[name].Late} {
			if d != nil && time.Duration(*d) > maxAround {
				v.refuse("streams."+name+"."+key, "%s is more than %s: what may be wanted waits in memory", time.Duration(*d), maxAround)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v.c.Cameras)) {
		key := "cameras." + name
		if _, err := fragments.ParseStreamName(name); err != nil {
			v.refuse(key, "%v", err)
		}
		if what := cameraURLMistake(v.c.Cameras[name].URL); what != "" {
			v.refuse(key+".url", "%s", what)
		}
	}
}

func (v *validator) images() {
	i := v.c.Images
	v.require("images.ffmpeg", i.FFmpeg, `name the program, such as "ffmpeg" or "/usr/bin/ffmpeg"`)
	if i.Workers > 1024 {
		v.refuse("images.workers", "%d are more than 1024", i.Workers)
	}
	if t := time.Duration(i.Timeout); t < 100*time.Millisecond || t > 10*time.Minute {
		v.refuse("images.timeout", "%s is not between 100ms and 10m", t)
	}
	if i.MaxMemory < 512<<20 || i.MaxMemory > 1<<40 {
		v.refuse("images.max_memory", "%s is not between 512 MiB, most of which the libraries of ffmpeg take, and 1 TiB", i.MaxMemory)
	}
}

var (
	dataStreamName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)
	accountNumber  = regexp.MustCompile(`^\d{12}$`)
	regionName     = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
)

func (v *validator) records() {
	c := v.c
	if m := c.Records.Memory; m < 8<<20 || m > 4<<30 {
		v.refuse("records.memory", "%s is not between 8 MiB and 4 GiB", m)
	}
	for _, k := range []struct{ key, name string }{{"feed.stream", c.Feed.Stream}, {"events.stream", c.Events.Stream}} {
		if k.name != "" && !dataStreamName.MatchString(k.name) {
			v.refuse(k.key, "%q: names of data streams have 1 to 128 letters, digits, and _.-", k.name)
		}
	}
	if !accountNumber.MatchString(c.AWS.Account) {
		v.refuse("aws.account", `%q is not twelve digits: write them in quotes, such as "123456789012"`, c.AWS.Account)
	}
	v.require("aws.region", c.AWS.Region, `name one, such as "us-east-1"`)
	if r := c.AWS.Region; r != "" && !regionName.MatchString(r) {
		v.refuse("aws.region", "%q is not a region, such as us-east-1", r)
	}
}

// cameraURLMistake says what is wrong with the address of a camera, never
// showing its password.
func cameraURLMistake(s string) string {
	const like = "write rtsp://user:password@host:554/path"
	if s == "" {
		return "is empty: " + like
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "cannot be read; escape special characters of the password (@ is %40, / is %2F, # is %23, % is %25): " + like
	case u.Scheme != "rtsp" && u.Scheme != "rtsps":
		return fmt.Sprintf("has scheme %q: %s", u.Scheme, like)
	case u.Hostname() == "":
		return "has no host: " + like
	}
	return ""
}
