// Command peers measures the record core beside what people would use instead:
// the disk itself, NATS JetStream, Pebble, and kinesalite over HTTP. All run on
// the same disk in the same minutes, in rounds, and what it prints are ratios.
// It is a module of its own, so that the product's go.mod never lists its peers,
// and it ends only the processes it has started.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"text/tabwriter"
	"time"
)

// bench is one run: what was measured, by name, and where.
type bench struct {
	dir    string        // scratch folder, on the disk that is measured
	span   time.Duration // how long each load runs in a round
	rounds int
	found  map[string][]result
	order  []string
	// profiles is a folder for a CPU profile of each load, "" for none.
	profiles string
}

func main() {
	dir := flag.String("dir", ".", "measure the disk of this `FOLDER`")
	span := flag.Duration("span", 2*time.Second, "run each load for this long in each round")
	rounds := flag.Int("rounds", 3, "repeat everything so often and take medians")
	only := flag.String("only", "", "of engine, http: only this part; core: the engine without its rivals")
	profiles := flag.String("profiles", "", "write a CPU profile of each load, as this process sees it, into this `FOLDER`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, *only, *profiles, *span, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir, only, profiles string, span time.Duration, rounds int) error {
	scratch, err := os.MkdirTemp(dir, "kineweir-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	b := &bench{dir: scratch, span: span, rounds: rounds, found: map[string][]result{}, profiles: profiles}
	parts := []struct {
		name string
		run  func(context.Context, *bench) error
	}{{"engine", engineLoads}, {"core", coreLoads}, {"http", httpLoads}}
	for _, p := range parts {
		if only != p.name && (only != "" || p.name == "core") {
			continue
		}
		if err := p.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	b.print()
	return nil
}

// ratios are what is reported: one measurement over another, and what is asked
// of it.
var ratios = []struct {
	what, of, over string
	by             func(result) float64
	floor, aim     string
}{
	{"engine, 16 x 500 x 1 KiB / raw fdatasync bandwidth", engineBatches, rawDisk, result.megabytes, "0.5", "0.8"},
	{"engine, 256 single writers / JetStream R1 sync always", engineSingles, jetStreamSingles, result.rate, "100", "300"},
	{"engine, 256 single writers / Pebble sync", engineSingles, pebbleSingles, result.rate, "", ""},
	{"engine, 16 x 500 / Pebble sync", engineBatches, pebbleBatches, result.rate, "4", "6"},
	{"PutRecords over HTTP / kinesalite", httpBatches, kinesaliteBatches, result.rate, "20", "40"},
	{"PutRecord over HTTP / kinesalite", httpSingles, kinesaliteSingles, result.rate, "", ""},
	{"PutRecords over HTTP / raw fdatasync bandwidth", httpBatches, rawDisk, result.megabytes, "", ""},
}

func (b *bench) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\nrecords/s\tMB/s\tp50 ms\tp99 ms\tCPU us/record\t  load\t")
	for _, name := range b.order {
		m := b.median(name)
		fmt.Fprintf(w, "%.0f\t%.1f\t%.2f\t%.2f\t%s\t  %s\t\n", m.rate(), m.megabytes(), ms(m.p50), ms(m.p99), m.cpuText(), name)
	}
	fmt.Fprintln(w, "\nratio\tfloor\taim\t  what\t")
	for _, r := range ratios {
		if len(b.found[r.of]) == 0 || len(b.found[r.over]) == 0 {
			continue
		}
		fmt.Fprintf(w, "%.2f\t%s\t%s\t  %s\t\n", r.by(b.median(r.of))/r.by(b.median(r.over)), r.floor, r.aim, r.what)
	}
	w.Flush()
	fmt.Println(strings.TrimSpace(fmt.Sprintf("\n%d rounds of %v a load; medians", b.rounds, b.span)))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
