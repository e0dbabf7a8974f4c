package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// verdict is how a check of the doctor came out.
type verdict string

const (
	verdictOK   verdict = "OK"
	verdictWarn verdict = "WARN" // works, but not as well as it should
	verdictFail verdict = "FAIL" // "serve" would not start, or would lose video
)

// finding is one line of the doctor.
type finding struct {
	verdict verdict
	name    string
	what    string // what was seen
	mend    string // what to do; only when not OK
}

// examination is one thing the doctor looks at.
type examination func(ctx context.Context, c *Config) []finding

// examinations are all of them, in the order of the report.
func examinations() []examination {
	return []examination{examinePorts, examineWebRTC, examineAccess, examineDisk, examineSpace, examineClock, examineBucket, examineOpenFiles, examineFFmpeg}
}

func doctorCommand() command {
	return command{
		name:  "doctor",
		short: "check ports, disk, clock and bucket, and say what to mend",
		long: "Checks whether \"serve\" with the same flags would run well on this machine: ports,\n" +
			"the ways of WebRTC, the speed of durable writes, free space, the clock, the\n" +
			"bucket. Says what to mend, and ends with 1 when something must be. It leaves\n" +
			"nothing behind.",
		examples: []string{"kineweir doctor", "kineweir doctor --config /etc/kineweir.yaml"},
		setup: func(fs *flag.FlagSet) action {
			load := declareConfig(fs, allOverrides...)
			return func(ctx context.Context, c console, args []string) error {
				if err := noArguments("doctor", args); err != nil {
					return err
				}
				config, err := load(c.env())
				if err != nil {
					return err
				}
				return examine(ctx, c, config, examinations())
			}
		},
	}
}

