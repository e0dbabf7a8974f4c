package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/kineweir/kineweir/archive"
)

// inspection goes through a bucket and tells of each object.
type inspection func(ctx context.Context, c *Config, progress func(archive.Progress)) (archive.Report, error)

// progressEvery is how often long work says how far it is.
const progressEvery = 2 * time.Second

// setupInspection declares the flags of "archive verify" and "archive rebuild".
func setupInspection(fs *flag.FlagSet, inspect inspection) action {
	name := fs.Name()
	load := declareConfig(fs, "data")
	asJSON := fs.Bool("json", false, "print the report as JSON")
	quiet := fs.Bool("quiet", false, "do not say how far it is")
	return func(ctx context.Context, c console, args []string) error {
		if err := noArguments(name, args); err != nil {
			return err
		}
		config, err := load(c.env())
		if err != nil {
			return err
		}
		say := c.err
		if *quiet {
			say = io.Discard
		}
		started := time.Now()
		report, err := inspect(ctx, config, tellProgress(say, time.Now))
		if err != nil {
			return err
		}
		return printReport(c.out, report, time.Since(started), *asJSON)
	}
}

// tellProgress returns what prints, now and then, how far the work is.
func tellProgress(w io.Writer, now func() time.Time) func(archive.Progress) {
	started := now()
	told := started
	return func(p archive.Progress) {
		t := now()
		if t.Sub(told) < progressEvery {
			return
		}
		told = t
		rate := size(float64(p.Bytes) / t.Sub(started).Seconds())
		fmt.Fprintf(w, "%d objects, %s, %s/s: %s\n", p.Objects, size(p.Bytes), rate, p.Key)
	}
}

// reportLine is a report as --json prints it.
type reportLine struct {
	Streams   int           `json:"streams"`
	Deleted   int           `json:"deleted_streams"`
	Objects   int           `json:"objects"`
	Fragments int64         `json:"fragments"`
	Bytes     int64         `json:"bytes"`
	Seconds   float64       `json:"seconds"`
	Problems  []problemLine `json:"problems"`
}

type problemLine struct {
	Key   string `json:"key"`
	Error string `json:"error"`
}

// printReport prints what was found; problems are errFound.
func printReport(w io.Writer, r archive.Report, took time.Duration, asJSON bool) error {
	line := reportLine{r.Streams, r.Deleted, r.Objects, r.Fragments, r.Bytes, took.Seconds(), []problemLine{}}
	for _, p := range r.Problems {
		line.Problems = append(line.Problems, problemLine{p.Key, p.Err.Error()})
	}
	if asJSON {
		if err := json.NewEncoder(w).Encode(line); err != nil {
			return err
		}
	} else {
		for _, p := range line.Problems {
			fmt.Fprintf(w, "%s: %s\n", p.Key, p.Error)
		}
		fmt.Fprintf(w, "%d streams, %d objects, %d fragments, %s in %s: %s\n", r.Streams, r.Objects, r.Fragments, size(r.Bytes), short(took), outcome(len(r.Problems)))
	}
	if len(r.Problems) > 0 {
		return errFound
	}
	return nil
}

func outcome(problems int) string {
	switch problems {
	case 0:
		return "all is well"
	case 1:
		return "1 problem"
	}
	return fmt.Sprintf("%d problems", problems)
}
