package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// quietConfig is a configuration with which the doctor finds no busy port.
func quietConfig(t *testing.T) *Config {
	t.Helper()
	c := defaultConfig()
	c.Data = filepath.Join(t.TempDir(), "not", "there", "yet")
	c.HTTP.Addr, c.RTSP.Addr, c.RTSP.TLSAddr, c.RTSP.UDPAddr = "127.0.0.1:0", "127.0.0.1:0", "", "127.0.0.1:0"
	c.WebRTC.Addr = "127.0.0.1:0"
	return c
}

func expect(t *testing.T, got finding, want verdict, what, mend string) {
	t.Helper()
	if got.verdict != want || !strings.Contains(got.what, what) || !strings.Contains(got.mend, mend) {
		t.Errorf("got %+v, want %s with %q and %q", got, want, what, mend)
	}
	if got.verdict != verdictOK && got.mend == "" {
		t.Errorf("%+v does not say what to mend", got)
	}
}

func TestDoctorPorts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	c := quietConfig(t)
	c.HTTP.Addr = address(l.Addr().String())
	c.RTSP.UDPAddr = address(u.LocalAddr().String())
	c.RTSP.TLSAddr = "192.0.2.1:0"
	c.origin["rtsp.tls_addr"] = origin{text: "flag --rtsps"}
	got := examinePorts(t.Context(), c)
	if len(got) != 5 {
		t.Fatalf("got %d findings, want 5: %+v", len(got), got)
	}
	self := fmt.Sprintf("(process %d) has it: stop that, or set http.addr", os.Getpid())
	expect(t, got[0], verdictFail, "address already in use", self)
	expect(t, got[1], verdictOK, "is free (rtsp.addr)", "")
	expect(t, got[2], verdictFail, "cannot assign", "no such address: set rtsp.tls_addr")
	expect(t, got[3], verdictWarn, "address already in use", fmt.Sprintf("(process %d)", os.Getpid()))
}

// TestDropTaken sees what nobody asked for step aside, and nothing else.
func TestDropTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	taken, takenUDP := address(l.Addr().String()), address(u.LocalAddr().String())
	before := address(net.JoinHostPort("127.0.0.1", strconv.Itoa(takenUDP.port()-1)))
	for _, c := range []struct {
		name     string
		tls, udp address
		given    string
		wantTLS  address
		wantUDP  address
		told     int
	}{
		{"free", "127.0.0.1:0", "", "", "127.0.0.1:0", "", 0},
		{"TLS taken", taken, "", "", "", "", 1},
		{"UDP taken", "", takenUDP, "", "", "127.0.0.1:0", 1},
		{"RTCP taken", "", before, "", "", "127.0.0.1:0", 1},
		{"asked for", taken, takenUDP, "rtsp.tls_addr", taken, "127.0.0.1:0", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := quietConfig(t)
			config.RTSP.TLSAddr, config.RTSP.UDPAddr = c.tls, c.udp
			config.origin[c.given] = origin{text: "flag"}
			told := config.dropTaken(t.Context())
			if config.RTSP.TLSAddr != c.wantTLS || config.RTSP.UDPAddr != c.wantUDP || len(told) != c.told {
				t.Errorf("left %q and %q, want %q and %q; told %q", config.RTSP.TLSAddr, config.RTSP.UDPAddr, c.wantTLS, c.wantUDP, told)
			}
		})
	}
	err = listenError(tryListen(t.Context(), "tcp", string(taken)), "http.addr", "tcp", taken)
	for _, want := range []string{"http.addr: listen tcp " + string(taken), "address already in use", fmt.Sprintf("(process %d) has it", os.Getpid()), "set http.addr to another"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestDoctorAccess(t *testing.T) {
	creds := filepath.Join(t.TempDir(), "creds")
	if err := os.WriteFile(creds, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		http     address
		file     string
		insecure bool
		want     verdict
		what     string
	}{
		{"loopback", "127.0.0.1:1", "", false, verdictOK, "only this machine"},
		{"loopback by name", "localhost:1", "", true, verdictOK, "only this machine"},
		{"loopback IPv6", "[::1]:1", "", false, verdictOK, "only this machine"},
		{"everywhere", ":1", "", false, verdictOK, "others can reach http.addr; credentials are made"},
		{"one address", "192.0.2.1:1", "", false, verdictOK, "others can reach http.addr"},
		{"insecure", ":1", "", true, verdictWarn, "everybody"},
		{"file", ":1", creds, false, verdictOK, creds},
		{"file to be made", ":1", creds + "x", false, verdictOK, "will be made"},
		{"file that cannot be", ":1", creds + "/x", false, verdictFail, "not a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := quietConfig(t)
			config.HTTP.Addr, config.Auth.File, config.Auth.Insecure = c.http, c.file, c.insecure
			expect(t, examineAccess(t.Context(), config)[0], c.want, c.what, "")
		})
	}
}

