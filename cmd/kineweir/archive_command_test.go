package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
)

var recordedAt = time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)

// recordDemo keeps two rounds (16 s) of the demo's cameras in a data folder, as
// a server would have left it.
func recordDemo(t *testing.T) (data string) {
	t.Helper()
	c := defaultConfig()
	c.Data = filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(c.Data, 0o755); err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return recordedAt }
	a, err := archive.Open(t.Context(), archive.Options{Dir: c.Data, Bucket: mustBucket(t, c.Data), Tick: -1, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	sessions := recorder(a, live.New(), now)
	for _, camera := range demoCameras() {
		clip, err := camera.load()
		if err != nil {
			t.Fatal(err)
		}
		s, err := sessions.Publish(camera.name, clip.tracks, ingest.Source{Protocol: "test"}, func(error) {})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2 * len(clip.units) {
			au, _ := clip.unit(i, recordedAt.Add(time.Second))
			s.Write(au)
		}
		s.Close(nil)
	}
	sessions.Close()
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c.Data
}

// recorder returns sessions that keep what is published in a.
func recorder(a *archive.Archive, hub *live.Hub, now func() time.Time) *ingest.Sessions {
	return ingest.New(ingest.Options{
		Hub: hub, Sink: a.Writer(), Now: now, Logger: slog.New(slog.DiscardHandler),
		Cut: fragments.FragmenterOptions{
			MinDuration: time.Second, MaxDuration: 10 * time.Second, MaxBytes: 8 << 20, PartDuration: 200 * time.Millisecond,
			Encode: func(t *fragments.Track, sequence uint32, decodeTime int64, samples []fragments.Sample) []byte {
				return cmaf.AppendPart(nil, t, sequence, decodeTime, samples)
			},
		},
	})
}

// runCommand runs a command line in this process.
func runCommand(t *testing.T, line ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), line, console{&stdout, &stderr, func() []string { return nil }})
	return code, stdout.String(), stderr.String()
}

// jsonLines decodes one value a line.
func jsonLines[T any](t *testing.T, text string) (list []T) {
	t.Helper()
	for d := json.NewDecoder(strings.NewReader(text)); d.More(); {
		var v T
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		list = append(list, v)
	}
	return list
}

func TestArchiveList(t *testing.T) {
	data := recordDemo(t)
	code, out, errs := runCommand(t, "archive", "ls", "--data", data)
	want := regexp.MustCompile(`^STREAM +FRAGMENTS +SIZE +FROM \(UTC\) +TO \(UTC\)
front-door +8 +[0-9]+ KiB +2026-11-23 06:00:01  2026-11-23 06:00:1[67]
loading-dock +8 +[0-9]+ KiB +2026-11-23 06:00:01  2026-11-23 06:00:1[67]
yard +8 +[0-9]+ KiB +2026-11-23 06:00:01  2026-11-23 06:00:1[67]
$`)
	if code != exitOK || !want.MatchString(out) {
		t.Errorf("ends with %d and prints\n%s%s, want\n%s", code, out, errs, want)
	}
	_, out, _ = runCommand(t, "archive", "ls", "--json", "--data", data)
	streams := jsonLines[streamLine](t, out)
	if len(streams) != 3 || streams[0].Name != "front-door" || streams[0].Fragments != 8 || streams[0].Spooled != 0 || streams[0].First == nil || !streams[0].First.Equal(recordedAt.Add(time.Second)) {
		t.Errorf("streams are %+v", streams)
	}
	for _, c := range []struct {
		args []string
		want int // fragments
	}{
		{nil, 8},
		{[]string{"--start", "2026-11-23T06:00:09Z"}, 4},
		{[]string{"--end", "2026-11-23T06:00:05Z"}, 2},
		{[]string{"--start", "2026-11-23T07:00:06+01:00", "--end", "2026-11-23T06:00:08Z"}, 2},
	} {
		args := slices.Concat([]string{"archive", "ls", "front-door", "--data", data, "--json"}, c.args)
		code, out, errs := runCommand(t, args...)
		if got := jsonLines[fragmentLine](t, out); code != exitOK || len(got) != c.want {
			t.Errorf("%v ends with %d and %d fragments, want %d: %s", c.args, code, len(got), c.want, errs)
		}
	}
	_, out, _ = runCommand(t, "archive", "ls", "front-door", "--data", data)
	if lines := strings.Split(out, "\n"); len(lines) != 10 || !strings.HasPrefix(lines[1], "2026-11-23 06:00:01.000  2.000") {
		t.Errorf("fragments are listed as\n%s", out)
	}
}

