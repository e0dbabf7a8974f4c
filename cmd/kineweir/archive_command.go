package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"text/tabwriter"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/fragments"
)

func archiveCommands() []command {
	return []command{
		{
			name:  "archive ls",
			args:  "[STREAM]",
			short: "list the streams that are kept, or the fragments of one",
			long: "Lists what the data folder keeps: all streams, or the fragments of one. A server\n" +
				"must not be running on the folder; one that runs answers under /api/streams.",
			examples: []string{"kineweir archive ls", "kineweir archive ls front-door --start 2026-11-23T06:00:00Z", "kineweir archive ls --json | jq .name"},
			setup:    setupList,
		},
		{
			name:  "archive verify",
			short: "read all that is stored and check it",
			long: "Reads every object of the bucket and checks its structure, its checksums and\n" +
				"whether the index says the same. It changes nothing, needs no data folder and may\n" +
				"run beside a server, whose newest objects it may then see half-way. Ends with 1\n" +
				"when something is wrong.",
			examples: []string{"kineweir archive verify", "kineweir archive verify --config /etc/kineweir.yaml --json"},
			setup: func(fs *flag.FlagSet) action {
				return setupInspection(fs, func(ctx context.Context, config *Config, progress func(archive.Progress)) (archive.Report, error) {
					b, err := openBucket(config, slog.New(slog.DiscardHandler))
					if err != nil {
						return archive.Report{}, err
					}
					return archive.Verify(ctx, b, progress)
				})
			},
		},
		{
			name:  "archive rebuild",
			short: "make the index and the catalog anew from what is stored",
			long: "Makes the index and the catalog of the data folder anew from the objects of the\n" +
				"bucket alone, as after the loss of the folder. What was deleted stays deleted. An\n" +
				"index that is there is kept under another name. A server must not be running on\n" +
				"the folder. Ends with 1 when an object could not be understood.",
			examples: []string{"kineweir archive rebuild", "kineweir archive rebuild --config /etc/kineweir.yaml --data /var/lib/kineweir"},
			setup: func(fs *flag.FlagSet) action {
				return setupInspection(fs, func(ctx context.Context, config *Config, progress func(archive.Progress)) (archive.Report, error) {
					b, err := openBucket(config, slog.New(slog.DiscardHandler))
					if err != nil {
						return archive.Report{}, err
					}
					report, err := archive.Rebuild(ctx, archive.RebuildOptions{Bucket: b, Dir: config.Data, Progress: progress})
					return report, explainLock(err, config)
				})
			},
		},
	}
}

// explainLock says what to do about a data folder that a server has open.
func explainLock(err error, c *Config) error {
	if errors.Is(err, journal.ErrLocked) {
		return fmt.Errorf("a server is running on %s: stop it first, or ask it (/api/streams)", c.Data)
	}
	return err
}

// setupList declares "archive ls".
func setupList(fs *flag.FlagSet) action {
	load := declareConfig(fs, "data")
	asJSON := fs.Bool("json", false, "print one JSON object a line")
	var sel fragments.Selector
	fs.Func("start", "leave out what ended before `TIME` (RFC 3339)", timeFlag(&sel.Start))
	fs.Func("end", "leave out what began at `TIME` or later", timeFlag(&sel.End))
	return func(ctx context.Context, c console, args []string) error {
		if len(args) > 1 {
			return noArguments("archive ls", args[1:])
		}
		var name fragments.StreamName
		if len(args) == 1 {
			var err error
			if name, err = fragments.ParseStreamName(args[0]); err != nil {
				return &usageError{what: err.Error()}
			}
		}
		config, err := load(c.env())
		if err != nil {
			return err
		}
		a, err := openToRead(ctx, config)
		if err != nil {
			return err
		}
		defer a.Close(endedContext())
		if name == "" {
			return listStreams(c.out, a.Streams(), *asJSON)
		}
		return listFragments(ctx, c.out, a, name, sel, *asJSON)
	}
}

func timeFlag(t *time.Time) func(string) error {
	return func(s string) (err error) {
		*t, err = time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return errors.New("not a time like 2026-11-23T06:00:00Z")
		}
		return nil
	}
}