func TestDoctorSpace(t *testing.T) {
	config, large := defaultConfig(), defaultConfig()
	large.Records.Memory = 4 << 30
	for _, c := range []struct {
		config *Config
		free   size
		want   verdict
		mend   string
	}{
		{config, 100 << 20, verdictFail, "nothing can be recorded"},
		{config, 1 << 30, verdictWarn, "below archive.retention.min_free (2.0 GiB)"},
		{config, 5 << 30, verdictWarn, "fills"},
		{config, 100 << 30, verdictOK, ""},
		{large, 5 << 30, verdictFail, "no record is taken while less than 8.0 GiB is free, twice records.memory"},
		{large, 100 << 30, verdictOK, ""},
	} {
		expect(t, spaceFinding("/x", c.free, 1<<40, c.config), c.want, c.free.String()+" free of 1.0 TiB", c.mend)
	}
}

func TestDoctorClock(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, c := range []struct {
		name    string
		now     time.Time
		step    time.Duration
		reading clockReading
		want    verdict
		what    string
	}{
		{"synchronized", now, 0, clockReading{true, true, 3 * time.Millisecond}, verdictOK, "2026-03-04 05:06:07 UTC; synchronized, off by at most 3ms"},
		{"free", now, 0, clockReading{known: true}, verdictWarn, "no time server"},
		{"not known", now, 0, clockReading{}, verdictOK, "not known"},
		{"forward", now, time.Second, clockReading{true, true, 0}, verdictWarn, "jumped by 1s"},
		{"back", now, -time.Second, clockReading{true, true, 0}, verdictWarn, "jumped by -1s"},
		{"no battery", time.Unix(0, 0), 0, clockReading{true, true, 0}, verdictFail, "1970-01-01"},
	} {
		t.Run(c.name, func(t *testing.T) {
			expect(t, clockFinding(c.now, c.step, c.reading), c.want, c.what, "")
		})
	}
}

func TestDoctorBucket(t *testing.T) {
	answer := func(err error) bucketReach { return func(context.Context, *Config) error { return err } }
	c := quietConfig(t)
	expect(t, bucketFinding(t.Context(), c, answer(errors.New("not asked"))), verdictOK, "data folder", "")
	c.Archive.Bucket = BucketConfig{Type: "minio", Endpoint: "127.0.0.1:9", Bucket: "video"}
	expect(t, bucketFinding(t.Context(), c, answer(nil)), verdictOK, "video at 127.0.0.1:9 takes an object", "")
	expect(t, bucketFinding(t.Context(), c, answer(errors.New("refused"))), verdictFail, "video at 127.0.0.1:9: refused", "check archive.bucket")
}

// TestDoctorDisk measures the real disk, and a folder nobody can write to.
func TestDoctorDisk(t *testing.T) {
	c := quietConfig(t)
	got := examineDisk(t.Context(), c)[0]
	if got.verdict == verdictFail || !strings.Contains(got.what, "a durable write takes") {
		t.Errorf("got %+v", got)
	}
	top := filepath.Dir(filepath.Dir(filepath.Dir(c.Data)))
	if left, _ := os.ReadDir(top); len(left) > 0 {
		t.Errorf("the doctor left %v behind", left)
	}
	c.Data = "/proc/kineweir"
	expect(t, examineDisk(t.Context(), c)[0], verdictFail, "cannot write in /proc", "--data")
}

func TestDoctorReport(t *testing.T) {
	found := func(v verdict) examination {
		return func(context.Context, *Config) []finding { return []finding{{v, "thing", "is so", "do this"}} }
	}
	for _, c := range []struct {
		list []examination
		want string
		err  error
	}{
		{[]examination{found(verdictOK)}, "OK    thing     is so\n", nil},
		{[]examination{found(verdictWarn)}, "WARN  thing     is so\n                → do this\n", nil},
		{[]examination{found(verdictFail), found(verdictOK)}, "FAIL  thing     is so\n                → do this\nOK    thing     is so\n", errFound},
	} {
		var out bytes.Buffer
		err := examine(t.Context(), console{out: &out}, quietConfig(t), c.list)
		if out.String() != c.want || !errors.Is(err, c.err) {
			t.Errorf("got %v and\n%swant %v and\n%s", err, &out, c.err, c.want)
		}
	}
}

func TestDoctorFFmpeg(t *testing.T) {
	const head = "Decoders:\n V..... = Video\n ------\n"
	for _, c := range []struct{ list, want string }{
		{head + " VFS..D h264  H.264\n VFS..D hevc  HEVC\n VFS..D vp8  VP8\n VFS..D vp9  VP9\n V....D libdav1d  dav1d AV1 decoder (codec av1)\n", ""},
		{head + " VFS..D vp8  VP8\n VFS..D vp9  VP9\n V....D av1  AV1\n A....D h264  a sound\n", "h264 hevc"},
		{"", "h264 hevc vp8 vp9 av1"},
	} {
		if got := strings.Join(missingDecoders(c.list), " "); got != c.want {
			t.Errorf("missing %q, want %q, in %s", got, c.want, c.list)
		}
	}
	for _, c := range []struct {
		ffmpeg string
		want   verdict
		says   string
	}{
		{"ffmpeg", verdictOK, "ffmpeg version"},
		{filepath.Join(t.TempDir(), "ffmpeg"), verdictWarn, "no pictures"},
		{"false", verdictWarn, "does not run"},
	} {
		f := examineFFmpeg(context.Background(), &Config{Images: ImagesConfig{FFmpeg: c.ffmpeg}})
		if len(f) != 1 || f[0].verdict != c.want || !strings.Contains(f[0].what, c.says) {
			t.Errorf("%s: %+v", c.ffmpeg, f)
		}
	}
}