func TestArchiveListMistakes(t *testing.T) {
	data := recordDemo(t)
	server, err := archive.Open(t.Context(), archive.Options{Dir: data, Bucket: mustBucket(t, data), Tick: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"ls --data " + data, exitFailed, "a server is running on " + data},
		{"rebuild --data " + data, exitFailed, "a server is running on " + data},
		{"ls --data " + data + "x", exitFailed, "name it with --data"},
		{"ls a/b --data " + data, exitUsage, "a name has no slash"},
		{"ls a b", exitUsage, `takes no argument "b"`},
		{"ls --start yesterday", exitUsage, "not a time like"},
		{"verify front-door", exitUsage, "takes no argument"},
	} {
		if code, _, errs := runCommand(t, append([]string{"archive"}, strings.Fields(c.args)...)...); code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%s ends with %d and %q, want %d and %q", c.args, code, errs, c.code, c.want)
		}
	}
	if err := server.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := runCommand(t, "archive", "ls", "nobody", "--data", data); code != exitFailed || !strings.Contains(errs, "no such stream") {
		t.Errorf("an unknown stream ends with %d and %q", code, errs)
	}
	if _, err := os.Stat(data + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("listing has made a folder: %v", err)
	}
}

func mustBucket(t *testing.T, data string) bucket.Bucket {
	t.Helper()
	c := defaultConfig()
	c.Data = data
	b, err := openBucket(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestArchiveVerifyAndRebuild verifies a sound archive, rebuilds it after the
// loss of everything but the bucket, and sees damage named.
func TestArchiveVerifyAndRebuild(t *testing.T) {
	data := recordDemo(t)
	_, before, _ := runCommand(t, "archive", "ls", "--json", "--data", data)
	code, out, errs := runCommand(t, "archive", "verify", "--data", data)
	if code != exitOK || !strings.Contains(out, "24 fragments") || !strings.Contains(out, ": all is well\n") {
		t.Fatalf("verify ends with %d: %s%s", code, out, errs)
	}
	entries, err := os.ReadDir(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "bucket" {
			if err := os.RemoveAll(filepath.Join(data, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	code, out, errs = runCommand(t, "archive", "rebuild", "--data", data, "--json")
	if report := jsonLines[reportLine](t, out); code != exitOK || len(report) != 1 || report[0].Streams != 3 || report[0].Fragments != 24 {
		t.Fatalf("rebuild ends with %d: %s%s", code, out, errs)
	}
	if _, after, errs := runCommand(t, "archive", "ls", "--json", "--data", data); after != before {
		t.Errorf("after the rebuild there is\n%s%s, before there was\n%s", after, errs, before)
	}
	damaged := damageOneObject(t, filepath.Join(data, "bucket"))
	code, out, errs = runCommand(t, "archive", "verify", "--data", data, "--json")
	report := jsonLines[reportLine](t, out)
	if code != exitFailed || len(report) != 1 || len(report[0].Problems) == 0 || !strings.HasSuffix(damaged, report[0].Problems[0].Key) {
		t.Errorf("verify of a damaged archive ends with %d: %s%s, want %s named", code, out, errs, damaged)
	}
}

// damageOneObject changes a byte of media and returns the file.
func damageOneObject(t *testing.T, bucket string) (file string) {
	t.Helper()
	err := filepath.WalkDir(bucket, func(p string, d fs.DirEntry, err error) error {
		if filepath.Ext(p) == ".mp4" {
			file = p
		}
		return err
	})
	if err != nil || file == "" {
		t.Fatalf("no object in %s: %v", bucket, err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	tell := tellProgress(&out, func() time.Time { return now })
	for i := range 50 {
		now = now.Add(100 * time.Millisecond)
		tell(archive.Progress{Key: "video/x", Objects: i + 1, Bytes: int64(i+1) << 20})
	}
	if want := "20 objects, 20.0 MiB, 10.0 MiB/s: video/x\n40 objects, 40.0 MiB, 10.0 MiB/s: video/x\n"; out.String() != want {
		t.Errorf("progress is\n%s, want\n%s", &out, want)
	}
}

// TestArchiveInterrupted sees Ctrl-C end long work.
func TestArchiveInterrupted(t *testing.T) {
	data := recordDemo(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	code := run(ctx, []string{"archive", "verify", "--data", data}, console{&out, &errs, func() []string { return nil }})
	if code != exitFailed || !strings.Contains(errs.String(), "canceled") {
		t.Errorf("ends with %d: %s%s", code, &out, &errs)
	}
}
