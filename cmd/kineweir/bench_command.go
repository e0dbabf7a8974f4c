package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Ways to watch that bench viewers knows.
var benchProtocols = []string{"whep", "llhls", "hls"}

func benchViewersCommand() command {
	return command{
		name:  "bench viewers",
		short: "measure what viewers cost",
		long: "Has many viewers watch one stream and prints what each costs the server: time\n" +
			"on a processor and memory, and how late pictures come to them. Without --server\n" +
			"it runs a server of its own in another process, in a temporary folder, and\n" +
			"publishes a camera of --bitrate to it. Viewers are whep (WebRTC), llhls\n" +
			"(low-latency HLS: blocking playlists and parts) and hls (a range of the past, at\n" +
			"the pace at which it is played). The cost is that of the server alone; the\n" +
			"viewers of this process share the machine with it.",
		examples: []string{
			"kineweir bench viewers",
			"kineweir bench viewers --protocol whep --viewers 400 --duration 20s",
			"kineweir bench viewers --server http://127.0.0.1:8080 --stream front-door --joins 500",
		},
		setup: func(fs *flag.FlagSet) action {
			b := &viewerBench{remote: declareRemote(fs)}
			b.server = ""
			fs.Lookup("server").DefValue = ""
			fs.StringVar(&b.stream, "stream", "bench", "watch the stream `NAME`")
			fs.StringVar(&b.protocol, "protocol", "all", "watch by `WAY`: whep, llhls, hls or all")
			fs.IntVar(&b.viewers, "viewers", 200, "how many `N` watch at once")
			fs.DurationVar(&b.duration, "duration", 10*time.Second, "measure for so long, once all watch")
			fs.IntVar(&b.joins, "joins", 0, "instead, have `N` viewers come and go, some at a time")
			fs.IntVar(&b.bitrate, "bitrate", 600, "`KBITS` per second of the camera, where it is of this command")
			return func(ctx context.Context, c console, args []string) error {
				if err := noArguments("bench viewers", args); err != nil {
					return err
				}
				if err := b.check(c); err != nil {
					return err
				}
				return b.run(ctx)
			}
		},
	}
}

// viewerBench is one run of bench viewers.
type viewerBench struct {
	*remote
	stream, protocol        string
	viewers, joins, bitrate int
	duration                time.Duration
	out                     io.Writer
}

func (b *viewerBench) check(c console) error {
	b.out = c.out
	own := b.server == ""
	if own {
		b.server = "http://127.0.0.1:8080" // until it is known
	}
	if err := b.remote.check(c.env()); err != nil {
		return err
	}
	if own {
		b.server = ""
	}
	switch {
	case b.protocol != "all" && !slices.Contains(benchProtocols, b.protocol):
		return &usageError{what: fmt.Sprintf("--protocol %q is none", b.protocol), hint: "write " + strings.Join(benchProtocols, ", ") + " or all"}
	case b.viewers < 1 || b.viewers > 10_000:
		return &usageError{what: fmt.Sprintf("--viewers %d is not between 1 and 10000", b.viewers)}
	case b.joins < 0 || b.joins > 100_000:
		return &usageError{what: fmt.Sprintf("--joins %d is not between 0 and 100000", b.joins)}
	case b.duration < time.Second || b.duration > time.Hour:
		return &usageError{what: fmt.Sprintf("--duration %s is not between 1s and 1h", b.duration)}
	case b.bitrate < 100 || b.bitrate > 50_000:
		return &usageError{what: fmt.Sprintf("--bitrate %d is not between 100 and 50000", b.bitrate)}
	}
	return nil
}

func (b *viewerBench) run(ctx context.Context) error {
	if b.server == "" {
		own, err := startBenchServer(ctx, b)
		if err != nil {
			return err
		}
		defer own.stop()
	}
	if b.joins > 0 {
		return b.churn(ctx)
	}
	protocols := benchProtocols
	if b.protocol != "all" {
		protocols = []string{b.protocol}
	}
	fmt.Fprintf(b.out, "%-6s %8s %12s %10s %10s %10s %10s %12s %12s\n",
		"way", "viewers", "CPU ms/s", "per core", "p50", "p99", "kbit/s", "memory KiB", "heap B/s")
	var errs []error
	for _, p := range protocols {
		r, err := b.measure(ctx, p)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p, err))
			continue
		}
		r.print(b.out)
	}
	fmt.Fprint(b.out, "\nCPU ms/s: of the server, per viewer and second. per core: viewers that one core serves.\n"+
		"p50, p99: from the camera to the viewer (hls: from the request of a segment to its end).\n"+
		"memory and heap: of the server, per viewer; heap is what it allocates each second.\n")
	return errors.Join(errs...)
}

// churn has viewers come and go, a few at a time.
func (b *viewerBench) churn(ctx context.Context) error {
	begun := time.Now()
	const together = 10
	var firsts []time.Duration
	for left := b.joins; left > 0; left -= together {
		crowd := newCrowd(b, "whep", min(left, together))
		if err := crowd.join(ctx); err != nil {
			crowd.leave()
			return err
		}
		firsts = append(firsts, crowd.firsts()...)
		crowd.leave()
	}
	slices.Sort(firsts)
	fmt.Fprintf(b.out, "%d viewers came and went in %s; first picture after p50 %s, p99 %s\n",
		b.joins, time.Since(begun).Round(time.Millisecond), percentile(firsts, 50), percentile(firsts, 99))
	return nil
}

// percentile of what is sorted.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)*p/100, len(sorted)-1)].Round(100 * time.Microsecond)
}