// examine prints every finding as it comes.
func examine(ctx context.Context, c console, config *Config, list []examination) error {
	failed := false
	for _, e := range list {
		for _, f := range e(ctx, config) {
			fmt.Fprintf(c.out, "%-5s %-9s %s\n", f.verdict, f.name, f.what)
			if f.verdict != verdictOK && f.mend != "" {
				fmt.Fprintf(c.out, "%-15s → %s\n", "", f.mend)
			}
			failed = failed || f.verdict == verdictFail
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if failed {
		return errFound
	}
	return nil
}

func examineAccess(_ context.Context, c *Config) []finding {
	f := finding{verdictOK, "access", "only this machine can reach the server; nobody needs a name", ""}
	open := strings.Join(c.exposed(), ", ")
	switch {
	case c.Auth.File != "":
		f.what = "users and keys are in " + c.Auth.File
		switch _, err := os.Stat(c.Auth.File); {
		case errors.Is(err, fs.ErrNotExist):
			f.what = fmt.Sprintf("users and keys will be made in %s at the first start", c.Auth.File)
		case err != nil:
			f.verdict, f.what, f.mend = verdictFail, fmt.Sprintf("auth.file: %v", err), "let the user of this process read it"
		}
	case open != "" && c.Auth.Insecure:
		f.verdict, f.what = verdictWarn, fmt.Sprintf("everybody who can reach %s may watch, publish and delete", open)
		f.mend = "leave out --insecure (auth.insecure): credentials are then made at the first start"
	case open != "":
		f.what = fmt.Sprintf("others can reach %s; credentials are made in the data folder at the first start", open)
	}
	return []finding{f}
}

// Bounds between good and bad. A camera's fragments wait for one durable write
// each; at 20 ms, writes for 50 cameras that do not happen to share one fill a
// second. No real disk without a protected cache answers below 20 µs.
const (
	slowSync  = 20 * time.Millisecond
	quickSync = 20 * time.Microsecond
	syncTries = 64
	syncTime  = time.Second
)

func examineDisk(ctx context.Context, c *Config) []finding {
	dir := existingParent(c.Data)
	kind, warning := fileSystem(dir)
	p50, p99, err := syncSpeed(ctx, dir)
	if err != nil {
		return []finding{{verdictFail, "disk", fmt.Sprintf("cannot write in %s: %v", dir, err), "let the user of this process write there, or choose another folder with --data"}}
	}
	f := finding{verdictOK, "disk", fmt.Sprintf("%s (%s): a durable write takes %s, at worst %s", dir, kind, short(p50), short(p99)), ""}
	switch {
	case warning != "":
		f.verdict, f.mend = verdictWarn, warning
	case p50 < quickSync:
		f.verdict, f.mend = verdictWarn, "that is faster than a disk can be: its cache, or the virtual machine's, may lose what it has acknowledged when the power fails"
	case p50 > slowSync:
		f.verdict, f.mend = verdictWarn, "put the data folder on an SSD; on this disk many cameras will wait for each other"
	}
	return []finding{f}
}

// existingParent returns dir, or the nearest folder above it that exists:
// examining must not create the data folder.
func existingParent(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "."
	}
	for {
		if info, err := os.Stat(dir); err == nil && info.IsDir() || filepath.Dir(dir) == dir {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// short rounds a duration to what people read.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

func examineSpace(_ context.Context, c *Config) []finding {
	dir := existingParent(c.Data)
	free, total, err := diskSpace(dir)
	if err != nil {
		return []finding{{verdictWarn, "space", fmt.Sprintf("free space of %s is not known: %v", dir, err), "watch it yourself"}}
	}
	return []finding{spaceFinding(dir, free, total, c)}
}

func spaceFinding(dir string, free, total size, c *Config) finding {
	f := finding{verdictOK, "space", fmt.Sprintf("%s: %s free of %s", dir, free, total), ""}
	floor, reserve := c.Archive.Retention.MinFree, c.Records.reserve()
	switch {
	case free < 256<<20:
		f.verdict, f.mend = verdictFail, "nothing can be recorded: free some space, or choose another folder with --data"
	case free <= reserve:
		f.verdict, f.mend = verdictFail, fmt.Sprintf("no record is taken while less than %s is free, twice records.memory: free some space, or lower that", reserve)
	case free <= floor:
		f.verdict, f.mend = verdictWarn, fmt.Sprintf("that is below archive.retention.min_free (%s): old video is deleted at once", floor)
	case free < floor+10<<30:
		f.verdict, f.mend = verdictWarn, "one camera of 4 Mbit/s fills 40 GiB a day; give it more room"
	}
	return f
}

func examineClock(ctx context.Context, _ *Config) []finding {
	start := time.Now()
	select {
	case <-time.After(250 * time.Millisecond):
	case <-ctx.Done():
	}
	now := time.Now()
	// A difference without the monotonic reading is one of the wall clock alone.
	step := now.Round(0).Sub(start.Round(0)) - now.Sub(start)
	return []finding{clockFinding(now, step, clockState())}
}

// clockReading is what the system knows of its own clock.
type clockReading struct {
	known        bool
	synchronized bool
	offBy        time.Duration // estimated, or the largest that is possible
}

func clockFinding(now time.Time, step time.Duration, r clockReading) finding {
	f := finding{verdictOK, "clock", now.UTC().Format("2006-01-02 15:04:05 UTC"), ""}
	const mend = "run a time service (systemd-timesyncd, chrony): the times of recordings are only as right as this clock"
	switch {
	case now.Year() < 2025:
		return finding{verdictFail, "clock", f.what + ", which is long past", "set the clock; video would be filed under the wrong day"}
	case step.Abs() > 5*time.Millisecond:
		return finding{verdictWarn, "clock", fmt.Sprintf("%s; it jumped by %s while it was watched", f.what, short(step)), mend}
	case !r.known:
		f.what += "; whether it follows a time server is not known"
		return f
	case !r.synchronized:
		return finding{verdictWarn, "clock", f.what + "; it follows no time server", mend}
	}
	f.what += fmt.Sprintf("; synchronized, off by at most %s", short(r.offBy))
	return f
}

// bucketReach tries the bucket of the configuration; nil when it takes and
// gives back an object.
type bucketReach func(ctx context.Context, c *Config) error

func examineBucket(ctx context.Context, c *Config) []finding {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return []finding{bucketFinding(ctx, c, reachBucket)}
}

func bucketFinding(ctx context.Context, c *Config, reach bucketReach) finding {
	b := c.Archive.Bucket
	if b.Type == "dir" && b.Path == "" {
		return finding{verdictOK, "bucket", "a folder of the data folder", ""}
	}
	where, mend := "folder "+b.Path, "let the user of this process write there, or correct archive.bucket.path"
	if b.Type == "minio" {
		where = fmt.Sprintf("%s at %s", b.Bucket, b.Endpoint)
		mend = "check archive.bucket: endpoint, secure, bucket, access_key and secret_key; recording works meanwhile and waits on this disk"
	}
	if err := reach(ctx, c); err != nil {
		return finding{verdictFail, "bucket", fmt.Sprintf("%s: %v", where, err), mend}
	}
	return finding{verdictOK, "bucket", where + " takes an object and gives it back", ""}
}

func examineOpenFiles(context.Context, *Config) []finding {
	limit, ok := openFileLimit()
	if !ok {
		return nil
	}
	f := finding{verdictOK, "files", fmt.Sprintf("%d files and connections may be open", limit), ""}
	if limit < 4096 {
		f.verdict, f.mend = verdictWarn, `cameras and viewers take about four each: raise it with "ulimit -n 65536", or LimitNOFILE= of the systemd unit`
	}
	return []finding{f}
}