// endedContext lets an archive close without bringing anything to the bucket.
func endedContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// openToRead opens the archive of a data folder that exists, without starting
// anything that changes it.
func openToRead(ctx context.Context, c *Config) (*archive.Archive, error) {
	if _, err := os.Stat(c.Data); err != nil {
		return nil, fmt.Errorf("no data folder: %w; name it with --data", err)
	}
	b, err := openBucket(c, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	a, err := archive.Open(ctx, archive.Options{Dir: c.Data, Bucket: b, Tick: -1})
	return a, explainLock(err, c)
}

// streamLine is a stream as "archive ls --json" prints it.
type streamLine struct {
	Name      fragments.StreamName `json:"name"`
	Created   time.Time            `json:"created"`
	Fragments int64                `json:"fragments"`
	Bytes     int64                `json:"bytes"`
	Spooled   int64                `json:"spooled_bytes"`
	First     *time.Time           `json:"first,omitempty"`
	Last      *time.Time           `json:"last,omitempty"`
}

func listStreams(w io.Writer, streams []archive.StreamInfo, asJSON bool) error {
	table := newTable(w, asJSON, "STREAM\tFRAGMENTS\tSIZE\tFROM (UTC)\tTO (UTC)")
	for _, s := range streams {
		line := streamLine{Name: s.Name, Created: s.Created.UTC(), Fragments: s.Fragments, Bytes: s.Bytes, Spooled: s.Spooled}
		from, to := "-", "-"
		if s.First != nil && s.Last != nil {
			first, last := s.First.Producer.Time(), s.Last.End().Time()
			line.First, line.Last = &first, &last
			from, to = second(first), second(last)
		}
		if err := table.row(line, s.Name, s.Fragments, size(s.Bytes), from, to); err != nil {
			return err
		}
	}
	return table.flush()
}

// fragmentLine is a fragment as "archive ls STREAM --json" prints it.
type fragmentLine struct {
	Number        fragments.Number `json:"number"`
	Producer      time.Time        `json:"producer"`
	Server        time.Time        `json:"server"`
	Seconds       float64          `json:"seconds"`
	Bytes         int64            `json:"bytes"`
	Dependent     bool             `json:"dependent,omitempty"`
	Discontinuity bool             `json:"discontinuity,omitempty"`
	Object        string           `json:"object"`
}

func listFragments(ctx context.Context, w io.Writer, a *archive.Archive, name fragments.StreamName, sel fragments.Selector, asJSON bool) error {
	table := newTable(w, asJSON, "FROM (UTC)\tSECONDS\tSIZE\tMARKS\tNUMBER")
	for e, err := range a.Fragments(ctx, name, sel) {
		if err != nil {
			return err
		}
		marks := ""
		if e.Dependent {
			marks += "D" // does not begin with a key frame
		}
		if e.Discontinuity {
			marks += "!" // does not continue the one before
		}
		line := fragmentLine{e.Number, e.Producer.Time(), e.Server.Time(), e.Duration.Seconds(), e.Size, e.Dependent, e.Discontinuity, e.Object}
		if err := table.row(line, e.Producer.Time().Format("2006-01-02 15:04:05.000"), fmt.Sprintf("%.3f", e.Duration.Seconds()), size(e.Size), marks, e.Number); err != nil {
			return err
		}
	}
	return table.flush()
}

func second(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// table prints rows for people, in columns, or for machines, as JSON.
type table struct {
	columns *tabwriter.Writer // nil for JSON
	lines   *json.Encoder
}

func newTable(w io.Writer, asJSON bool, head string) *table {
	if asJSON {
		return &table{lines: json.NewEncoder(w)}
	}
	t := &table{columns: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	fmt.Fprintln(t.columns, head)
	return t
}

func (t *table) row(line any, cells ...any) error {
	if t.columns == nil {
		return t.lines.Encode(line)
	}
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(t.columns, "\t")
		}
		fmt.Fprint(t.columns, c)
	}
	_, err := fmt.Fprintln(t.columns)
	return err
}

func (t *table) flush() error {
	if t.columns == nil {
		return nil
	}
	return t.columns.Flush()
}
